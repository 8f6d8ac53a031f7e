"""The table of methods: 67 papers, and which of them are here. The status is read off the code, not written by hand."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import resources

from panoglot.errors import UserError, did_you_mean, verb

__all__ = ["MethodRow", "methods"]


@dataclass(frozen=True, slots=True)
class MethodRow:
    """A line of `panoglot methods`.

    Attributes:
        name: as on the command line.
        room: where it lives.
        title: short title with the year, or what it does when it is not a paper's.
        paper: it is one of the 67.
        done: it can be used now.
    """

    name: str
    room: str
    title: str
    paper: bool
    done: bool


#: The verb of a paper to the room that holds it.
_ROOMS = {"caption": "captioning", "curate": "curation", "translate": "translation", "train": "training"}
_ROOMS |= {"search": "retrieval", "evaluate": "evaluate"}

# name | room | short title (year) | what it does
_PAPERS = """
scalecap | caption | ScaleCap (2025) | keep the sentences the picture supports, ask about every object, merge
fusecap | caption | FuseCap (2023) | enrich a short caption with what frozen experts see
mlbcap | caption | MLBCAP (2025) | filter, several writers, a judge, for figures in papers
capsfusion | caption | CapsFusion (2023) | fuse noisy alt text with a clean synthetic caption
veclip | caption | VeCLIP (2023) | put visual concepts into captions; train on a coin flip of both
revisit-captions | caption | Revisit Large-Scale Image-Caption Data (2024) | four formats from one captioner
patch-matters | caption | Patch Matters (2025) | describe overlapping patches, keep what they support, merge inward
image-textualization | caption | Image Textualization (2024) | correct and densify a description with expert evidence
rank-and-fuse | caption | Ranking and LLM-based Fusion (2023) | several captioners, rank by match, fuse the best
densefusion | caption | DenseFusion-1M (2024) | tags, boxes, OCR and alt text as hints to one captioner
sharegpt4v | caption | ShareGPT4V (2023) | buy few rich captions, train a captioner, caption many
viscon | caption | VisCon-100K (2025) | caption web images with their page, then ask questions
flexcap | caption | FlexCap (2024) | caption any box at the length asked for
finecaption | caption | FineCaption (2025) | describe a chosen aspect of a masked region
pix2cap | caption | Pix2Cap-COCO (2025) | panoptic segments, each with its own caption
ureca | caption | URECA (2025) | captions that single out a region
panda-70m | caption | Panda-70M (2024) | split videos, many teachers, keep the preferred caption
maccap | caption | MacCap (2024) | a captioner trained on text alone
sitta | caption | SITTA (2023) | map image embeddings linearly to word embeddings
multicapclip | caption | MultiCapCLIP (2023) | auto-encode text through concept prompts, caption in many languages
uapt | caption | User-Aware Prefix-Tuning (2023) | captions in a user's own words
bica | caption | BiCA (2024) | dense captions of objects in 3D scenes
langsplat4d | caption | 4D LangSplat (2025) | sentences per object and frame in dynamic 3D
compress-align | curate | Compress & Align (2023) | a reward model of human preference as filter
tldr | curate | TL;DR (2023) | a few of each cluster, the better matched half, captions appended
lgs | curate | Let's Go Shopping (2024) | clean product pairs from shop pages
wit | curate | WIT (2021) | Wikipedia images with captions in 108 languages
cliptrans | translate | CLIPTrans (2023) | a translator with a visual prefix
centurio | translate | Centurio (2025) | how to mix a hundred languages
mblip | translate | mBLIP (2023) | re-align an English model to a multilingual language model
clip | train | CLIP (2021) | two towers, softmax contrast
align | train | ALIGN (2021) | noisy pairs, frequency rules, summed contrast
m2-encoder | train | M2-Encoder (2024) | contrast inside groups with accumulation
dreamlip | train | DreamLIP (2024) | sentences of long captions as positives, grouped patches
flame | train | FLAME (2024) | a frozen language model's stored vectors as targets
grain | train | GRAIN (2024) | a query decoder matches regions to descriptions
sycoca | train | SyCoCa (2024) | symmetric captioner: caption and inpaint
cosmo | train | COSMO (2024) | a language model split in half, gated cross-attention
rs-m-clip | train | RS-M-CLIP (2024) | translated captions and self-distillation for remote sensing
dc-clip | train | DC-CLIP (2024) | distil features, then re-align
florenz | train | Florenz (2025) | scaling laws of captioning in unseen languages
colbert-xm | train | ColBERT-XM (2024) | late interaction, swapped language adapters
vgs-char-gru | train | Visually grounded sentences (2019) | a character GRU learns from pictures
vl-adapter | train | VL-Adapter (2022) | one shared adapter set for all tasks
croc | train | Croc (2024) | rebuild masked image tokens through the language model
clip-reward-finecapeval | train | CLIP Reward and FineCapEval (2022) | reinforce captions with image-text similarity
discritune | train | DiscriTune (2023) | reward captions that let a retriever find the picture
ndlb-truematch | train | No Detail Left Behind (2024) | richer captions, hard bags, TrueMatch
itit | train | ITIT (2023) | image to text to image cycles
parrot-mmmb | train | Parrot and MMMB (2024) | text-guided experts for visual tokens
ziya-vl | train | Ziya-VL (2023) | bilingual dialogue model by stages
leopard | train | LEOPARD (2024) | several text-rich images in one tile budget
neobabel | train | NeoBabel (2025) | text to image in six languages, and how to score it
cirevl | search | CIReVL (2023) | caption the reference, rewrite, search
cotmr | search | CoTMR (2025) | reason over image and objects, score wanted and forbidden
imagescope | search | ImageScope (2025) | reason, verify, compare
sprc | search | SPRC (2023) | sentence-level prompts for composed retrieval
collm | search | CoLLM (2025) | a language model embeds picture plus change
isa | search | ISA (2024) | a small encoder writes a sentence for a big one
sorce | search | SORCE (2025) | find a small object by several views
merit-coral | search | MERIT and Coral (2025) | several example products, one attribute each
babel-imagenet | evaluate | Babel-ImageNet (2023) | zero-shot classification in 298 languages
caparena | evaluate | CapArena (2025) | rank captioners by pairwise votes
capture | evaluate | CAPTURE (2024) | match objects, attributes, relations of long captions
dcscore | evaluate | DCScore (2025) | score a long caption fact by fact
mvl-sib | evaluate | MVL-SIB (2025) | topical matching in 205 languages
mmteb | evaluate | MMTEB (2025) | embedding tasks, Borda ranks
"""


def _paper_rows() -> list[tuple[str, str, str, str]]:
    rows = [tuple(cell.strip() for cell in line.split("|")) for line in _PAPERS.strip().splitlines()]
    return [(name, room, title, about) for name, room, title, about in rows]


def _is_here(name: str, room: str) -> bool:
    """A registered method, a module of its name in its room (or among its metrics), or a row of the trainer."""
    from panoglot.extensions import find_entries

    if name in find_entries("panoglot.methods"):
        return True
    module = name.replace("-", "_")
    places = [f"panoglot.{_ROOMS[room]}.{module}"]
    if room == "evaluate":
        places += [f"panoglot.metrics.captions.{module}", f"panoglot.evaluate.benchmarks.{module}"]
    for place in places:
        try:
            if importlib.util.find_spec(place) is not None:
                return True
        except ModuleNotFoundError:
            continue
    return room == "train" and resources.files("panoglot").joinpath("networks", "rows", f"{name}.yaml").is_file()


@verb
def methods(*, room: str | None = None) -> list[MethodRow]:
    """List the methods: those of the 67 papers, and our own beside them.

    Args:
        room: only this room: caption, curate, translate, train, search or evaluate.

    Raises:
        UserError: no such room.
    """
    from panoglot.curation import presets
    from panoglot.running import list_methods

    papers = _paper_rows()
    rows = [
        MethodRow(name, place, f"{title}: {about}", True, _is_here(name, place)) for name, place, title, about in papers
    ]
    named = {(row.name, row.room) for row in rows}
    for preset in presets().values():
        if (preset.name, "curate") not in named:
            rows.append(MethodRow(preset.name, "curate", f"Filters: {preset.about}", False, True))
    for own in list_methods():
        if own.name not in {name for name, _ in named}:
            first = (own.function.__doc__ or "").strip().partition("\n")[0]
            rows.append(MethodRow(own.name, own.verb, first, False, True))
    rooms = ["caption", "curate", "translate", "train", "search", "evaluate"]
    if room is not None:
        if room not in rooms:
            raise UserError(f"there is no room '{room}'.{did_you_mean(room, rooms)}")
        rows = [row for row in rows if row.room == room]
    return sorted(rows, key=lambda row: (rooms.index(row.room) if row.room in rooms else 99, not row.done, row.name))
