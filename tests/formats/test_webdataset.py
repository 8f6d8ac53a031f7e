"""Tar shards: grouping, texts, damage and attacks."""

import gzip
import io
import json
import os
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoglot.errors import UserError
from panoglot.formats import Given, Sample, TarFile, webdataset
from panoglot.table import Reject
from tests.conftest import picture_bytes
from tests.formats.samples import reasons, take, texts, write_tar


def members(count=6):
    for n in range(count):
        yield f"a/{n:04d}.jpg", picture_bytes(n)
        yield f"a/{n:04d}.txt", f"Bild {n}\nzweite Zeile".encode()


def test_grouping_and_whole_texts(tmp_path):
    path = write_tar(tmp_path / "00000.tar", members())
    samples, rejects = take(path, lang="de")
    assert rejects == []
    assert [s.uri for s in samples] == [f"{path}#a/{n:04d}.jpg" for n in range(6)]
    assert [s.data for s in samples] == [picture_bytes(n) for n in range(6)]
    assert texts(samples[2]) == [("de", "Bild 2\nzweite Zeile")]


def test_what_is_written_is_what_tarfile_writes(tmp_path):
    names = ["a.jpg", "ab/c.de.txt", f"{'0' * 32}.json", "ก" * 30 + ".txt", "عربي.txt", "x" * 100, "y" * 101, "e.txt"]
    files = [(name, bytes([n]) * size) for n, (name, size) in enumerate(zip(names, (0, 1, 511, 512, 513, 9, 9, 70000)))]
    ours = TarFile(tmp_path / "ours.tar")
    with tarfile.open(tmp_path / "theirs.tar", "w", format=tarfile.PAX_FORMAT) as theirs:
        for name, data in files:
            ours.add(name, data)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            theirs.addfile(member, io.BytesIO(data))
    ours.close()
    assert (tmp_path / "ours.tar").read_bytes() == (tmp_path / "theirs.tar").read_bytes()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_headers_of_every_kind_are_read(tmp_path, mode):
    """Owners and times that ours do not write, long and foreign names, sizes in either notation."""
    path = tmp_path / f"a.tar{mode[1:].replace(':', '.')}"
    names = ["a.jpg", "ü" * 60 + ".jpg", "d/" * 60 + "b.jpg", "ไทย.jpg"]
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with tarfile.open(path, mode, format=form) as tar:
            for n, name in enumerate(names):
                member = tarfile.TarInfo(name)
                member.size, member.uid, member.mtime, member.uname = len(picture_bytes(n)), 1 << 25, 1.5, "भारत"
                tar.addfile(member, io.BytesIO(picture_bytes(n)))
        samples, rejects = take(path)
        assert rejects == []
        assert [(s.uri.partition("#")[2], s.data) for s in samples] == [
            (m, picture_bytes(n)) for n, m in enumerate(names)
        ]


