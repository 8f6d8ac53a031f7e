"""Caption metrics on plain lists: one metric a file, one result type, every language.

| metric | function | needs |
|---|---|---|
| BLEU-1..4 | `bleu` | references |
| ROUGE-L | `rouge_l` | references |
| CIDEr-D, CIDEr | `cider` | references |
| METEOR-like | `meteor_exact_stem_synonym` | references; snowballstemmer; WordNet for synonyms |
| chrF, chrF++ | `chrf` | references; sacrebleu |
| SPICE | `spice` | references, a `Parser` |
| CAPTURE | `capture` | references, a `Parser`, an `Encoder` for the soft stage |
| CLIPScore, RefCLIPScore | `clipscore` | images, an `Encoder` |
| DCScore | `dcscore` | reference facts, images, a `Generator` |
| FineCapEval | `finecapeval` | phrases of annotators |
| self-retrieval (TrueMatch) | `self_retrieval` | vectors, bags |
| CHAIR | `chair` | objects of the pictures |
| POPE | `pope` | yes/no answers |
| FOIL, HAT, localisation | `foil`, `hat`, `localisation` | scores of the metric under test |
| dense captioning | `dense_map`, `captions_at_iou` | boxes with captions |
| diversity | `distinct_n`, `self_bleu` | captions alone |
| length, readability | `caption_length`, `readability` | captions alone |
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from panoglot.evaluate.captions._bleu import bleu
    from panoglot.evaluate.captions._capture import capture
    from panoglot.evaluate.captions._chair import chair
    from panoglot.evaluate.captions._chrf import chrf
    from panoglot.evaluate.captions._cider import cider, document_frequencies
    from panoglot.evaluate.captions._clipscore import clipscore
    from panoglot.evaluate.captions._dcscore import dcscore
    from panoglot.evaluate.captions._dense import RegionCaption, captions_at_iou, dense_map
    from panoglot.evaluate.captions._diversity import distinct_n, self_bleu
    from panoglot.evaluate.captions._finecapeval import finecapeval, read_finecapeval
    from panoglot.evaluate.captions._hallucination import foil, hat, localisation
    from panoglot.evaluate.captions._meteor import meteor_exact_stem_synonym
    from panoglot.evaluate.captions._pope import pope
    from panoglot.evaluate.captions._readability import caption_length, readability
    from panoglot.evaluate.captions._rouge_l import rouge_l
    from panoglot.evaluate.captions._self_retrieval import random_bags, self_retrieval
    from panoglot.evaluate.captions._spice import spice

__all__ = [
    "RegionCaption",
    "bleu",
    "caption_length",
    "captions_at_iou",
    "capture",
    "chair",
    "chrf",
    "cider",
    "clipscore",
    "dcscore",
    "dense_map",
    "distinct_n",
    "document_frequencies",
    "finecapeval",
    "foil",
    "hat",
    "localisation",
    "meteor_exact_stem_synonym",
    "pope",
    "random_bags",
    "read_finecapeval",
    "readability",
    "rouge_l",
    "self_bleu",
    "self_retrieval",
    "spice",
]

#: Names whose file is called otherwise. Nothing is imported before it is used.
_HOME = {
    "RegionCaption": "dense", "caption_length": "readability", "captions_at_iou": "dense", "dense_map": "dense",
    "distinct_n": "diversity", "document_frequencies": "cider", "foil": "hallucination", "hat": "hallucination",
    "localisation": "hallucination", "meteor_exact_stem_synonym": "meteor", "random_bags": "self_retrieval",
    "read_finecapeval": "finecapeval", "self_bleu": "diversity",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}._{_HOME.get(name, name)}"), name)
    globals()[name] = found
    return found
