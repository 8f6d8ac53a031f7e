"""Things of a clip followed and captioned: the cases of 4D LangSplat's card, on videos and pictures made here."""

import asyncio

import numpy as np
import PIL.Image
import pytest

import panoglot
from panoglot.captioning import langsplat4d
from panoglot.captioning.langsplat4d import consensus
from panoglot.errors import RowError, UserError
from panoglot.geometry import Region
from panoglot.pictures import Image, draw_region, encode_mask, highlight_region
from panoglot.providers.roles import Answer, Box, Frames
from panoglot.running import Group
from tests.captioning.films import film
from tests.captioning.scripted import Expert, Says, models

FRAMES = 24


def frame(n, shade=90):
    """A grey room with a red ball that moves to the right, and a blue box that stands still."""
    pixels = np.full((64, 96, 3), shade, np.uint8)
    pixels[::3] = shade + 40
    pixels[10:26, n * 3 : n * 3 + 16] = (220, 30, 30)
    pixels[40:60, 70:90] = (30, 30, 220)
    image = Image.from_pil(PIL.Image.fromarray(pixels))
    image.time, image.group = n / 10, "v#clip=0001"
    return image


CLIP = Group("v#clip=0001", tuple(frame(n) for n in range(FRAMES)))


class Finder:
    """Finds the ball and the box by their colours, with outlines; `lost`: frames in which it fails."""

    batch_size = 8

    def __init__(self, lost=(), name="finder"):
        self.name = self.fingerprint = f"{name}-{lost}"
        self.lost = {CLIP.images[n].id for n in lost}

    def segment(self, images, regions=None, names=None):
        return [RowError("down") if image.id in self.lost else self.found(image) for image in images]

    def found(self, image):
        pixels = image.pixels().astype(int)
        boxes = []
        for name, mine, other in (("ball", 0, 2), ("box", 2, 0)):
            mask = pixels[:, :, mine] - pixels[:, :, other] > 100
            if mask.any():
                ys, xs = np.nonzero(mask)
                place = (xs.min() / 96, ys.min() / 64, (xs.max() + 1) / 96, (ys.max() + 1) / 64)
                boxes.append(Box(name, 0.9, Region(*map(float, place), mask=encode_mask(mask))))
        return boxes


