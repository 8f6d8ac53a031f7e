"""Compress & Align as a whole: people's ratings, a BLIP that learns from them, the filter, what is trained on."""

from __future__ import annotations

import copy
import itertools
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
F = torch.nn.functional

import panoglot
from panoglot.curation import curate
from panoglot.curation.compress_align import compress_align
from panoglot.errors import UserError
from panoglot.networks import Data, load_row, make_model
from panoglot.networks.parts import RankPart
from panoglot.providers import load_model
from panoglot.table import Rating
from panoglot.training import Trainer, read_records
from tests.curation.conftest import Maker, jpeg, scene
from tests.training.plain_run import adamw, plain_run, warm_cosine

WORDS = "a red green blue old new dog cat boat house tree stands here now two three four five six seven".split()
CRITERIA = ("accuracy", "completeness", "vividness")
FREEZE = [
    {"freeze": "*"},
    {"train": ["parts.rank.*", "image.model.encoder.layers.1.*", "text.model.encoder.layer.1.*"]},
]


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    """BLIP for retrieval, small, and word pieces."""
    folder = tmp_path_factory.mktemp("blip")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    transformers.BertTokenizer(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    quiet = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "bos_token_id": 2, "sep_token_id": 3}
    text = {"vocab_size": len(WORDS) + 5, "hidden_size": 16, "encoder_hidden_size": 20, **sizes, **quiet}
    vision = {"hidden_size": 20, "image_size": 32, "patch_size": 8, **sizes}
    config = transformers.BlipConfig(text_config=text, vision_config=vision, image_text_hidden_size=12)
    torch.manual_seed(0)
    model = transformers.BlipForImageTextRetrieval(config)
    with torch.no_grad():
        for p in model.parameters():  # loud enough for pictures to matter
            p.mul_(5.0 if p.dim() > 1 else 1.0)
    model.save_pretrained(folder)
    return str(folder)


def corpus(tmp_path):
    """Step 1: fourteen pictures with four captions of several origins, judged by two people by three criteria."""
    maker, draw = Maker(tmp_path / "x.pano"), np.random.default_rng(0)
    ratings, said = [], {}
    for n in range(14):
        image = maker.image(jpeg(scene(n, 60, 48)), 60, 48)
        for k in range(4):
            text = f"a {WORDS[1 + n % 3]} {WORDS[6 + k]} {WORDS[4 + n % 2]} {WORDS[14 + k]} {WORDS[11 + n // 6]}"
            caption = maker.caption(image, text, kind=("alt", "human", "short", "short")[k], recipe=f"by{k}")
            for c, criterion in enumerate(CRITERIA):
                values = draw.integers(1, 6, 2).tolist()
                said[caption, criterion] = sum(values) / 2
                for rater, value in zip(("ann", "ben"), values, strict=True):
                    ratings.append(Rating(caption, float(value), scale="1..5", criterion=criterion, rater=rater))
                    ratings[-1].rating_id = f"{caption} {c} {rater}"
    maker.dataset.ratings.insert([one.plain() for one in ratings])
    return maker.dataset, said


def small(blip, **more):
    how = {"image": {"name": blip}, "text": {"name": blip}, "dim": 12, "size": 32, "losses": {"rank": {"hidden": 8}}}
    how |= {
        "freeze": FREEZE,
        "optimiser": {"lr": 2e-3, "eps": 1e-6},
        "schedule": {"warmup": 1},
        "batch": 4,
        "epochs": 2,
    }
    return load_row("compress-align", **{**how, **more})


def rank_of(values):
    """The share of the others that each is better than, ties as a half."""
    return [(sum(v > w for w in values) + (sum(v == w for w in values) - 1) / 2) / (len(values) - 1) for v in values]


def reward(model, picture, ids):
    """Step 2: the text's tokens read the picture's, [CLS] goes through the MLP."""
    patches = model.image.model(pixel_values=picture[None]).last_hidden_state
    h = model.text.model(input_ids=ids[None], attention_mask=torch.ones_like(ids)[None], encoder_hidden_states=patches,
                         encoder_attention_mask=torch.ones(1, patches.shape[1])).last_hidden_state  # fmt: skip
    mlp = model.parts["rank"].mlp
    return mlp[2](F.gelu(mlp[0](h[0, 0])))[0]


