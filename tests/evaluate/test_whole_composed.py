"""CIReVL, CoTMR and ImageScope whole, on files of the benchmarks, against their numbered steps by loops."""

from __future__ import annotations

import json
import re

import numpy as np
import PIL.Image
import pytest

from panoglot.errors import UserError
from panoglot.evaluate.benchmarks import composed_run, read_submission
from panoglot.pictures import Image
from panoglot.retrieval import Askers, Query, QueryPart, make_plan
from tests.retrieval.test_plans import Oracle

COLOURS = ("red", "green", "blue")
WISHES = ("make it blue", "it is green: no red", "add blue", "only green", "the same in red", "blue and green")


def pixels(image):
    return np.asarray(image.convert("RGB"), np.float64)


def vector(image):
    """The mean colour beside a constant, so black beside a picture shows."""
    found = np.array([*pixels(image).mean((0, 1)) / 255, 0.4])
    return found / np.linalg.norm(found)


def words(text):
    found = np.array([*(colour in text for colour in COLOURS), 0.4])
    return found / np.linalg.norm(found)


class Colours:
    name, fingerprint, batch_size, dim = "toy:means", "means-1", 16, 4

    def encode_images(self, images):
        return np.stack([vector(image.pil()) for image in images]).astype(np.float32)

    def encode_texts(self, texts, langs=None):
        return np.stack([words(text) for text in texts]).astype(np.float32)


