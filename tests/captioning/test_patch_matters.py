"""The worked cases of Patch Matters' card, and the errors of the released code that ours is free of."""

import json

import pytest

from panoglot.captioning import SORT, patch_matters, read_sorted, sort_statements
from panoglot.captioning.patch_matters import ENRICH, LABELS, MERGE, REWRITE, final_regions, plan_patches
from panoglot.errors import RowError
from panoglot.providers.roles import RegionPart
from tests.captioning.scripted import Expert, Says, box, picture, rows, run

NAMES = {(0, 0): "LT", (0.5, 0): "RT", (0, 0.5): "LB", (0.5, 0.5): "RB"}
FIRST = "A dog runs over the grass beside a small house."


class Knows:
    """An encoder whose score of a statement is what a table says; counts what it was asked."""

    name, batch_size, dim = "knows", 8, 2

    def __init__(self, table=()):
        self.table, self.asked, self.fingerprint = dict(table), [], f"knows-{id(self)}"

    def encode_images(self, images):
        import numpy as np

        return np.tile(np.array([1.0, 0.0], np.float32), (len(images), 1))

    def encode_texts(self, texts, langs=None):
        import numpy as np

        self.asked += texts
        values = [next((v for key, v in self.table.items() if key in text), 0.5) for text in texts]
        return np.array([[v, (1 - v * v) ** 0.5] for v in values], np.float32)


def captioner(prompt):
    part = prompt.turns[-1].parts[0]
    if not isinstance(part, RegionPart):
        return FIRST
    name = NAMES.get(part.region.box[:2], "MAIN")
    own = ("An oak stands high", "Snow lies around", "Buses wait in rows")[prompt.seed % 3]
    return f"{own} near {name}. Everybody sees tower {name}."


def llm(prompt):
    if prompt.text.startswith(SORT[:30]):
        texts = prompt.text.partition("\n\n")[2]
        found = sort_statements([line.partition(". ")[2] for line in texts.split("\n\n")])
        return json.dumps({"shared": found.shared, "contradictions": found.contradictions, "unique": found.unique})
    if prompt.text.startswith(LABELS[:40]):
        return "dog\nelephant"
    for start, said in ((REWRITE, "REWRITTEN"), (ENRICH, "ENRICHED"), (MERGE, "MERGED")):
        if prompt.text.startswith(start[:40]):
            return f"{said} description of what can be seen in the picture."
    raise AssertionError(prompt.text)


def go(detector=None, table=(), captioner_=captioner, llm_=llm, **options):
    given = {"captioner": Says(captioner_), "llm": Says(llm_), "encoder": Knows(table)}
    if detector is not None:
        given["d"], options["detector"] = Expert(detector), "d"
    return run(patch_matters, picture(), given, **options), given


def merged_parts(given):
    (prompt,) = [p.text for p in given["llm"].prompts if p.text.startswith(MERGE[:40])]
    return prompt.partition("Parts:\n")[2]


@pytest.mark.paper("patch-matters", shows="V", case="every patch is told by its own three samples, none by another's")
def test_patches_are_not_mixed_up():
    caption, _ = go(llm="")
    regions = [row for row in rows(caption) if row.kind == "region" and len(row.parents) == 3]
    assert len(regions) == 4
    for row in regions:
        name = NAMES[row.region.box[:2]]
        assert {p.region for p in row.parents} == {row.region}
        assert all(f"tower {name}" in p.text for p in row.parents)
        assert len({p.text for p in row.parents}) == 3
        assert f"tower {name}" in row.text
    assert [name for name in NAMES.values() if f"tower {name}" not in caption.text] == [], caption.text


@pytest.mark.paper(
    "patch-matters", shows="C", case="boxes, patches, main, samples, sort, filter, rewrite, enrich, merge"
)
def test_every_step_of_the_paper():
    boxes = [box("dog", 0.9, 0.3, 0.3, 0.6, 0.6), box("dog", 0.8, 0.31, 0.3, 0.6, 0.6), box("cat", 0.1, 0, 0, 1, 1)]
    caption, given = go(boxes, table={"Snow": 0.2})
    asked = given["captioner"].prompts
    assert len(asked) == 1 + 5 * 3
    assert asked[0].temperature == 0.2
    assert {prompt.temperature for prompt in asked[1:]} == {0.7}
    assert len({(prompt.seed) for prompt in asked[1:]}) == 15
    assert {p.turns[-1].parts[0].region.box for p in asked[1:]} == {
        *plan_patches([b.region.box for b in boxes[:2]]).patches, (0.3, 0.3, 0.6, 0.6),
    }  # fmt: skip
    starts = [prompt.text[:20] for prompt in given["llm"].prompts]
    assert [starts.count(s[:20]) for s in (SORT, REWRITE, ENRICH, MERGE)] == [5, 5, 1, 1]
    assert caption.text.startswith("MERGED")
    dropped = [row for row in rows(caption) if row.dropped == "unsupported"]
    assert {row.text for row in dropped} == {f"Snow lies around near {name}." for name in (*NAMES.values(), "MAIN")}
    assert all(row.scores["support"] == pytest.approx(0.2) for row in dropped)
    assert "Image: ENRICHED" in next(p.text for p in given["llm"].prompts if p.text.startswith(MERGE[:40]))
    assert "[0.00, 0.00, 0.60, 0.60] REWRITTEN" in merged_parts(given)  # boxes in 0..1
    assert caption.scores["fallback"] == 0
    labels = next(p.text for p in given["llm"].prompts if p.text.startswith(LABELS[:40]))
    assert f"Labels: dog\n\nDescription: {FIRST}" in labels  # the unsure cat is no label
    caption, given = go([box("dog", 0.9, 0.02, 0.1, 0.98, 0.4)])  # wide: two patches overlap, and are merged
    starts = [prompt.text[:20] for prompt in given["llm"].prompts]
    assert [starts.count(s[:20]) for s in (SORT, REWRITE, ENRICH, MERGE)] == [6, 6, 1, 1]
    assert len(merged_parts(given).splitlines()) == 3


