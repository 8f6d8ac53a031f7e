"""Every preset on a benchmark from end to end: the stages that look at the best, what each gains, what it costs.

The world is that of `tests.retrieval.test_world`, as files of CIRCO; scripted models err in a stated share of wishes.
"""

import json
import re

import numpy as np
import pytest

from panoglot.errors import UserError
from panoglot.evaluate import commands
from panoglot.evaluate.benchmarks import composed_run, read_submission
from panoglot.evaluate.benchmarks.genecis import genecis
from panoglot.pictures import Image
from panoglot.providers import register
from panoglot.retrieval import Askers
from tests.retrieval.test_plans import Oracle
from tests.retrieval.test_world import RATES, Wishes, err, says

#: Filler that no wish is about: CIRCO's lists have 50 names.
FILLER = 20


class Files:
    """The world's 32 scenes as a gallery, and its wishes as annotations."""

    def __init__(self, path):
        world = Wishes(path / "x.pano")
        self.encoder, self.what = world.encoder, world.what
        self.images, self.annotations = path / "pictures", path / "annotations"
        self.images.mkdir(), self.annotations.mkdir()
        number = {key: n for n, key in enumerate(self.what, 1)}
        self.scene = {}
        for row in world.data.images.read(["image_id", "data"]).to_pylist():
            (self.images / f"{number[row['image_id']]:012}.png").write_bytes(row["data"])
            self.scene[str(number[row["image_id"]])] = self.what[row["image_id"]]
        for n in range(FILLER):
            import PIL.Image

            PIL.Image.new("RGB", (9, 9), (250, n, 99)).save(self.images / f"{1000 + n:012}.png")
            made = Image.from_path(str(self.images / f"{1000 + n:012}.png"))
            self.encoder.shown[made.id] = ()
        self.wishes = [(str(number[key]), wanted, str(number[target])) for key, wanted, target in world.wishes]
        rows = [
            {"id": n, "reference_img_id": int(key), "target_img_id": int(target), "gt_img_ids": [int(target)],
             "relative_caption": f"make it {wanted}, wish {n}"}
            for n, (key, wanted, target) in enumerate(self.wishes)
        ]  # fmt: skip
        (self.annotations / "val.json").write_text(json.dumps(rows))
        self.said = path / "captions.json"
        self.said.write_text(json.dumps({key: says(scene) for key, scene in self.scene.items()}))

    def run(self, method, models=None, *, output=None, **given):
        askers = Askers({alias: Oracle(say) for alias, say in (models or {}).items()})
        found = composed_run(
            self.encoder, "circo", self.annotations, self.images, method=method, askers=askers, output=output, **given
        )
        return np.array([rank == 1 for rank in found["recall"].details]), found, askers

    def wish(self, prompt):
        """Number of the wish, its scene and colour."""
        n = int(re.search(r"wish (\d+)", prompt.text)[1])
        key, wanted, _ = self.wishes[n]
        return n, self.scene[key], wanted

    def captioner(self, prompt):
        return says(self.what[prompt.images[0].id])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("stages"))


def wrong(rate):
    return np.array([err(rate, n) for n in range(32)])


def reasoner(files, texts):
    """Stage 1 writes these texts of a wish; stage 2 asks about colour, shape and place."""

    def reason(prompt):
        n, scene, wanted = files.wish(prompt)
        if "yes/no" in prompt.text:
            asked = (f"Is it {wanted}, wish {n}?", f"Is it a {scene[1]}, wish {n}?", f"Is it on {scene[2]}, wish {n}?")
            return json.dumps({"step2": [[question, "True"] for question in asked]})
        return json.dumps({"step1": [["Modification", f"make it {wanted}, wish {n}"]], "step2": texts(scene, wanted)})

    return reason


def verifier(files, rate):
    def looks(prompt):
        there = re.search(r"(\w+), wish", prompt.text)[1] in files.what[prompt.images[0].id]
        return "no" if err(rate, int(re.search(r"wish (\d+)", prompt.text)[1])) or not there else "yes"

    return looks