def told(prompt):
    """What the pictures of a prompt show: which thing has its colour, and where it is in the middle one."""
    part = prompt.turns[-1].parts
    pictures = [
        image for one in part for image in (one.images if isinstance(one, Frames) else [one]) if one is not None
    ]
    pictures = [one for one in pictures if isinstance(one, Image)]
    middle = pictures[len(pictures) // 2].pixels().astype(int)
    red = (middle[:, :, 0] - middle[:, :, 1] > 150) & (middle[:, :, 1] > 20)
    name = "red ball" if red.sum() > 60 else "blue box"
    if "becomes of it" not in prompt.text:
        return f"The {name} is in the room and it moves slowly over time."
    return f"The {name} is now in one of {len(pictures)} places of the room."


def caption(clip=CLIP, captioner=told, finder=None, **options):
    model = captioner if isinstance(captioner, Says) else Says(captioner)
    given = {"captioner": model, "s": finder or Finder(), **options.pop("given", {})}
    options = {"segmenter": "s", **options}
    return asyncio.run(langsplat4d(clip, models(**given), **options)), model.prompts


@pytest.mark.paper(
    "langsplat4d", shows="V", case="prompt picture: object pixels unchanged off the contour, equal channels elsewhere"
)
def test_the_prompt_picture_of_the_card():
    image = frame(4)
    ball, _ = Finder().found(image)
    before, after = image.pixels().astype(int), highlight_region(image, ball.region).pixels().astype(int)
    inside = np.zeros((64, 96), bool)
    inside[10:26, 12:28] = True
    line = (after == (255, 0, 0)).all(2)
    edge = np.zeros((64, 96), bool)
    edge[10:26, 12:28] = True
    edge[11:25, 13:27] = False
    grown = np.zeros_like(edge)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            grown |= np.roll(edge, (dy, dx), (0, 1))
    assert (line == grown).all()  # two pixels to both sides of the edge
    assert (after[inside & ~line] == before[inside & ~line]).all()
    around = after[~inside & ~line]
    assert (around == around[:, :1]).all()
    assert around.std() < before[~inside].std() / 2  # the stripes are blurred


@pytest.mark.paper("langsplat4d", shows="V", case="blur, grey and contour are chosen one by one")
def test_parts_of_the_prompt_picture():
    image = frame(4)
    region = Finder().found(image)[0].region
    before = image.pixels()
    assert (highlight_region(image, region, ()).pixels() == before).all()
    grey = highlight_region(image, region, ("grey",)).pixels()
    assert (grey[40:60, 70:90] != before[40:60, 70:90]).any()
    assert (grey[0] == before[0]).all()  # grey was grey
    assert (highlight_region(image, region, ("contour",)).pixels()[40:60, 70:90] == before[40:60, 70:90]).all()
    assert highlight_region(image, region).id != highlight_region(image, region, ("grey",)).id
    boxed = highlight_region(image, Region(0.125, 0.15625, 0.291, 0.40625)).pixels()  # a box without a mask
    assert (boxed[14:22, 16:24] == before[14:22, 16:24]).all()
    with pytest.raises(UserError, match="contour"):
        highlight_region(image, region, ("outline",))
    with pytest.raises(RowError) as error:
        highlight_region(image, Region(mask=encode_mask(np.zeros((64, 96), bool))))
    assert error.value.reason == "empty_region"
    assert draw_region(image, region, "outline").id != highlight_region(image, region).id


@pytest.mark.paper(
    "langsplat4d", shows="V", case="every thing, the last too: a video prompt of 18 frames, then a sentence a frame"
)
def test_every_thing_of_every_frame_is_captioned():
    captions, prompts = caption()
    summaries = [one for one in captions if not one.parents]
    assert [one.text.split()[2] for one in summaries] == ["ball", "box"]
    assert [len(one.region.track) for one in summaries] == [FRAMES, FRAMES]
    assert (summaries[0].region.start, summaries[0].region.end) == (0, (FRAMES - 1) / 10)
    first = [prompt for prompt in prompts if "becomes of it" not in prompt.text]
    assert [len(prompt.images) for prompt in first] == [18, 18]
    assert all(prompt.max_tokens == 128 and prompt.temperature == 0 for prompt in prompts)
    for summary, name in zip(summaries, ("ball", "box")):
        own = [one for one in captions if list(one.parents) == [summary]]
        assert [one.image_id for one in own] == [image.id for image in CLIP.images]
        assert all(name in one.text and one.kind == "region" and one.region.mask for one in own)
    assert captions[0].scores["fallback"] == 0
    assert {one.scores["thing"] for one in captions} == {0, 1}


@pytest.mark.paper("langsplat4d", shows="V", case="frames f-3, f, f+3, near the ends f alone; the summary as context")
def test_frames_around_are_shown_but_near_the_ends():
    captions, prompts = caption()
    asked = [prompt for prompt in prompts if "becomes of it" in prompt.text]
    assert sorted(len(prompt.images) for prompt in asked) == [1] * 12 + [3] * 36
    assert all("it moves slowly over time" in prompt.text for prompt in asked)
    assert all(("three frames" in prompt.text) == (len(prompt.images) == 3) for prompt in asked)
    assert sum("one of 3 places" in one.text for one in captions) == 36
    _, prompts = caption(context=0)
    assert {len(prompt.images) for prompt in prompts if "becomes of it" in prompt.text} == {1}


@pytest.mark.paper("langsplat4d", shows="V", case="things seen in fewer than 20 frames are passed over")
def test_things_that_are_seen_briefly_are_passed_over_and_counted():
    late = Group(
        "c", (*(Image.from_pil(PIL.Image.new("RGB", (96, 64), (n, n, n))) for n in range(9)), *CLIP.images[:20])
    )
    captions, _ = caption(Group("c", late.images))
    assert len([one for one in captions if not one.parents]) == 2
    with pytest.raises(RowError) as error:
        caption(Group("c", CLIP.images[:5]))
    assert error.value.reason == "too_few_frames"
    assert "--option frames=60, or --set min_frames=5" in error.value.message
    captions, _ = caption(Group("c", CLIP.images[:1]), min_frames=1)  # a single frame
    assert len(captions) == 4
    with pytest.raises(RowError) as error:
        caption(Group("c", late.images[:9]))
    assert error.value.reason == "nothing_found"


@pytest.mark.paper(
    "langsplat4d", shows="V", case="of several sentences the one with the highest mean cosine to the others"
)
def test_the_sentence_that_agrees_most_is_kept():
    assert consensus(np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6], [0.6, 0.8]])) in (2, 3)

    def says(prompt):
        if "becomes of it" not in prompt.text:
            return "The ball is in the room and rolls to the right side."
        return ("The ball is red and rolls.", "A green tree stands there.", "The ball is red and rolls on.")[
            prompt.seed
        ]

    class Reads:
        name, fingerprint, batch_size, dim = "reads", "reads-1", 8, 2

        def encode_images(self, images):
            raise UserError("it reads")

        def encode_texts(self, texts, langs=None):
            return np.array(
                [[0, 1] if "tree" in t else [1, 0] if "on." in t else [0.8, 0.6] for t in texts], np.float32
            )

    clip = Group("c", CLIP.images[:2])
    captions, prompts = caption(clip, says, samples=3, encoder="e", given={"e": Reads()}, min_frames=1, temperature=0.7)
    own = [one for one in captions if one.parents]
    assert {one.text for one in own} == {"The ball is red and rolls."}
    assert own[0].scores["agreement"] == pytest.approx(0.7)
    assert {prompt.temperature for prompt in prompts if "becomes of it" in prompt.text} == {0.7}
    with pytest.raises(UserError, match="--encoder"):
        caption(samples=2)


