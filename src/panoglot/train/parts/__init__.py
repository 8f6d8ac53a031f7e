"""The losses of a row as modules: each holds what it learns itself (scale, decoder, head) and returns a `Term`.

Adding one = a file, an import, a line in `PARTS`.
"""

from panoglot.train.parts._base import Features, Part, Widths
from panoglot.train.parts._colbert import ColbertPart
from panoglot.train.parts._contrast import ContrastPart, GroupPatchesPart
from panoglot.train.parts._distil import RegressPart, ViewsPart
from panoglot.train.parts._language import LmPart, ReconPart, VqPart
from panoglot.train.parts._rank import RankPart
from panoglot.train.parts._regions import BoxPart, RegionsPart
from panoglot.train.parts._sycoca import CaptionPart, InpaintPart

#: Name in a row -> part.
PARTS: dict[str, type[Part]] = {
    "box": BoxPart,
    "caption": CaptionPart,
    "colbert": ColbertPart,
    "contrast": ContrastPart,
    "group_patches": GroupPatchesPart,
    "inpaint": InpaintPart,
    "lm": LmPart,
    "rank": RankPart,
    "recon": ReconPart,
    "regions": RegionsPart,
    "regress": RegressPart,
    "views": ViewsPart,
    "vq": VqPart,
}

__all__ = [
    "PARTS",
    "BoxPart",
    "CaptionPart",
    "ColbertPart",
    "ContrastPart",
    "Features",
    "GroupPatchesPart",
    "InpaintPart",
    "LmPart",
    "Part",
    "RankPart",
    "ReconPart",
    "RegionsPart",
    "RegressPart",
    "ViewsPart",
    "VqPart",
    "Widths",
]
