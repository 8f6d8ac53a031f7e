"""Multiple choice: answer reading, MVL-SIB's items, circular scoring, contrastive choice."""

from __future__ import annotations

import base64
import collections
import csv
import unicodedata
from types import SimpleNamespace

import numpy as np
import pytest

from panoglot.errors import RowError, UserError
from panoglot.evaluate.benchmarks.commute import commute, read_commute
from panoglot.evaluate.benchmarks.mmmb import mmmb, mmmb_scores, read_mmmb
from panoglot.evaluate.benchmarks.mvl_sib import mvl_sib, mvl_sib_items, read_sib
from panoglot.evaluate.benchmarks.smpqa import clean
from panoglot.metrics import choice, circular, contrastive, log_probabilities, read_label, read_letter
from panoglot.providers.roles import Answer
from tests.conftest import picture_bytes

TOPICS = ["science", "travel", "politics", "sports", "health", "entertainment", "geography"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A", 0), ("b", 1), ("C.", 2), ("(D)", 3), ("**B**", 1), ("Answer: C", 2), ("The answer is A.", 0), ("", None),
        ("A dog runs", None), ("I cannot tell", None), ("B or C", None), ("E", None), ("B. a cat", 1), ("Ｂ", 1),
        ("答案是 B。", 1), ("الجواب هو C", 2), ("कोई नहीं", None),
    ],
)  # fmt: skip
def test_letters(text, expected):
    assert read_letter(text, 4) == expected


def test_letters_by_text():
    options = ["a car", "a red car", "sky"]
    assert read_letter("I see a red car there", options, "text") == 1
    assert read_letter("a car under the sky", options, "text") is None
    assert read_letter("A dog", 4, "starts") == 0


