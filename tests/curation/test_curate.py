import contextlib
import itertools
from pathlib import Path

import numpy as np
import pytest

import panoglot
from panoglot.curation import FILTERS, PRESETS, caption_filter, curate, owns, resolve
from panoglot.errors import UserError
from panoglot.geometry import Region

STEPS = ["boilerplate", ("length", {"min_words": 3}), "repetition"]


def test_reasons_are_written_and_counted(maker):
    image = maker.image("a")
    maker.caption(image, "A dog on the beach")
    maker.caption(image, "Untitled")
    maker.caption(image, "IMG_001.jpg")
    maker.caption(image, "Two words")
    result = curate(maker.dataset, steps=STEPS)
    assert maker.captions() == {
        "A dog on the beach": None,
        "Untitled": "stock_text",
        "IMG_001.jpg": "file_name",
        "Two words": "too_short",
    }
    assert (result.captions, result.captions_kept, sum(result.captions_dropped.values())) == (4, 1, 3)
    assert result.changed == 3


def test_the_first_step_with_a_reason_speaks(maker):
    image = maker.image("a")
    maker.caption(image, "Untitled")
    curate(maker.dataset, steps=STEPS)
    assert maker.captions() == {"Untitled": "stock_text"}
    curate(maker.dataset, steps=[STEPS[1], STEPS[0]])
    assert maker.captions() == {"Untitled": "too_short"}


def test_again_changes_nothing_and_other_thresholds_decide_anew(maker):
    image = maker.image("a")
    maker.caption(image, "Two words")
    assert curate(maker.dataset, steps=STEPS).changed == 1
    assert curate(maker.dataset, steps=STEPS).changed == 0
    result = curate(maker.dataset, steps=[("length", {"min_words": 2})])
    assert (result.changed, maker.captions()) == (1, {"Two words": None})


def test_drops_of_methods_are_left_alone(maker):
    image, other = maker.image("a"), maker.image("b")
    maker.caption(image, "Two words", dropped="draft")
    maker.caption(image, "Zwei Worte", lang="de", dropped="bad_translation")
    maker.dataset.score("marks", {other: ({"nsfw": 0.9}, "unsafe")})
    result = curate(maker.dataset, steps=[*STEPS, ("size", {"min_side": 1000})])
    assert maker.captions() == {"Two words": "draft", "Zwei Worte": "bad_translation"}
    assert maker.marks() == {image: "too_small", other: "unsafe"}
    assert dict(result.by_methods) == {"draft": 1, "bad_translation": 1, "unsafe": 1}
    assert result.images_kept + sum(result.images_dropped.values()) + result.by_methods["unsafe"] == result.images


def test_scores_of_marks_survive(maker):
    image = maker.image("a")
    maker.dataset.score("marks", {image: ({"aesthetic": 0.25}, None)})
    curate(maker.dataset, steps=[("image_score", {"minimum": 0.5})])
    (row,) = maker.dataset.marks.rows()
    assert (row["scores"], row["dropped"]) == ({"aesthetic": 0.25}, "low_aesthetic")
    curate(maker.dataset, steps=[("image_score", {"minimum": 0.2})])
    (row,) = maker.dataset.marks.rows()
    assert (row["scores"], row["dropped"]) == ({"aesthetic": 0.25}, None)


def test_unscored_is_kept_and_counted(maker):
    image = maker.image("a")
    maker.caption(image, "good", scores={"alignment": 0.5})
    maker.caption(image, "bad", scores={"alignment": 0.1})
    maker.caption(image, "unknown")
    maker.caption(image, "failed", scores={"alignment": None})
    result = curate(maker.dataset, steps=[("score", {"minimum": 0.3})])
    assert maker.captions() == {"good": None, "bad": "low_alignment", "unknown": None, "failed": None}
    assert dict(result.unscored) == {"score": 2}


def test_kinds(maker):
    image = maker.image("a")
    maker.caption(image, "dog", kind="label")
    maker.caption(image, "cat", kind="alt")
    curate(maker.dataset, steps=[("length", {"min_words": 2})])
    assert maker.captions() == {"dog": None, "cat": "too_short"}
    curate(maker.dataset, steps=[("length", {"min_words": 2, "kinds": ["label"]})])
    assert maker.captions() == {"dog": "too_short", "cat": None}


