"""The losses of a row as modules: each holds what it learns itself (scale, decoder, head) and returns a `Term`.

Adding one = a file, an import, a line in `PARTS`.
"""

from panoglot.networks.parts._base import Features, Part, Widths
from panoglot.networks.parts._regions import collate_regions, mask_of
from panoglot.networks.parts.colbert import ColbertPart
from panoglot.networks.parts.composed import ComposedPart, PromptedPart
from panoglot.networks.parts.contrast import ContrastPart, GroupPatchesPart
from panoglot.networks.parts.critical import CriticalPart
from panoglot.networks.parts.distil import LogitsPart, RegressPart, ViewsPart
from panoglot.networks.parts.features import MapPart, TokensPart
from panoglot.networks.parts.fused import ItmPart, MaskedPicturePart, MaskedTextPart
from panoglot.networks.parts.interleaved import InterleavedPart, hidden_of
from panoglot.networks.parts.language import LmPart, ReconPart, VqPart
from panoglot.networks.parts.located import LocatePart, matched
from panoglot.networks.parts.made import MadePart, SentencePart
from panoglot.networks.parts.match import MatchPart
from panoglot.networks.parts.painted import PaintPart, hidden_cells
from panoglot.networks.parts.rank import RankPart
from panoglot.networks.parts.regions import BoxPart, RegionsPart
from panoglot.networks.parts.sycoca import CaptionPart, InpaintPart

#: Name in a row -> part.
PARTS: dict[str, type[Part]] = {
    "box": BoxPart,
    "caption": CaptionPart,
    "colbert": ColbertPart,
    "composed": ComposedPart,
    "contrast": ContrastPart,
    "critical": CriticalPart,
    "group_patches": GroupPatchesPart,
    "inpaint": InpaintPart,
    "interleaved": InterleavedPart,
    "itm": ItmPart,
    "lm": LmPart,
    "locate": LocatePart,
    "logits": LogitsPart,
    "made": MadePart,
    "map": MapPart,
    "masked_picture": MaskedPicturePart,
    "masked_text": MaskedTextPart,
    "match": MatchPart,
    "paint": PaintPart,
    "prompted": PromptedPart,
    "rank": RankPart,
    "recon": ReconPart,
    "regions": RegionsPart,
    "regress": RegressPart,
    "sentence": SentencePart,
    "tokens": TokensPart,
    "views": ViewsPart,
    "vq": VqPart,
}

__all__ = [
    "PARTS",
    "BoxPart",
    "CaptionPart",
    "ColbertPart",
    "ComposedPart",
    "ContrastPart",
    "CriticalPart",
    "Features",
    "GroupPatchesPart",
    "InpaintPart",
    "InterleavedPart",
    "ItmPart",
    "LmPart",
    "LocatePart",
    "LogitsPart",
    "MadePart",
    "MapPart",
    "MaskedPicturePart",
    "MaskedTextPart",
    "MatchPart",
    "PaintPart",
    "Part",
    "PromptedPart",
    "RankPart",
    "ReconPart",
    "RegionsPart",
    "RegressPart",
    "SentencePart",
    "TokensPart",
    "ViewsPart",
    "VqPart",
    "Widths",
    "collate_regions",
    "hidden_cells",
    "hidden_of",
    "mask_of",
    "matched",
]