@pytest.mark.parametrize(
    ("lang", "share", "none", "several"),
    [
        ("eng_Latn", 0.6961, 28, 14),
        ("deu_Latn", 0.6569, 33, 14),
        ("swh_Latn", 0.5735, 47, 24),
        ("nqo_Nkoo", 0.0343, 193, 0),
    ],
)
@pytest.mark.paper(
    "mvl-sib",
    shows="V",
    case="GPT-3.5's answers to SIB-200 in four languages: .6961, .6569, .5735, .0343, unread and ambiguous counted",
)
def test_published_answers(test_data, lang, share, none, several):
    folder = test_data / "dadelani+sib-200"
    labels = (folder / "labels.txt").read_text().split("\n")
    labels = [label.strip() for label in labels if label.strip()]
    with (folder / f"llm_gpt3.5/{lang}.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))[1:]
    assert len(rows) == 204
    answers = [row[-1] for row in rows]
    chosen = [read_label(answer, labels) for answer in answers]
    found = choice(chosen, [labels.index(row[2]) for row in rows], options=7, lang=lang)
    assert found.value == pytest.approx(share, abs=5e-5)
    assert sum(not any(label in a.lower() for label in labels) for a in answers) == none
    assert sum(sum(label in a.lower() for label in labels) > 1 for a in answers) == several
    assert found.parts["unread"] == pytest.approx((none + several) / 204)


@pytest.mark.paper(
    "mvl-sib",
    shows="V",
    case="SIB-200: 3,012 questions a language and task, the same in English and N'Ko, four topics, labels even",
)
def test_mvl_sib_items_are_the_same_in_all_languages(test_data):
    folder = test_data / "dadelani+sib-200"
    english, nko = read_sib(folder, "eng_Latn"), read_sib(folder, "nqo_Nkoo")
    assert collections.Counter(english.topics) == dict(zip(TOPICS, (252, 198, 146, 122, 110, 93, 83)))
    for task in ("i2s", "s2i", "t2s", "s2t"):
        items = mvl_sib_items(english.ids, english.topics, task=task, k=3)
        assert items == mvl_sib_items(nko.ids, nko.topics, task=task, k=3)
        assert len(items) == 3012
        assert collections.Counter(item.record for item in items) == dict.fromkeys(range(1004), 3)
        for item in items:
            assert len(set(item.options)) == 4
            of = [english.topics[o] if isinstance(o, int) else o.partition("_")[0] for o in item.options]
            assert len(set(of)) == 4
            assert of[item.label] == item.topic
            assert len(set(item.references)) == (1 if task == "t2s" else 3)
        labels = collections.Counter(item.label for item in items)
        assert all(abs(count - 753) < 71 for count in labels.values())  # three sigma
        fewer = mvl_sib_items(english.ids, english.topics, task=task, k=1)
        assert all(a.references[:1] == b.references for a, b in zip(items, fewer))
    some = mvl_sib_items(english.ids, english.topics, limit=50)
    assert len(some) == 50
    assert set(some) <= set(mvl_sib_items(english.ids, english.topics))


def write_sib(folder, lang="xxx_Latn"):
    (folder / lang).mkdir(parents=True)
    at = 0
    for split, count in (("train", 701), ("dev", 99), ("test", 204)):
        lines = ["index_id\tcategory\ttext"]
        for _ in range(count):
            topic = TOPICS[at % 7]
            lines.append(
                f'{at}\t{"science/technology" if topic == "science" else topic}\t"{lang} sentence {at} of {topic}'
            )
            at += 1
        (folder / lang / f"{split}.tsv").write_text("\n".join(lines) + "\n")


class OneHot:
    """Knows topics; counts pictures."""

    name, fingerprint, batch_size, dim = "one-hot:1", "o", 8, 7

    def __init__(self):
        self.pictures = 0

    def _of(self, text):
        return np.eye(7)[next(n for n, topic in enumerate(TOPICS) if topic in text)]

    def encode_texts(self, texts, langs=None):
        return np.array([self._of(text) for text in texts])

    def encode_images(self, images):
        self.pictures += len(images)
        return np.array([self._of(image.topic) for image in images])


class Oracle:
    """Answers t2s and s2t by the words."""

    name, fingerprint, batch_size = "oracle:1", "o", 64

    def __init__(self, constant=None):
        self.constant = constant

    def generate(self, prompts):
        answers = []
        for prompt in prompts:
            lines = prompt.text.split("\n")
            topic = next(t for t in TOPICS if t in lines[0])
            right = next(line[0] for line in lines if line[:2] in ("A.", "B.", "C.", "D.") and topic in line)
            answers.append(RowError("refused") if self.constant == "fail" else Answer(self.constant or f"{right}."))
        return answers


@pytest.mark.paper("mvl-sib", shows="V", case="who knows the topics: 1; always A: the share of A; four tasks")
def test_mvl_sib_with_models(tmp_path, monkeypatch):
    for lang in ("xxx_Latn", "yyy_Arab"):
        write_sib(tmp_path, lang)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for topic in TOPICS:
        for n in range(10):
            (pictures / f"{topic}_{n}.jpg").write_bytes(picture_bytes(n))
    from panoglot import pictures as io

    monkeypatch.setattr(
        io.Image, "from_path", classmethod(lambda cls, path: SimpleNamespace(topic=path.rpartition("/")[2]))
    )
    encoder = OneHot()
    for task in ("i2s", "s2i"):
        encoder.pictures = 0
        found = mvl_sib(encoder, tmp_path, lang=["xxx_Latn", "yyy_Arab"], task=task, images=pictures, k=1)
        assert encoder.pictures == 70  # once, for both languages
        assert [float(result) for result in found.values()] == [1.0, 1.0]
    for task in ("t2s", "s2t"):
        assert mvl_sib(Oracle(), tmp_path, lang="xxx_Latn", task=task).summary["mean"] == 1
    constant = mvl_sib(Oracle("A"), tmp_path, lang="xxx_Latn", task="s2t")["xxx_Latn"]
    items = mvl_sib_items(*(lambda s: (s.ids, s.topics))(read_sib(tmp_path, "xxx_Latn")), task="s2t")
    assert constant.value == pytest.approx(np.mean([item.label == 0 for item in items]))
    assert constant.parts["share_A"] == 1
    failing = mvl_sib(Oracle("fail"), tmp_path, lang="xxx_Latn", task="s2t", limit=20)["xxx_Latn"]
    assert (failing.value, failing.unscored) == (None, 20)
    with pytest.raises(UserError, match="Did you mean 'xxx_Latn'"):
        read_sib(tmp_path, "xxx_Latin")
    (tmp_path / "xxx_Latn/dev.tsv").write_text("index_id\tcategory\ttext\n")
    with pytest.raises(UserError, match="905 rows, not 1004"):
        read_sib(tmp_path, "xxx_Latn")


@pytest.mark.paper("parrot-mmmb", shows="V", case="four rotations, three right: 0")
@pytest.mark.paper("centurio", shows="V", case="four rotations, three right: 0")
def test_circular():
    assert circular([1, 1, 1, 0], [7, 1000007, 2000007, 3000007]).value == 0
    mixed = circular([1, 0, 1, 1, None], [1000007, 8, 7, 9, 1000009])
    assert dict(zip(mixed.ids, mixed.per_item)) == {"7": 1, "8": 0, "9": None}
    assert mixed.parts["plain"] == 0.75
    with pytest.raises(UserError, match=r"lack rotations: 7 \(1\)"):
        circular([1], [7], rotations={7: 2})


def test_mmmb_file(tmp_path):
    picture = base64.b64encode(picture_bytes(0)).decode()
    rows = ["index\timage\tquestion\tA\tB\tC\tD\tanswer\tcategory"]
    words = ["dog", "cat", "fox", "hen"]
    for turn in range(4):
        options = words[turn:] + words[:turn]
        image = picture if turn == 0 else "7"
        rows.append(
            "\t".join([str(7 + 1_000_000 * turn), image, "What?", *options, "ABCD"[options.index("cat")], "animals"])
        )
    rows.append("\t".join(["8", picture, 'Is "it" red?', "yes", "no", "nan", "", "B", "colours"]))
    (tmp_path / "m.tsv").write_text("\n".join(rows))
    table = read_mmmb(tmp_path / "m.tsv")
    assert [len(row["options"]) for row in table] == [4, 4, 4, 4, 2]

    class Model:
        name, fingerprint, batch_size = "m", "m", 2

        def generate(self, prompts):
            assert all(len(prompt.images) == 1 for prompt in prompts)
            return [Answer("It is a cat" if "What" in prompt.text else "B") for prompt in prompts]

    found = mmmb(Model(), tmp_path / "m.tsv", lang="en")
    assert (found["plain"].value, found["circular"].value, found["circular"].n) == (1, 1, 2)
    assert found["plain"].parts["accuracy/animals"] == 1
    always_b = mmmb_scores(table, dict.fromkeys([row["index"] for row in table], "B"))
    assert (always_b["plain"].value, always_b["circular"].value) == (0.4, 0.5)
    with pytest.raises(UserError, match="have no answer"):
        mmmb_scores(table, {7: "A"})
    (tmp_path / "bad.tsv").write_text("index\tquestion\tA\tB\tanswer\n1\tq\tx\ty\tD\n")
    with pytest.raises(UserError, match="no option: 1"):
        read_mmmb(tmp_path / "bad.tsv")


class Likes:
    """Gives every text the log-probability in a table."""

    name, fingerprint, batch_size = "likes:1", "l", 8

    def __init__(self, table):
        self.table = table

    def generate(self, prompts):
        return []

    def score(self, prompts, texts):
        return [self.table[text] for text in texts]


def test_log_probabilities_and_contrast():
    model = Likes({"a b": [("a", -1.0), ("b", -3.0)], "c": [("c", -2.5)], "x": RowError("too_long")})
    assert log_probabilities(model, [None] * 3, ["a b", "c", "x"]) == [-2.0, -2.5, None]
    assert log_probabilities(model, [None], ["a b"], mean=False) == [-4.0]
    found = contrastive([-1, -2, -1, None], [-2, -1, -1, -1])
    assert (found.value, found.unscored) == (pytest.approx(1 / 3), 1)
    assert contrastive([-1], [-1], ties="half").value == 0.5
    with pytest.raises(UserError, match="cannot score"):
        log_probabilities(object(), [], [])


@pytest.mark.parametrize("lang", ["de", "fr", "cs", "ru", "zh", "ar"])
@pytest.mark.paper(
    "florenz",
    shows="V",
    case="CoMMuTE in six languages: without the picture half of the pairs that do not tie",
)
def test_commute_without_the_picture_is_a_coin(test_data, lang):
    folder = test_data / "MatthieuFP+CoMMuTE"
    rows = read_commute(folder, lang)
    assert len(rows) > 100
    lengths = {text: [("x", -1.0 - len(text) / 100)] for row in rows for text in (row["right"], row["wrong"])}
    found = commute(Likes(lengths), folder, lang=lang, see=False)
    ties = sum(len(row["right"]) == len(row["wrong"]) for row in rows)
    assert found.value == pytest.approx(0.5 * (1 - ties / len(rows)), abs=0.02)


def test_options_are_found_however_their_letters_are_typed():
    # น้ำ in one character more or less; the answer in its NFKC form
    answer = unicodedata.normalize("NFKC", "มันคือน้ำ")
    assert read_letter(answer, ["ไฟ", "น้ำ"], "text") == 1
    assert read_label(answer, ["ไฟ", "น้ำ"]) == 1
    assert clean("น\u0e4d\u0e49\u0e32") == clean("น้ำ")


@pytest.mark.paper(
    "florenz",
    shows="V",
    case="CoMMuTE: 154, 154, 150 and 162 ambiguous sentences, each twice; swapping right and wrong gives 1 - accuracy",
)
@pytest.mark.parametrize(
    ("lang", "lines"), [("fr", 308), ("cs", 308), ("de", 300), ("ar", 324), ("ru", 324), ("zh", 324)]
)
def test_commute_pairs(test_data, lang, lines):
    rows = read_commute(test_data / "MatthieuFP+CoMMuTE", lang)
    assert len(rows) == lines
    for one, other in zip(rows[::2], rows[1::2]):
        assert one["source"] == other["source"]
        for mine, theirs in (("right", "wrong"), ("wrong", "right")):  # some lines name two translations, a/b
            said, meant = ({one.strip(" !.") for one in text.split("/")} for text in (one[mine], other[theirs]))
            assert said & meant
    likes = {text: [("x", -float(len(text)))] for row in rows for text in (row["right"], row["wrong"])}
    differing = [row for row in rows if len(row["right"]) != len(row["wrong"])][:99]
    swapped = [{**row, "right": row["wrong"], "wrong": row["right"]} for row in differing]
    accuracy, other = (
        commute(Likes(likes), "", lang=lang, see=False, items=items).value for items in (differing, swapped)
    )
    assert accuracy + other == pytest.approx(1)
