"""The table of methods: 67 papers and what was shown of each, and our own methods beside them.

Whether a method is here is read off the evidence: its tests ran and passed. A file of its name proves nothing.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, did_you_mean, verb
from panoglot.extensions import arguments_of
from panoglot.inventory._evidence import Shown, evidence, letters

if TYPE_CHECKING:
    from panoglot.curation._contract import Preset
    from panoglot.running import Method, Need

__all__ = ["MethodRow", "methods"]

ROOMS = ("caption", "curate", "translate", "train", "search", "evaluate")


@dataclass(frozen=True, slots=True)
class MethodRow:
    """A line of `panoglot methods`.

    Attributes:
        name: as on the command line.
        room: where it lives.
        title: short title with the year and what it does, or what it does alone when it is not a paper's.
        paper: it is one of the 67.
        done: it is here: its worked cases ran and passed (V), and not those of its benchmark alone.
        letters: what was shown: C complete, V verified, R real, P preset; a dot where nothing was.
        tests: letter → the tests that showed it.
        source: where the paper is, where it is known to the code.
        use: the beginning of a command that uses it; a step of a recipe; empty where there is none.
        options: option → default, when one method was asked for.
        models: option → the role of the model that it names, when one method was asked for.
        text: what it does and returns, in paragraphs, when one method was asked for.
        meanings: option → what it means, when one method was asked for.
        needs: what its models are asked for 1,000 pictures with the default options, when one method was asked for.
    """

    name: str
    room: str
    title: str
    paper: bool
    done: bool
    letters: str = "····"
    tests: Mapping[str, tuple[Shown, ...]] = field(default_factory=dict)
    source: str = ""
    use: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    meanings: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[Need, ...] = ()

    @property
    def complete(self) -> bool:
        """It is here, and of a paper all of the algorithm (C)."""
        return self.done and ("C" in self.letters or not self.paper)


# name | room | short title (year) | what it does; a method that is registered with its paper says it itself
_PAPERS = """
scalecap | caption | ScaleCap (2025) | keep the sentences the picture supports, ask about every object, merge
fusecap | caption | FuseCap (2023) | enrich a short caption with what frozen experts see
mlbcap | caption | MLBCAP (2025) | filter, several writers, a judge, for figures in papers
capsfusion | caption | CapsFusion (2023) | fuse noisy alt text with a clean synthetic caption
veclip | caption | VeCLIP (2023) | put visual concepts into captions; train on a coin flip of both
revisit-captions | caption | Revisit Large-Scale Image-Caption Data (2024) | four formats from one captioner
patch-matters | caption | Patch Matters (2025) | describe overlapping patches, keep what they support, merge inward
image-textualization | caption | Image Textualization (2024) | correct and densify a description with expert evidence
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


#: Papers, or parts of them, that commands of `panoglot evaluate` measure: the command's words.
_MEASURED = {
    "babel-imagenet": "zeroshot --benchmark babel-imagenet",
    "caparena": "captions --benchmark caparena-auto",
    "capture": "captions --metrics capture",
    "centurio": "choice --benchmark smpqa",
    "clip-reward-finecapeval": "captions --benchmark finecapeval",
    "dcscore": "captions --benchmark decapbench",
    "merit-coral": "retrieval --benchmark merit",
    "mmteb": "mteb",
    "mvl-sib": "choice --benchmark mvl-sib",
    "ndlb-truematch": "captions --benchmark truematch",
    "neobabel": "generation --benchmark clc",
    "parrot-mmmb": "choice --benchmark mmmb",
}
#: Papers that are options of a command: its line.
_OPTIONS = {"sorce": "panoglot index X.pano --views corners"}


def _papers() -> dict[str, tuple[str, str, str]]:
    """Name → room, title with the year, what it does: of all papers, from our methods where they say it."""
    rows = [tuple(cell.strip() for cell in line.split("|")) for line in _PAPERS.strip().splitlines()]
    found = {name: (room, title, about) for name, room, title, about in rows}
    for own in _registered().values():
        if own.paper and own.function.__module__.startswith("panoglot."):
            room = (
                "train" if found.get(own.name, ("",))[0] == "train" else own.verb
            )  # what it is trained on is made first
            found[own.name] = (room, f"{own.paper} ({own.year})", own.about)
    return found


def _registered() -> Mapping[str, Method]:
    from panoglot.running import list_methods

    return {own.name: own for own in list_methods()}


@cache
def _trained() -> Mapping[str, Any]:
    from panoglot.networks._row import list_rows, load_row

    return {name: load_row(name) for name in list_rows()}


@verb
def methods(name: str | None = None, *, room: str | None = None) -> list[MethodRow]:
    """List the methods: those of the 67 papers, and our own beside them, with what was shown of each.

    Args:
        name: only this one, with its options and the models that it needs. A name may stand in two rooms.
        room: only this room: caption, curate, translate, train, search or evaluate.

    Raises:
        UserError: no such method or room.
    """

    rows = _rows()
    if room is not None and room not in ROOMS:
        raise UserError(f"there is no room '{room}'.{did_you_mean(room, ROOMS)}")
    if name is not None:
        key = name.replace("_", "-")
        known = sorted({row.name for row in rows})
        if key not in known:
            raise UserError(f"there is no method '{name}'.{did_you_mean(key, known)}")
        rows = [_detailed(row) for row in rows if row.name == key]
    rows = [row for row in rows if room in (None, row.room)]
    return sorted(rows, key=lambda row: (ROOMS.index(row.room), not row.complete, not row.done, row.name))