def test_failures_cost_a_frame_or_a_thing_and_are_counted():
    captions, _ = caption(finder=Finder(lost=(3, 9)))
    assert captions[0].scores["fallback_finder"] == 2
    assert len([one for one in captions if one.parents]) == 2 * (FRAMES - 2)  # the same two things go on

    def says(prompt):
        found = told(prompt)
        if "becomes of it" not in prompt.text and "box" in found:
            return RowError("down")
        return RowError("down") if len(prompt.images) == 1 else found

    captions, _ = caption(captioner=says)
    assert {one.text.split()[2] for one in captions} == {"ball"}
    assert (captions[0].scores["fallback_summary"], captions[0].scores["fallback_frame"]) == (1, 6)
    with pytest.raises(RowError) as error:
        caption(captioner=lambda prompt: RowError("down"))
    assert error.value.reason == "no_draft"
    with pytest.raises(UserError, match="--detector"):
        caption(segmenter="")


@pytest.mark.parametrize(
    ("lang", "first", "then"),
    [
        ("ar", "الكرة الحمراء تتحرك ببطء في الغرفة نحو اليمين.", "الكرة الآن في وسط الغرفة."),
        ("hi", "लाल गेंद कमरे में धीरे-धीरे दाईं ओर चलती है।", "गेंद अब कमरे के बीच में है।"),
        ("th", "ลูกบอลสีแดงเคลื่อนที่ช้าๆ ในห้องไปทางขวา", "ลูกบอลอยู่กลางห้องในขณะนี้"),
        ("zh", "红色的球在房间里慢慢地向右移动。", "球现在在房间的中间。"),
    ],
)
def test_in_other_languages(lang, first, then):
    clip = Group("c", CLIP.images[:2])
    captions, prompts = caption(clip, lambda p: then if first in p.text else first, lang=lang, min_frames=1)
    assert {one.lang for one in captions} == {lang}
    assert all("Answer in" in prompt.text for prompt in prompts)


def test_things_are_found_by_boxes_too_and_the_language_of_the_answer_is_checked():
    box = Box("ball", 0.9, Region(0.1, 0.1, 0.3, 0.3))
    weak = Box("ghost", 0.1, Region(0.5, 0.5, 0.9, 0.9))
    detector = Expert([box, weak])
    captions, _ = caption(segmenter="", detector="d", given={"d": detector}, names=("ball", "ghost"), context=0)
    assert len(captions) == 1 + FRAMES
    assert detector.asked[0] == ("ball", "ghost")


class Ball:
    """A detector of the film's square, which has the opposite colour of its scene."""

    name, fingerprint, batch_size = "toy:ball", "toy-ball-1", 8

    def detect(self, images, names=None):
        out = []
        for image in images:
            pixels = image.pixels().astype(int)
            ys, xs = np.nonzero(pixels[:, :, 2] - pixels[:, :, 0] > 60)
            out.append(
                [Box("square", 0.8, Region(xs.min() / 96, ys.min() / 64, (xs.max() + 1) / 96, (ys.max() + 1) / 64))]
            )
        return out


class Writes:
    name, fingerprint, batch_size = "toy:writes", "toy-writes-1", 8

    def generate(self, prompts):
        return [Answer("The square is small and it moves to the right.") for _ in prompts]


def test_a_film_from_file_to_rows_that_show_why(tmp_path):
    path = film(tmp_path / "v.mp4", [((230, 40, 40), (230, 40, 40), 30)], fps=10)
    data = panoglot.ingest(path, str(tmp_path / "v.pano"), option=["frames=25"]).dataset
    here = "python:tests.captioning.test_langsplat4d"
    done = panoglot.caption(data, method="langsplat4d", captioner=f"{here}:Writes", detector=f"{here}:Ball")
    assert dict(done.made.kept) == {"en": 26}
    rows = data.captions.rows()
    (summary,) = [row for row in rows if not row["parents"]]
    assert len(summary["region"]["track"]) == 25
    assert all(list(row["parents"]) == [summary["caption_id"]] for row in rows if row is not summary)
    some = next(row for row in rows if row["parents"])
    assert "langsplat4d" in str(panoglot.show(data, some["image_id"], why=True))
    few = panoglot.ingest(path, str(tmp_path / "few.pano")).dataset
    assert panoglot.caption(few, method="langsplat4d", captioner=f"{here}:Writes", detector=f"{here}:Ball").problem
    (reject,) = few.rejects.rows()
    assert reject["reason"] == "too_few_frames"
