"""What a method may take and return: units, first passes, new pictures, scores, facts, documents."""

import json

import numpy as np
import pytest

from panoglot.errors import UserError
from panoglot.geometry import Region
from panoglot.pictures import Image, draw_region
from panoglot.running import METHODS, Group, Scored, get_method, method, method_stage, run_stage
from panoglot.table import Caption, Document, DocumentPart, Fact, create_dataset
from tests.conftest import picture_bytes


@pytest.fixture(autouse=True)
def _registry():
    before = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(before)


@pytest.fixture
def videos(tmp_path):
    """Two videos of three frames, a picture of no video, and a scene without pictures."""
    data = create_dataset(tmp_path / "v.pano")
    rows = []
    for n in range(7):
        image = Image(picture_bytes(n))
        row = {"image_id": image.id, "data": image.data, "uri": f"{n}.jpg", "width": image.width}
        row |= {"height": image.height, "format": image.format, "context": "{}"}
        rows.append(row | {"group": ["a", "b"][n % 2] if n < 6 else None, "time": float(9 - n)})
    data.images.insert(rows)
    data.assets.insert([{"asset_id": "room", "kind": "scene", "data": np.ones((4, 3), np.float32).tobytes()}])
    return data


def test_a_method_may_return_new_pictures_scores_facts_and_documents(dataset, run_id):
    @method(verb="caption")
    async def everything(image, m):
        crop = draw_region(image, Region(0, 0, 0.5, 0.5))
        page = Document((DocumentPart(image_id=image.id), DocumentPart("ein Teil", learn=True)), lang="de")
        words = [Caption("the whole", lang="en"), Caption("یک گوشه", lang="fa", image_id=crop.id)]
        return [*words, crop, Scored({"size": 0.5}), Fact("", "tag", "disc", 0.9, model="toy:1"), page]

    stage = method_stage("everything", {}, processes=0)
    done = run_stage(dataset, stage, run_id)
    assert (done.done, done.rejected) == (60, 0)
    crops = dataset.images.rows(["image_id", "parents", "recipe", "region"], "recipe = 'everything/1'")
    assert len(crops) == 60
    assert Region.of(crops[0]["region"]) == Region(0, 0, 0.5, 0.5)
    whole = {row["image_id"] for row in dataset.images.rows(["image_id"], "recipe is null")}
    assert {row["parents"][0] for row in crops} == whole
    of_crops = dataset.captions.rows(["image_id", "lang"], "lang = 'fa'")
    assert {row["image_id"] for row in of_crops} == {row["image_id"] for row in crops}
    assert dataset.marks.count() == 60
    facts = dataset.facts.rows(["fact_id", "image_id", "text", "run_id"])
    assert {row["image_id"] for row in facts} == whole
    assert len({row["fact_id"] for row in facts}) == 60
    assert facts[0]["run_id"] == run_id
    assert Document.of(dataset.documents.rows()[0]).parts[1] == DocumentPart("ein Teil", learn=True)
    counts = [len(dataset.images), len(dataset.captions), len(dataset.facts), len(dataset.documents)]
    again = run_stage(dataset, stage, run_id)
    assert again.done == 60  # the crops: pictures like any other
    run_stage(dataset, method_stage("everything", {}, processes=0, where="recipe is null"), run_id)
    assert counts == [120, 120, 60, 60]


def test_scores_go_to_captions_that_exist(dataset, run_id):
    image = dataset.images.rows(["image_id"])[0]["image_id"]
    old = {"caption_id": "c1", "image_id": image, "text": "x", "lang": "en", "kind": "human", "scores": {"a": 1.0}}
    dataset.captions.insert([old])

    @method(verb="curate", captions=True)
    async def grade(image, m):
        return [Scored({"b": 2.0}, "too_dull", of=caption) for caption in image.captions]

    run_stage(dataset, method_stage("grade", {}, processes=0), run_id)
    (row,) = dataset.captions.rows(["scores", "dropped"])
    assert row == {"scores": {"a": 1.0, "b": 2.0}, "dropped": "too_dull"}


def test_a_group_is_a_unit_of_work_in_order_of_time(videos):
    @method(verb="caption", unit="group")
    async def story(group: Group, m):
        said = f"{group.key} {[image.time for image in group.images]}"
        return [Caption(said, image_id=group.images[0].id, lang="en")] if group.images else None

    stage = method_stage("story", {}, processes=0)
    run_id = videos.start_run({}, {})
    done = run_stage(videos, stage, run_id)
    assert done.done == 3
    said = [row["text"] for row in videos.captions.rows(["text"])]
    assert sorted(said) == ["a [5.0, 7.0, 9.0]", "b [4.0, 6.0, 8.0]"]
    again = run_stage(videos, stage, run_id)
    assert (again.done, again.skipped) == (0, 3)
    assert len(videos.captions) == 2


