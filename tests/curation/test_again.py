"""Curating again: nothing is judged twice by the same rules, and nothing that changed is missed."""

import pytest

from panoglot.curation import FILTERS, _memory, caption_filter, curate, resolve, rules_of
from panoglot.curation import language as language_filter
from panoglot.curation._memory import recall, table_versions
from panoglot.table import create_dataset

STEPS = ["boilerplate", ("length", {"min_words": 2}), "common_text", "duplicate_text"]


@pytest.fixture
def asked():
    """A caption filter that writes down what it is asked."""
    seen = []

    @caption_filter("no_dog")
    def has_dog(caption, facts, *, word="dog"):
        """Drop captions without a dog."""
        seen.append(caption.text)
        return None if word in caption.text else "no_dog"

    yield seen
    del FILTERS["has_dog"]


def plain(result):
    return {k: v for k, v in result.to_dict().items() if k not in ("seconds", "changed", "judged", "hashed", "carried")}


def test_a_caption_is_judged_once_by_the_same_rules(maker, asked):
    image = maker.image("a")
    maker.caption(image, "a dog")
    maker.caption(image, "a cat")
    first = curate(maker.dataset, steps=["has_dog"])
    assert (sorted(asked), first.judged) == (["a cat", "a dog"], 2)
    again = curate(maker.dataset, steps=["has_dog"])
    assert (len(asked), again.judged, plain(again)) == (2, 0, plain(first))
    maker.caption(image, "a new dog")
    third = curate(maker.dataset, steps=["has_dog"])
    assert (asked[2:], third.judged) == (["a new dog"], 1)
    assert (third.captions, third.captions_kept, dict(third.captions_dropped)) == (3, 2, {"no_dog": 1})


def test_other_options_judge_anew_and_the_old_ones_are_known_still(maker, asked):
    maker.caption(maker.image("a"), "a cat")
    curate(maker.dataset, steps=["has_dog"])
    assert curate(maker.dataset, steps=[("has_dog", {"word": "cat"})]).judged == 1
    assert maker.captions() == {"a cat": None}
    assert curate(maker.dataset, steps=["has_dog"]).judged == 0
    assert maker.captions() == {"a cat": "no_dog"}
    assert len(asked) == 2


def test_a_score_that_changed_is_judged_anew(maker):
    key = maker.caption(maker.image("a"), "a dog", scores={"alignment": 0.1})
    steps = [("score", {"minimum": 0.3})]
    curate(maker.dataset, steps=steps)
    assert maker.captions() == {"a dog": "low_alignment"}
    maker.dataset.score("captions", {key: ({"alignment": 0.9}, None)})
    assert curate(maker.dataset, steps=steps).judged == 1
    assert maker.captions() == {"a dog": None}


def test_what_others_wrote_is_seen(maker):
    image, other = maker.image("a", 500, 500), maker.image("b", 500, 500)
    keys = [maker.caption(image, "two words"), maker.caption(other, "word")]
    assert curate(maker.dataset, steps=STEPS).captions_kept == 1
    maker.dataset.score("captions", {keys[0]: ({}, "bad_translation")})
    result = curate(maker.dataset, steps=STEPS)
    assert (result.captions_kept, dict(result.by_methods)) == (0, {"bad_translation": 1})
    maker.dataset.score("marks", {image: ({}, "unsafe")})
    assert curate(maker.dataset, steps=STEPS).images_kept == 1
    maker.dataset.captions.change([{"caption_id": keys[1], "dropped": None}])
    assert curate(maker.dataset, steps=STEPS).changed == 1


def test_statistics_of_the_whole_are_counted_anew_when_it_changed(maker):
    for n in range(10):
        maker.caption(maker.image(f"{n}"), "the same words")
    assert curate(maker.dataset, steps=["common_text"]).captions_kept == 10
    maker.caption(maker.image("11"), "the same words")
    assert curate(maker.dataset, steps=["common_text"]).captions_kept == 0


