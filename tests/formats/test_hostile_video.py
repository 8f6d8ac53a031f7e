"""Videos with odd or false headers, made by PyAV and bent: each gives right clips, or a reject with its reason."""

import io
import struct

import numpy as np
import PIL.Image
import pytest

import panoglot
from panoglot.formats import read_source
from panoglot.table import Reject

av = pytest.importorskip("av")
pytest.importorskip("scenedetect")

RED, BLUE = (200, 40, 40), (40, 60, 200)


def film(path, colours=(RED,), frames=40, codec="mpeg4", form=None, pixels="yuv420p"):
    """A film of scenes of so many frames, 96 x 64 at 25 a second, with a green corner at the top left; its bytes."""
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, pixels
        for colour in colours:
            for n in range(frames):
                picture = np.full((64, 96, 3), colour, np.uint8)
                picture[20:32, (n * 2) % 84 : (n * 2) % 84 + 12] = 20
                picture[:8, :30] = (0, 255, 0)
                for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                    container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return bytearray(path.read_bytes())


def read(path, raw=None, **options):
    if raw is not None:
        path.write_bytes(bytes(raw))
    found = list(read_source(str(path), **{"frames": 2, **options}))
    rejects = [one for one in found if isinstance(one, Reject)]
    assert all("\n" not in one.message and len(one.message) < 500 for one in rejects)
    return [one for one in found if not isinstance(one, Reject)], rejects


def test_a_rotated_video_comes_upright(tmp_path):
    raw = film(tmp_path / "v.mp4")
    as_it_is = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    place = raw.index(as_it_is, raw.index(b"tkhd"))
    raw[place : place + 36] = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)  # a quarter clockwise
    samples, rejects = read(tmp_path / "v.mp4", raw)
    assert rejects == []
    picture = PIL.Image.open(io.BytesIO(samples[0].data))
    assert picture.size == (64, 96)
    assert picture.getpixel((60, 2))[1] > 200  # the corner is at the top right
    assert picture.getpixel((2, 2))[1] < 100


@pytest.mark.parametrize("name", ["v.avi", "v.mp4"])
def test_a_header_that_says_a_million_frames(tmp_path, name):
    raw = film(tmp_path / name)
    if name == "v.avi":
        for mark, ahead in ((b"avih", 24), (b"strh", 40)):
            raw[raw.index(mark) + ahead : raw.index(mark) + ahead + 4] = struct.pack("<I", 1_000_000)
    else:
        place = raw.index(b"stts") + 12
        raw[place : place + 4] = struct.pack(">I", 1_000_000)
    samples, (reject,) = read(tmp_path / name, raw)
    assert [round(one.time, 2) for one in samples] == [0.04, 1.48]
    assert (samples[0].region.start, round(samples[0].region.end, 2)) == (0, 1.6)
    assert reject.reason == "truncated"
    assert reject.message.startswith("40 of 1,000,000 frames could be read")


def test_a_table_of_a_million_sizes_that_is_not_there(tmp_path):
    raw = film(tmp_path / "v.mp4")
    place = raw.index(b"stsz") + 12
    raw[place : place + 4] = struct.pack(">I", 1_000_000)
    samples, (reject,) = read(tmp_path / "v.mp4", raw)
    assert (samples, reject.reason) == ([], "no_frames")


def test_huge_dimensions_are_refused_before_anything_is_decoded(tmp_path):
    raw = film(tmp_path / "v.avi", frames=2, codec="rawvideo", pixels="bgr24")
    place = raw.index(b"strf") + 8
    assert struct.unpack("<ii", raw[place + 4 : place + 12])[0] == 96
    raw[place + 4 : place + 12] = struct.pack("<ii", 9_000, 9_000)
    samples, (reject,) = read(tmp_path / "v.avi", raw)
    assert samples == []
    assert (reject.reason, reject.message) == ("too_many_pixels", "9000 x 9000, the limit is 50,000,000 pixels")


def test_dimensions_that_frames_do_not_have(tmp_path):
    raw = film(tmp_path / "v.mp4")
    place = raw.index(b"mp4v") + 28
    assert struct.unpack(">HH", raw[place : place + 4]) == (96, 64)
    raw[place : place + 4] = struct.pack(">HH", 65_000, 65_000)
    samples, rejects = read(tmp_path / "v.mp4", raw)
    assert rejects == []
    assert PIL.Image.open(io.BytesIO(samples[0].data)).size == (96, 64)  # that of the frames counts
    raw = film(tmp_path / "p.mov", frames=3, codec="png", pixels="rgb24")
    place = -1
    while (place := raw.find(b"IHDR", place + 1)) >= 0:
        raw[place + 4 : place + 12] = struct.pack(">II", 60_000, 60_000)
    samples, (reject,) = read(tmp_path / "p.mov", raw)
    assert (samples, reject.reason) == ([], "no_frames")


def test_time_stamps_that_go_back_go_on(tmp_path):
    one = film(tmp_path / "a.m2ts", [RED], form="mpegts")
    other = film(tmp_path / "b.m2ts", [BLUE], form="mpegts")
    samples, rejects = read(tmp_path / "v.m2ts", one + other)
    assert rejects == []
    assert [round(sample.time, 2) for sample in samples] == [0.04, 1.48, 1.64, 3.08]
    clips = list(dict.fromkeys((round(s.region.start, 2), round(s.region.end, 2)) for s in samples))
    assert clips == [(0, 1.6), (1.6, 3.2)]
    red = [PIL.Image.open(io.BytesIO(sample.data)).getpixel((60, 60))[0] > 100 for sample in samples]
    assert red == [True, True, False, False]


def test_a_pause_of_an_hour_cuts_no_shot_into_single_frames(tmp_path):
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        from fractions import Fraction

        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for n in range(60):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), RED, np.uint8), format="rgb24")
            frame.pts, frame.time_base = n * 40 + (3_600_000 if n >= 30 else 0), Fraction(1, 1000)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    samples, rejects = read(path)
    assert rejects == []
    assert len({sample.group for sample in samples}) == 1
    assert [round(sample.time) for sample in samples] == [0, 3602]


def test_hostile_files_beside_a_good_one_cost_nothing_else(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    film(folder / "good.mp4", frames=20)
    (folder / "empty.mp4").write_bytes(b"")
    cut = film(folder / "cut.mp4")
    (folder / "cut.mp4").write_bytes(bytes(cut[: len(cut) // 3]))
    with av.open(str(folder / "song.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44100
        for packet in [*stream.encode(sound), *stream.encode()]:
            container.mux(packet)
    done = panoglot.ingest(str(folder), str(tmp_path / "X.pano"))
    rows = done.dataset.rejects.rows()
    assert {row["item"].rpartition("/")[2]: row["reason"] for row in rows} == {
        "empty.mp4": "empty_file",
        "cut.mp4": "not_a_video",
        "song.mp4": "no_video_stream",
    }
    assert done.dataset.images.count() == 3
