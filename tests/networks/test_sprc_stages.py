"""SPRC's second stage, its padding, its choice of an epoch, its own checkpoints; the card's steps 10 to 12."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from panoglot.errors import UserError
from panoglot.networks import Batch, View, begin_with, choose_view, load_row, make_model, schedule, square_of
from panoglot.networks.parts import MatchPart, Widths
from panoglot.training import Trainer, wishes

WORDS = {"text": {"kind": "words", "width": 64, "length": 32}}
TINY = {
    "image": {"patch": 8, "width": 16, "heads": 2}, "text": {"kind": "words", "width": 16, "length": 8},
    "readers": {"composer": {"queries": 2, "width": 16, "heads": 2, "layers": 1}}, "dim": 8, "size": 16, "batch": 8,
}  # fmt: skip


# ---- padding ---------------------------------------------------------------------------------------------------------


@pytest.mark.paper(
    "sprc",
    shows="V",
    case="pictures are padded to a ratio of 1.25, black, and their middle is shown: 200 x 100, 110 x 100",
)
def test_long_pictures_are_padded_to_their_ratio():
    wide = choose_view(100, 200, pad=1.25)  # padded to 200 x 160, of which the middle 160 x 160
    assert (wide.x0, wide.x1) == pytest.approx((0.1, 0.9))
    assert (wide.y0, wide.y1) == pytest.approx((-0.3, 1.3))
    assert choose_view(200, 100, pad=1.25) == View(-0.3, 0.1, 1.3, 0.9)
    assert choose_view(100, 110, pad=1.25) == choose_view(100, 110)  # no longer than that
    from panoglot.networks.samplers import Draw

    assert choose_view(100, 200, Draw("x"), pad=1.25) == wide  # in training too
    white = np.ones((3, 100, 200), np.float32)
    shown = square_of(white, 16, 1.25)
    black, light = float(shown[0].min()), float(shown[0].max())
    assert shown[0, 0].tolist() == pytest.approx([black] * 16)  # 30 of 160 rows above and below
    assert shown[0, 8].tolist() == pytest.approx([light] * 16)
    assert (shown[0, :, 8] == black).sum() == pytest.approx(6, abs=2)
    row = load_row("sprc", "small", batch=4, views={"pad": 1.25})
    trainer = Trainer(row, wishes(4), augment=True)
    first = trainer.data.batch(trainer.data.plan(0)[0], 0).image
    again = trainer.data.batch(trainer.data.plan(0)[0], 5).image
    assert torch.equal(first, again)  # nothing is drawn
    with pytest.raises(UserError, match=r"pad=0\.5 must be a ratio of 1 or more"):
        load_row("sprc", views={"pad": 0.5})


# ---- which epoch is kept ---------------------------------------------------------------------------------------------


@pytest.mark.paper(
    "sprc", shows="V", case="the epoch is kept whose mean of R@1, 5, 10, 50 (FashionIQ: R@10, 50) is best"
)
def test_the_best_epoch_is_kept(tmp_path):
    row = load_row("sprc", "small", **TINY, epochs=3, losses={"prompted": {"ks": [1, 2]}}, stop={"patience": 50})
    held_out = wishes(9, 0, "test")
    trainer = Trainer(row, wishes(24), tmp_path / "run", augment=False, held_out=held_out)
    trainer.fit(progress=False)
    assert len(trainer.best.values) == 3
    model, part = trainer.model.eval(), trainer.model.parts["prompted"]
    gallery, names = [], []
    for record in held_out:
        if record.pair_id not in names:
            names.append(record.pair_id)
            gallery.append(model.encode_pixels(square_of(record.pictures[0], 16)[None])[0])
    ranks = []
    for record in held_out:
        query = model.encode_queries(square_of(record.image, 16)[None], [record.texts[0].text])[0]
        scores = [float((views @ query).max()) for views in gallery]
        ranks.append(sorted(scores, reverse=True).index(scores[names.index(record.pair_id)]) + 1)
    by_hand = (np.mean([r <= 1 for r in ranks]) + np.mean([r <= 2 for r in ranks])) / 2
    assert max(trainer.best.values) == pytest.approx(by_hand, abs=1e-6)  # the best epoch was restored
    assert (part.ks, load_row("sprc").stop, load_row("sprc", "fashioniq").losses["prompted"]["ks"]) == (
        (1, 2), {"patience": 50}, [10, 50]
    )  # fmt: skip


@pytest.mark.paper(
    "sprc", shows="V", case="FashionIQ: a cycle over the run's own 30 epochs, up for 1.5 of them from a hundredth"
)
def test_fashioniq_s_cycle():
    row = load_row("sprc", "fashioniq")
    assert (row.epochs, row.optimiser["lr"], row.batch) == (30, 2e-5, 128)
    options = {k: v for k, v in row.schedule.items() if k != "kind"}
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 1.0, total_steps=300, pct_start=1.5 / 30, div_factor=100, final_div_factor=1e4 / 4
    )
    ours = schedule("one_cycle", 300, **options)
    for step in range(300):
        assert ours(step) == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-4)
        optimiser.step()
        theirs.step() if step < 299 else None


# ---- the reranker ----------------------------------------------------------------------------------------------------


def matching(seed=0, **options):
    model = make_model(
        load_row("sprc", "small", **WORDS, losses={"match": options, "prompted": None}, stop={"patience": 0})
    )
    return model, model.parts["match"]


@pytest.mark.paper(
    "sprc",
    shows="V",
    case="rerank: queries and words look at reference and candidate side by side; the head's mean over queries",
)
def test_the_matching_head():
    model, part = matching()
    g = torch.Generator().manual_seed(1)
    reference, candidate = (torch.randn(3, 5, 64, generator=g) for _ in range(2))
    words, mask = torch.randn(3, 4, 64, generator=g), torch.ones(3, 4, dtype=torch.bool)
    model.eval()
    found = part.match(words, mask, reference, candidate)
    seen = part.former(part.queries.expand(3, -1, -1), words, mask, torch.cat([reference, candidate], 1))
    want = torch.stack([part.head(seen[:, k]) for k in range(4)]).mean(0)
    assert torch.allclose(found, want, atol=1e-6)
    assert found.shape == (3, 2)
    alone = part.match(words[:1], mask[:1], reference[:1], candidate[:1])  # a batch of one is no other shape
    assert torch.allclose(alone, found[:1], atol=1e-5)
    other = part.match(words, mask, reference, candidate.flip(0))
    assert not torch.allclose(other[0], found[0], atol=1e-4)
    assert torch.allclose(other[1], found[1], atol=1e-5)


@pytest.mark.paper(
    "sprc",
    shows="V",
    case="rerank: a false picture and a false query each, near misses more often, never the answer's twin",
)
def test_what_does_not_fit_is_drawn_by_the_frozen_composer():
    _, part = matching(temperature=0.5)
    scores = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 0.9], [0.3, 0.2, 1.0]])
    same = torch.eye(3, dtype=torch.bool)
    counts = torch.zeros(3, 3)
    for seed in range(2000):
        drawn, there = part.drawn(scores, same, seed)
        counts[torch.arange(3), drawn] += 1
        assert there.all()
    assert counts.diagonal().tolist() == [0, 0, 0]
    e = math.exp
    share = e(1.0) / (e(1.0) + e(0.0))  # .5 / .5 against 0
    assert float(counts[0, 1] / 2000) == pytest.approx(share, abs=0.04)
    twins = torch.tensor([[True, True, True], [False, True, False], [False, False, True]])
    _, there = part.drawn(scores, twins, 0)
    assert there.tolist() == [False, True, True]
    assert torch.equal(part.drawn(scores, same, 7)[0], part.drawn(scores, same, 7)[0])  # a function of the seed
    with pytest.raises(UserError, match="temperature=0"):
        MatchPart(Widths(4, text=4), temperature=0)


@pytest.mark.paper("sprc", shows="V", case="rerank: cross-entropy of B pairs that fit and 2 B that do not, by hand")
def test_the_loss_of_pairs():
    from panoglot.networks import Data

    row = load_row("sprc", "small-rerank", **{**TINY, "batch": 4}, stages=None, losses={"prompted": None}, epochs=1)
    records = wishes(12)
    model = make_model(row)
    data = Data(records, model, augment=False)
    batch = data.batch(data.plan(0)[0], 0)
    model.eval()
    part = model.parts["match"]
    term = model(batch)["match"]
    f, target = model.features(batch), model.answers(batch)
    query = model.reader("composer").query(model, f, torch.arange(4), torch.arange(4))
    scores = torch.einsum("qd,nvd->qnv", query, model.gallery(target)).amax(-1)
    same = batch.pair_id[:, None] == batch.pair_id
    false_picture, has = part.drawn(scores, same, batch.seed)
    false_query, more = part.drawn(scores.T, same.T, batch.seed + 1)
    values = []
    for q, t, yes in (
        [(i, i, 1) for i in range(4)]
        + [(i, int(false_picture[i]), 0) for i in range(4) if has[i]]
        + [(int(false_query[i]), i, 0) for i in range(4) if more[i]]
    ):
        one = slice(q, q + 1)
        logits = part.match(f.tokens[one], f.token_mask[one], f.patches[one], target.patches[t : t + 1])
        values.append(float(F.cross_entropy(logits, torch.tensor([yes])).detach()))
    assert term.count == len(values) == 12
    assert float(term.value.detach()) == pytest.approx(np.mean(values), abs=1e-5)
    lonely = Batch(
        ids=["a"], image=batch.image[:1], others=batch.others[:1], slot_mask=batch.slot_mask[:1],
        tokens=batch.tokens[:1], token_mask=batch.token_mask[:1], texts=batch.texts[:1], lang=batch.lang[:1],
    )  # fmt: skip
    assert model(lonely)["match"].count == 1  # what fits alone


def test_only_the_reranker_learns_in_its_stage_and_begins_with_the_composer():
    row = load_row("sprc", "small-rerank", **TINY, stages={"compose": {"epochs": 2}, "rerank": {"epochs": 1}})
    trainer = Trainer(row, wishes(24), augment=False)
    trainer.fit(6, progress=False)
    before = {n: p.clone() for n, p in trainer.model.state_dict().items()}
    fresh = {n.removeprefix("parts.match.former.") for n in before if n.startswith("parts.match.former.")}
    trainer.fit(progress=False)
    after = trainer.model.state_dict()
    changed = {n for n, p in after.items() if not torch.equal(p, before[n])}
    assert {n.split(".")[0] + "." + n.split(".")[1] for n in changed} == {"parts.match"}
    moved = max(
        float((after[f"parts.match.former.{n}"] - before[f"readers.composer.former.{n}"]).abs().max()) for n in fresh
    )
    assert 0 < moved < 0.05  # three steps away from the composer as it was trained
    with pytest.raises(UserError, match=r"the loss .match. needs a composer"):
        load_row("clip", "small", losses={"match": {}})


# ---- checkpoints of SPRC's own code ----------------------------------------------------------------------------------

VISION = {"hidden_size": 12, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION |= {"image_size": 16, "patch_size": 8}
FORMER = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
FORMER |= {"encoder_hidden_size": 12, "use_qformer_text_input": True, "vocab_size": 300}
#: LAVIS's name of a tensor -> transformers'; {n}: a layer.
NAMES = {
    "visual_encoder.cls_token": "vision_model.embeddings.class_embedding",
    "visual_encoder.pos_embed": "vision_model.embeddings.position_embedding",
    "visual_encoder.patch_embed.proj": "vision_model.embeddings.patch_embedding",
    "visual_encoder.blocks.{n}.norm1": "vision_model.encoder.layers.{n}.layer_norm1",
    "visual_encoder.blocks.{n}.norm2": "vision_model.encoder.layers.{n}.layer_norm2",
    "visual_encoder.blocks.{n}.attn.qkv": "vision_model.encoder.layers.{n}.self_attn.qkv",
    "visual_encoder.blocks.{n}.attn.proj": "vision_model.encoder.layers.{n}.self_attn.projection",
    "visual_encoder.blocks.{n}.mlp.fc1": "vision_model.encoder.layers.{n}.mlp.fc1",
    "visual_encoder.blocks.{n}.mlp.fc2": "vision_model.encoder.layers.{n}.mlp.fc2",
    "ln_vision": "vision_model.post_layernorm",
    "Qformer.bert.embeddings.word_embeddings": "embeddings.word_embeddings",
    "Qformer.bert.embeddings.position_embeddings": "embeddings.position_embeddings",
    "Qformer.bert.embeddings.LayerNorm": "qformer.layernorm",
    "vision_proj": "vision_projection", "text_proj": "text_projection", "itm_head": "itm_head",
    "query_tokens": "query_tokens",
}  # fmt: skip
for one in ("attention", "crossattention"):
    for end in ("query", "key", "value"):
        at = "encoder.layer.{n}."
        NAMES[f"Qformer.bert.{at}{one}.self.{end}"] = f"qformer.{at}{one}.attention.{end}"
for one in ("attention.output.dense", "attention.output.LayerNorm", "crossattention.output.dense",
            "crossattention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm",
            "intermediate_query.dense", "output_query.dense", "output_query.LayerNorm"):  # fmt: skip
    NAMES[f"Qformer.bert.encoder.layer.{{n}}.{one}"] = f"qformer.encoder.layer.{{n}}.{one}"


def blip2(seed):
    hf = pytest.importorskip("transformers")
    torch.manual_seed(seed)
    text = {"model_type": "opt", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 16}
    config = hf.Blip2Config(
        vision_config=VISION, qformer_config=FORMER, num_query_tokens=3, image_text_hidden_size=8,
        text_config={**text, "vocab_size": 30, "word_embed_proj_dim": 16},
    )  # fmt: skip
    model = hf.Blip2ForImageTextRetrieval(config).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.2)
    for n in range(2):  # keys have no bias in EVA
        model.vision_model.encoder.layers[n].self_attn.qkv.bias.data[12:24] = 0
    return model


def as_lavis(model):
    """The state of a BLIP-2 under the names that SPRC's code gives it."""
    theirs, out = model.state_dict(), {}
    for lavis, hf in NAMES.items():
        for n in range(3) if "{n}" in lavis else (0,):
            for end in ("", ".weight", ".bias"):
                if hf.format(n=n) + end in theirs:
                    out[lavis.format(n=n) + end] = theirs[hf.format(n=n) + end].clone()
    for n in range(2):
        bias = out.pop(f"visual_encoder.blocks.{n}.attn.qkv.bias")
        at = f"visual_encoder.blocks.{n}.attn"
        out[f"{at}.q_bias"], out[f"{at}.v_bias"] = bias[:12], bias[24:]
    g = torch.Generator().manual_seed(3)
    out |= {"prompt_tokens": torch.randn(1, 3, 16, generator=g), "temp": torch.tensor(0.05)}
    out |= {
        "Qformer.bert.embeddings.position_ids": torch.arange(512)[None],
        "Qformer.cls.predictions.bias": torch.ones(300),
    }
    return out


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    blip2(0).save_pretrained(folder / "blip2")
    trained = blip2(1)
    state = as_lavis(trained)
    state = {k: v.half() if "visual" in k else v for k, v in state.items()}
    torch.save({"epoch": 3, "Blip2QformerCirAlignPrompt": state}, folder / "sprc.pt")
    reranker = blip2(2)
    more = {k.replace("Qformer.", "Fformer."): v for k, v in as_lavis(reranker).items() if k.startswith("Qformer.")}
    torch.save({"epoch": 1, "Blip2QformerCirRerank": as_lavis(reranker) | more}, folder / "rerank.pt")
    return folder, trained, reranker


