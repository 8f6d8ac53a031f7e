"""What is shown of a picture: pixels, boxes, masks and points go one way."""

from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from panoglot.networks import Data, Record, RegionText, Turn, View, choose_view, load_row, make_model
from panoglot.networks.samplers import Draw
from panoglot.pictures import encode_mask


def marked(height, width):
    """A picture with a marker per pixel: its column in red, its row in green."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x / 256, y / 256, torch.zeros(height, width)]).float()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("height", "width"), [(40, 40), (30, 90), (96, 33)])
def test_a_box_holds_the_pixels_that_it_held(seed, height, width):
    draw = Draw("views", seed, height)
    view = choose_view(height, width, draw, (0.3, 1.0), flip=0.5)
    shown = view.pixels(marked(height, width))  # not resized: every marker is a pixel
    down, across = shown.shape[1:]
    kept = 0
    for n in range(20):
        x0, y0 = draw.below(width - 6), draw.below(height - 6)
        box = (x0, y0, x0 + 5, y0 + 6)
        mask = np.zeros((height, width), bool)
        mask[y0 : y0 + 6, x0 : x0 + 5] = True
        middle = ((x0 + 2.5) / width, (y0 + 3) / height)
        region = RegionText(box, f"r{n}", (width, height), mask=encode_mask(mask), points=((*middle, True),))
        moved = view.region(region, 64, (width, height))
        left, right = round(view.x0 * width), round(view.x1 * width)
        top, bottom = round(view.y0 * height), round(view.y1 * height)
        seen_x, seen_y = range(max(x0, left), min(x0 + 5, right)), range(max(y0, top), min(y0 + 6, bottom))
        if moved is None:  # nothing, or less than a fifth, is left
            assert len(seen_x) * len(seen_y) <= 0.2 * 30
            continue
        kept += 1
        a, b, c, d = (round(v * s) for v, s in zip(moved.box, (across, down, across, down), strict=True))
        inside = shown[:, b:d, a:c]
        assert sorted(set((inside[0] * 256).flatten().int().tolist())) == list(seen_x)
        assert sorted(set((inside[1] * 256).flatten().int().tolist())) == list(seen_y)
        at = view.mask(torch.from_numpy(mask), 64)
        assert np.array_equal(moved.mask, at.numpy())
        for x, y, there in moved.points:
            pixel = shown[:, min(down - 1, int(y * down)), min(across - 1, int(x * across))] * 256
            assert there
            assert abs(pixel[0] - (x0 + 2)) <= 1
            assert abs(pixel[1] - (y0 + 3)) <= 1
    assert kept >= 2


def test_a_mask_is_where_its_pixels_are():
    """The same crop, flip and resize as the picture's: the mask of the bright part covers the bright part."""
    picture = np.zeros((3, 60, 100), np.float32)
    picture[:, 10:40, 20:70] = 1.0
    for seed in range(8):
        view = choose_view(60, 100, Draw("mask", seed), (0.5, 1.0), flip=0.5)
        shown = view.pixels(torch.from_numpy(picture), 32)[0] > 0.5
        mask = view.mask(torch.from_numpy(picture[0] > 0.5), 32)
        both = (shown & mask).sum() / (shown | mask).sum()
        assert float(both) > 0.9


