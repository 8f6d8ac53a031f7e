"""Readers beside the towers: what finds things, paints, embeds queries of several parts, and cuts pictures into codes.

A row names them: `readers: {locator: {kind: set, queries: 20}, painter: {kind: masked}}`. A loss says which it `needs`.
Adding one = a file, an import, a line in its table.
"""

from collections.abc import Callable
from typing import Any

from panoglot.networks.readers._composer import Composer, JointComposer
from panoglot.networks.readers._interleaved import InterleavedComposer, Sequences
from panoglot.networks.readers._locator import Located, SetLocator, match_sets
from panoglot.networks.readers._painter import MaskedPainter, committed
from panoglot.networks.readers._qformer import QFormer, QFormerComposer, load_blip2, renamed_former
from panoglot.networks.readers._spliced import SentenceComposer, SlotComposer, SplicedComposer, TokenLearner, splice
from panoglot.networks.readers._tokeniser import Palette

COMPOSERS: dict[str, Callable[..., Any]] = {
    "interleaved": InterleavedComposer,
    "joint": JointComposer,
    "qformer": QFormerComposer,
    "sentence": SentenceComposer,
    "slot": SlotComposer,
}
LOCATORS: dict[str, Callable[..., Any]] = {"set": SetLocator}
PAINTERS: dict[str, Callable[..., Any]] = {"masked": MaskedPainter}
TOKENISERS: dict[str, Callable[..., Any]] = {"palette": Palette}

__all__ = [
    "COMPOSERS",
    "LOCATORS",
    "PAINTERS",
    "TOKENISERS",
    "Composer",
    "InterleavedComposer",
    "JointComposer",
    "Located",
    "MaskedPainter",
    "Palette",
    "QFormer",
    "QFormerComposer",
    "SentenceComposer",
    "Sequences",
    "SetLocator",
    "SlotComposer",
    "SplicedComposer",
    "TokenLearner",
    "committed",
    "load_blip2",
    "match_sets",
    "renamed_former",
    "splice",
]