def sprc(name, preset="paper", **more):
    composer = {"queries": 3, "width": 16, "layers": 3, "heads": 2, "drop": 0.0, "name": name}
    return load_row(
        "sprc", preset, image={"name": name}, text={"width": 16, "name": name, "tokenizer": ""}, dim=8, size=16,
        readers={"composer": composer}, **more,
    )  # fmt: skip


@pytest.mark.paper(
    "sprc",
    shows="V",
    case="a checkpoint of SPRC's own code, by LAVIS's names: every vector as transformers' BLIP-2 has it",
)
def test_sprc_s_own_checkpoint_is_taken_up(published):
    folder, trained, _ = published
    ours = make_model(sprc(str(folder / "blip2"))).eval()
    fresh = begin_with(ours, f"lavis:{folder / 'sprc.pt'}")
    assert fresh == ["head.weight"]
    pixels, (ids, mask) = torch.randn(2, 3, 16, 16), ours.text.tokens(["a cat", "not"])
    composer = ours.reader("composer")
    with torch.no_grad():
        trained.vision_model.half().float()  # the tower lies in half precision
        found = trained(pixels, ids, mask.long(), use_image_text_matching_head=False)
        assert torch.allclose(ours.encode_pixels(pixels), found.image_embeds, atol=2e-3)
        words = ours.text(ids, mask)[1]
        said = composer.former(None, words, mask)[:, 0]
        assert torch.allclose(F.normalize(composer.of_text(said), dim=-1), found.text_embeds, atol=1e-4)
    assert torch.equal(composer.prompt, as_lavis(trained)["prompt_tokens"][0])
    assert float(ours.parts["prompted"].scale()[0]) == pytest.approx(1 / 0.05, rel=1e-5)


