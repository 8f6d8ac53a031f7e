"""Florenz as a whole: its data, a run against the library's own forward, both decoders, languages without captions."""

from __future__ import annotations

import copy
import json
from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch")
hf = pytest.importorskip("transformers")
pytest.importorskip("scipy.optimize")
F = torch.nn.functional

import panoglot
from panoglot.captioning.florenz import attach, read_parallel
from panoglot.errors import UserError
from panoglot.networks import Data, load_row, load_run, make_model
from panoglot.providers import register
from panoglot.providers.roles import Answer
from panoglot.running import method_stage, run_stage
from panoglot.table import Caption, open_dataset
from panoglot.training import Trainer, fit_scaling, read_records
from tests.curation.conftest import Maker, jpeg, scene
from tests.networks.test_language import loud, tokenizer
from tests.training.plain_run import adamw, plain_run, same, warm_cosine

SAID = ("a house", "a boat", "a tree", "a bird", "a cloud", "a road", "a lamp", "a bell")
FRENCH = ("une maison", "un bateau", "un arbre", "un oiseau", "un nuage", "une route", "une lampe", "une cloche")
CHINESE = ("一座房子", "一艘船", "一棵树", "一只鸟", "一朵云", "一条路", "一盏灯", "一口钟")
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Florence-2 and Gemma-2, both small, with tokenisers."""
    root = tmp_path_factory.mktemp("florenz")
    places = {name: root / name for name in ("florence", "gemma")}
    for place in places.values():
        place.mkdir()
    torch.manual_seed(0)
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    n = tokenizer(places["florence"])
    sizes = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    text = hf.BartConfig(
        vocab_size=n + 1, d_model=16, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=256, dropout=0.0,
        forced_eos_token_id=None, decoder_start_token_id=2, **ids, **sizes,
    )  # fmt: skip
    vision = hf.Florence2VisionConfig(
        depths=(1, 1, 1, 1), embed_dim=(8, 8, 16, 16), num_heads=(2,) * 4, num_groups=(2,) * 4, window_size=4,
        projection_dim=16, drop_path_rate=0.0,
    )  # fmt: skip
    whole = hf.Florence2Config(text_config=text.to_dict(), vision_config=vision.to_dict(), image_token_id=n)
    florence = hf.Florence2ForConditionalGeneration(whole)
    florence.save_pretrained(places["florence"])
    n = tokenizer(places["gemma"])
    gemma = hf.Gemma2ForCausalLM(hf.Gemma2Config(
        vocab_size=n, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=256, attention_dropout=0.0, **ids,
    ))  # fmt: skip
    loud(gemma)
    gemma.save_pretrained(places["gemma"])
    return {name: str(place) for name, place in places.items()}


class Space:
    """An encoder for tests: pictures and English texts of one number have one vector; the last text is like all."""

    name, fingerprint, batch_size, dim = "toy:space", "space-1", 4, 8

    def encode_images(self, images):
        return np.eye(8, dtype=np.float32)[[image.width - 40 for image in images]]

    def encode_texts(self, texts, langs=None):
        assert set(langs) == {"en"}
        rows = [np.eye(8)[SAID.index(text)] if text in SAID else np.full(8, 8**-0.5) for text in texts]
        return np.array(rows, np.float32)


class Says:
    """A captioner for tests."""

    name, fingerprint, batch_size = "toy:says-florenz", "says-1", 4

    def generate(self, prompts):
        return [Answer(f"There is {SAID[p.images[0].width - 40]}.") for p in prompts]


@pytest.fixture
def data(tmp_path):
    """Steps 3a to 3c: parallel texts put to pictures, machine captions in English, German of these."""
    register("python:space", Space)
    register("python:says-florenz", Says)
    maker = Maker(tmp_path / "x.pano")
    for n in range(8):
        maker.image(jpeg(scene(n, 40 + n, 64)), 40 + n, 64)
    table = ["en\tfr\tzh", *map("\t".join, zip(SAID, FRENCH, CHINESE)), "something\tquelque chose\t某物"]
    (tmp_path / "pairs.tsv").write_text("\n".join([*table, "a house\tune maison\t"]), "utf-8")
    place = maker.dataset
    stage = method_stage("florenz", {"pairs": str(tmp_path / "pairs.tsv")}, {"encoder": "python:space"}, processes=0)
    assert run_stage(place, stage, "r1").done == 8
    panoglot.caption(place, method="describe", captioner="python:says-florenz", lang="en", quiet=True)
    rows = open_dataset(place.address).captions.rows(["caption_id", "image_id", "text", "lang", "kind"])
    german = [
        Caption(row["text"].replace("There is", "Da ist"), "de", "short", parents=[row["caption_id"]])
        for row in rows
        if row["kind"] not in ("question", "answer")
    ]
    for row, one in zip([r for r in rows if r["kind"] not in ("question", "answer")], german, strict=True):
        maker.caption(row["image_id"], one.text, lang="de")
    return place


def answer(model, batch, i):
    """Step 4: one sample through the library's own model, its picture's tokens before the prompt; logits, targets."""
    prompt, written = batch.given[i][batch.given_mask[i]], batch.written[i]
    target = batch.target[i]
    pixels = batch.image[i] * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    pixels = (pixels - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )
    seen = model.image.project(model.image.model(pixels).last_hidden_state)
    words = model.text.lm.get_input_embeddings()
    read = torch.cat([seen, words(prompt)[None]], 1)
    given = torch.cat([torch.tensor([2]), written[:-1]])[None]
    logits = model.text.lm(inputs_embeds=read, decoder_input_ids=given).logits[0]
    return logits[target != -100], target[target != -100]


def florenz_loss(model, batch):
    found = [answer(model, batch, i) for i in range(len(batch))]
    return F.cross_entropy(torch.cat([one for one, _ in found]), torch.cat([one for _, one in found]))


@pytest.mark.paper(
    "florenz",
    shows="C",
    case="parallel texts find their pictures, generic ones none; captions in en and de, translation in all; a run of "
    "the paper's row over Florence-2 (picture tower, projector, encoder, decoder, grown vocabulary, language first) "
    "equals its steps by the library's forward, 2e-5; Gemma-2 with cross-attention the same by hand; fine-tuning "
    "begins there; captions in languages that had none; the law of the losses",
)
def test_every_step(data, models, tmp_path):
    # 3: what was attached
    rows = open_dataset(data.address).captions.rows(["image_id", "text", "lang", "kind"])
    cells = Counter((row["kind"], row["lang"]) for row in rows)
    assert {k: n for k, n in cells.items() if k[0] in ("question", "answer")} == {
        ("question", "en"): 8, ("answer", "fr"): 8, ("answer", "zh"): 8
    }  # fmt: skip
    pairs = {row["image_id"]: row["text"] for row in rows if row["kind"] == "question"}
    french = {row["image_id"]: row["text"] for row in rows if row["lang"] == "fr"}
    assert all(french[id_] == FRENCH[SAID.index(text)] for id_, text in pairs.items())
    # 1, 2, 4: the run
    records = read_records(data).train
    tiny = {"image": {"name": models["florence"]}, "size": 64}
    tiny["text"] = {"name": models["florence"], "tokenizer": models["gemma"]}
    row = load_row("florenz", **tiny, batch=8, epochs=1, optimiser={"lr": 1e-3, "eps": 1e-4}, schedule={"warmup": 1})
    taught = Counter()
    trainer = Trainer(row, records, workers=0)
    for step in trainer.data.plan(0):
        for id_, k in step:
            sample = trainer.data.sampler(trainer.data.records[id_], 0, 0, k)
            taught[sample.task, sample.lang] += 1
    assert taught == {("caption", "en"): 8, ("caption", "de"): 8, ("translation", "fr"): 8, ("translation", "zh"): 8}
    got = [figures["loss"] for figures in trainer.fit(progress=False)]
    make = adamw(0.01, lr=1e-3, betas=(0.9, 0.999), eps=1e-4)
    want, model = plain_run(row, records, florenz_loss, make, warm_cosine(1, 4))
    same(trainer, got, want, model, 2e-5)
    # 2: pieces of the larger decoder's tokeniser; what both know stays as it was
    old = hf.AutoModelForImageTextToText.from_pretrained(models["florence"]).model.language_model.shared.weight
    first = make_model(row, 0).text.lm.get_input_embeddings().weight
    assert torch.equal(first[100], old[100])
    # 2: the language is one token, which every answer begins with, and which is not learnt
    tokens = model.text.tokens
    assert [len(tokens.encode(one)) for one in row.vocabulary] == [1] * 6
    batch = trainer.data.batch(trainer.data.plan(0)[0], 0)
    firsts = {tokens.decode([int(ids[1])]) for ids in batch.written}
    assert firsts <= {"<en>", "<de>", "<fr>", "<zh>"}
    assert bool((batch.target[:, :2] == -100).all())
    gemma(models, records)
    # 5: the second stage begins with what was learnt
    run = tmp_path / "run"
    sets = [f"image.name={models['florence']}", f"text.name={models['florence']}", "size=64", "schedule.warmup=0"]
    sets += [f"text.tokenizer={models['gemma']}"]
    panoglot.train("florenz", data, output=run, batch=8, epochs=1, set=[*sets, "optimiser.lr=0.01"], quiet=True)
    tuned = panoglot.train("florenz", data, preset="finetune", output=tmp_path / "tuned", batch=8, epochs=1,
                           set=[*sets, f"start={run}"], quiet=True)  # fmt: skip
    assert load_row("florenz", "finetune").optimiser["lr"] == 1e-5
    # 6: captions in languages of which there was none
    writer, begun = load_run(tuned.run), load_run(run).state_dict()
    fresh = make_model(row, 0).state_dict()
    moved = {k: [float((v - other[k]).abs().max()) for other in (begun, fresh)] for k, v in writer.state_dict().items()
             if v.is_floating_point()}  # fmt: skip
    assert max(near for near, _ in moved.values()) < 1e-3 < max(far for _, far in moved.values())
    pixels = torch.randn(2, 3, 64, 64)
    for lang in ("fr", "zh"):
        asked = writer.text.compose("caption:", f"<{lang}>", "", True)
        assert asked[1][-1:] == writer.text.tokens.encode(f"<{lang}>")
        assert len(writer.generate(pixels, lang=lang, most=4)) == 2
    other = make_model(load_row("florenz", **tiny, sampler={"cells": {"speak": ["en"]}}), 0)
    with pytest.raises(UserError, match="coverage: no task is called 'speak'"):
        other.generate(pixels, task="speak")
    # 7: the law
    law = lambda n, s: 1.5 + 40 * n**-0.34 + 300 * s**-0.28  # noqa: E731
    points = [(n, s, law(n, s)) for n in (1e6, 1e7, 1e8, 1e9) for s in (1e6, 1e8, 1e10)]
    found = fit_scaling(points)
    assert (found.e, found.alpha, found.beta) == pytest.approx((1.5, 0.34, 0.28), rel=0.01)


def gemma(models, records):
    """Step 1 with the larger decoder: shut gates change nothing; open ones are the equation, every layer."""
    row = load_row("florenz", "gemma-2b", image={"name": models["florence"]}, size=64,
                   text={"name": models["florence"], "decoder": models["gemma"], "tokenizer": ""})  # fmt: skip
    assert load_row("florenz", "gemma-2b").text["decoder"] == "google/gemma-2-2b"
    model = make_model(row, 0).eval()
    data = Data(records, model, 0, row=load_row("florenz", batch=8, image=row.image, text=row.text, size=64))
    batch = data.batch(data.plan(0)[0], 0)
    text, lm = model.text, model.text.lm
    with torch.no_grad():
        given = torch.cat([torch.full_like(batch.written[:, :1], 1), batch.written[:, :-1]], 1)
        shut = model.features(batch).logits
        alone = copy.deepcopy(lm)
        for layer in alone.model.layers:
            layer._forward_pre_hooks.clear()
        assert torch.allclose(shut, alone(input_ids=given, use_cache=False).logits, atol=1e-5)
        for look in text.looks:
            look.gate.fill_(0.7)
        opened = model.features(batch).logits
        assert not torch.allclose(shut, opened, atol=1e-3)
        for i in range(2):
            pooled, patches = model.image(batch.image[i])
            prompt = batch.given[i][batch.given_mask[i]]
            read = torch.cat([pooled[:, None], patches, text.words(prompt)[None]], 1)
            memory = text.encoder(inputs_embeds=read).last_hidden_state

            def looked(layer, args, kwargs, memory=memory):
                look = text.looks[[*alone.model.layers].index(layer)]
                x = args[0] if args else kwargs["hidden_states"]
                q = look.look.q(look.norm(x)).unflatten(-1, (2, -1)).transpose(1, 2)
                k, v = (z.unflatten(-1, (2, -1)).transpose(1, 2) for z in look.look.kv(memory).chunk(2, -1))
                seen = ((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
                x = x + torch.tanh(torch.tensor(0.7)) * look.look.out(seen)
                return ((x, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": x})

            hooks = [layer.register_forward_pre_hook(looked, with_kwargs=True) for layer in alone.model.layers]
            real = int((batch.target[i] != -100).nonzero().max()) + 1
            want = alone(input_ids=given[i : i + 1, :real], use_cache=False).logits[0]
            for hook in hooks:
                hook.remove()
            assert torch.allclose(opened[i, :real], want, atol=1e-4)
        out = model.generate(batch.image[:2, 0], lang="fr", most=5)
        assert len(text.tokens.encode("<fr>")) == 1
        assert model.generate(batch.image[:1, 0], lang="fr", most=5) == out[:1]  # alone or beside another: the same


@pytest.mark.paper(
    "florenz", shows="V", case="a text finds its best picture above a threshold; five a picture; generic none"
)
def test_texts_find_pictures():
    scores = np.array([[0.5, 0.1, 0.0], [0.6, 0.2, 0.1], [0.31, 0.3, 0.3], [0.1, 0.9, 0.2], [0.2, 0.1, 0.24]])
    assert attach(scores, 0.25, 0.1, 5) == [(0, 0, 0.5), (1, 0, 0.6), (3, 1, 0.9)]
    assert attach(scores, 0.25, 0.1, 1) == [(1, 0, 0.6), (3, 1, 0.9)]
    assert attach(scores, 0.25, 0.0, 5) == [(0, 0, 0.5), (1, 0, 0.6), (2, 0, 0.31), (3, 1, 0.9)]
    assert attach(scores[:0], 0.25, 0.1, 1) == attach(scores[:, :0], 0.25, 0.1, 1) == []


def test_how_many_texts_find_no_picture_is_said(tmp_path, caplog):
    register("python:space", Space)
    maker = Maker(tmp_path / "x.pano")
    for n in range(2):
        maker.image(jpeg(scene(n, 40 + n, 64)), 40 + n, 64)
    rows = [*map("\t".join, zip(SAID[:3], FRENCH)), "something\tquelque chose"]
    (tmp_path / "pairs.tsv").write_text("\n".join(["en\tfr", *rows]), "utf-8")
    options = {"pairs": str(tmp_path / "pairs.tsv")}
    run_stage(maker.dataset, method_stage("florenz", options, {"encoder": "python:space"}, processes=0), "r1")
    (line,) = [one.getMessage() for one in caplog.records if "florenz" in one.getMessage()]
    assert line.startswith("florenz: 2 of 4 parallel texts found no picture")


def test_parallel_texts_of_a_file(tmp_path):
    place = tmp_path / "x.csv"
    place.write_text('en,ar,sw\n"a red, old boat",قارب أحمر,mashua\n,x,y\na cat,,\n"a red, old boat",,\n', "utf-8")
    assert read_parallel(str(place)) == [{"en": "a red, old boat", "ar": "قارب أحمر", "sw": "mashua"}]
    lines = [{"en": "a hill", "th": "เนินเขา"}, {"en": "a hill", "hi": "पहाड़ी"}]
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps(one) for one in lines), "utf-8")
    assert read_parallel(str(tmp_path / "x.jsonl")) == [{"en": "a hill", "th": "เนินเขา", "hi": "पहाड़ी"}]
    (tmp_path / "y.jsonl").write_text('{"en": "a hill\u2028 by the sea", "th": "เนินเขา"}\n', "utf-8")
    assert read_parallel(str(tmp_path / "y.jsonl")) == [{"en": "a hill by the sea", "th": "เนินเขา"}]
    (tmp_path / "y.csv").write_text('en,ja\n"a red\nboat","赤い\u0085舟"\n', "utf-8")
    assert read_parallel(str(tmp_path / "y.csv")) == [{"en": "a red boat", "ja": "赤い 舟"}]
    for name, text, said in (
        ("a.csv", "en,words\na,b\n", r"the column 'words' is no language"),
        ("b.csv", "fr,de\na,b\n", r"no line with a text in 'en'"),
        ("c.jsonl", "{nothing\n", r"line 1 is no JSON object"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=said):
            read_parallel(str(tmp_path / name))
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_parallel(str(tmp_path / "nothing.tsv"))


@pytest.mark.paper("florenz", shows="V", case="pictures by ImageNet's mean; the mean of the places, then the places")
def test_the_picture_s_tokens_are_florence_2_s(models):
    from panoglot.networks.towers.florence import FlorenceImage

    tower = FlorenceImage(models["florence"]).eval()
    whole = hf.AutoModelForImageTextToText.from_pretrained(models["florence"]).eval()
    raw = torch.rand(2, 3, 64, 64)
    shown, seen = (
        (raw - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(deviation).view(3, 1, 1)
        for mean, deviation in ((MEAN, STD), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    )
    with torch.no_grad():
        want = whole.get_image_features(pixel_values=seen).pooler_output
        pooled, patches = tower(shown)
        assert want.shape == (2, 5, 16)
        assert torch.allclose(pooled, want[:, 0], atol=1e-5)
        assert torch.allclose(patches, want[:, 1:], atol=1e-5)
        assert not torch.allclose(pooled, patches[:, -1], atol=1e-3)
