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
| GenEval, m-GenEval | `geneval` | detections of generated images |
| CLC, CSS | `cross_lingual_consistency`, `switching_similarity` | vectors of generated images |
| m-DPG | `dpg` | generated images, a `Generator` |
| diversity | `distinct_n`, `self_bleu` | captions alone |
| length, readability | `caption_length`, `readability` | captions alone |
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from panoglot.metrics.captions.bleu import bleu
    from panoglot.metrics.captions.capture import capture
    from panoglot.metrics.captions.chair import chair
    from panoglot.metrics.captions.chrf import chrf
    from panoglot.metrics.captions.cider import cider, document_frequencies
    from panoglot.metrics.captions.clipscore import clipscore
    from panoglot.metrics.captions.dcscore import dcscore
    from panoglot.metrics.captions.dense import RegionCaption, captions_at_iou, dense_map
    from panoglot.metrics.captions.diversity import distinct_n, self_bleu
    from panoglot.metrics.captions.finecapeval import finecapeval, read_finecapeval
    from panoglot.metrics.captions.hallucination import foil, hat, localisation
    from panoglot.metrics.captions.meteor import meteor_exact_stem_synonym
    from panoglot.metrics.captions.pope import pope
    from panoglot.metrics.captions.readability import caption_length, readability
    from panoglot.metrics.captions.rouge_l import rouge_l
    from panoglot.metrics.captions.self_retrieval import random_bags, self_retrieval
    from panoglot.metrics.captions.spice import spice
    from panoglot.metrics.generation.geneval import geneval
    from panoglot.metrics.generation.neobabel import (
        align_prompts,
        cross_lingual_consistency,
        dpg,
        mix_prompts,
        switching_similarity,
    )

__all__ = [
    "RegionCaption",
    "align_prompts",
    "bleu",
    "caption_length",
    "captions_at_iou",
    "capture",
    "chair",
    "chrf",
    "cider",
    "clipscore",
    "cross_lingual_consistency",
    "dcscore",
    "dense_map",
    "distinct_n",
    "document_frequencies",
    "dpg",
    "finecapeval",
    "foil",
    "geneval",
    "hat",
    "localisation",
    "meteor_exact_stem_synonym",
    "mix_prompts",
    "pope",
    "random_bags",
    "read_finecapeval",
    "readability",
    "rouge_l",
    "self_bleu",
    "self_retrieval",
    "spice",
    "switching_similarity",
]

#: Names whose file is called otherwise. Nothing is imported before it is used.
_HOME = {
    "RegionCaption": "dense", "align_prompts": "neobabel", "caption_length": "readability", "captions_at_iou": "dense",
    "cross_lingual_consistency": "neobabel", "dense_map": "dense", "distinct_n": "diversity",
    "document_frequencies": "cider", "dpg": "neobabel", "foil": "hallucination", "hat": "hallucination",
    "localisation": "hallucination", "meteor_exact_stem_synonym": "meteor", "mix_prompts": "neobabel",
    "random_bags": "self_retrieval", "read_finecapeval": "finecapeval", "self_bleu": "diversity",
    "switching_similarity": "neobabel",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}._{_HOME.get(name, name)}"), name)
    globals()[name] = found
    return found
