"""Clips of a video joined where meaning goes on: the worked cases of Panda-70M's card, and videos made here."""

import itertools
import json

import numpy as np
import pytest

import panoglot
from panoglot.captioning.stitch_clips import PRESETS, Clip, Limits, stitch
from panoglot.errors import RowError, UserError
from tests.captioning.films import film

SIZE = (96, 64)


def clips(*anchors, seconds=5.0):
    """Clips of equal length, one after the other, with features of one dimension."""
    return [Clip(n * seconds, (n + 1) * seconds, np.array([[a], [b]])) for n, (a, b) in enumerate(anchors)]


def events(found):
    return [(round(one.start * 30), round(one.end * 30)) for one in found if not one.why]


TOY = clips((0, 0.1), (0.2, 0.9), (1.0, 2.5), (1.1, 1.2), (1.3, 1.4))
ANY = Limits(0, float("inf"), 0, 0, 0)


@pytest.mark.paper("panda-70m", shows="V", case="stitch toy: clip 3 dropped, events 0–300 and 450–750")
def test_stitching_of_the_card():
    found = stitch(TOY, ANY)
    assert events(found) == [(0, 300), (450, 750)]
    assert [(one.parts, one.why) for one in found] == [((0, 1), ""), ((2,), "clip_changes"), ((3, 4), "")]


@pytest.mark.paper(
    "panda-70m", shows="V", case="stitch toy by preset: dataset [30,270],[480,720], released as they are"
)
def test_presets_of_the_card():
    assert events(stitch(TOY, PRESETS["dataset"])) == [(30, 270), (480, 720)]
    assert events(stitch(TOY, PRESETS["released"])) == [(0, 300), (450, 750)]


@pytest.mark.paper("panda-70m", shows="V", case="a higher stitch threshold never gives more events; every clip once")
def test_events_are_unions_and_a_higher_step_joins_more():
    draw = np.random.default_rng(1)
    many = clips(*draw.uniform(0, 1.5, (40, 2)))
    counts = []
    for step in (0.0, 0.2, 0.4, 0.6, 0.9, 2.0):
        found = stitch(many, ANY, step=step)
        assert sorted(n for one in found for n in one.parts) == list(range(40))
        assert all(list(one.parts) == list(range(one.parts[0], one.parts[-1] + 1)) for one in found)
        kept = [one for one in found if not one.why]
        assert all(a.end <= b.start for a, b in itertools.pairwise(kept))
        counts.append(len(kept))
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


@pytest.mark.paper(
    "panda-70m", shows="V", case="short, still, redundant are left out in this order; then cut, then trim"
)
def test_events_are_verified_in_order():
    def why(limits, *anchors, seconds=5.0):
        return [one.why for one in stitch(clips(*anchors, seconds=seconds), limits, step=-1)]

    assert why(Limits(6, 99, 0, 0), (0, 0)) == ["too_short"]  # still, too
    assert why(Limits(2, 99, 9, 0), (0, 0.1), (0, 0.5), (0, 0.6)) == ["still", "", "redundant"]
    assert why(Limits(2, 99, 0.3, 0), (0, 0.5), (0.3, 0.9), (0.6, 0.1)) == ["", "", "redundant"]  # of any before
    (one,) = stitch(clips((0, 0.5), seconds=100), Limits(2, 60, 0, 0.1))
    assert (one.start, one.end) == (6, 54)
    single = Clip(0, 5, np.array([[0.4], [0.4]]))  # one frame: nobody knows whether it moves
    assert [one.why for one in stitch([single], PRESETS["released"])] == [""]


def test_no_event_is_left_and_an_anchor_that_cannot_be_read():
    assert stitch([], ANY) == []
    found = stitch([Clip(0, 5, None), *clips((0, 2))], ANY)
    assert [one.why for one in found] == ["anchor_unreadable", "clip_changes"]


class Sees:
    """An encoder of mean colours, as unit vectors; a picture that is nearly black cannot be encoded."""

    name, fingerprint, batch_size, dim = "toy:sees", "toy-sees-1", 8, 3

    def encode_images(self, images):
        rows = np.array([image.pixels().reshape(-1, 3).mean(0) for image in images], np.float32)
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.where(length < 20, np.nan, rows / np.maximum(length, 1))

    def encode_texts(self, texts, langs=None):
        raise UserError("it sees and does not read")


class Teller:
    """Says of the frames it is shown where their red is."""

    name, fingerprint, batch_size = "toy:teller", "toy-teller-2", 8

    def generate(self, prompts):
        from panoglot.providers.roles import Answer

        red = [prompt.images[0].pixels().reshape(-1, 3).mean(0)[0] > 120 for prompt in prompts]
        return [Answer("A red wall in a room." if one else "A blue wall in a room.") for one in red]


HERE = "tests.captioning.test_stitch_clips"
#: A red scene of two shots (a bright and a dark red), a blue one, then one that goes from red to blue.
REDS, BLUE = [(230, 40, 40), (150, 20, 30)], (30, 40, 220)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stitch")
    scenes = [(REDS[0], REDS[0], 25), (REDS[1], REDS[1], 25), (BLUE, BLUE, 30), ((240, 20, 20), (20, 20, 240), 30)]
    path = film(folder / "v.mp4", scenes, fps=10)
    data = panoglot.ingest(path, str(folder / "v.pano"), option=["frames=2", "longest=0"]).dataset
    return path, data, folder