@pytest.mark.paper(
    "sprc", shows="V", case="a checkpoint of the reranker's own code: the matching head as transformers' BLIP-2 has it"
)
def test_the_reranker_s_own_checkpoint_is_taken_up(published):
    folder, _, reranker = published
    name = str(folder / "blip2")
    row = sprc(name, "rerank", losses={"match": {"name": name}})
    ours = make_model(row).eval()
    before = {n: p.clone() for n, p in ours.state_dict().items()}
    begin_with(ours, f"lavis:{folder / 'rerank.pt'}")
    changed = {n.split(".")[1] for n, p in ours.state_dict().items() if not torch.equal(p, before[n])}
    assert changed == {"match"}
    part, (ids, mask) = ours.parts["match"], ours.text.tokens(["a cat", "not"])
    a, b = (torch.randn(2, 5, 12) for _ in range(2))
    with torch.no_grad():
        words = ours.text(ids, mask)[1]
        queries = reranker.query_tokens.expand(2, -1, -1)
        seen = reranker.qformer(
            torch.cat([queries, words], 1), 3, F.pad(mask, (3, 0), value=True).long(), torch.cat([a, b], 1)
        ).last_hidden_state[:, :3]
        assert torch.allclose(part.match(words, mask, a, b), reranker.itm_head(seen).mean(1), atol=1e-4)
    with pytest.raises(UserError, match="is SPRC's reranker: its row needs losses"):
        begin_with(make_model(sprc(name)), f"lavis:{folder / 'rerank.pt'}")


def test_what_is_no_checkpoint_of_sprc_is_said_in_one_line(published, tmp_path):
    folder, _, _ = published
    name = str(folder / "blip2")
    model = make_model(sprc(name))
    (tmp_path / "text.pt").write_text("not weights")
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "other.pt")
    torch.save({"x": as_lavis(blip2(0)) | {"query_tokens": torch.zeros(1, 4, 16)}}, tmp_path / "wide.pt")
    small = {k: v for k, v in as_lavis(blip2(0)).items() if "layer.2." not in k}
    torch.save({"x": small}, tmp_path / "short.pt")
    torch.save({"x": {k: v for k, v in as_lavis(blip2(0)).items() if "vision_proj" not in k}}, tmp_path / "half.pt")
    for file, said in (
        ("none.pt", "cannot be read: No such file"), ("text.pt", "no file of weights that can be read safely"),
        ("other.pt", "holds no weights of SPRC"), ("wide.pt", "of other sizes: readers.composer.queries"),
        ("short.pt", "the row has more layers"), ("half.pt", "no whole weights of SPRC: vision_proj.weight is not in"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=said) as raised:
            begin_with(model, f"lavis:{tmp_path / file}")
        assert "\n" not in str(raised.value)
