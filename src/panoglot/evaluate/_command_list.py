"""The commands of `panoglot evaluate`, readable without importing what they need."""

from __future__ import annotations

__all__ = ["COMMANDS"]

#: Command of `panoglot evaluate` to (function here, help line).
COMMANDS = {
    "captions": ("captions", "Score captions with metrics that need no Java, in any language."),
    "retrieval": ("retrieval", "Recall of pictures by text and back, for every language."),
    "zeroshot": ("zeroshot", "Zero-shot classification in many languages."),
    "choice": ("choice", "Multiple choice about pictures: MVL-SIB, MMMB, POPE, CoMMuTE."),
    "composed": ("composed", "Score CIRCO, CIRR and FashionIQ rankings."),
    "arena": ("arena", "Rate models from votes: Elo, Bradley-Terry, win minus loss."),
    "agreement": ("agreement", "How well a metric agrees with people."),
}