@pytest.mark.parametrize("rate", RATES)
def test_cirevl_and_cotmr_gain_where_their_planner_is_right(files, rate):
    def rewrite(prompt):
        n, scene, wanted = files.wish(prompt)
        assert says(scene) in prompt.text
        return f"Edited: {says(scene if err(rate, n) else (wanted, *scene[1:]))}"

    def sees(prompt):
        n, scene, wanted = files.wish(prompt)
        if "nonexistent" not in prompt.text:  # the whole picture's run sees no colour
            return f'{{"steps": [], "target_caption": "a {scene[1]} on {scene[2]}"}}'
        return "…" if err(rate, n) else f'{{"existent": ["{wanted}"], "nonexistent": ["{scene[0]}"]}}'

    text, _, _ = files.run("text")
    right, _, _ = files.run("cirevl", {"captioner": files.captioner, "llm": rewrite})
    assert (right == np.where(wrong(rate), text, True)).all()
    alone, _, _ = files.run("cotmr", {"lvlm": sees}, options={"wanted": 0.0, "unwanted": 0.0})
    right, found, _ = files.run("cotmr", {"lvlm": sees})
    assert (right == np.where(wrong(rate), alone, True)).all()
    short = f"{wrong(rate).sum()} queries had a simpler plan than asked for"
    assert (short in found.notes) == (rate > 0)


@pytest.mark.parametrize("rate", RATES)
def test_imagescope_gains_by_its_verifier(files, rate, tmp_path):
    models = {"captioner": files.captioner, "llm": reasoner(files, lambda scene, wanted: [wanted])}  # the rest is lost
    plain, found, _ = files.run("imagescope", models, output=tmp_path / "plain")
    assert "the stage 'verify' is left out: it needs --verifier PROVIDER:NAME" in found.notes
    assert "the stage 'judge' is left out: it needs --evaluator PROVIDER:NAME" in found.notes
    right, found, askers = files.run(
        "imagescope", {**models, "verifier": verifier(files, rate)}, options={"verify": 8}, output=tmp_path / "looked"
    )
    assert (right == np.where(wrong(rate), plain, True)).all()
    assert plain.mean() < 0.5
    assert "verified: 32 of 32 queries" in found.notes
    assert askers.spent.asked == 32 * (1 + 2 + 8 * 3)
    assert f"models: {askers.spent.asked} questions asked, 0 answered before; of unknown price" in found.notes
    before, after = (read_submission(tmp_path / name / "circo.json") for name in ("plain", "looked"))
    for query, row in before.items():  # the short list alone is put in order
        assert set(row[:8]) == set(after[query][:8])
        assert row[8:] == after[query][8:]


@pytest.mark.parametrize("rate", RATES)
def test_imagescope_gains_by_its_evaluator(files, rate):
    # the place is lost: the target is one of the first two
    models = {"captioner": files.captioner, "llm": reasoner(files, lambda scene, wanted: [f"a {wanted} {scene[1]}"])}
    plain, _, _ = files.run("imagescope", models)
    assert 0.2 < plain.mean() < 0.8
    pictures = {}

    def accept(prompt):  # the reference at the left, the candidate at the right: a scene has a shade of its own
        n, scene, wanted = files.wish(prompt)
        candidate = int(prompt.images[0].pixels()[400, 1200][0])
        pictures.setdefault(n, []).append(candidate)
        target = list(files.scene.values())[candidate] == (wanted, *scene[1:]) if candidate < 32 else False
        return "ANSWER: Yes" if target and not err(rate, n) else "ANSWER: No"

    right, found, _ = files.run("imagescope", {**models, "evaluator": accept})
    assert (right == np.where(wrong(rate), plain, True)).all()
    assert f"judged: 32 of 32 queries, in {32 - wrong(rate).sum()} a candidate was accepted" in found.notes
    assert all(len(seen) == 3 for n, seen in pictures.items() if err(rate, n))  # the first three, and no more