def rank_loss(model, batch):
    """Step 3: over all ordered pairs of a picture, then over the pictures that have one."""
    each = []
    for i in range(len(batch)):
        there = batch.slot_mask[i].nonzero().flatten().tolist()
        r = {k: reward(model, batch.image[i, 0], batch.tokens[i, k][batch.token_mask[i, k]]) for k in there}
        q = batch.quality[i].tolist()
        pairs = [-torch.log(torch.sigmoid(r[a] - r[b])) for a, b in itertools.permutations(there, 2) if q[a] > q[b]]
        if pairs:
            each.append(torch.stack(pairs).mean())
    return torch.stack(each).mean()


@pytest.mark.paper(
    "compress-align",
    shows="C",
    case="ratings by two people and three criteria become ranks; a run of the paper's row (BLIP reads the picture, "
    "[CLS] through an MLP, -ln sigma over all pairs of a picture, most layers frozen, the best epoch on what is held "
    "out) equals its steps by loops, 1e-4; calibrated; the "
    "filter keeps the best share and of it a picture's best caption; CLIP learns from them",
)
def test_compress_and_align_is_its_paper_s_by_loops(tmp_path, blip, monkeypatch):
    data, said = corpus(tmp_path)
    # 1: criteria and their weights
    weights = {"accuracy": 2.0, "c*": 1.0, "vividness": 0.0}
    reading = read_records(data, held_out=0.3, takes={"caption", "rating"}, criteria=weights)
    for record, ids in zip(reading.records, reading.caption_ids, strict=True):
        a, b = (rank_of([said[id_, one] for id_ in ids]) for one in CRITERIA[:2])
        assert [t.score for t in record.texts] == pytest.approx([(2 * x + y) / 3 for x, y in zip(a, b)])
    assert len(reading.notes) == 1
    assert "Kendall's tau" in reading.notes[0]
    alone = read_records(data, takes={"caption", "rating"}, criteria=weights, raters=3)
    assert all(t.score is None for record in alone.records for t in record.texts)
    assert alone.left_out["rating: of too few raters"] == 14 * 4 * 2
    # 2 and 3, and the epoch that is kept
    row = small(blip, epochs=4, stop={"patience": 2})
    paper = load_row("compress-align")
    assert (paper.sampler, paper.stop) == ({"kind": "ranked", "k": 5, "criteria": {"*": 1.0}}, {"patience": 2})
    told = iter([0.5, 0.8, 0.6, 0.7])
    monkeypatch.setattr(RankPart, "judge", lambda *_: next(told))
    trainer = Trainer(row, reading.train, tmp_path / "run", held_out=reading.held_out, workers=0)
    begun, held = make_model(row, 0), [len(r.texts) for r in reading.held_out]
    got = [figures["loss"] for figures in trainer.fit(progress=False)]
    per_epoch, kept = len(reading.train) // 4, {}

    def loss(model, batch):
        kept[len(kept)] = copy.deepcopy(model.state_dict())
        return rank_loss(model, batch)

    def learns(name):
        return name.startswith(("parts.rank", "image.model.encoder.layers.1.", "text.model.encoder.layer.1."))

    make = adamw(0.05, lr=2e-3, betas=(0.9, 0.999), eps=1e-6, learns=learns)
    want, _ = plain_run(row, reading.train, loss, make, warm_cosine(1, 4 * per_epoch), model=begun)
    assert len(held) > 1
    assert got == pytest.approx(want, abs=1e-4)  # all four: the fourth is the second that did no better
    assert any("stopped after epoch 3" in note for note in trainer.notes)
    best = kept[2 * per_epoch]  # what the second epoch had learnt
    for name, value in trainer.model.state_dict().items():
        if value.dim() > 1:
            assert torch.allclose(value, best[name], atol=2e-4), name
    monkeypatch.undo()
    # 4: mean 0, deviation 1 over what was trained on, and stored
    model, seen = trainer.model.eval(), Data(reading.train, trainer.model, 0, row=row)
    with torch.no_grad():
        raw = torch.stack([
            reward(model, batch.image[i, 0], batch.tokens[i, k][batch.token_mask[i, k]])
            for batch in (seen.batch(ids, 0) for ids in seen.plan(0)) for i in range(len(batch)) for k in range(4)
        ])  # fmt: skip
    part = model.parts["rank"]
    assert (float(part.mean), float(part.deviation)) == pytest.approx((float(raw.mean()), float(raw.std())), rel=1e-3)
    again = Trainer(row, reading.train, tmp_path / "run", held_out=reading.held_out, workers=0).resume()
    assert again.fit(progress=False) == []
    assert torch.equal(again.model.parts["rank"].mean, part.mean)
    assert again.best.values == [0.5, 0.8, 0.6, 0.7]
    # by the command
    sets = [
        f"image.name={blip}",
        f"text.name={blip}",
        "dim=12",
        "size=32",
        "losses.rank.hidden=8",
        "batch=4",
        "epochs=2",
    ]
    sets += [f"freeze={json.dumps(FREEZE)}", "schedule.warmup=1", "optimiser.lr=0.002"]
    run = panoglot.train(
        "compress-align", data, output=tmp_path / "made", set=sets, held_out=0.3, encode=False, quiet=True
    )
    assert set(run.figures["pairs"]) == {"reward", "cosine"}
    assert "Pairs of captions of one held-out picture" in (run.run / "README.md").read_text()
    # 5 and 6
    scorer = f"pano:{run.run}"
    assert (
        dict(one for one in compress_align() if isinstance(one, tuple))["top_score"]["share"] == 0.119
    )  # 15.5 of 130 million
    judge, texts = load_model(scorer), {r.id: r for r in read_records(data).records}
    how = {"score": "reward", "scorer": scorer, "top_fraction": 0.5, "best_caption": True, "deduplicate": False}
    curate(data, steps=[("compress-align", how)], quiet=True)
    rows = data.captions.rows(["caption_id", "image_id", "text", "scores", "dropped"])
    scores = {r["caption_id"]: dict(r["scores"])["reward"] for r in rows}
    mine = {r["caption_id"]: judge.score_pairs([image_of(texts[r["image_id"]])], [r["text"]], ["en"])[0] for r in rows}
    assert scores == pytest.approx(mine, abs=1e-4)
    best_half = sorted(scores, key=lambda id_: (-scores[id_], id_))[:28]
    first = {}
    for id_ in best_half:
        first.setdefault(next(r["image_id"] for r in rows if r["caption_id"] == id_), id_)
    assert {r["caption_id"] for r in rows if not r["dropped"]} == set(first.values())
    # 7
    learnt = read_records(data).train
    assert all(len(r.texts) == 1 for r in learnt)
    clip = Trainer(load_row("clip", "small", batch=4, epochs=1, size=32), learnt, workers=0).fit(progress=False)
    assert all(np.isfinite(figures["loss"]) for figures in clip)


def image_of(record):
    raw = record.image() if callable(record.image) else record.image
    return panoglot.Image(raw) if isinstance(raw, bytes) else raw


@pytest.mark.paper(
    "compress-align", shows="V", case="a tower that does not read pictures is refused; stopping needs a judge"
)
def test_what_cannot_judge_is_refused(blip):
    with pytest.raises(UserError, match=r"backbone=tower needs a text tower that reads pictures"):
        make_model(small(blip, text={"kind": "hashed", "width": 16}))
    with pytest.raises(UserError, match="backbone='none' must be"):
        make_model(small(blip, losses={"rank": {"backbone": "none"}}))
    from panoglot.training import shapes

    with pytest.raises(UserError, match="no loss of 'clip' can say how well"):
        Trainer(load_row("clip", "small", stop={"patience": 1}), shapes(64), workers=0)