def test_same_text_twice_at_an_image(maker):
    image, other = maker.image("a"), maker.image("b")
    ids = [maker.caption(image, text) for text in ("A red  dog", "a RED dog", "A red dog")]
    maker.caption(image, "a red dog", lang="sco")
    maker.caption(other, "a red dog ")
    maker.caption(image, "A Red Dog", region=Region(0, 0, 0.5, 0.5))
    curate(maker.dataset, steps=["duplicate_text"])
    dropped = {row["caption_id"] for row in maker.dataset.captions.rows(where="dropped = 'duplicate_text'")}
    assert dropped == set(ids) - {min(ids)}


@pytest.mark.parametrize("part", [None, 7])
def test_same_text_at_many_images(maker, monkeypatch, part):
    if part:
        monkeypatch.setattr("panoglot.curation._count.PART", part)  # several passes
    images = [maker.image(f"{n}") for n in range(12)]
    for n, image in enumerate(images):
        maker.caption(image, "1920X1080" if n % 2 else "1920x1080", lang="de" if n % 3 else "en")
        if n < 10:
            maker.caption(image, "at ten images")
        maker.caption(image, f"only at {n}")
    result = curate(maker.dataset, steps=["common_text"])
    assert dict(result.captions_dropped) == {"common_text": 12}
    assert curate(maker.dataset, steps=[("common_text", {"max_images": 9})]).captions_dropped["common_text"] == 22


def test_too_many_texts(maker):
    image, other = maker.image("a"), maker.image("b")
    for n in range(5):
        maker.caption(image, f"text {n}")
        maker.caption(other, "the same text", lang=["en", "de", "fr", "es", "it"][n])
    curate(maker.dataset, steps=[("many_texts", {"maximum": 4})])
    assert maker.marks() == {image: "too_many_texts"}


def test_looser_never_keeps_fewer(maker):
    rng = np.random.default_rng(0)
    for n in range(30):
        image = maker.image(f"{n}", int(rng.integers(50, 400)), int(rng.integers(50, 400)))
        maker.caption(
            image, " ".join(["word", "dog", "sea"][: 1 + n % 3]) + f" {n}", scores={"alignment": rng.random()}
        )
    grid = list(itertools.product((50, 150, 250), (2, 3, 4), (0.2, 0.5, 0.8)))
    kept = {}
    for side, words, least in grid:
        steps = [("size", {"min_side": side}), ("length", {"min_words": words}), ("score", {"minimum": least})]
        curate(maker.dataset, steps=steps)
        gone = {image for image, reason in maker.marks().items() if reason}
        images = {row["image_id"] for row in maker.dataset.images.rows(["image_id"])} - gone
        kept[side, words, least] = images | {text for text, reason in maker.captions().items() if reason is None}
    for strict in grid:
        for loose in grid:
            if all(a <= b for a, b in zip(loose, strict)):
                assert kept[strict] <= kept[loose]


def test_dry_run_writes_nothing(maker):
    image = maker.image("a")
    maker.caption(image, "Untitled")
    result = curate(maker.dataset, steps=["boilerplate", ("size", {"min_side": 9999})], dry_run=True)
    assert dict(result.captions_dropped) == {"stock_text": 1}
    assert dict(result.images_dropped) == {"too_small": 1}
    assert (maker.captions(), maker.marks()) == ({"Untitled": None}, {})


def test_takes_a_path(maker):
    maker.image("a")
    assert panoglot.curate(maker.dataset.path, steps=["size"]).images_kept == 1


def test_empty_dataset(maker):
    result = curate(maker.dataset)
    assert (result.images, result.captions, result.changed) == (0, 0, 0)
    assert not maker.dataset.captions.exists()