def test_captions_of_the_gallery_have_their_share(files):
    models = {"captioner": files.captioner, "llm": reasoner(files, lambda s, wanted: [says((wanted, *s[1:]))])}
    with_it, found, _ = files.run("imagescope", models, captions=files.said, options={"tau": 1.0})
    assert with_it.all()  # by captions alone
    assert not any("pictures alone are scored" in note for note in found.notes)
    _, found, _ = files.run("imagescope", models)
    assert "pictures alone are scored: the gallery has no captions (--captions FILE.json)" in found.notes
    for given, said in (
        ({"method": "imagescope", "options": {"tau": 0.2}}, "give captions='FILE.json'"),
        ({"method": "imagescope", "options": {"verify": 3}}, "give verifier='PROVIDER:NAME'"),
        ({"method": "cirevl", "captions": files.said}, "reads no captions"),
        ({"method": "sum", "options": {"verify": 3}}, "is no preset and reads no options"),
        ({"method": "imagescope", "options": {"verfy": 3}}, "Did you mean"),
    ):
        with pytest.raises(UserError, match=said):
            files.run(**{"models": models, **given})


def test_the_command_says_the_price_before_and_after_and_pays_once(files, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked = []

    def count(say):
        def answer(prompt):
            asked.append(prompt)
            return say(prompt)

        return answer

    texts = reasoner(files, lambda scene, wanted: [wanted])
    for alias, say in (("captioner", files.captioner), ("llm", texts), ("verifier", verifier(files, 0))):
        register(f"toy:stage-{alias}", lambda alias=alias, say=say: Oracle(count(say), f"toy:stage-{alias}"))
    register("toy:stage-encoder", lambda: files.encoder)
    prices = tmp_path / "prices.yaml"
    prices.write_text('"toy:*":\n  per_request: 0.01\n')
    given = {
        "benchmark": "circo", "annotations": str(files.annotations), "images": str(files.images), "option": "verify=4",
        "encoder": "toy:stage-encoder", "method": "imagescope", "prices": str(prices),
        **{alias: f"toy:stage-{alias}" for alias in ("captioner", "llm", "verifier")},
    }  # fmt: skip
    said = commands.composed(**given, dry_run=True)
    assert not asked
    assert said.summary == {"questions": 32 * (3 + 4 * 4), "dollars at most": pytest.approx(6.08)}
    assert "toy:stage-verifier: 512 questions, 512 pictures: at most $5.12" in said.notes
    assert "a verifier is taken to answer 4 questions about each of 4 candidates" in said.notes
    with pytest.raises(UserError, match=r"1\.0\d* of 1\.0000 dollars are spent.* Every answer so far is kept"):
        commands.composed(**given, max_cost=1.0)
    before = len(asked)
    assert 0 < before <= 100
    found = commands.composed(**given)
    paid = 32 * (3 + 4 * 3)
    assert len(asked) == paid  # nothing was asked twice
    line = next(note for note in found.notes if note.startswith("models:"))
    assert line.startswith(f"models: {paid - before} questions asked, {before} answered before; $3.8")
    again = commands.composed(**given)
    assert len(asked) == paid
    assert again["mAP"].parts == found["mAP"].parts
    assert f"models: 0 questions asked, {paid} answered before; $0" in again.notes
    assert found.made["models"]["verifier"]["name"] == "toy:stage-verifier"


def test_genecis_and_a_subset_are_looked_at_too(files, tmp_path):
    rows = []
    for key, _wanted, target in files.wishes[:8]:
        others = [other for other in files.scene if other not in (key, target)][:9]
        one = [{"val_image_id": int(k)} for k in (key, target, *others)]
        n = len(rows)
        rows.append({"condition": f"wish {n}", "reference": one[0], "target": one[1], "gallery": one[2:]})
    (tmp_path / "change_object.json").write_text(json.dumps(rows))
    models = {"captioner": files.captioner, "llm": reasoner(files, lambda scene, wanted: [wanted])}
    done = []
    for more in ({}, {"verifier": verifier(files, 0)}):
        askers = Askers({alias: Oracle(say) for alias, say in {**models, **more}.items()})
        done.append(genecis(files.encoder, tmp_path, files.images, method="imagescope", askers=askers))
    assert done[0]["change_object"].value < 1
    assert done[1]["change_object"].value == 1
    assert "change_object: verified: 8 of 8 queries" in done[1]["change_object"].notes
