"""Croissant 1.0 (MLCommons): one Parquet file as `parquet` writes it, and `croissant.json`: what is in it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from panoglot.formats import parquet

__all__ = ["Writer"]

_CR = "http://mlcommons.org/croissant/"
_TERMS = (
    "citeAs column equivalentProperty extract field fileProperty fileObject fileSet format includes isLiveDataset "
    "jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate separator source "
    "subField transform"
)
_FIELDS = {"image_id": "sc:Text", "image": "sc:ImageObject", "caption": "sc:Text", "lang": "sc:Text"}

_BYTES = {"transform": {"jsonPath": "bytes"}}  # of the struct that Hugging Face's pictures are


class Writer(parquet.Writer):
    """Write the file, then its checksum and the record set `pairs`: `image_id`, `image`, `caption`, `lang`.

    Args:
        folder: where to.
        shard_size: not used: a field has one source, and readers join no files.
        name: of the dataset.
        license: the address of its terms, where there is one for all of it.
        url: where it is found.
    """

    def __init__(
        self, folder: Path, shard_size: int, *, name: str = "panoglot-export", license: str = "", url: str = ""
    ) -> None:
        super().__init__(folder, 2**62)
        self._said = {"name": name, **({"license": license} if license else {}), **({"url": url} if url else {})}

    def add(self, record: dict[str, Any], data: bytes, suffix: str) -> str | None:
        """Write one picture with its record; a record of Croissant without a caption is an error to its readers."""
        return super().add(record, data, suffix) if record["caption"] else "no_caption"

    def close(self) -> dict[str, Any]:
        """Finish with the description."""
        facts = super().close()
        files = [_file(self.folder / name) for name in self.counts]
        source = {"fileObject": {"@id": files[0]["@id"]}}
        fields = [
            {
                "@type": "cr:Field",
                "@id": f"pairs/{name}",
                "name": f"pairs/{name}",
                "dataType": kind,
                "source": {**source, "extract": {"column": name}, **(_BYTES if name == "image" else {})},
            }
            for name, kind in _FIELDS.items()
        ]
        context = {
            "@language": "en",
            "@vocab": "https://schema.org/",
            "sc": "https://schema.org/",
            "cr": _CR,
            "dct": "http://purl.org/dc/terms/",
            "conformsTo": "dct:conformsTo",
            "data": {"@id": "cr:data", "@type": "@json"},
            "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
            "examples": {"@id": "cr:examples", "@type": "@json"},
            **{term: f"cr:{term}" for term in _TERMS.split()},
        }
        record_set = {"@type": "cr:RecordSet", "@id": "pairs", "name": "pairs", "field": fields}
        stated = {
            "@context": context,
            "@type": "sc:Dataset",
            **self._said,
            "description": "Pictures with captions in several languages, written by Panoglot; see README.md.",
            "conformsTo": f"{_CR}1.0",
            "version": "1.0.0",
            "distribution": files,
            "recordSet": [{**record_set, "key": {"@id": "pairs/image_id"}}],
        }
        (self.folder / "croissant.json").write_text(json.dumps(stated, indent=1) + "\n", encoding="utf-8")
        return facts


def _file(path: Path) -> dict[str, str]:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    facts = {"@type": "cr:FileObject", "@id": path.name, "name": path.name, "contentUrl": path.name}
    return {**facts, "encodingFormat": "application/x-parquet", "sha256": digest}