@pytest.mark.parametrize("left", [1, 261, 300, 511])
def test_an_archive_that_ends_in_a_header_is_torn(tmp_path, left):
    path = tmp_path / "a.tar"
    write_tar(path, [("a.jpg", picture_bytes(0)), ("b.jpg", picture_bytes(1))])
    second = 512 + -(-len(picture_bytes(0)) // 512) * 512
    path.write_bytes(path.read_bytes()[: second + left])
    samples, rejects = take(path)
    assert [s.data for s in samples] == [picture_bytes(0)]
    assert [r.reason for r in rejects] == ["truncated_archive"]
    assert "truncated header" in rejects[0].message


def test_keys_end_at_the_first_dot_of_the_name(tmp_path):
    png = picture_bytes(1, format="PNG")
    path = write_tar(
        tmp_path / "a.tar",
        [
            ("x.y/k.left.JPG", picture_bytes(0)),
            ("x.y/k.right.png", png),
            ("x.y/k.json", b'{"caption": "one", "lang": "sw", "n": 5}'),
            ("x.y/k.de.txt", b"Eins"),
            ("x.y/k.cls", b"3"),
            ("x.y/k.npy", b"\x93NUMPY"),
            ("nodot", b"x"),
            (".dotfile", b"x"),
            ("__meta__.json", b"{}"),
            ("y.cls", b"cat"),
            ("y.webp", picture_bytes(2, format="WEBP")),
        ],
    )
    samples, rejects = take(path)
    assert rejects == []
    assert [s.uri.rpartition("#")[2] for s in samples] == ["x.y/k.left.jpg", "x.y/k.right.png", "y.webp"]
    assert texts(samples[0]) == texts(samples[1]) == [("sw", "one"), ("de", "Eins")]
    assert samples[0].context == {"cls": 3, "n": 5}
    assert [(c.kind, c.text) for c in samples[2].captions] == [("label", "cat")]
    named = take(path, class_names="a,b,c,dog")[0][0]
    assert ("label", "dog") in [(c.kind, c.text) for c in named.captions]


def test_json_with_an_address_is_alt_text(tmp_path):
    value = {"caption": "shoes buy now", "url": "https://example.org/1.jpg", "key": "0", "status": "success"}
    path = write_tar(
        tmp_path / "a.tar",
        [("0.jpg", picture_bytes(0)), ("0.txt", b"shoes buy now"), ("0.json", json.dumps(value).encode())],
    )
    (sample,), _ = take(path)
    assert [(c.text, c.kind, c.recipe) for c in sample.captions] == [("shoes buy now", "alt", "web")]
    assert sample.context["url"] == "https://example.org/1.jpg"
    assert [c.kind for c in take(path, kind="human")[0][0].captions] == ["human"]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_compressed_shards_ranges_and_globs(tmp_path, mode):
    suffix = {"w": ".tar", "w:gz": ".tar.gz", "w:bz2": ".tar.bz2", "w:xz": ".tar.xz"}[mode]
    for n in range(12):
        write_tar(tmp_path / f"s-{n:03d}{suffix}", [(f"{n}.jpg", picture_bytes(n))], mode)
    assert len(take(tmp_path)[0]) == 12
    assert len(take(f"{tmp_path}/s-*{suffix}")[0]) == 12
    some, _ = take(f"{tmp_path}/s-{{002..010}}{suffix}")
    assert [s.data for s in some] == [picture_bytes(n) for n in range(2, 11)]
    assert len(take(f"{tmp_path}/s-00{{1,3}}{suffix}")[0]) == 2
    with pytest.raises(UserError, match="not there"):
        take(f"{tmp_path}/s-{{010..013}}{suffix}")
    with pytest.raises(UserError, match="not a range"):
        take(f"{tmp_path}/s-{{9..1}}{suffix}")


def test_parts_are_shards_with_counts_where_known(tmp_path):
    for n in range(2):
        write_tar(tmp_path / f"{n}.tar", [(f"{n}.jpg", picture_bytes(n))])
    (tmp_path / "sizes.json").write_text('{"0.tar": 1, "1.tar": -5}')
    parts = list(webdataset.parts(str(tmp_path)))
    assert [p.count for p in parts] == [1, None]
    before = parts[0].key
    os.utime(tmp_path / "0.tar", (1, 1))
    assert next(webdataset.parts(str(tmp_path))).key != before


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def test_nothing_unsafe_is_followed(tmp_path):
    names = ["../up.jpg", "/etc/abs.jpg", "a/../../b.jpg", "..\\win.jpg", "C:\\x.jpg"]
    device = tarfile.TarInfo("dev.jpg")
    device.type = tarfile.CHRTYPE
    path = write_tar(
        tmp_path / "a.tar",
        [("0.jpg", picture_bytes(0))]
        + [(name, picture_bytes(1)) for name in names]
        + [link("l.jpg", "/etc/passwd"), link("h.jpg", "0.jpg", tarfile.LNKTYPE), (device, b"")]
        + [("1.jpg", picture_bytes(2))],
    )
    before = sorted(os.listdir(tmp_path))
    samples, rejects = take(path)
    assert [s.uri.rpartition("#")[2] for s in samples] == ["0.jpg", "1.jpg"]
    assert reasons(rejects) == ["not_a_file"] * 3 + ["unsafe_path"] * 5
    assert sorted(os.listdir(tmp_path)) == before


def test_members_over_the_limit_and_double_names(tmp_path):
    path = write_tar(
        tmp_path / "a.tar",
        [
            ("0.jpg", picture_bytes(0)),
            ("1.jpg", b"x" * 50_000),
            ("2.txt", b"x" * (2**20 + 1)),
            ("2.jpg", picture_bytes(2)),
            ("2.jpg", picture_bytes(3)),
        ],
    )
    samples, rejects = take(path, max_bytes=40_000)
    assert [s.data for s in samples] == [picture_bytes(0), picture_bytes(2)]
    assert reasons(rejects) == ["duplicate_name", "too_many_bytes", "too_many_bytes"]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_torn_shard_gives_what_came_before(tmp_path, mode):
    whole = write_tar(tmp_path / "whole.tar", members(), mode).read_bytes()
    for keep in (len(whole) // 2, len(whole) // 3, 700, 512, 1, 0):
        torn = tmp_path / "torn.tar"
        torn.write_bytes(whole[:keep])
        samples, rejects = take(torn)
        full = [s.data for s in take(tmp_path / "whole.tar")[0]]
        assert [s.data for s in samples] == full[: len(samples)]
        assert len(samples) < 6
        assert reasons(rejects) in (["truncated_archive"], ["bad_archive"])
    without_end = tmp_path / "end.tar"
    without_end.write_bytes(tar_without_end(members()))
    samples, rejects = take(without_end)
    assert len(samples) == 6
    assert reasons(rejects) == ["truncated_archive"]


def tar_without_end(pairs):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in pairs:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        end = tar.offset
    return buffer.getvalue()[:end]


def test_a_broken_header_in_the_middle_is_said_not_passed_over(tmp_path):
    raw = bytearray(tar_without_end(members()) + b"\0" * 1024)
    at = raw.index(b"a/0003.jpg")
    raw[at] ^= 0xFF
    (tmp_path / "a.tar").write_bytes(raw)
    samples, rejects = take(tmp_path / "a.tar")
    assert len(samples) == 3
    assert reasons(rejects) == ["truncated_archive"]


def test_headers_that_claim_gigabytes(tmp_path):
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
        info = tarfile.TarInfo("x")
        info.type, info.size = kind, 2**40
        raw = info.tobuf(tarfile.GNU_FORMAT)
        (tmp_path / "a.tar").write_bytes(raw + b"\0" * 10_240)
        samples, rejects = take(tmp_path / "a.tar")
        assert (samples, len(rejects)) == ([], 1)
        assert "claims" in rejects[0].message


def test_a_gzip_bomb_is_not_inflated(tmp_path):
    info = tarfile.TarInfo("x.jpg")
    info.size = 2**45
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.write(b"\0" * 2**20)
    samples, rejects = take(tmp_path / "a.tar.gz")
    assert samples == []
    assert rejects[0].reason == "too_many_bytes"


def test_bad_texts_cost_the_text_only(tmp_path):
    path = write_tar(
        tmp_path / "a.tar",
        [("0.jpg", picture_bytes(0)), ("0.txt", b"\xff\xfe\xfd"), ("1.jpg", picture_bytes(1)), ("1.json", b"{")],
    )
    samples, rejects = take(path)
    assert len(samples) == 2
    assert [(r.item.rpartition("#")[2], r.reason) for r in rejects] == [
        ("0.txt", "bad_encoding"),
        ("1.json", "bad_json"),
    ]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_random_damage_raises_nothing_and_loses_nothing_before_it(tmp_path_factory, draw):
    raw = bytearray(tar_without_end(members(3)) + b"\0" * 1024)
    places = draw.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=8))
    for place in places:
        raw[place] = draw.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("fuzz") / "a.tar"
    path.write_bytes(raw)
    found = list(webdataset.read_shard(str(path), "a.tar", Given()))
    assert all(isinstance(one, Sample | Reject) for one in found)
    whole = [s.data for s in found if isinstance(s, Sample)]
    sound = min(places) // 512 * 512
    assert whole[: sound // (2 * 512 + 4096)] == [picture_bytes(n) for n in range(sound // (2 * 512 + 4096))]


# -- keys and order ----------------------------------------------------------------------------------------------------

SAID = {
    "01": "كلب بني يجري",
    "02": "बस शहर में है",
    "03": "แอปเปิลสองลูก",
    "04": "一辆红色的公共汽车",
    "05": "Mbwa anakimbia",
}


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("order", ["adjacent", "texts first", "texts last", "reversed"])
def test_keys_with_dots_and_members_in_any_order(tmp_path, order, mode):
    pictures = [(f"d/walk.2024.{n}.jpg", picture_bytes(int(n))) for n in SAID]
    said = [(f"d/walk.2024.{n}.txt", text.encode()) for n, text in SAID.items()]
    members = {
        "adjacent": [one for both in zip(pictures, said, strict=True) for one in both],
        "texts first": said + pictures,
        "texts last": pictures + said,
        "reversed": pictures[::-1] + said,
    }[order]
    samples, rejects = take(write_tar(tmp_path / "a.tar", members, mode))
    assert rejects == []
    assert {s.uri[-6:-4]: [text for _, text in texts(s)] for s in samples} == {n: [text] for n, text in SAID.items()}


def test_pictures_of_one_sample_share_its_texts_and_each_has_its_own_captions(tmp_path):
    members = [("0006.1.jpg", picture_bytes(1)), ("0006.txt", b"Two views"), ("0006.2.jpg", picture_bytes(2))]
    members += [
        ("7.jpg", picture_bytes(3)),
        ("7.left.jpg", picture_bytes(4)),
        ("7.txt", b"A pair"),
        ("7.sw.txt", b"Jozi"),
    ]
    samples, _ = take(write_tar(tmp_path / "a.tar", members))
    found = {s.uri.rpartition("#")[2]: sorted(text for _, text in texts(s)) for s in samples}
    assert found["0006.1.jpg"] == found["0006.2.jpg"] == ["Two views"]
    assert found["7.jpg"] == ["A pair", "Jozi"]
    assert found["7.left.jpg"] == ["A pair"]
    assert len({id(caption) for s in samples for caption in s.captions}) == 5


def test_many_texts_wait_in_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(webdataset, "_IN_MEMORY", 100)
    members = [(f"{n}.jpg", picture_bytes(n)) for n in range(4)] + [
        (f"{n}.txt", f"text {n} ".encode() * 40) for n in range(4)
    ]
    samples, _ = take(write_tar(tmp_path / "a.tar", members))
    assert [texts(s)[0][1] for s in samples] == [(f"text {n} " * 40).strip() for n in range(4)]
    monkeypatch.setattr(webdataset, "_MOST", 700)
    samples, rejects = take(tmp_path / "a.tar")
    assert (len(samples), reasons(rejects)) == (4, ["too_many_bytes"] * 2)


def test_a_text_that_several_pictures_share_and_cannot_be_read_is_told_once(tmp_path):
    members = [("k.1.jpg", picture_bytes(1)), ("k.2.jpg", picture_bytes(2)), ("k.json", b"{")]
    samples, rejects = take(write_tar(tmp_path / "a.tar", members))
    assert (len(samples), reasons(rejects)) == (2, ["bad_json"])


def test_a_conversation_beside_a_picture(tmp_path):
    talk = [{"from": "human", "value": "<image>\nこれは何ですか。"}, {"from": "gpt", "value": "赤いバスです。"}]
    members = [("k.jpg", picture_bytes(1)), ("k.json", json.dumps({"id": "k", "conversations": talk}).encode())]
    (sample,), _ = take(write_tar(tmp_path / "a.tar", members))
    assert [(c.kind, c.text) for c in sample.captions] == [
        ("question", "これは何ですか。"),
        ("answer", "赤いバスです。"),
    ]
    assert list(sample.captions[1].parents) == [sample.captions[0]]


def test_shards_in_folders_of_splits(tmp_path):
    for n, split in enumerate(("train", "val")):
        (tmp_path / split).mkdir()
        write_tar(tmp_path / split / "000.tar", [("0.jpg", picture_bytes(n)), ("0.txt", split.encode())])
    samples, _ = take(tmp_path)
    assert sorted(texts(s)[0][1] for s in samples) == ["train", "val"]


def test_a_shard_with_nothing_in_it_is_named(tmp_path):
    """Zeros are an empty archive, however many they are."""
    import panoglot

    folder = tmp_path / "shards"
    folder.mkdir()
    write_tar(folder / "0.tar", members(2))
    (folder / "1.tar").write_bytes(b"\0" * 10240)
    (folder / "2.tar.gz").write_bytes(gzip.compress(b"\0" * 3_000_000))
    (folder / "3.tar").write_bytes(b"no archive at all" * 100)
    result = panoglot.ingest(str(folder), str(tmp_path / "x.pano"), quiet=True)
    said = "\n".join(result.remarks)
    assert "1 shard with nothing in it was not used: 1.tar" in said
    assert "1 shard with nothing in it was not used: 2.tar.gz" in said
    assert "3.tar" not in said  # it is a reject
    assert [row["item"].rpartition("/")[2] for row in result.dataset.rejects.rows()] == ["3.tar"]
