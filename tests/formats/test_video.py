"""Videos: made here with known cuts, cut there; broken ones are a line or a reject."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

import panoglot
from panoglot.errors import MissingPackage, UserError
from panoglot.formats import chosen_frames, cut_shots, read_source
from panoglot.table import Reject

av = pytest.importorskip("av")
pytest.importorskip("scenedetect")

SIZE = (96, 64)


def picture(scene, n):
    """A frame of a scene: its own colour and stripes, and a square that moves a little."""
    colours = [(200, 40, 40), (40, 180, 60), (40, 60, 200), (220, 210, 60), (30, 30, 30), (230, 230, 230)]
    pixels = np.full((SIZE[1], SIZE[0], 3), colours[scene % len(colours)], np.uint8)
    pixels[:: 4 + scene, :] //= 2
    x = (n * 2) % (SIZE[0] - 12)
    pixels[20:32, x : x + 12] = 255 - np.array(colours[scene % len(colours)])
    return pixels


def film(path, scenes, fps=25, times=None, title=""):
    """Write a video of some scenes, each of so many frames; `times` are seconds of frames, else they are even."""
    with av.open(str(path), "w") as container:
        if title:
            container.metadata["title"] = title
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = *SIZE, "yuv420p", 2_000_000
        if times is not None:
            from fractions import Fraction

            stream.codec_context.time_base = Fraction(1, 1000)
        n = 0
        for scene, length in enumerate(scenes):
            for k in range(length):
                frame = av.VideoFrame.from_ndarray(picture(scene, k), format="rgb24")
                if times is not None:
                    frame.pts, frame.time_base = int(times[n] * 1000), stream.codec_context.time_base
                for packet in stream.encode(frame):
                    container.mux(packet)
                n += 1
        for packet in stream.encode():
            container.mux(packet)
    return str(path)


def found(source, **options):
    samples = list(read_source(source, **options))
    return [s for s in samples if not isinstance(s, Reject)], [s for s in samples if isinstance(s, Reject)]


@pytest.mark.paper("panda-70m", shows="V", case="cut toy: pieces of 5 s where a shot is longer than 7 s")
def test_pieces_of_the_card():
    assert cut_shots([600], 30) == [(0, 150), (150, 300), (300, 450), (450, 600)]
    assert cut_shots([210], 30) == [(0, 210)]
    assert cut_shots([211], 30) == [(0, 150), (150, 211)]
    assert cut_shots([100, 700], 30) == [(0, 100), (100, 250), (250, 400), (400, 550), (550, 700)]
    assert cut_shots([298, 479], 29.97) == [(0, 149), (149, 298), (298, 479)]


@pytest.mark.paper("panda-70m", shows="V", case="pieces tile all frames, none longer than 7 s")
def test_pieces_tile():
    for ends in ([1], [3, 9], [1000], [7, 400, 401, 2000]):
        tiles = cut_shots(ends, 24)
        assert tiles[0][0] == 0
        assert tiles[-1][1] == ends[-1]
        assert all(a[1] == b[0] for a, b in itertools.pairwise(tiles))
        assert all(b - a <= 7 * 24 for a, b in tiles)


@pytest.mark.paper("panda-70m", shows="V", case="anchor toy: [0, 150] gives frames 7 and 141")
def test_anchors_of_the_card():
    assert chosen_frames(0, 150, 2) == [7, 141]


def test_known_cuts_are_found_at_the_frame(tmp_path):
    path = film(tmp_path / "v.mp4", [40, 30, 50], title="Drei Szenen")
    samples, rejects = found(path)
    assert rejects == []
    clips = {}
    for sample in samples:
        clips.setdefault(sample.group, []).append(sample)
    assert [(round(c[0].region.start * 25), round(c[0].region.end * 25)) for c in clips.values()] == [
        (0, 40),
        (40, 70),
        (70, 120),
    ]
    assert [[s.context["frame"] for s in c] for c in clips.values()] == [[1, 19, 37], [41, 54, 67], [72, 94, 116]]
    assert [s.time for s in clips[f"{path}#clip=0001"]] == pytest.approx([0.04, 0.76, 1.48])
    assert samples[0].context["title"] == "Drei Szenen"
    assert samples[0].data.startswith(b"\xff\xd8")


def test_a_variable_rate_changes_no_cut(tmp_path):
    times = list(np.cumsum([0.03 + 0.05 * (n % 3) for n in range(80)]))
    samples, rejects = found(film(tmp_path / "v.mkv", [40, 40], times=times), frames=1)
    assert rejects == []
    assert [s.context["frame"] for s in samples] == [19, 59]
    assert [s.time for s in samples] == pytest.approx([times[19], times[59]], abs=0.002)
    assert samples[0].region.end == pytest.approx(times[40], abs=0.002)


def test_a_long_shot_is_cut_into_pieces(tmp_path):
    path = film(tmp_path / "v.mp4", [100], fps=10)
    assert len({s.group for s in found(path)[0]}) == 2
    assert len({s.group for s in found(path, longest=0)[0]}) == 1
    assert len(found(path, longest=2, piece=1, frames=1)[0]) == 9  # the last one of 2 s


def test_one_frame_is_one_clip(tmp_path):
    samples, rejects = found(film(tmp_path / "v.mp4", [1]))
    assert (len(samples), rejects) == (1, [])
    assert samples[0].region.end > samples[0].region.start


def test_without_a_video_stream(tmp_path):
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    samples, (reject,) = found(str(path))
    assert (samples, reject.reason, reject.message) == ([], "no_video_stream", "the file holds audio")


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.avi"])
def test_what_is_truncated_is_a_reject_and_what_could_be_read_stays(tmp_path, name):
    path = film(tmp_path / name, [60, 60])
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole[: len(whole) * 2 // 3])
    samples, (reject,) = found(path)
    assert reject.reason in ("truncated", "not_a_video", "no_frames")
    assert "\n" not in reject.message
    assert bool(samples) == (reject.reason == "truncated")


@pytest.mark.parametrize(
    "raw", [b"", b"no video at all", b"\x00\x00\x00\x18ftypmp42" + b"\xff" * 500, b"RIFF" + b"\0" * 99]
)
def test_what_is_no_video_is_a_reject(tmp_path, raw):
    (tmp_path / "v.mp4").write_bytes(raw)
    samples, (reject,) = found(str(tmp_path / "v.mp4"))
    assert samples == []
    assert reject.reason in (("not_a_video", "no_video_stream", "no_frames") if raw else ("empty_file",))
    assert "Errno" not in reject.message


def test_a_folder_of_videos_and_options_out_of_range(tmp_path):
    (tmp_path / "films").mkdir()
    for name in ("a.mp4", "b c ü.webm.mp4"):
        film(tmp_path / "films" / name, [20])
    samples, _ = found(str(tmp_path / "films"), frames=1)
    assert [s.context["video"] for s in samples] == ["a.mp4", "b c ü.webm.mp4"]
    with pytest.raises(UserError, match="frames=0"):
        list(read_source(str(tmp_path / "films"), frames=0))
    with pytest.raises(UserError, match="Did you mean 'frames'"):
        list(read_source(str(tmp_path / "films"), frame=2))


def test_without_the_extra_it_is_a_line(tmp_path, monkeypatch):
    import sys

    path = film(tmp_path / "v.mp4", [5])
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackage, match=r"pip install 'panoglot\[video\]'"):
        list(read_source(path))


class Teacher:
    """Says of a picture what was scripted: the colour it sees, or always the same."""

    batch_size = 4

    def __init__(self, says: str = "") -> None:
        self.name, self.fingerprint, self.says = f"toy:teacher{says}", f"toy-teacher-{says}", says

    def generate(self, prompts):
        from panoglot.providers.roles import Answer

        return [Answer(self.says or f"A {colour(p.images[0])} wall with a small moving square.") for p in prompts]


def colour(image):
    """The colour of a scene by its mean."""
    red, green, blue = image.pixels().reshape(-1, 3).mean(0)
    return "red" if red > max(green, blue) else "green" if green > blue else "blue"


class Seer:
    """An encoder in which a picture fits a text that names its colour."""

    name, fingerprint, batch_size, dim = "toy:seer", "toy-seer-1", 8, 3

    def encode_images(self, images):
        return np.array([[float(colour(i) == c) for c in ("red", "green", "blue")] for i in images], np.float32)

    def encode_texts(self, texts, langs=None):
        rows = np.array([[float(c in t) + 0.01 for c in ("red", "green", "blue")] for t in texts], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.paper("panda-70m", shows="V", case="of several teachers the caption that fits the clip's frames is kept")
def test_a_video_becomes_a_dataset_and_the_best_teacher_is_kept(tmp_path):
    path = film(tmp_path / "v.mp4", [30, 30, 30])
    data = panoglot.ingest(path, str(tmp_path / "v.pano")).dataset
    rows = data.images.rows(["group", "time", "region", "context"])
    assert len(rows) == 9
    assert sorted({(r["group"].rpartition("#")[2], round(r["region"]["end"], 2)) for r in rows}) == [
        ("clip=0001", 1.2),
        ("clip=0002", 2.4),
        ("clip=0003", 3.6),
    ]
    assert json.loads(rows[0]["context"])["video"] == "v.mp4"
    here = "python:tests.formats.test_video"
    result = panoglot.caption(
        data,
        method="panda-70m",
        captioner=f"{here}:Teacher",
        encoder=f"{here}:Seer",
        model=[f"green={here}:Teacher?says=Everything here is green and it is grass."],
        set=["captioners=green,captioner"],
    )
    assert dict(result.made.kept) == {"en": 3}
    kept = data.captions.rows(where="dropped is null")
    assert {row["text"]: row["region"]["start"] for row in kept} == {
        "A red wall with a small moving square.": 0.0,
        "Everything here is green and it is grass.": pytest.approx(1.2),
        "A blue wall with a small moving square.": pytest.approx(2.4),
    }
    assert data.captions.count("dropped = 'draft'") == 6
    assert all(len(row["parents"]) == 2 for row in kept)
    again = panoglot.ingest(path, str(tmp_path / "v.pano"))
    assert again.stages[0].done == 0
