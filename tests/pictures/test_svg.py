"""Drawings: size, pixels, and what a hostile one may not do."""

import time

import pytest

from panoglot.errors import RowError
from panoglot.pictures import Image, is_svg, read_header, render_svg, svg_size

pytest.importorskip("resvg_py")
HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="20" height="10">'


def drawing(body, head=HEAD):
    return f"{head}{body}</svg>".encode()


def test_a_drawing_is_a_picture_over_white():
    image = Image(drawing('<rect width="10" height="10" fill="#ff0000"/>'))
    assert (image.width, image.height, image.format) == (20, 10, "svg")
    pixels = image.pixels(min_side=100)
    assert pixels.shape == (512, 1024, 3) or pixels.shape[0] >= 100
    assert pixels[5, 5].tolist() == [255, 0, 0]
    assert pixels[5, -5].tolist() == [255, 255, 255]
    opacity = image.opacity(8)
    assert opacity[4, 0] == 1
    assert opacity[4, 7] == 0


@pytest.mark.parametrize(
    ("root", "size"),
    [
        ('<svg width="3cm" height="2cm">', (113, 76)),
        ('<svg viewBox="0 0 640 480">', (640, 480)),
        ('<svg width="100%" height="100%" viewBox="-5 -5 40 20">', (40, 20)),
        ('<svg width="200" viewBox="0 0 4 3">', (200, 150)),
        ('<?xml version="1.0"?>\n<!-- <svg width="1"> -->\n<svg:svg width="7" height="8">', (7, 8)),
        ("<svg\n  width='12.4'\n  height='1e2'>", (12, 100)),
    ],
)
def test_sizes(root, size):
    assert svg_size(root.encode()) == size


@pytest.mark.parametrize("root", ["<svg>", '<svg width="0" height="5">', '<svg width="1e30" height="1">', "<svg"])
def test_no_sensible_size(root):
    with pytest.raises(RowError, match="bad_header"):
        svg_size(root.encode())


@pytest.mark.parametrize("text", ["<html><svg/></html>", "plain <svg>", "", "<?xml version='1.0'?><rss/>"])
def test_what_is_no_drawing(text):
    assert not is_svg(text.encode())
    if text:
        with pytest.raises(RowError, match="not_an_image"):
            read_header(text.encode())


@pytest.mark.parametrize("unit", ["pt", "mm", "cm", "in", "pc", "px"])
def test_drawings_in_every_unit_are_drawn(unit):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="2{unit}" height="2{unit}" viewBox="0 0 2 2">'
    pixels = Image(drawing('<rect width="1" height="2"/>', head)).pixels()
    assert pixels[5, 5].tolist() == [0, 0, 0]
    assert pixels[5, -5].tolist() == [255, 255, 255]


def test_nothing_outside_the_drawing_is_read(tmp_path):
    import PIL.Image

    secret = tmp_path / "secret.png"
    PIL.Image.new("RGB", (20, 10), (255, 0, 0)).save(secret)
    for href in (f'href="{secret}"', f"xlink:href='file://{secret}'", f'href = "{secret}"', f'href="//x{secret}"'):
        pixels = Image(drawing(f'<image {href} width="20" height="10"/>')).pixels()
        assert pixels.min() == 255, href


def test_pictures_inside_the_drawing_stay():
    import base64

    from tests.conftest import picture_bytes

    inside = base64.b64encode(picture_bytes(1, format="PNG")).decode()
    body = f'<image href="data:image/png;base64,{inside}" width="20" height="10" preserveAspectRatio="none"/>'
    assert Image(drawing(body)).pixels().std() > 10


@pytest.mark.parametrize(
    "hostile",
    [
        # references that multiply
        HEAD
        + "".join(
            f'<g id="u{i}">' + f'<use href="#u{i - 1}"/>' * 12 + "</g>" if i else '<g id="u0"><rect width="1"/></g>'
            for i in range(9)
        )
        + "</svg>",
        # entities that multiply
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        + HEAD
        + "&b;" * 50
        + "<z></svg>",
        HEAD + "<g>" * 200_000 + "</svg>",
        HEAD + "not closed",
    ],
    ids=["use", "entity", "deep", "torn"],
)
def test_hostile_drawings_are_rejects_in_bounded_time(hostile):
    started = time.monotonic()
    with pytest.raises(RowError, match="undecodable"):
        render_svg(hostile.encode())
    assert time.monotonic() - started < 60  # a limit of safety, not a measurement


def test_huge_and_thin_drawings_are_bounded():
    assert (
        max(render_svg(drawing("", '<svg xmlns="http://www.w3.org/2000/svg" width="9000000" height="1">')).size) <= 4096
    )
    with pytest.raises(RowError, match="too_many_pixels"):
        read_header(b'<svg width="100000" height="100000">')