@pytest.mark.parametrize("first", [STEPS, ["size", "default"]])
def test_an_unchanged_dataset_is_not_gone_through(maker, monkeypatch, first):
    image = maker.image("a")
    maker.caption(image, "two words here")
    maker.caption(image, "Untitled")
    done = curate(maker.dataset, steps=first)
    assert done.changed

    def never(*args):
        raise AssertionError("read the captions")

    monkeypatch.setattr("panoglot.curation._curate.judge_captions", never)
    monkeypatch.setattr("panoglot.curation._curate.judge_images", never)
    again = curate(maker.dataset, steps=first)
    assert (again.changed, again.judged, plain(again)) == (0, 0, plain(done))
    maker.dataset.captions.lance().create_scalar_index("caption_id", "BTREE", name="caption_id_idx")
    assert curate(maker.dataset, steps=first).changed == 0  # an index is no change
    maker.caption(image, "three words here")
    with pytest.raises(AssertionError, match="read the captions"):
        curate(maker.dataset, steps=first)


def test_nothing_is_remembered_when_somebody_else_wrote_meanwhile(maker, monkeypatch):
    image = maker.image("a")
    maker.caption(image, "word")
    write = maker.dataset.captions.change

    def interfere(rows):
        write(rows)
        maker.caption(image, "another word here")

    monkeypatch.setattr(maker.dataset.captions, "change", interfere)
    curate(maker.dataset, steps=STEPS)
    assert recall(maker.dataset, rules_of(resolve(STEPS))) is None
    monkeypatch.undo()
    assert curate(maker.dataset, steps=STEPS).captions == 2


def test_a_table_that_a_filter_reads_is_part_of_the_rules(maker, tmp_path):
    other = type(maker)(tmp_path / "test.pano")
    steps = resolve([("in_test_set", {"test": str(other.dataset.path)})])
    before = rules_of(steps)
    other.image("x")
    assert rules_of(steps) != before == before
    file = tmp_path / "words"
    named = resolve([("rare_words", {"table": str(file)})])
    before = rules_of(named)
    file.write_text("x")
    assert rules_of(named) != before


def test_the_language_model_is_read_only_when_a_text_needs_it(maker, monkeypatch):
    from panoglot.providers.embedded import langid

    maker.caption(maker.image("a"), "Ein Hund läuft am Strand entlang", lang="de")
    first = curate(maker.dataset, steps=["language"])
    _memory.loaded.cache_clear()
    language_filter.__globals__["_known"].cache_clear()
    monkeypatch.setattr(langid._Py3Langid, "scores", None)  # whoever asks it fails
    monkeypatch.setattr("panoglot.curation._curate.recall", lambda *args: None)  # go through the rows
    assert plain(curate(maker.dataset, steps=["language"])) == plain(first)


def test_a_filter_typed_into_a_shell_is_not_remembered(maker):
    space = {"caption_filter": caption_filter}
    exec(compile("@caption_filter('shell')\ndef shell(caption, facts):\n    'Drop.'\n", "<stdin>", "exec"), space)
    try:
        assert rules_of(resolve(["shell"])) is None
        maker.caption(maker.image("a"), "a dog")
        assert [curate(maker.dataset, steps=["shell"]).judged for _ in range(2)] == [1, 1]
    finally:
        del FILTERS["shell"]


def test_half_a_file_is_judged_anew(maker):
    maker.caption(maker.image("a"), "word")
    curate(maker.dataset, steps=STEPS)
    for file in (maker.dataset.path / "work").glob("curate-*"):
        file.write_bytes(file.read_bytes()[:20])
    assert curate(maker.dataset, steps=STEPS).judged == 1


def test_few_files_are_kept(maker):
    maker.caption(maker.image("a"), "two words")
    for n in range(8):
        curate(maker.dataset, steps=[("length", {"min_words": n})])
    for suffix in ("json", "npz"):
        assert len(list((maker.dataset.path / "work").glob(f"curate-*.{suffix}"))) == _memory._KEPT + 1


def test_dry_run_writes_nothing_not_even_a_lock(maker):
    maker.caption(maker.image("a"), "word")

    def files():
        return {p: p.stat().st_mtime_ns for p in maker.dataset.path.rglob("*")}

    before = files()
    assert curate(maker.dataset, steps="default", dry_run=True).captions == 1
    assert curate(maker.dataset, steps=STEPS, dry_run=True).captions_dropped == {"too_short": 1}
    assert files() == before
    versions = table_versions(maker.dataset)
    assert set(versions) == {"images", "captions"}