def _rows() -> list[MethodRow]:
    from panoglot.curation import presets

    papers = _papers()
    rows = []
    for name, (room, title, about) in papers.items():
        about = _trained()[name].about if room == "train" and name in _trained() else about
        rows.append(_row(name, room, f"{title}: {about}", True))
    for preset in presets().values():
        if papers.get(preset.name, ("",))[0] != "curate":
            rows.append(_row(preset.name, "curate", f"Filters: {preset.about}", False))
    for own in _registered().values():
        if papers.get(own.name, ("",))[0] != own.verb and own.verb in ROOMS:
            title = f"{own.paper} ({own.year}): {own.about}" if own.paper else own.about
            rows.append(_row(own.name, own.verb, title, False))
    return rows


def _row(name: str, room: str, title: str, paper: bool) -> MethodRow:
    shown, use = evidence().get(name, {}), _use(name, room)
    measured_only = room != "evaluate" and use.startswith("panoglot evaluate")
    done = bool(shown.get("V")) and not measured_only
    return MethodRow(name, room, title, paper, done, letters(shown), shown, _source(name), use)


def _source(name: str) -> str:
    """Where the paper is: from the row of the trainer, or from the docstring of the method."""
    if name in _trained():
        return str(_trained()[name].source)
    text = ""
    if name in _registered():
        import sys

        function = _registered()[name].function
        text = f"{function.__doc__}\n{sys.modules[function.__module__].__doc__}"
    found = re.search(r"arXiv \d{4}\.\d{5}", text)
    return found[0] if found else ""


def _use(name: str, room: str) -> str:
    from panoglot.curation import presets

    if name in _OPTIONS:
        return _OPTIONS[name]
    if room == "curate" and name in presets():
        return f"panoglot curate X.pano --steps {name}"
    if room == "train" and name in _trained():
        return f"panoglot train {name} X.pano -o run/"
    if name in _registered():
        if _registered()[name].unit == "query":
            return f'panoglot search X.pano "…" --preset {name}'
        if name == "translate":
            return "panoglot translate X.pano --to de,sw --with MODEL"
        return f"panoglot caption X.pano --method {name}" if room == "caption" else f"a step of a recipe: {name}"
    return f"panoglot evaluate {_MEASURED[name]}" if name in _MEASURED else ""


def _detailed(row: MethodRow) -> MethodRow:
    """With options and models."""
    from panoglot.curation import presets

    if row.use.startswith("panoglot curate"):
        return replace(row, **_of_preset(presets()[row.name]))
    if row.name in _registered() and row.room == _registered()[row.name].verb:
        own = _registered()[row.name]
        options = {key: "" if p.default is p.empty else _said(p.default) for key, p in own.options().items()}
        models = {key: str(role) for key, role in own.roles.items()}
        meanings = {key: said for key, said in arguments_of(own.function).items() if key in options}
        text = re.split(r"\n(?:Args|Raises):", inspect.getdoc(own.function) or "")[0].strip()
        return replace(row, options=options, models=models, text=text, meanings=meanings, needs=_needs(own))
    if row.use.startswith("panoglot train"):
        return replace(row, **_of_training(row.name))
    return row


def _needs(own: Method) -> tuple[Need, ...]:
    """What a method asks of its models, counted on a picture of ours; none where that needs more than a picture."""
    from panoglot.errors import RowError
    from panoglot.pictures import Image
    from panoglot.running import Item, needs_of
    from panoglot.table import Caption

    if own.fit is not None or own.unit not in ("image", "caption"):
        return ()
    texts = [Caption("A brown dog runs along a beach.", "en", kind, recipe="human") for kind in ("alt", "human")]
    try:
        image = Image(_PICTURE, context={"title": "A dog", "text": "A dog at the beach."}, captions=texts)
        options = own.resolve({})
        caption = texts[0] if own.unit == "caption" else None
        items = [Item("1", image=image, caption=caption)]
        needs, failed = needs_of(own, options, {}, items, load=False)
    except (UserError, RowError):
        return ()
    return () if failed else tuple(needs)


#: A small grey picture, on which questions are counted.
_PICTURE = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU"
    b"\x00\x00\x00\nIDATx\x9cch\x00\x00\x00\x82\x00\x81w\xcdr\xb6\x00\x00\x00\x00IEND\xaeB`\x82"
)


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _of_preset(preset: Preset) -> dict[str, Any]:
    roles = {"encoder": "encoder", "scorer": "encoder", "tagger": "tagger"}
    options = {key: _said(value) for key, value in preset.options.items()}
    return {"options": options, "models": {key: role for key, role in roles.items() if key in options}}


def _of_training(name: str) -> dict[str, Any]:
    """Presets and parts of a row of the trainer, and the towers that it names."""
    from panoglot.networks._row import list_presets

    row = _trained()[name]
    options = {"preset": ", ".join(["paper", *list_presets(name)])}
    options |= {key: str(getattr(row, key)) for key in ("epochs", "batch")}
    options |= {"losses": ", ".join(row.losses), "sampler": str(row.sampler["kind"])}
    if row.unverified:
        options["unverified"] = ", ".join(row.unverified)
    towers = {"image": row.image, "text": row.text}
    return {"options": options, "models": {side: str(t["name"]) for side, t in towers.items() if t and t.get("name")}}