@pytest.mark.parametrize("preset", ["align", "default", "wit"])
@pytest.mark.paper("default", shows="V", case="the preset runs and its drops have reasons")
def test_presets_run(maker, preset):
    image = maker.image("a")
    maker.caption(image, "A dog on the beach")
    result = curate(maker.dataset, steps=preset)
    assert result.images_kept == result.captions_kept == 1
    assert result.to_dict()["captions"] == 1


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["lenght"], "no filter or preset 'lenght'. Did you mean 'length'"),
        ([("length", {"min_word": 3})], "no option 'min_word'. Did you mean 'min_words'"),
        ([("length", {"min_words": "three"})], "min_words='three' must be a number"),
        ([("length", {"min_words": float("nan")})], "must be a number"),
        ([("boilerplate", {"html": "no"})], "must be true or false"),
        ([("length", {"kinds": ["altt"]})], "no kind of caption 'altt'. Did you mean 'alt'"),
        ([("length", {"kinds": "alt"})], "kinds is a list"),
        ([("score", {"name": 3})], "must be a text"),
        ([("length",)], "write a filter's name"),
        ([{"length": {}, "size": {}}], "write a filter's name"),
        ("defualt", "no filter or preset 'defualt'. Did you mean 'default'"),
        (["alig"], "Did you mean 'align'"),
        ([("align", {"min_sid": 3})], "preset align has no option 'min_sid'. Did you mean 'min_side'"),
        ([("align", {"max_words": "x"})], "max_words='x' must be a number"),
        ([("language", {"allowed": ["klingonish"]})], "not a language tag"),
    ],
)
def test_mistakes_are_named(maker, steps, message):
    image = maker.image("a")
    maker.caption(image, "A dog on the beach")
    with pytest.raises(UserError, match=message):
        curate(maker.dataset, steps=steps)
    assert maker.captions() == {"A dog on the beach": None}


def test_ways_to_write_a_step():
    ways = resolve(["size", ("size", {"min_side": 3}), {"size": {"min_side": 4}}, ["size", None], {"size": None}])
    assert [step.options["min_side"] for step in ways] == [32, 3, 4, 32, 32]


def test_own_filter(maker):
    @caption_filter("no_verb", needs=("image",))
    def has_verb(caption, facts, *, verbs=("runs",)):
        """Drop captions of wide pictures in which nothing happens."""
        wide = facts["width"] > facts["height"]
        return None if not wide or any(v in caption.text for v in verbs) else "no_verb"

    try:
        wide, tall = maker.image("a", 200, 100), maker.image("b", 100, 200)
        maker.caption(wide, "A dog runs")
        maker.caption(wide, "A dog")
        maker.caption(tall, "A cat")
        curate(maker.dataset, steps=["has_verb"])
        assert maker.captions() == {"A dog runs": None, "A dog": "no_verb", "A cat": None}
        assert owns("no_verb")
        assert FILTERS["has_verb"].options == {"verbs": ("runs",), "kinds": ("alt", "human", "short", "dense")}
    finally:
        del FILTERS["has_verb"]


def test_every_filter_says_what_it_drops():
    for name, found in FILTERS.items():
        assert found.about.startswith("Drop"), name
        assert found.reasons


def test_every_filter_and_preset_is_in_the_documentation():
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
    tables = page.split("## Filters")[1].split("\n## ")[0]
    for name in FILTERS:
        assert f"| `{name}` |" in tables, name
    for name, found in PRESETS.items():
        (row,) = [line for line in tables.splitlines() if line.startswith(f"| `{name}` |")]
        assert [option for option in found.options if f"`{option}`" not in row] == [], name


@pytest.mark.parametrize("steps", ["default", "align", "compress-align"])
def test_a_dry_run_writes_nothing_not_a_lock_either(tmp_path, pictures, steps):
    for n, path in enumerate(sorted(pictures.iterdir())):
        path.with_suffix(".txt").write_text(f"A picture of a disc before waves, number {n}.\n")
    data = panoglot.ingest(str(pictures), str(tmp_path / "x.pano"), quiet=True).dataset
    (data.path / "writers.lock").unlink(missing_ok=True)
    before = {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in data.path.rglob("*")}
    with contextlib.suppress(UserError):  # scores that are not there
        curate(data, steps=steps, dry_run=True, quiet=True)
    assert {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in data.path.rglob("*")} == before