def test_pictures_are_compared_again_only_when_they_changed(maker, monkeypatch):
    import numpy as np

    from panoglot.curation import near_duplicate
    from tests.curation.conftest import jpeg, scene

    compared = []
    search = near_duplicate.__globals__["near_pairs"]

    def count(codes, *args, **more):
        compared.append(len(codes))
        return search(codes, *args, **more)

    monkeypatch.setitem(near_duplicate.__globals__, "near_pairs", count)
    picture = scene(1, 1280, 960)
    large, small = (maker.image(jpeg(picture.resize(s)), *s) for s in ((1280, 960), (640, 480)))
    curate(maker.dataset, steps=["near_duplicate"])
    maker.caption(large, "a dog")
    assert curate(maker.dataset, steps=["near_duplicate"]).images_kept == 1
    assert compared == [2]
    tiny = maker.image(jpeg(picture.resize((320, 240))), 320, 240)
    assert curate(maker.dataset, steps=["near_duplicate"]).images_dropped == {"duplicate_of": 2}
    assert compared == [2, 3]
    maker.dataset.score("marks", {small: ({}, "unsafe")})  # a picture that a method dropped takes no part
    assert curate(maker.dataset, steps=["near_duplicate"]).images_dropped == {"duplicate_of": 1}
    assert compared == [2, 3, 2]
    assert curate(maker.dataset, steps=[("near_duplicate", {"distance": 0})]).images_kept <= 2
    assert len(compared) == 4
    assert maker.marks()[tiny] in (None, f"duplicate_of:{large}")
    assert np.unique(compared).tolist() == [2, 3]


def test_many_judgements_are_kept_in_arrays(maker, asked):
    from panoglot.curation._memory import Judgements
    from panoglot.table import Caption

    (step,) = resolve(["has_dog"])
    judged = Judgements(maker.dataset, [(0, step, step.bind())], "x", dry_run=False)
    captions = [
        Caption(f"{n} {'dog' if n % 3 else 'cat'}", kind="alt", image_id="i", caption_id=f"{n}") for n in range(1 << 17)
    ]
    expected = [() if n % 3 else ((0, "no_dog"),) for n in range(len(captions))]
    for start in range(0, len(captions), 8192):
        assert judged(captions[start : start + 8192], {}) == expected[start : start + 8192]
    assert len(judged._new) < len(captions) // 2
    assert judged(captions, {}, last=True) == expected
    assert len(asked) == judged.judged == len(captions)
    judged.save()
    again = Judgements(maker.dataset, [(0, step, step.bind())], "x", dry_run=False)
    assert again(captions[::-1], {}, last=True) == expected[::-1]
    assert again.judged == 0


def test_joining_fragments_of_an_indexed_table_changes_no_content(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    for n in range(10):
        rows = [{"caption_id": f"{n}-{k}", "image_id": "i", "text": "t", "lang": "en"} for k in range(300)]
        data.captions.insert(rows)
        if n == 5:
            data.captions._index()
    before = table_versions(data)["captions"]
    data.captions._join_fragments(2)
    after = table_versions(data)["captions"]
    assert after[0] > before[0]
    assert after[1] == before[1]


@pytest.mark.parametrize("damage", [b"", b"no archive", None])
def test_pairs_that_were_found_are_kept_and_what_is_broken_is_found_anew(maker, damage):
    from tests.curation.conftest import jpeg, scene

    pictures = [scene(seed, 640, 480) for seed in (1, 2)]
    for picture in pictures:
        for side in ((640, 480), (320, 240)):
            maker.image(jpeg(picture.resize(side)), *side)
    work = maker.dataset.path / "work"
    curate(maker.dataset, steps=["near_duplicate"], dry_run=True)
    assert not list(work.glob("near-*"))  # a trial keeps nothing
    assert curate(maker.dataset, steps=["near_duplicate"]).images_kept == 2
    (kept,) = work.glob("near-*.npz")
    if damage is not None:
        kept.write_bytes(damage)
    maker.image(jpeg(pictures[0].resize((160, 120))), 160, 120)
    assert curate(maker.dataset, steps=["near_duplicate"]).images_dropped == {"duplicate_of": 3}
    assert kept.stat().st_size > 500


def test_hashes_of_a_forgotten_picture_go_with_it(maker):
    from panoglot.retrieval import forget
    from tests.curation.conftest import jpeg, scene

    first, *_ = [maker.image(jpeg(scene(seed, 640, 480)), 640, 480) for seed in (1, 2, 3)]
    curate(maker.dataset, steps=["near_duplicate"])
    assert list((maker.dataset.path / "work").glob("near-*"))
    assert forget(maker.dataset, first).erased
    assert not list((maker.dataset.path / "work").glob("near-*"))
    assert curate(maker.dataset, steps=["near_duplicate"]).images_kept == 2