@pytest.mark.paper("patch-matters", shows="V", case="shared statements are never scored")
def test_shared_statements_are_not_scored():
    _, given = go(llm_="")
    assert not any("Everybody" in text for text in given["encoder"].asked)


@pytest.mark.paper(
    "patch-matters", shows="V", case="a main patch that is most of the picture is skipped, and it runs on"
)
def test_a_skipped_main_patch_breaks_nothing():
    caption, given = go([box("dog", 0.9, 0, 0, 0.9, 0.9)])
    assert len(given["captioner"].prompts) == 1 + 4 * 3
    assert len(merged_parts(given).splitlines()) >= 1
    assert caption.text.startswith("MERGED")


@pytest.mark.paper("patch-matters", shows="V", case="no detections: four plain quadrants, main = whole → skipped")
def test_no_detections_are_four_quadrants():
    plan = plan_patches([])
    assert (plan.patches, plan.main, plan.looks) == (
        ((0, 0, 0.5, 0.5), (0.5, 0, 1, 0.5), (0, 0.5, 0.5, 1), (0.5, 0.5, 1, 1)), (0, 0, 1, 1), False,
    )  # fmt: skip
    for found in ([], RowError("down")):
        _, given = go(found)
        assert len(given["captioner"].prompts) == 13


@pytest.mark.paper("patch-matters", shows="V", case="of a merged pair both patches come filtered, none as raw samples")
def test_pairs_are_merged_and_the_others_are_filtered_too():
    wide = [box("dog", 0.9, 0.02, 0.1, 0.98, 0.4), box("cat", 0.9, 0.0, 0.0, 0.0, 0.0)]
    _, given = go(wide, attach=0.3)
    parts = merged_parts(given).splitlines()
    assert all("REWRITTEN" in part for part in parts)
    assert parts[0].startswith("[0.00, 0.00, 1.00, 0.50]")
    assert len(parts) == 3
    assert final_regions([(0, 1), (1, 3), (3, 2)]) == [(0, 1), (1, 3), (3, 2)]


@pytest.mark.paper("patch-matters", shows="V", case="three identical samples have neither contradictions nor uniques")
def test_identical_samples_agree():
    found = sort_statements(["A red car. A tree."] * 3)
    assert (found.shared, found.contradictions, found.unique) == (["A red car.", "A tree."], [], [])
    found = sort_statements(["A red car.", "A blue car.", "A green car."])
    assert (found.shared, found.contradictions, found.unique) == (
        [], [["A red car.", "A blue car.", "A green car."]], [],
    )  # fmt: skip


@pytest.mark.paper(
    "patch-matters", shows="V", case="raising the threshold adds nothing; one of a contradiction at most"
)
def test_the_threshold_is_monotone():
    def said(prompt):
        if not isinstance(prompt.turns[-1].parts[0], RegionPart):
            return FIRST
        return ("A red car. A tall oak stands.", "A blue car. Snow lies here.", "A red bus waits.")[prompt.seed % 3]

    table = {"red car": 0.4, "blue car": 0.6, "oak": 0.35, "Snow": 0.7, "bus": 0.2}
    lengths = []
    for threshold in (0, 0.3, 0.37, 0.65):
        caption, _ = go(table=table, captioner_=said, llm_="", min_support=threshold)
        texts = [row.text for row in rows(caption) if row.kind == "region" and len(row.parents) == 3]
        assert all("blue car" not in text or "red car" not in text for text in texts)
        lengths.append(sum(map(len, texts)))
    assert lengths == sorted(lengths, reverse=True)


def test_failed_scores_and_unreadable_answers_are_counted_and_lose_nothing():
    class Broken(Knows):
        def encode_texts(self, texts, langs=None):
            raise RowError("down")

    given = {"captioner": Says(captioner), "llm": Says('no "JSON'), "encoder": Broken()}
    caption = run(patch_matters, picture(), given)
    assert caption.scores["fallback_unreadable"] == 4
    assert caption.scores["statements_dropped"] == 0
    assert read_sorted('{"shared": ["a"], "contradictions": [], "unique": "') is None
    assert read_sorted('ok: {"shared": [" a "], "contradictions": [["b", ""]], "unique": [""]}').contradictions == [
        ["b"]
    ]


def test_patches_that_fail_are_left_out():
    def fails(prompt):
        return (
            captioner(prompt)
            if prompt.seed < 3 or not isinstance(prompt.turns[-1].parts[0], RegionPart)
            else RowError("x")
        )

    caption, given = go(captioner_=fails)
    assert caption.scores["fallback_patch"] == 9
    assert len(merged_parts(given).splitlines()) == 1
    with pytest.raises(RowError):
        go(captioner_=RowError("down"))


def test_one_place_and_no_filter():
    caption, given = go(plan="whole", filter=False)
    assert len(given["captioner"].prompts) == 4
    assert given["encoder"].asked == []
    assert caption.scores["patches"] == 1