def test_a_batch_has_boxes_where_the_things_are():
    """Crops, stretches and flips: the box of a batch is the box of the bright part of its tensor."""
    row = load_row("grain", "small", batch=4, views={"scale": [0.4, 1.0], "flip": 0.5})
    records = []
    for n in range(8):
        picture = np.zeros((3, 60, 180) if n % 2 else (3, 64, 64), np.float32)
        height, width = picture.shape[1:]
        x0, y0 = 10 + 3 * n, 12 + 2 * n
        picture[:, y0 : y0 + 20, x0 : x0 + 30] = 1.0
        text = [{"text": "a thing"}]
        box = (x0, y0, x0 + 30, y0 + 20)
        records.append(Record(f"p{n}", picture, regions=[RegionText(box, text[0]["text"], (width, height))]))
    from panoglot.networks import Text

    for r in records:
        r.texts = [Text("a thing")]
    data = Data(records, make_model(row), seed=3)
    overlaps = []
    for epoch in range(3):
        for step in data.plan(epoch):
            batch = data.batch(step, epoch)
            for i in range(len(batch)):
                if not batch.region_mask[i, 0]:
                    continue
                bright = batch.image[i, 0, 0] > 0.5
                rows, columns = bright.any(1).nonzero()[:, 0], bright.any(0).nonzero()[:, 0]
                seen = torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / 32
                cx, cy, w, h = batch.boxes[i, 0]
                box = torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
                low, high = torch.maximum(seen[:2], box[:2]), torch.minimum(seen[2:], box[2:])
                inter = (high - low).clamp(min=0).prod()
                overlaps.append(float(inter / ((seen[2:] - seen[:2]).prod() + w * h - inter)))
    assert len(overlaps) >= 12
    assert np.mean(overlaps) > 0.9  # what is left is the edge of a pixel
    assert data.lost == 24 - len(overlaps)  # and what the view lost is counted


def test_regions_of_a_document_are_where_its_pictures_are_fitted():
    view = View(-0.5, 0, 1.5, 1)  # a tall picture in a square: a quarter of nothing at each side
    assert view.box((0, 0, 1, 1)) == (0.25, 0.0, 0.75, 1.0)
    assert view.pixels(torch.ones(3, 8, 4)).sum(0)[0].tolist() == [0, 0, 3, 3, 3, 3, 0, 0]
    assert Turn("x").region is None


@pytest.mark.paper(
    "m2-encoder", shows="V", case="RandAugment: two of ten changes, each made half of the times, by hand"
)
def test_randaugment_by_hand():
    from PIL import Image as Pil
    from PIL import ImageEnhance, ImageOps

    from panoglot.networks import CHANGES, augmented

    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    x, picture = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255, Pil.fromarray(pixels)
    assert list(CHANGES) == ["identity", "autocontrast", "equalize", "brightness", "sharpness", "shear_x", "shear_y",
                             "translate_x", "translate_y", "rotate"]  # fmt: skip
    for name, want in {
        "identity": picture, "autocontrast": ImageOps.autocontrast(picture), "equalize": ImageOps.equalize(picture),
        "brightness": ImageEnhance.Brightness(picture).enhance(1.36),
        "sharpness": ImageEnhance.Sharpness(picture).enhance(1.36),
    }.items():  # fmt: skip
        assert np.array_equal(np.array(CHANGES[name](picture, 0.7, 1.0)), np.array(want)), name
    moved = np.array(CHANGES["translate_x"](picture, 0.7, 1.0))
    assert np.array_equal(moved[:, 7:], pixels[:, :-7])
    assert (moved[:, :7] == 128).all()
    moved = np.array(CHANGES["translate_y"](picture, 0.7, -1.0))
    assert np.array_equal(moved[:-7], pixels[7:])
    spot = np.zeros((41, 41, 3), np.uint8)
    spot[0, 20] = 255  # above the middle: the top goes to the left when it is turned against the clock
    at = np.unravel_index(
        np.array(CHANGES["rotate"](Pil.fromarray(spot), 1.0, 1.0))[..., 0].astype(int).argmax(), (41, 41)
    )
    assert at[1] < 20
    same = Counter()
    for seed in range(400):
        draw = Draw(seed, "augment")
        found, again = augmented(x, draw), Draw(seed, "augment")
        want = picture
        for _ in range(2):
            name, made, sign = again.choice(list(CHANGES)), again.number() < 0.5, 1.0 if again.number() < 0.5 else -1.0
            want = CHANGES[name](want, 0.7, sign) if made else want
        assert torch.equal((found * 255).round().byte(), torch.from_numpy(np.array(want)).permute(2, 0, 1))
        same[bool(torch.equal(found, x))] += 1
    assert 90 <= same[True] <= 190  # (1/2 + 2/20) squared: 144 of 400; autocontrast finds black and white there