def test_a_caption_of_nothing_is_a_reject(videos):
    @method(verb="caption", unit="group")
    async def lost(group: Group, m):
        return Caption("of nothing")

    run_id = videos.start_run({}, {})
    done = run_stage(videos, method_stage("lost", {}, processes=0), run_id)
    assert (done.done, done.rejected) == (0, 3)
    assert {row["reason"] for row in videos.rejects.rows(["reason"])} == {"unusable_result"}


def test_a_first_pass_is_stored_and_part_of_the_identity(dataset, run_id):
    passes = []

    async def learn(images, m, *, scale: float):
        sizes = [image.width * scale for image in images]
        passes.append(len(sizes))
        return json.dumps({"mean": float(np.mean(sizes))}).encode()

    @method(verb="caption", fit=learn)
    async def by_size(image, m, *, scale: float = 1.0, fitted: bytes = b""):
        return Caption(f"mean {json.loads(fitted)['mean']}", lang="en")

    stage = method_stage("by-size", {}, processes=0)
    done = run_stage(dataset, stage, run_id)
    assert (done.done, passes) == (60, [60])
    (fit,) = dataset.fits.rows(["method", "data", "asset_id", "run_id"])
    assert (fit["method"], fit["asset_id"], fit["run_id"]) == ("by-size/1", "", run_id)
    assert {row["text"] for row in dataset.captions.rows(["text"])} == {"mean 64.0"}
    again = run_stage(dataset, method_stage("by-size", {}, processes=0), run_id)
    assert (again.skipped, passes) == (60, [60])  # learnt once
    other = run_stage(dataset, method_stage("by-size", {"scale": 2}, processes=0), run_id)
    assert (other.done, passes) == (60, [60, 60])
    assert done.id != other.id != stage.id


def test_a_first_pass_over_nothing_says_so(tmp_path):
    data = create_dataset(tmp_path / "x.pano")

    async def learn(images, m):
        return b""

    @method(verb="caption", fit=learn)
    async def needy(image, m, *, fitted: bytes = b""): ...

    with pytest.raises(UserError, match="nothing to learn from"):
        run_stage(data, method_stage("needy", {}, processes=0), data.start_run({}, {}))


def test_what_is_learnt_of_an_asset_is_learnt_of_it_alone(videos):
    async def settle(group: Group, m, *, rounds: int):
        points = np.frombuffer(group.asset["data"], np.float32) if group.asset else np.zeros(3, np.float32)
        return np.float32(points.mean() * rounds).tobytes()

    @method(verb="caption", unit="group", fit=settle, fit_per="asset")
    async def scene(group: Group, m, *, rounds: int = 3, fitted: bytes = b""):
        return Fact("", "field", group.key, float(np.frombuffer(fitted, np.float32)[0]))

    run_id = videos.start_run({}, {})
    stage = method_stage("scene", {}, processes=0)
    assert run_stage(videos, stage, run_id).done == 3
    runs = {row["asset_id"]: row["run_id"] for row in videos.fits.rows(["asset_id", "run_id"])}
    assert runs == dict.fromkeys(("a", "b", "room"), run_id)
    assert {(row["text"], row["value"]) for row in videos.facts.rows()} == {("a", 0.0), ("b", 0.0), ("room", 3.0)}
    videos.images.insert([{**videos.images.rows()[0], "image_id": "f" * 32, "group": "c"}])
    later = videos.start_run({}, {})
    assert run_stage(videos, method_stage("scene", {}, processes=0), later).done == 1
    runs |= {"c": later}
    assert {row["asset_id"]: row["run_id"] for row in videos.fits.rows(["asset_id", "run_id"])} == runs


def test_declarations_are_checked_and_kept():
    @method(verb="caption", paper="Toy (2026)", year=2026)
    async def toy(image, m):
        """Say nothing."""

    found = get_method("toy")
    assert (found.about, found.paper, found.year) == ("Say nothing.", "Toy (2026)", 2026)
    with pytest.raises(UserError, match="Did you mean 'image'"):
        method(verb="caption", unit="imag")(toy)
    with pytest.raises(UserError, match="no option for it"):
        method(verb="caption", fit=toy)(toy)
    with pytest.raises(UserError, match="asset for methods of groups"):
        method(verb="caption", fit_per="asset")(toy)


def test_a_planner_of_searches_is_no_stage():
    @method(verb="search", unit="query")
    async def planner(query, m): ...

    with pytest.raises(UserError, match=r"plans searches: panoglot search X\.pano … --preset planner"):
        method_stage("planner", {})
