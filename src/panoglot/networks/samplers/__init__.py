"""From records to what a step sees. Everything random is a function of (seed, epoch, id): worker counts change nothing.

A *text sampler* turns one record into a `Sample`; `items(record)` says how many items of an epoch the record makes. An
*order* says which items come when.
"""

from panoglot.networks.samplers._draw import Draw
from panoglot.networks.samplers._order import batches, epoch_order, language_pools, mix, shares, task_batches
from panoglot.networks.samplers._sample import Sample, Sampler
from panoglot.networks.samplers.documents import Composed, Pictures, Turns
from panoglot.networks.samplers.interleave import Document, Interleave, Loaders
from panoglot.networks.samplers.products import PICTURE, Products
from panoglot.networks.samplers.regions import EachRegion, Regions
from panoglot.networks.samplers.sentences import Sentences, split_sentences
from panoglot.networks.samplers.tasks import Coverage, Ranked, TaskPrefix, Triples
from panoglot.networks.samplers.texts import Coin, Each, One, Translation, Vectors

#: Name in a row -> sampler. Adding one = a file, an import, a line here.
SAMPLERS: dict[str, type] = {
    "coin": Coin,
    "composed": Composed,
    "coverage": Coverage,
    "each": Each,
    "each_region": EachRegion,
    "interleave": Interleave,
    "loaders": Loaders,
    "one": One,
    "pictures": Pictures,
    "products": Products,
    "ranked": Ranked,
    "regions": Regions,
    "sentences": Sentences,
    "task_prefix": TaskPrefix,
    "translation": Translation,
    "triples": Triples,
    "turns": Turns,
    "vectors": Vectors,
}

__all__ = [
    "PICTURE",
    "SAMPLERS",
    "Coin",
    "Composed",
    "Coverage",
    "Document",
    "Draw",
    "Each",
    "EachRegion",
    "Interleave",
    "Loaders",
    "One",
    "Pictures",
    "Products",
    "Ranked",
    "Regions",
    "Sample",
    "Sampler",
    "Sentences",
    "TaskPrefix",
    "Translation",
    "Triples",
    "Turns",
    "Vectors",
    "batches",
    "epoch_order",
    "language_pools",
    "mix",
    "shares",
    "split_sentences",
    "task_batches",
]
