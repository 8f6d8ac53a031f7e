"""Every method through a run: rows with parents in the dataset, options and ledgers, on models of the tests."""

import json

import pytest

import panoglot
from panoglot.running import get_method
from tests.conftest import picture_bytes

HERE = "tests.captioning.test_end_to_end"
METHODS = {
    "scalecap": {"budget": 2},
    "patch-matters": {"detector": "d"},
    "describe-crops": {"boxes": "d", "detector": "d"},
    "image-textualization": {"detector": "d"},
    "densefusion": {"tagger": "", "detector": "d"},
    "fusecap": {"captioner": "captioner", "detector": "d"},
    "capsfusion": {"captioner": "captioner", "raw_kinds": ["human"]},
    "veclip": {"raw_kinds": ["human"]},
    "revisit-captions": {"formats": ["ssc"]},
    "caption-boosting": {},
    "sharegpt4v": {},
    "mlbcap": {"writers": ["captioner"]},
    "viscon": {},
}


class Teller:
    """Answers every question in a sentence that no other question gets."""

    name, fingerprint, batch_size, chat, sees = "toy:teller", "toy-teller-1", 8, True, True

    def generate(self, prompts):
        from panoglot.providers.roles import Answer

        kinds = ("dog", "cat", "bird", "boat", "tree")
        return [
            Answer(f"A brown {kinds[len(p.text) % 5]} with number {len(p.turns[-1].parts)} is on the left side of it.")
            for p in prompts
        ]


class Finder:
    name, fingerprint, batch_size = "toy:finder", "toy-finder-1", 8

    def detect(self, images, names=None):
        from panoglot.geometry import Region
        from panoglot.providers.roles import Box

        return [
            [Box("dog", 0.9, Region(0.1, 0.1, 0.4, 0.4)), Box("boat", 0.8, Region(0.5, 0.5, 0.9, 0.9))] for _ in images
        ]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A dataset that every method was run on, one after the other, by a recipe; and the recipe."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "photos").mkdir()
    for n in range(2):
        (folder / "photos" / f"{n}.jpg").write_bytes(picture_bytes(n))
        (folder / "photos" / f"{n}.txt").write_text(f"Rex at Rhossili beach {n}")
    recipe = {
        "source": "photos",
        "output": "X.pano",
        "models": {
            "captioner": f"python:{HERE}:Teller",
            "llm": f"python:{HERE}:Teller",
            "d": f"python:{HERE}:Finder",
            "encoder": "python:tests.running.toy:Fits",
        },
        "steps": [{name: options} for name, options in METHODS.items()],
    }
    file = folder / "recipe.yaml"
    file.write_text(json.dumps(recipe))
    done = panoglot.build(file, quiet=True)
    return panoglot.open(folder / "X.pano"), file, done


@pytest.mark.parametrize("name", METHODS)
def test_a_method_runs_by_name_and_keeps_what_it_was_made_of(name, built):
    data, *_ = built
    rows = data.captions.rows()
    known = {row["caption_id"] for row in rows}
    made = [row for row in rows if row["recipe"] == f"{name}/{get_method(name).version}"]
    kept = [row for row in made if row["dropped"] is None]
    assert len({row["image_id"] for row in kept}) == 2
    assert all(row["parents"] or name in ("sharegpt4v", "viscon", "revisit-captions", "densefusion") for row in kept)
    assert all(parent in known for row in made for parent in row["parents"] or ())
    assert {row["dropped"] for row in made} <= {None, "draft", "unsupported"}
    assert all("fallback" in dict(row["scores"]) for row in kept)
    assert all("@" not in row["text"] and row["model"] for row in made)


def test_nothing_is_rejected_and_nothing_done_twice(built):
    data, file, _ = built
    assert [f"{row['stage']} {row['reason']} {row['message']}" for row in data.rejects.rows()] == []
    before = len(data.captions.rows())
    panoglot.build(file, quiet=True)
    assert len(data.captions.rows()) == before
    assert {row["kind"] for row in data.facts.rows()} == {"box"}
    assert {row["kind"] for row in data.documents.rows()} == {"conversation"}


def test_steps_that_fell_back_are_said_beside_the_counts_the_worst_last(built):
    _, _, done = built
    lines = [line for line in done.remarks if "something simpler stood in" in line]
    said = {line.partition(":")[0]: line for line in lines}
    assert "caption.veclip" not in said  # nothing fell back
    assert "rating 2" in said["caption.scalecap"]  # its captioner gives no probabilities
    shares = [int(line.partition("in ")[2].partition(" %")[0].partition("%")[0]) for line in lines]
    assert shares == sorted(shares)
    advised = ["; name the models" in line or ": name others, or ask otherwise" in line for line in lines]
    assert advised == [share > 20 for share in shares]
    assert done.remarks[-len(lines) :] == lines


def test_every_method_declares_its_options():
    for name in METHODS:
        options = get_method(name).options()
        assert all(p.default is not p.empty for p in options.values())
        assert {"lang", "identifier"} <= set(options)