def event_rows(data):
    rows = sorted(data.documents.rows(where="kind = 'event'"), key=lambda row: row["parts"][0]["region"]["start"])
    return [
        (round(row["parts"][0]["region"]["start"], 1), round(row["parts"][0]["region"]["end"], 1), row["dropped"])
        for row in rows
    ]


@pytest.mark.paper(
    "panda-70m", shows="V", case="a video with known cuts: halves of one scene are joined, other cuts stay"
)
def test_a_video_is_stitched_and_teachers_caption_its_events(video):
    _, data, _ = video
    groups = {row["group"] for row in data.images.rows(["group"])}
    assert len(groups) == 4  # shots
    done = panoglot.caption(data, method="stitch-clips", encoder=f"python:{HERE}:Sees", set=["min_still=0"])
    assert event_rows(data) == [(0.0, 5.0, None), (5.0, 8.0, None), (8.0, 11.0, "clip_changes")]
    assert dict(done.made.documents) == {"event": 2}
    assert dict(done.made.left_out) == {"clip_changes": 1}
    assert "Dropped: 1 document (clip_changes 1)" in done.made.lines()
    (joined,) = [row for row in data.documents.rows() if len(row["parts"]) == 4]
    scores = dict(joined["scores"])
    assert (scores["clips"], scores["seconds"]) == (2, 5)
    assert 0 < scores["step"] < 0.6
    result = panoglot.caption(
        data, method="panda-70m", captioner=f"python:{HERE}:Teller", encoder="python:tests.formats.test_video:Seer"
    )
    assert dict(result.made.kept) == {"en": 2}  # an event each, and none of the clip that was left out
    kept = data.captions.rows(where="dropped is null")
    assert {row["text"]: (row["region"]["start"], round(row["region"]["end"], 1)) for row in kept} == {
        "A red wall in a room.": (0.0, 5.0),
        "A blue wall in a room.": (5.0, 8.0),
    }
    again = panoglot.caption(data, method="stitch-clips", encoder=f"python:{HERE}:Sees", set=["min_still=0"])
    assert again.stages[0].done == 0


def test_the_last_stitching_counts_and_a_second_video_leaves_the_first_as_it_is(video, tmp_path):
    path, _, _ = video
    data = panoglot.ingest(path, str(tmp_path / "v.pano"), option=["frames=2", "longest=0"]).dataset
    sees = {"encoder": f"python:{HERE}:Sees", "quiet": True}
    panoglot.caption(data, method="stitch-clips", set=["min_still=0"], **sees)
    panoglot.caption(data, method="stitch-clips", set=["min_still=0", "max_step=0", "max_change=2"], **sees)
    teachers = {"captioner": f"python:{HERE}:Teller", "encoder": "python:tests.formats.test_video:Seer"}
    assert panoglot.caption(data, method="panda-70m", **teachers).made.captions == 4
    other = film(tmp_path / "w.mp4", [(BLUE, BLUE, 30)], fps=10)
    panoglot.ingest(other, data.address, option=["frames=2", "longest=0"])
    assert panoglot.caption(data, method="stitch-clips", set=["min_still=0"], **sees).stages[0].done == 1
    assert panoglot.caption(data, method="panda-70m", **teachers).stages[0].done == 1


def test_without_an_encoder_clips_stay_and_it_is_said(video, tmp_path):
    path, _, _ = video
    data = panoglot.ingest(path, str(tmp_path / "v.pano"), option=["frames=2", "longest=0"]).dataset
    with pytest.raises(UserError, match="asks for a model 'encoder', and none was given"):
        panoglot.caption(data, method="stitch-clips")
    with pytest.raises(UserError, match="dataset"):
        panoglot.caption(data, method="stitch-clips", encoder=f"python:{HERE}:Sees", set=["preset=paper"])
    teachers = {"captioner": f"python:{HERE}:Teller", "encoder": "python:tests.formats.test_video:Seer"}
    assert panoglot.caption(data, method="panda-70m", **teachers).made.captions == 4


def test_a_clip_whose_anchor_cannot_be_encoded_is_left_out(tmp_path):
    path = film(tmp_path / "v.mp4", [(REDS[0], REDS[0], 25), ((2, 2, 2), (2, 2, 2), 25)], fps=10)
    data = panoglot.ingest(path, str(tmp_path / "v.pano"), option=["frames=2"]).dataset
    panoglot.caption(data, method="stitch-clips", encoder=f"python:{HERE}:Sees", set=["min_still=0"])
    assert event_rows(data) == [(0.0, 2.5, None), (2.5, 5.0, "anchor_unreadable")]


def test_pictures_of_no_video_are_no_work(tmp_path):
    from tests.conftest import picture_bytes

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(picture_bytes(1))
    data = panoglot.ingest(str(tmp_path / "photos"), str(tmp_path / "p.pano")).dataset
    done = panoglot.caption(data, method="stitch-clips", encoder=f"python:{HERE}:Sees")
    assert done.stages[0].done == 0
    assert json.loads(json.dumps(event_rows(data))) == []


def test_frames_without_an_interval_are_a_reject():
    import asyncio

    from panoglot.captioning import stitch_clips
    from panoglot.running import Group
    from tests.captioning.scripted import models, picture

    with pytest.raises(RowError) as error:
        asyncio.run(stitch_clips(Group("v", (picture(),)), models()))
    assert error.value.reason == "no_clips"
