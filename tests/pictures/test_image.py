"""Every format, mode and kind of damage that `read_header` and `Image` promise to handle."""

import base64
import contextlib
import io
import json
import shutil
import struct
import zlib

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from panoglot.errors import RowError
from panoglot.pictures import MAX_PIXELS, Image, load_pictures, read_header
from panoglot.table import create_dataset, forget_images
from tests.conftest import picture_bytes

LOSSLESS = {"PNG": {}, "TIFF": {}, "BMP": {}, "GIF": {}, "WEBP": {"lossless": True}}
FORMATS = [*LOSSLESS, "JPEG", "AVIF"]


def quarters(width=60, height=40):
    """Red, green, blue and yellow quarters: any wrong turn shows."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (255, 0, 0)
    pixels[: height // 2, width // 2 :] = (0, 255, 0)
    pixels[height // 2 :, : width // 2] = (0, 0, 255)
    pixels[height // 2 :, width // 2 :] = (255, 255, 0)
    return PIL.Image.fromarray(pixels)


def encode(picture, name, **options):
    buffer = io.BytesIO()
    picture.save(buffer, name, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_size_and_pixels(name):
    data = encode(quarters(), name, **LOSSLESS.get(name, {"quality": 95}))
    header = read_header(data)
    assert (header.width, header.height, header.format, header.orientation) == (60, 40, name.lower(), 1)
    pixels = Image(data).pixels()
    assert pixels.shape == (40, 60, 3)
    assert pixels.dtype == np.uint8
    if name in LOSSLESS:
        np.testing.assert_array_equal(pixels, np.asarray(quarters()))
    for y, x in ((5, 5), (5, 55), (35, 5), (35, 55)):  # away from the edges, where chroma is subsampled
        assert np.abs(pixels[y, x].astype(int) - np.asarray(quarters(), int)[y, x]).max() < 12


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(name, orientation):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    data = encode(quarters(), name, exif=exif)
    header, image = read_header(data), Image(data)
    assert header.orientation == orientation
    expected = PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(data))).convert("RGB")
    assert header.upright == image.pil().size == expected.size == (image.width, image.height)
    np.testing.assert_array_equal(image.pixels(), np.asarray(expected))


def test_orientation_of_a_jpeg_decoded_small_is_the_same():
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    small = Image(encode(quarters(640, 480), "JPEG", exif=exif)).pil(min_side=60)
    assert small.size == (120, 160) or small.size == (60, 80)
    assert np.asarray(small)[2, 2].argmax() == 2  # turned by 90 degrees: blue comes to the top left


@pytest.mark.parametrize(
    "garbage", [b"", b"II", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 40]
)
def test_a_broken_exif_block_costs_nothing(garbage):
    plain = encode(quarters(), "JPEG")
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(garbage) + 8) + b"Exif\0\0" + garbage + plain[2:]
    assert read_header(data).upright == Image(data).pil().size == (60, 40)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80))
def test_header_and_decoder_agree_whatever_the_exif_says(noise):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    block = exif.tobytes()[6:]
    block = bytes(a ^ b for a, b in zip(block, noise.ljust(len(block), b"\0")))
    plain = encode(quarters(), "JPEG")
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block + plain[2:]
    assert read_header(data).upright == Image(data).pil().size


def test_transparency_goes_over_white():
    clear = PIL.Image.new("RGBA", (4, 2), (255, 0, 0, 0))
    for name in ("PNG", "WEBP", "TIFF", "AVIF"):
        assert Image(encode(clear, name)).pixels().min() >= 254, name
    half = PIL.Image.new("RGBA", (2, 2), (255, 0, 0, 128))
    np.testing.assert_allclose(Image(encode(half, "PNG")).pixels()[0, 0], (255, 127, 127), atol=1)
    grey = PIL.Image.new("LA", (2, 2), (0, 0))
    assert Image(encode(grey, "PNG")).pixels().min() == 255


def test_palette_transparency_goes_over_white():
    picture = PIL.Image.new("P", (2, 1))
    picture.putpalette([0, 0, 0, 200, 10, 10])
    picture.putdata([0, 1])
    for name in ("PNG", "GIF"):
        pixels = Image(encode(picture, name, transparency=0)).pixels()
        assert pixels[0].tolist() == [[255, 255, 255], [200, 10, 10]], name
    keyed = encode(PIL.Image.new("RGB", (1, 1), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    assert Image(keyed).pixels().tolist() == [[[255, 255, 255]]]


def test_cmyk_and_adobe_inverted_cmyk():
    red = PIL.Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    data = encode(red, "JPEG", quality=95)
    assert b"Adobe" in data  # Pillow writes what Photoshop writes: inverted, with the Adobe marker
    assert np.abs(Image(data).pixels()[8, 8].astype(int) - (255, 0, 0)).max() < 12
    at = data.index(b"Adobe") - 4
    plain = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4]) :]
    assert np.abs(Image(plain).pixels()[8, 8].astype(int) - (255, 0, 0)).max() < 12  # four inks are taken as Adobe's
    assert np.abs(Image(encode(red, "TIFF")).pixels()[8, 8].astype(int) - (255, 0, 0)).max() < 12


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(name):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(1, 256)
    pixels = Image(encode(PIL.Image.fromarray(ramp), name)).pixels()
    assert np.abs(pixels[0, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_sixteen_bit_colour_png_keeps_the_high_byte():
    rows = b"\0" + struct.pack(">3H", 0xFF00, 0x8000, 0x0100)
    data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
    data += png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    assert Image(data).pixels().tolist() == [[[255, 128, 1]]]


def test_floating_point_tiff():
    ramp = np.linspace(0, 1, 11, dtype=np.float32).reshape(1, 11)
    assert Image(encode(PIL.Image.fromarray(ramp), "TIFF")).pixels()[0, :, 0].tolist() == [
        int(255 * v) for v in ramp[0]
    ]
    with_hole = ramp.copy()
    with_hole[0, 3] = np.nan
    assert Image(encode(PIL.Image.fromarray(with_hole), "TIFF")).pixels()[0, 3, 0] == 0


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "AVIF", "TIFF"])
def test_an_animation_or_document_gives_its_first_frame(name):
    first, second = PIL.Image.new("RGB", (8, 6), (255, 0, 0)), PIL.Image.new("RGB", (8, 6), (0, 0, 255))
    data = encode(first, name, save_all=True, append_images=[second, second])
    assert PIL.Image.open(io.BytesIO(data)).n_frames >= 2
    image = Image(data)
    assert (image.width, image.height) == (8, 6)
    assert np.abs(image.pixels()[3, 4].astype(int) - (255, 0, 0)).max() < 12


@pytest.mark.parametrize("name", FORMATS)
def test_one_pixel(name):
    data = encode(PIL.Image.new("RGB", (1, 1), (9, 200, 30)), name)
    assert read_header(data).upright == (1, 1)
    assert Image(data).pixels().shape == (1, 1, 3)
    assert Image(data).thumbnail(8).shape == (8, 8, 3)


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bombs():
    """Small files whose headers claim 30000 x 30000."""
    side = 30_000
    yield (
        "png",
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        + png_chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + png_chunk(b"IEND", b""),
    )
    jpeg = bytearray(encode(quarters(), "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", side, side)
    yield "jpeg", bytes(jpeg)
    gif = bytearray(encode(quarters(), "GIF"))
    gif[6:10] = struct.pack("<HH", side, side)
    yield "gif", bytes(gif)
    bmp = bytearray(encode(quarters(), "BMP"))
    bmp[18:26] = struct.pack("<ii", side, side)
    yield "bmp", bytes(bmp)
    webp = bytearray(encode(quarters(), "WEBP", exif=PIL.Image.Exif().tobytes() + b"\0\0"))
    webp[24:30] = (16383).to_bytes(3, "little") * 2  # 16384 x 16384, the most that the format can say
    yield "webp", bytes(webp)
    tiff = PIL.Image.new("1", (side, side))
    yield "tiff", encode(tiff, "TIFF", compression="group4")


@pytest.mark.parametrize(("name", "data"), list(bombs()), ids=lambda value: value if isinstance(value, str) else "")
def test_a_header_bomb_is_refused_before_anything_is_decoded(name, data):
    for attempt in (read_header, Image, lambda d: Image(d, id="x", width=1, height=1).pil()):
        with pytest.raises(RowError) as error:
            attempt(data)
        assert error.value.reason == "too_many_pixels"


def test_the_limit_is_a_parameter_and_agrees_with_pillow():
    data = encode(quarters(), "PNG")
    assert read_header(data, max_pixels=2400).upright == (60, 40)
    with pytest.raises(RowError, match="too_many_pixels"):
        read_header(data, max_pixels=2399)
    assert MAX_PIXELS < 2 * PIL.Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_truncated_is_said_at_the_header_check_or_decodes(name):
    picture = PIL.Image.effect_noise((64, 48), 60).convert("RGB")
    data = encode(picture, name)
    reasons = set()
    for keep in range(1, len(data), max(1, len(data) // 60)):
        try:
            read_header(data[:keep])
        except RowError as error:
            reasons.add(error.reason)
        else:  # what passes must decode; a GIF may by chance end in its end mark
            with contextlib.suppress(RowError) if name in ("GIF", "AVIF") else contextlib.nullcontext():
                Image(data[:keep]).pil()
    assert "truncated" in reasons
    assert reasons <= {"truncated", "bad_header", "not_an_image", "undecodable"}


def test_a_missing_end_mark_alone_costs_nothing():
    data = encode(PIL.Image.effect_noise((64, 48), 60), "PNG")
    assert data[-12:-4] == b"\0\0\0\0IEND"
    assert read_header(data[:-12]).upright == (64, 48)
    assert Image(data[:-12]).pixels().shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_file"),
        (b"just text, named .jpg", "not_an_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "bad_header"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not_an_image"),  # Pillow would run Ghostscript
        (b"\xff\xd8\xff\xe0", "bad_header"),
        (b"\x89PNG\r\n\x1a\n", "bad_header"),
        (b"\0\0\0\x18ftypheic\0\0\0\0heicmif1", None),
    ],
)
def test_what_is_no_picture_has_its_reason(data, reason):
    with pytest.raises(RowError) as error:
        read_header(data)
    if reason is None:  # HEIC without its library: the pip line
        assert error.value.reason in ("unsupported_format", "bad_header")
        assert error.value.reason == "bad_header" or "pip install pillow-heif" in error.value.message
    else:
        assert error.value.reason == reason


def test_heic_where_the_library_is_installed():
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    heif.register_heif_opener()
    data = encode(quarters(), "HEIF")
    assert read_header(data).format == "heif"
    assert Image(data).pixels().shape == (40, 60, 3)


def test_a_wrong_file_name_does_not_matter():
    assert read_header(encode(quarters(), "PNG")).format == "png"  # nothing here ever sees a name


def test_thumbnail_is_the_area_average_of_the_whole_picture():
    data = encode(quarters(64, 64), "PNG")
    assert Image(data).thumbnail(2).tolist() == [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]]


def test_id_and_data_uri():
    data = encode(quarters(), "PNG")
    image = Image(data)
    assert len(image.id) == 32
    assert image.data_uri.startswith("data:image/png;base64,iVBOR")


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FORMATS), st.data())
def test_corrupted_bytes_raise_row_errors_only(name, draw):
    data = bytearray(encode(quarters(16, 12), name))
    for _ in range(draw.draw(st.integers(1, 6))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        header = read_header(bytes(data), max_pixels=1_000_000)
        picture = Image(bytes(data)).pil()
    except RowError:
        return
    assert picture.mode == "RGB"
    assert picture.size == header.upright


# -- the header check and the decoder agree ----------------------------------------------------------------------------


def agree(data):
    """Whether a picture is accepted; fails when header and decoder say different things."""
    try:
        header = read_header(data, max_pixels=1_000_000)
    except RowError:
        return None
    picture = Image(data).pil()
    assert picture.size == header.upright
    return picture


def with_metadata(name, noise, count):
    """A picture with a lot of metadata around the same pixels."""
    picture = quarters()
    if name == "PNG":
        data = encode(picture, "PNG")
        kinds = [b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"sRGB", b"prVW", b"acTL", b"fcTL", b"gAMA"]
        extra = b"".join(png_chunk(kinds[n % len(kinds)], noise) for n in range(count))
        return data[:33] + extra + data[33:-12] + extra + data[-12:]
    if name == "JPEG":
        data = encode(picture, "JPEG", quality=95)
        body = noise[:65_000]
        kinds = [0xE1, 0xE2, 0xED, 0xFE, 0xE0, 0xEF]
        extra = b"".join(b"\xff%c" % kinds[n % 6] + struct.pack(">H", len(body) + 2) + body for n in range(count))
        return data[:20] + extra + data[20:]
    if name == "GIF":
        data = encode(picture, "GIF")
        at = 13 + (3 << (data[10] & 7) + 1)
        blocks = b"".join(bytes([len(noise[n : n + 255])]) + noise[n : n + 255] for n in range(0, len(noise), 255))
        return data[:at] + (b"!\xfe" + blocks + b"\0" + b"!\xff" + blocks + b"\0") * count + data[at:]
    if name == "WEBP":
        return encode(picture, "WEBP", lossless=True, icc_profile=noise * count, xmp=noise * count)
    return encode(picture, "TIFF", tiffinfo={65000: noise * count, 270: "x" * len(noise) * count})


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF"]),
    st.binary(min_size=1, max_size=400),
    st.integers(1, 40),
    st.sampled_from([1, 1000]),
)
def test_metadata_of_any_kind_and_size_changes_no_pixel(name, noise, count, times):
    picture = agree(with_metadata(name, noise * times, count))
    assert picture is not None
    difference = np.abs(np.asarray(picture).astype(int) - np.asarray(quarters()))[[5, 5, 35, 35], [5, 55, 5, 55]]
    assert difference.max() <= (12 if name == "JPEG" else 0)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["PNG", "P", "GIF", "WEBP", "JPEG", "BMP", "TIFF"]), st.data())
def test_what_the_header_check_accepts_decodes_whatever_stands_in_the_header(name, draw):
    picture = quarters(16, 12)
    data = bytearray(encode(picture.convert("P"), "PNG") if name == "P" else encode(picture, name))
    room = {"PNG": 33, "P": 60, "GIF": 13, "WEBP": 20, "BMP": 54, "TIFF": 8, "JPEG": 20}[name]
    for _ in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(0, room - 1))] = draw.draw(st.integers(0, 255))
    with contextlib.suppress(RowError) if _only_inside(bytes(data)) else contextlib.nullcontext():
        agree(bytes(data))


def _only_inside(data):
    """Whether decoding fails for what no header can tell: what is inside the compressed pixels."""
    try:
        Image(data, id="x", width=1, height=1).pil()
    except RowError as error:
        return error.reason in ("undecodable", "truncated")
    return False


@pytest.mark.parametrize("colour", [0, 2, 3, 4, 6, 1, 7])
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16, 3, 32])
@pytest.mark.parametrize("ancillary", [False, True])
def test_every_kind_of_png_is_accepted_and_decodes_or_neither(colour, depth, ancillary):
    allowed = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    channels = {2: 3, 4: 2, 6: 4}.get(colour, 1)
    row = b"\0" + bytes(-(-9 * channels * depth // 8))
    data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 2, depth, colour, 0, 0, 0))
    data += png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3_000_000))) if ancillary else b""
    data += png_chunk(b"PLTE", bytes(6)) if colour == 3 else b""
    data += png_chunk(b"IDAT", zlib.compress(row * 2)) + png_chunk(b"IEND", b"")
    picture = agree(data)
    assert (picture is not None) == (depth in allowed.get(colour, ()))


@pytest.mark.parametrize("size", [20_000_000, 70_000_000])
def test_texts_beyond_every_limit_of_the_library(size):
    plain = encode(quarters(), "PNG")
    text = png_chunk(b"tEXt", b"a\0" + b"x" * (size // 10))
    data = plain[:33] + text * 10 + plain[33:]
    np.testing.assert_array_equal(np.asarray(agree(data)), np.asarray(quarters()))


# -- decoding apart ----------------------------------------------------------------------------------------------------


def test_what_is_decoded_apart_has_the_same_pixels(monkeypatch):
    pictures = [encode(quarters(), "PNG"), encode(quarters(), "JPEG"), encode(quarters().convert("P"), "GIF")]
    pictures.append(encode(PIL.Image.new("RGBA", (5, 4), (9, 8, 7, 100)), "WEBP", lossless=True))
    here = [Image(data).pixels() for data in pictures]
    monkeypatch.setattr("panoglot.pictures._image.BIG", 0)
    for data, expected in zip(pictures, here):
        np.testing.assert_array_equal(Image(data).pixels(), expected)
        np.testing.assert_allclose(Image(data).opacity(4), 100 / 255 if data is pictures[-1] else 1, atol=0.01)


def test_large_pictures_are_averaged_down_in_bands(monkeypatch):
    ramp = np.linspace(0, 65535, 96 * 64).astype(np.uint16).reshape(64, 96)
    data = encode(PIL.Image.fromarray(ramp), "PNG")
    whole = Image(data).pil()
    monkeypatch.setattr("panoglot.pictures._decoder.BIG", 100)
    monkeypatch.setattr("panoglot.pictures._decoder._BAND", 500)
    np.testing.assert_array_equal(np.asarray(Image(data).pil()), np.asarray(whole))
    small = Image(data).pil(min_side=16)
    assert small.size == (24, 16)
    np.testing.assert_array_equal(np.asarray(small), np.asarray(whole.reduce(4)))


def test_a_decoder_that_was_ended_costs_one_picture(monkeypatch):
    good = encode(quarters(), "TIFF")
    assert Image(good).pixels().shape == (40, 60, 3)
    monkeypatch.setattr("panoglot.pictures._guard.SECONDS", 0.3)
    scans = encode(PIL.Image.new("L", (4000, 4000)), "JPEG", progressive=True)
    with pytest.raises(RowError, match="decode_timeout"):
        Image(scans[:-2] + scans[scans.rindex(b"\xff\xda") : -2] * 900 + b"\xff\xd9").pixels()
    assert Image(good).pixels().shape == (40, 60, 3)


def test_a_decoder_without_memory_costs_one_picture(monkeypatch):
    from panoglot.pictures import _guard

    pytest.importorskip("resource")
    large = encode(PIL.Image.new("RGB", (9000, 9000)), "PNG")
    _guard._pool.end()
    monkeypatch.setattr("panoglot.pictures._guard.BYTES", 300 * 2**20)
    with pytest.raises(RowError, match="decode_memory"):
        Image(large).pil(min_side=100)
    monkeypatch.undo()
    assert min(Image(large).pil(min_side=100).size) == 100


def test_a_decoder_that_a_stop_ended_is_no_fault_of_the_picture(monkeypatch):
    from panoglot.pictures import _guard

    ended, ask = [], _guard._Process.ask

    def interrupted(self, job, data, seconds):
        if not ended:
            ended.append(job)
            self.child.terminate()
            self.child.wait()
        return ask(self, job, data, seconds)

    monkeypatch.setattr(_guard._Process, "ask", interrupted)
    assert _guard.guarded("facts", picture_bytes(0))
    assert len(ended) == 1


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_thumbnails_of_jpegs_are_the_whole_picture_made_small(tmp_path, mode, orientation):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    smooth = quarters(64, 48).resize((640, 480), PIL.Image.Resampling.BICUBIC).convert(mode)
    data = encode(smooth, "JPEG", quality=95, exif=exif)
    dataset = create_dataset(tmp_path / "x.pano")
    row = {"uri": "a.jpg", "width": 640, "height": 480, "format": "jpeg"}
    dataset.images.insert([{"image_id": name, "data": raw, **row} for name, raw in (("a", data), ("b", data[:-3000]))])
    found = load_pictures(dataset, ["a", "b"], 380)
    shown = PIL.Image.open(io.BytesIO(base64.b64decode(found["a"].thumbnail.partition(",")[2])))
    assert shown.size == (found["a"].width, found["a"].height) == ((380, 285) if orientation == 1 else (285, 380))
    expected = Image(data).pil().resize(shown.size, PIL.Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(shown.convert("RGB"), int) - np.asarray(expected, int)).mean() < 3
    assert (found["b"].thumbnail, found["b"].problem) == ("", "truncated")


def test_thumbnails_are_kept_for_the_next_page_and_no_longer_than_they_are_shown(tmp_path, monkeypatch):
    dataset, made, plain = create_dataset(tmp_path / "x.pano"), [], simplejpeg.decode_jpeg
    monkeypatch.setattr("simplejpeg.decode_jpeg", lambda *args, **more: made.append(1) or plain(*args, **more))
    names = ["a", "b", "c"]
    pictures = {name: encode(quarters(64 + n, 48), "JPEG") for n, name in enumerate(names)}
    dataset.images.insert([{"image_id": key, "data": raw, "uri": f"{key}.jpg"} for key, raw in pictures.items()])
    first = load_pictures(dataset, names, 32)
    assert load_pictures(dataset, ["c", "a", "x"], 32)["a"] == first["a"]
    assert (len(made), load_pictures(dataset, ["x"], 32)["x"].problem) == (3, "not in this dataset")
    assert load_pictures(dataset, names, 32) == first  # those that the last page did not show were let go
    assert load_pictures(dataset, names, 16)["b"].width == 16
    assert len(made) == 9
    (kept,) = dataset.path.glob("cache/shown-32.json")
    whole = kept.read_text()
    uri = first["a"].thumbnail
    for broken in ("", "[]", '{"a": 3}', whole[:-9], whole.replace(uri, "https://x.example/y"), f"{whole}{whole}"):
        kept.write_text(broken)
        assert load_pictures(dataset, names, 32) == first
        assert json.loads(kept.read_text()) == json.loads(whole)
    forget_images(dataset, ["b"])
    assert not [*dataset.path.glob("cache/shown-*")]
    assert load_pictures(dataset, names, 32)["b"].problem == "not in this dataset"
    shutil.rmtree(dataset.path / "cache")
    (dataset.path / "cache").write_bytes(b"")  # nothing can be written there
    assert load_pictures(dataset, ["a", "c"], 32)["c"] == first["c"]


def test_a_picture_for_a_server_is_looked_at_without_a_word_of_pillow(monkeypatch, recwarn):
    """Pillow warns from 89 million pixels on; ours are checked by the header."""
    data = io.BytesIO()
    PIL.Image.new("RGB", (20, 20), "red").save(data, "PNG")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 300)
    assert Image(data.getvalue()).data_uri.startswith("data:image/png;base64,")
    assert [str(one.message) for one in recwarn] == []