def shown(image, most=1.25):
    """Step 1: black beside a picture that is longer than 1.25, its middle in the middle."""
    rows = pixels(image)
    edge = int(max(rows.shape[:2]) / most)
    gaps = [max(0, edge - side) for side in rows.shape[:2]]
    rows = np.pad(rows, [(gap // 2, gap - gap // 2) for gap in gaps] + [(0, 0)])
    return PIL.Image.fromarray(rows.astype(np.uint8))


class Files:
    """Sixty pictures of chance colours, half of them four times as wide as high; six wishes of each benchmark."""

    def __init__(self, path):
        rng = np.random.default_rng(4)
        self.path, self.pictures, self.of = path, {}, {}
        (path / "pictures").mkdir()
        for n in range(1, 61):
            size = (48, 12) if n % 2 else (14, 12)
            PIL.Image.new("RGB", size, tuple(rng.integers(0, 256, 3).tolist())).save(path / f"pictures/{n:012}.png")
            image = Image.from_path(str(path / f"pictures/{n:012}.png"))
            self.pictures[str(n)], self.of[image.id] = image.pil(), str(n)
        self.said = {key: self.caption(key) for key in self.pictures}
        self.targets = {n: [str(5 * n + 2), str(5 * n + 3)] for n in range(len(WISHES))}
        self.references = {n: str(5 * n + 1) for n in range(len(WISHES))}
        self.names = {key: f"{int(key):012}" for key in self.pictures}

    def caption(self, key):
        mean = vector(self.pictures[key])[:3]
        return f"a picture of {' and '.join(c for c, share in zip(COLOURS, mean) if share > mean.mean())}"

    def write(self, name, data):
        (self.path / "files").mkdir(exist_ok=True)
        (self.path / "files" / name).write_text(json.dumps(data), encoding="utf-8")

    def circo(self):
        self.write("val.json", [
            {"id": n, "reference_img_id": int(self.references[n]), "target_img_id": int(self.targets[n][0]),
             "gt_img_ids": [int(key) for key in self.targets[n]], "relative_caption": wish}
            for n, wish in enumerate(WISHES)
        ])  # fmt: skip

    def cirr(self):
        members = {n: [self.references[n], *(str(5 * n + 2 + m) for m in range(4)), str(n + 50)] for n in self.targets}
        self.write("cap.rc2.val.json", [
            {"pairid": n, "reference": self.names[self.references[n]], "target_hard": self.names[self.targets[n][0]],
             "caption": wish, "img_set": {"members": [self.names[key] for key in members[n]]}}
            for n, wish in enumerate(WISHES)
        ])  # fmt: skip
        self.write("split.rc2.val.json", {name: name for name in self.names.values()})
        return members

    def run(self, benchmark, method, models, **given):
        askers = Askers({alias: Oracle(say) for alias, say in models.items()})
        out = self.path / f"{benchmark}-{method}-{len(list(self.path.iterdir()))}"
        found = composed_run(
            Colours(), benchmark, self.path / "files", self.path / "pictures", method=method, askers=askers, output=out,
            **given,
        )  # fmt: skip
        return found, out, askers

    def captioner(self, prompt):
        assert prompt.temperature == 0
        return self.said[self.of[prompt.images[0].id]]  # the picture as it is, without black


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("whole"))


def ranked(scores, leave=()):
    return [key for key, _ in sorted(scores.items(), key=lambda one: (-one[1], one[0])) if key not in leave]


def edited(n, base):
    """What the language model writes of a wish: a sentence with a colon, an echo, a refusal …"""
    return ("Edited: a blue picture: plain", "**edited**: green", f"Edited: {base}", "I cannot.", "Edited: red", "")[n]


@pytest.mark.paper(
    "cirevl",
    shows="C",
    case="CIRCO, CIRR, FashionIQ, GeneCIS by loops: 1 black beside longer than 1.25; 2 one caption, greedy; 3 the "
    "rewriter is told of nine operations, caption, instruction; 4 what follows the prefix, else the instruction; 5 "
    "cosine; 6 focus on an attribute: text and reference; 7 CIRR without the reference, its subset; AP@5 by hand",
)
def test_cirevl_by_its_steps_on_four_benchmarks(files, tmp_path):
    asked = []

    def rewrite(prompt):
        asked.append(prompt.text)
        n = next(n for n, wish in enumerate(WISHES) if prompt.text.endswith(f"Change: {wish}"))
        return edited(n, files.said[files.references[n]])

    models = {"captioner": files.captioner, "llm": rewrite}
    gallery = {key: vector(shown(image)) for key, image in files.pictures.items()}
    assert any(np.abs(gallery[key] - vector(image)).max() > 0.05 for key, image in files.pictures.items())
    texts = ["a blue picture: plain", "green", WISHES[2], WISHES[3], "red", WISHES[5]]  # an echo is none
    scores = [{key: float(words(text) @ row) for key, row in gallery.items()} for text in texts]

    files.circo()
    found, out, askers = files.run("circo", "cirevl", models)
    lists = read_submission(out / "circo.json")
    averages = []
    for n in files.targets:
        right = ranked({key: round(value, 6) for key, value in scores[n].items()})[:50]
        assert [round(scores[n][key], 5) for key in lists[str(n)]] == [round(scores[n][key], 5) for key in right]
        hits = [key in files.targets[n] for key in lists[str(n)][:5]]
        averages.append(sum(sum(hits[: k + 1]) / (k + 1) * hit for k, hit in enumerate(hits)) / 2)
    assert found["mAP"].parts["map@5"] == pytest.approx(np.mean(averages))
    assert askers.spent.asked == 2 * len(WISHES)
    assert "3 queries had a simpler plan than asked for" in found.notes
    for said in ("numbers", "additions", "removals", "comparisons", "several changes", "spoken of directly", "places",
                 "backgrounds", "points of view", 'never write "without"', "Imagine nothing"):  # fmt: skip
        assert said in asked[0].replace("\n", " ")
    assert f"Picture: {files.said[files.references[0]]}\n" in asked[0]

    members = files.cirr()
    _, out, _ = files.run("cirr", "cirevl", models)
    lists, groups = read_submission(out / "cirr.json"), read_submission(out / "cirr-subset.json")
    for n in files.targets:
        assert files.names[files.references[n]] not in lists[str(n)]
        assert len(lists[str(n)]) == 50
        among = {key: scores[n][key] for key in members[n] if key != files.references[n]}
        assert groups[str(n)] == [files.names[key] for key in ranked(among)][:3]

    for category in ("dress", "shirt", "toptee"):
        rows = [{"candidate": files.names[files.references[n]], "target": files.names[files.targets[n][0]],
                 "captions": [f"{WISHES[n][:6]}?", f" {WISHES[n][6:].strip()}."]} for n in (0,)]  # fmt: skip
        files.write(f"cap.{category}.val.json", rows)
        files.write(f"split.{category}.val.json", list(files.names.values()))
    joined = []
    _, out, _ = files.run("fashion-iq", "cirevl", {**models, "llm": lambda p: joined.append(p.text) or "Edited: blue"})
    assert joined[0].endswith("Change: make i and t blue")
    blue = {files.names[key]: round(float(words("blue") @ row), 6) for key, row in gallery.items()}
    kept = json.loads((out / "fashion-iq.dress.json").read_text())["0"]
    assert [blue[name] for name in kept] == pytest.approx([blue[name] for name in ranked(blue)][:50], abs=1e-5)

    rows = [{"condition": WISHES[n], "reference": {"val_image_id": int(files.references[n])},
             "target": {"val_image_id": int(files.targets[n][0])},
             "gallery": [{"val_image_id": 40 + m} for m in range(9)]} for n in (0, 1)]  # fmt: skip
    files.write("focus_attribute.json", rows)
    _, out, _ = files.run("genecis", "cirevl", models, options={"picture": 1.0})
    order = json.loads((out / "genecis.json").read_text())
    for n in (0, 1):
        both = words(texts[n]) + gallery[files.references[n]]
        both /= np.linalg.norm(both)
        row = [files.targets[n][0], *(str(40 + m) for m in range(9))]
        assert order[f"focus_attribute/{n}"] == sorted(range(10), key=lambda at: -float(both @ gallery[row[at]]))


def test_pictures_as_they_are_where_that_is_asked(files):
    files.circo()
    plain, padded = ({"captioner": files.captioner, "llm": lambda _p: "Edited: blue"} for _ in range(2))
    lists = [
        read_submission(files.run("circo", "cirevl", models, pad=pad)[1] / "circo.json")["0"]
        for models, pad in ((plain, 0), (padded, None), (padded, 1.25))
    ]
    for found, see in zip(lists, (lambda image: image, shown, shown)):
        right = {key: float(words("blue") @ vector(see(image))) for key, image in files.pictures.items()}
        assert [round(right[key], 5) for key in found] == sorted((round(v, 5) for v in right.values()), reverse=True)[
            :50
        ]
    assert lists[0] != lists[1] == lists[2]
    for pad in (0.5, -1, float("nan")):
        with pytest.raises(UserError, match="is a ratio of sides"):
            files.run("circo", "cirevl", plain, pad=pad)


OBJECTS = (["a blue thing", "green", "GREEN"], ["red"]), ([], ["blue", "green one"]), (["red one"], []), ([], [])


@pytest.mark.paper(
    "cotmr",
    shows="C",
    case="CIRR by loops: 1 A to D over picture and wish, steps, then the caption; 2 objects that must and must not be "
    "seen; 3, 4 cosines, means, nothing for none; 5 s_g + .5 s_e - .2 s_n is one vector; 6 normalised over the gallery "
    "too; 7 without the reference, its subset",
)
@pytest.mark.parametrize("normalise", [False, True])
def test_cotmr_by_its_steps(files, normalise):
    asked = []

    def sees(prompt):
        n = next(n for n, wish in enumerate(WISHES) if f'"{wish}"' in prompt.text)
        assert files.of[prompt.images[0].id] == files.references[n]
        assert prompt.temperature == 0
        asked.append((n, "nonexistent" in prompt.text))
        for part in ("A: ", "B: ", "C: ", "D: "):
            assert part in prompt.text
        must, never = OBJECTS[n % 4]
        if asked[-1][1]:
            return json.dumps({"steps": ["looked"], "existent": must, "nonexistent": never})
        return json.dumps({"steps": ["A", "B", "C"], "target_caption": f"a picture that is {COLOURS[n % 3]}"})

    members = files.cirr()
    gallery = {key: vector(shown(image)) for key, image in files.pictures.items()}
    _, out, _ = files.run("cirr", "cotmr", {"lvlm": sees}, options={"normalise": normalise})
    assert sorted(asked) == sorted((n, what) for n in range(len(WISHES)) for what in (False, True))
    lists, groups = read_submission(out / "cirr.json"), read_submission(out / "cirr-subset.json")

    def alike(text):
        found = {key: float(words(text) @ row) for key, row in gallery.items()}
        if not normalise:
            return found
        values = np.array(list(found.values()))
        return {key: (value - values.mean()) / values.std() for key, value in found.items()}

    for n in range(len(WISHES)):
        must, never = ([*dict.fromkeys(text.casefold() for text in some)] for some in OBJECTS[n % 4])
        caption = f"a picture that is {COLOURS[n % 3]}"
        never = [text for text in never if not set(text.split()) <= set(caption.split())]
        whole, wanted, unwanted = alike(caption), [alike(t) for t in must], [alike(t) for t in never]
        score = {
            key: whole[key]
            + (0.5 * np.mean([one[key] for one in wanted]) if wanted else 0)
            - (0.2 * np.mean([one[key] for one in unwanted]) if unwanted else 0)
            for key in gallery
        }
        back = {name: key for key, name in files.names.items()}
        got = [score[back[name]] for name in lists[str(n)]]
        best = [score[key] for key in ranked(score, [files.references[n]])][:50]
        assert got == pytest.approx(best, abs=2e-5)
        if not normalise:  # one vector, one look-up
            vectors = [words(caption), *(0.5 / len(must) * words(t) for t in must)]
            vectors += [-0.2 / len(never) * words(t) for t in never]
            one = np.sum(vectors, 0)
            assert {key: float(one @ row) for key, row in gallery.items()} == pytest.approx(score, abs=1e-6)
            among = {key: score[key] for key in members[n] if key != files.references[n]}
            assert groups[str(n)] == [files.names[key] for key in ranked(among)][:3]


@pytest.mark.paper(
    "imagescope",
    shows="C",
    case="CIRCO and CIRR's groups by loops: the gallery's captions; 1 caption and instruction, five kinds, three "
    "descriptions; 2 repair and fallbacks; 3 tau .15, mean; 4, 5 questions, each of the best 20 alone; 6 stable by "
    "what holds; 7 the first of three that is accepted; a dialogue by rounds",
)
def test_imagescope_by_its_steps(files, tmp_path):
    files.circo()
    items = [["Modification", "the colour"], ["Retention", "the size"], ["odd"]]
    texts = {n: [f"{COLOURS[n % 3]}", f"a {COLOURS[(n + 1) % 3]} one", "a red and green picture"] for n in range(6)}
    questions = [["Is it red?", "True"], ["Is it blue?", "False"], ["Is it darker than before?", "True"], ["odd"]]
    looked, joined = {}, []

    def which(prompt):
        return next(n for n, wish in enumerate(WISHES) if wish in prompt.text)

    def reason(prompt):
        n = which(prompt)
        assert prompt.max_tokens == 2048
        if "yes/no" in prompt.text:
            if n != 4:
                assert "Modification: the colour; Retention: the size" in prompt.text
            return json.dumps({"step2": questions})
        assert files.said[files.references[n]] in prompt.text
        for kind in ("Addition", "Removal", "Modification", "Comparison", "Retention", "3 descriptions"):
            assert kind in prompt.text
        if n == 4:
            return "I cannot."
        found = json.dumps({"step1": items, "step2": texts[n]})
        return f"Well:\n```json\n{found[:-1]},}}\n```" if n else found

    def red(key):
        return "red" in files.said[key]

    def sees(prompt):
        (image,) = prompt.images  # the candidate alone
        key = files.of[image.id]
        looked.setdefault(key, set()).add(prompt.text)
        there = red(key) if "red?" in prompt.text else "blue" in files.said[key]
        return "Yes, it is." if there else "No; its eyes are shut, as yesterday"

    def accept(prompt):
        n = which(prompt)
        (both,) = prompt.images
        assert both.pil().size == (1608, 840)
        rows = np.asarray(both.pil().convert("RGB"))
        assert not rows[:, 804].any()  # the line between them
        assert len(np.unique(rows[:40, :790])) > 1  # their names
        assert (rows[400, 400] == pixels(files.pictures[files.references[n]])[0, 0]).all()
        key = next(key for key, im in files.pictures.items() if (rows[400, 1200] == pixels(im)[0, 0]).all())
        joined.append((n, key))
        return "ANSWER: Yes" if len([one for one in joined if one[0] == n]) == 2 and n < 3 else "ANSWER: No"

    models = {"captioner": files.captioner, "llm": reason, "verifier": sees, "evaluator": accept}
    gallery = {key: vector(image) for key, image in files.pictures.items()}
    found, out, _ = files.run("circo", "imagescope", models, captions=files.said)
    lists = read_submission(out / "circo.json")
    for n in range(len(WISHES)):
        said = texts[n] if n != 4 else [files.said[files.references[4]]]  # nothing could be read
        score = {
            key: np.mean([0.85 * words(d) @ row + 0.15 * words(d) @ words(files.said[key]) for d in said])
            for key, row in gallery.items()
        }
        first = ranked(score)
        value = {key: (red(key)) + ("blue" not in files.said[key]) for key in first[:20]}
        best = [key for v in (2, 1, 0) for key in first[:20] if value[key] == v]
        if n < 3:
            best = [best[1], best[0], *best[2:]]
        assert lists[str(n)] == [*best, *first[20:50]], n
        assert [key for m, key in joined if m == n] == ([best[1], best[0]] if n < 3 else best[:3])
    assert {text.split("?")[0] for texts in looked.values() for text in texts} == {"Is it red", "Is it blue"}
    assert found.notes

    members = files.cirr()  # a group is ordered by itself, all of it
    joined.clear()
    _, out, _ = files.run("cirr", "imagescope", models, captions={files.names[k]: t for k, t in files.said.items()})
    groups = read_submission(out / "cirr-subset.json")
    for n in (5, 3):
        score = {k: np.mean([0.85 * words(d) @ gallery[k] + 0.15 * words(d) @ words(files.said[k]) for d in texts[n]])
                 for k in members[n] if k != files.references[n]}  # fmt: skip
        value = {key: red(key) + ("blue" not in files.said[key]) for key in score}
        best = sorted(ranked(score), key=lambda key: -value[key])
        assert groups[str(n)] == [files.names[key] for key in best[:3]]


def test_a_dialogue_goes_on_from_what_the_round_before_came_to():
    asked = []

    def reason(prompt):
        if "yes/no" in prompt.text:
            return "{}"
        asked.append(re.search(r"A picture shows: (.*)\nSomebody wants another picture: (.*)", prompt.text).groups())
        assert "one description" in prompt.text
        return json.dumps({"step2": [f"round {len(asked)}", "more"]})

    turns = ("a man", "older", "at the sea")
    query = Query(tuple(QueryPart("text", turn, role="dialogue_turn") for turn in turns))
    plan = make_plan(query, "imagescope", Askers({"llm": Oracle(reason), "captioner": Oracle(lambda _p: "x")}))
    assert asked == [("A blank image.", "a man"), ("round 1", "older"), ("round 2", "at the sea")]
    assert [term.value for term in plan.positives] == ["round 3"]
