"""Search among vectors and hashes: exact, by an index, nearest centres; the stored vectors of a dataset."""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.vectors._coarse import Coarse
    from panoglot.vectors._exact import dots, first_scores, gather, threads, top_rows
    from panoglot.vectors._flat import flat_runs, read_runs
    from panoglot.vectors._hamming import Compared, bucket_bits, near_others, near_pairs
    from panoglot.vectors._images import ImageIndex, id_bytes
    from panoglot.vectors._indexed import has_index, make_index, nearest_indexed
    from panoglot.vectors._kmeans import k_means, nearest, whitening
    from panoglot.vectors._maxsim import blocks_of, maxsim, pool_tokens, quantised, similarities
    from panoglot.vectors._neighbours import stored_vectors, take_vectors, vector_rows
    from panoglot.vectors._residual import Residuals, learn_residuals
    from panoglot.vectors._stored import Vectors, stamp
    from panoglot.vectors._sums import check_folder, seal_folder
    from panoglot.vectors._unit import unit_rows

__all__ = [
    "Coarse",
    "Compared",
    "ImageIndex",
    "Residuals",
    "Vectors",
    "blocks_of",
    "bucket_bits",
    "check_folder",
    "dots",
    "first_scores",
    "flat_runs",
    "gather",
    "has_index",
    "id_bytes",
    "k_means",
    "learn_residuals",
    "make_index",
    "maxsim",
    "near_others",
    "near_pairs",
    "nearest",
    "nearest_indexed",
    "pool_tokens",
    "quantised",
    "read_runs",
    "seal_folder",
    "similarities",
    "stamp",
    "stored_vectors",
    "take_vectors",
    "threads",
    "top_rows",
    "unit_rows",
    "vector_rows",
    "whitening",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Compared": "_hamming",
        "blocks_of": "_maxsim",
        "maxsim": "_maxsim",
        "pool_tokens": "_maxsim",
        "quantised": "_maxsim",
        "similarities": "_maxsim",
        "first_scores": "_exact",
        "flat_runs": "_flat",
        "read_runs": "_flat",
        "bucket_bits": "_hamming",
        "check_folder": "_sums",
        "Coarse": "_coarse",
        "ImageIndex": "_images",
        "Vectors": "_stored",
        "dots": "_exact",
        "gather": "_exact",
        "has_index": "_indexed",
        "id_bytes": "_images",
        "k_means": "_kmeans",
        "Residuals": "_residual",
        "learn_residuals": "_residual",
        "make_index": "_indexed",
        "near_others": "_hamming",
        "near_pairs": "_hamming",
        "nearest": "_kmeans",
        "nearest_indexed": "_indexed",
        "seal_folder": "_sums",
        "stamp": "_stored",
        "stored_vectors": "_neighbours",
        "take_vectors": "_neighbours",
        "threads": "_exact",
        "top_rows": "_exact",
        "unit_rows": "_unit",
        "vector_rows": "_neighbours",
        "whitening": "_kmeans",
    },
)
