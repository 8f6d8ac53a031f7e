"""Learned composers: SPRC's Q-Former, CoLLM's slot, ISA's soft sentence; the cards' cases."""

import math

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from panoglot.errors import UserError
from panoglot.networks import Batch, ContrastOptions, Record, Text, contrast, load_row, make_model, schedule
from panoglot.networks import towers as t
from panoglot.networks.losses import TEMPLATES, nearest, slerp
from panoglot.networks.parts import Features, MadePart, PromptedPart, SentencePart, Widths
from panoglot.networks.readers import QFormer, QFormerComposer, SentenceComposer, SlotComposer, TokenLearner, splice
from panoglot.networks.towers import unit
from panoglot.training import Trainer, captioned, shown, wishes

WIDTHS = Widths(8, image=12, text=16)


def vectors(*shape, seed=0):
    return unit(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)))


class Words:
    """As little of a tokeniser as towers of transformers need: a start, a word an id, an end."""

    model_max_length = 12

    def __len__(self):
        return 40

    def __call__(self, texts, truncation, padding=False, max_length=None, return_tensors=None):
        texts = [texts] if isinstance(texts, str) else texts
        ids = [[1, *(4 + sum(map(ord, w)) % 36 for w in text.replace(",", " ,").split())] for text in texts]
        ids = [[*row[: max_length - 1 if truncation else None], 2] for row in ids]
        if not return_tensors:
            return {"input_ids": ids}
        ids, mask = t.pad_tokens(ids)
        return {"input_ids": ids, "attention_mask": mask.long()}


# ---- SPRC ------------------------------------------------------------------------------------------------------------


def composer(seed=0, **options):
    torch.manual_seed(seed)
    return QFormerComposer(WIDTHS, **{"queries": 3, "width": 16, "layers": 2, "heads": 2, **options}).eval()


def query(n=4, words=5, seed=1):
    g = torch.Generator().manual_seed(seed)
    mask = torch.ones(n, words, dtype=torch.bool)
    mask[0, -1] = False
    return torch.randn(n, 6, 12, generator=g), torch.randn(n, words, 16, generator=g), mask


@pytest.mark.paper("sprc", shows="V", case="f = (1,0),(0,1), T1, T2, temperature .07: L_itc .055844")
def test_a_picture_counts_with_its_nearest_vector():
    part = PromptedPart(WIDTHS)
    f, target = torch.eye(2), torch.tensor([[[0.6, 0.8], [1, 0]], [[0, 1], [0.8, 0.6]]])
    assert torch.einsum("qd,nvd->qnv", f, target).amax(-1).tolist() == [
        pytest.approx([1, 0.8]),
        pytest.approx([0.8, 1]),
    ]
    term = part.find(f, target, torch.arange(2), None)
    assert (round(float(term.value.detach()), 6), term.count) == (0.055844, 2)
    turned = part.find(f, target.flip(1), torch.arange(2), None)  # in whatever order they stand
    assert float(turned.value.detach()) == pytest.approx(float(term.value.detach()))


@pytest.mark.paper("sprc", shows="V", case="from query to picture only; queries of one picture are no negatives")
def test_the_contrast_is_one_way_and_spares_duplicates():
    part, f, target = PromptedPart(WIDTHS), vectors(3, 8), vectors(3, 2, 8, seed=1)
    scores = torch.einsum("qd,nvd->qnv", f, target).amax(-1) / 0.07
    want = F.cross_entropy(scores, torch.arange(3))
    assert float(part.find(f, target, torch.arange(3), None).value.detach()) == pytest.approx(float(want), abs=1e-5)
    scores[0, 1] = scores[1, 0] = -math.inf
    want = F.cross_entropy(scores, torch.arange(3))
    found = part.find(f, target, torch.arange(3), torch.tensor([7, 7, 8]))
    assert float(found.value.detach()) == pytest.approx(float(want), abs=1e-5)
    one = part.find(f[:1], target[:1], torch.arange(1), None)  # a batch of one is no other shape
    assert float(one.value.detach()) == pytest.approx(0, abs=1e-6)


@pytest.mark.paper(
    "sprc", shows="V", case="shapes: a prompt of Q tokens, one unit vector a query, Q unit vectors a picture"
)
def test_shapes_and_lengths():
    made, (patches, words, mask) = composer(), query()
    with torch.no_grad():
        prompt = made.fuse(patches, words, mask)
        found, look = made.read(prompt, words, mask), made.look(patches)
    assert (prompt.shape, found.shape, look.shape) == ((4, 3, 16), (4, 8), (4, 3, 8))
    assert torch.allclose(found.norm(dim=-1), torch.ones(4), atol=1e-5)
    assert torch.allclose(look.norm(dim=-1), torch.ones(4, 3), atol=1e-5)
    with torch.no_grad():
        alone = made.read(made.fuse(patches[:1], words[:1], mask[:1]), words[:1], mask[:1])
        words[0, -1] = 99.0  # what the mask hides
        hidden = made.read(made.fuse(patches, words, mask), words, mask)
    assert torch.allclose(alone, found[:1], atol=1e-5)
    assert torch.allclose(hidden, found, atol=1e-5)


@pytest.mark.paper(
    "sprc", shows="V", case="the query's vector is that of the first word, the common prompt's its own first"
)
def test_where_queries_are_read():
    made, (patches, words, mask) = composer(), query()
    with torch.no_grad():
        prompt = made.fuse(patches, words, mask)
        hidden = made.former(prompt, words, mask)
        assert torch.equal(made.read(prompt, words, mask), unit(made.of_text(hidden[:, 3])))
        common = made.former(made.prompt.expand(4, -1, -1), words, mask)
        assert torch.equal(made.say(words, mask), unit(made.of_text(common[:, 0])))


@pytest.mark.paper(
    "sprc", shows="V", case="behind the common prompt the reference is not seen: swapping it changes nothing"
)
def test_the_common_prompt_does_not_see_the_picture():
    made, (patches, words, mask) = composer(), query()
    model = make_model(load_row("sprc", "small", text={"kind": "words", "width": 64, "length": 32}))
    f = Features(patches=patches, tokens=words, token_mask=mask)
    rows = torch.arange(4)
    with torch.no_grad():
        said, both = made.query(model, f, None, rows), made.query(model, f, rows, rows)
        f.patches = patches.flip(0)
        assert torch.equal(made.query(model, f, None, rows), said)
        assert not torch.allclose(made.query(model, f, rows, rows), both, atol=1e-3)


def sprc(**losses):
    """A model, and a batch of composed queries."""
    from panoglot.networks import Data

    row = load_row(
        "sprc", "small", text={"kind": "words", "width": 64, "length": 32}, batch=8, losses={"prompted": losses}
    )
    model = make_model(row)
    data = Data(wishes(8), model, augment=False)
    return model, data.batch(data.plan(0)[0], 0)


def gradients(model, batch):
    model.zero_grad()
    model(batch)["prompted"].value.backward()
    return {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}


@pytest.mark.paper("sprc", shows="V", case="L_align: no gradient for p', one for p; 0 where the means coincide")
def test_only_the_query_s_prompt_moves_to_the_common_one():
    model, batch = sprc(text=0.0, align=0.0)
    without = gradients(model, batch)
    assert without["readers.composer.prompt"] is None
    model, batch = sprc(text=0.0, align=5.0)
    held = gradients(model, batch)
    assert held["readers.composer.prompt"] is None
    name = "readers.composer.queries"
    assert not torch.allclose(held[name], without[name], atol=1e-5)
    values = [float(sprc(text=0.0, align=w)[0](batch)["prompted"].value.detach()) for w in (0.0, 1.0)]
    composer, f = model.reader("composer"), model.features(batch)
    prompt = composer.fuse(f.patches, f.tokens, f.token_mask)
    want = F.mse_loss(prompt.mean(1), composer.prompt.mean(0).expand(8, -1))
    assert values[1] - values[0] == pytest.approx(float(want.detach()), rel=1e-4)


@pytest.mark.paper(
    "sprc", shows="V", case="weights 0 and 0: contrast alone; .4 and .4: the sum; a frozen tower has no gradient"
)
def test_the_sum_of_the_three():
    model, batch = sprc(text=0.0, align=0.0)
    composer, part, f = model.reader("composer"), model.parts["prompted"], model.features(batch)
    target = composer.look(model.answers(batch).patches)
    prompt = composer.fuse(f.patches, f.tokens, f.token_mask)
    key = torch.arange(8)
    plain = part.find(composer.read(prompt, f.tokens, f.token_mask), target, key, batch.pair_id).value
    assert float(model(batch)["prompted"].value.detach()) == pytest.approx(float(plain.detach()), abs=1e-6)
    text = part.find(composer.say(f.tokens, f.token_mask), target, key, batch.pair_id).value
    apart = F.mse_loss(prompt.mean(1), composer.prompt.mean(0).expand(8, -1))
    whole = float((plain + 0.4 * text + 0.4 * apart).detach())
    model, batch = sprc()
    assert float(model(batch)["prompted"].value.detach()) == pytest.approx(whole, abs=1e-5)
    trainer = Trainer(load_row("sprc", "small", batch=8, freeze=[{"freeze": "image.*"}]), wishes(8), augment=False)
    before = [p.clone() for p in trainer.model.image.parameters()]
    trainer.fit(1)
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.model.image.parameters()))
    assert all(p.grad is None for p in trainer.model.image.parameters())


@pytest.mark.paper(
    "sprc", shows="V", case="BLIP-2's weights: the same hidden states as transformers' Q-Former, query by query"
)
def test_the_q_former_is_blip_2_s():
    hf = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
    config = hf.Blip2QFormerConfig(**sizes, encoder_hidden_size=12, use_qformer_text_input=True, vocab_size=30)
    theirs = hf.Blip2QFormerModel(config).eval()
    for p in theirs.parameters():
        torch.nn.init.normal_(p, std=0.3)
    ours = QFormer(16, 3, 2, 12).eval()
    ours.take(theirs.state_dict())
    memory, words, mask = query()
    queries = torch.randn(4, 3, 16)
    see = F.pad(mask, (3, 0), value=True).long()
    with torch.no_grad():
        both = theirs(torch.cat([queries, words], 1), 3, see, memory).last_hidden_state
        assert torch.allclose(ours(queries, words, mask, memory)[see.bool()], both[see.bool()], atol=1e-4)
        look = theirs(queries, encoder_hidden_states=memory).last_hidden_state
        assert torch.allclose(ours(queries, memory=memory), look, atol=1e-4)
        said = theirs(words, 0, mask.long()).last_hidden_state
        assert torch.allclose(ours(None, words, mask)[mask], said[mask], atol=1e-4)
    with pytest.raises(UserError, match="do not fit"):
        QFormer(16, 2, 2, 12).take({k: v for k, v in theirs.state_dict().items() if "layer.1." not in k})


@pytest.mark.paper(
    "sprc", shows="V", case="a published checkpoint: words, Q-Former, projections and queries are taken up"
)
def test_a_checkpoint_is_taken_up(tmp_path):
    hf = pytest.importorskip("transformers")
    torch.manual_seed(0)
    vision = {"hidden_size": 12, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 16, "patch_size": 8}
    former = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    former |= {"encoder_hidden_size": 12, "use_qformer_text_input": True, "vocab_size": 300}
    text = {"model_type": "opt", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 16}
    config = hf.Blip2Config(
        vision_config=vision, qformer_config=former, text_config={**text, "vocab_size": 30, "word_embed_proj_dim": 16},
        num_query_tokens=3, image_text_hidden_size=8,
    )  # fmt: skip
    model = hf.Blip2ForImageTextRetrieval(config).eval()
    torch.nn.init.normal_(model.query_tokens, std=0.3)
    model.save_pretrained(tmp_path / "blip2")
    name = str(tmp_path / "blip2")
    row = load_row(
        "sprc", image={"name": name}, text={"width": 16, "name": name, "tokenizer": ""}, dim=8, size=16,
        readers={"composer": {"queries": 3, "width": 16, "layers": 2, "heads": 2, "drop": 0.0, "name": name}},
    )  # fmt: skip
    ours = make_model(row).eval()
    pixels, (ids, mask) = torch.randn(2, 3, 16, 16), ours.text.tokens(["a cat", "not"])
    with torch.no_grad():
        found = model(pixels, ids, mask.long(), use_image_text_matching_head=False)
        assert torch.allclose(ours.encode_pixels(pixels), found.image_embeds, atol=1e-4)
        words = ours.text(ids, mask)[1]
        said = ours.reader("composer").former(None, words, mask)[:, 0]
        assert torch.allclose(unit(ours.reader("composer").of_text(said)), found.text_embeds, atol=1e-4)


@pytest.mark.paper(
    "sprc", shows="V", case="one cycle of 80 epochs, 50 of which are run: PyTorch's OneCycleLR, step by step"
)
def test_the_one_cycle():
    p = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([p], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1.0, total_steps=160, pct_start=1 / 50)
    ours = schedule("one_cycle", 100, rise=1 / 50, of=1.6)
    for step in range(100):
        assert ours(step) == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-6)
        optimiser.step()
        theirs.step()


def test_the_words_are_as_wide_as_the_q_former():
    with pytest.raises(UserError, match="16 numbers, width is 32: they must agree"):
        QFormerComposer(WIDTHS, width=32, layers=1, heads=2)
    with pytest.raises(UserError, match="learnt, which only text"):
        t.Words(tokenizer="captions")


# ---- CoLLM -----------------------------------------------------------------------------------------------------------


@pytest.mark.paper(
    "collm", shows="V", case="slerp: unit norm; 1 is the own picture, 0 the neighbour; orthogonal at .5: .7071"
)
def test_slerp():
    a, b = vectors(6, 5), vectors(6, 5, seed=1)
    for alpha in (0.0, 0.3, 0.5, 1.0):
        assert torch.allclose(slerp(a, b, alpha).norm(dim=1), torch.ones(6), atol=1e-5)
    assert torch.allclose(slerp(a, b, 1.0), a, atol=1e-5)
    assert torch.allclose(slerp(a, b, 0.0), b, atol=1e-5)
    x, y = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert slerp(x, y)[0].tolist() == pytest.approx([0.7071, 0.7071], abs=1e-4)
    half = slerp(a, b)
    theta = (a * b).sum(1).arccos() / 2
    for end in (a, b):  # equal angles to both
        assert torch.allclose((half * end).sum(1), theta.cos(), atol=1e-5)
    near = unit(x + torch.tensor([[0.0, 1e-4]]))
    assert torch.isfinite(slerp(x, near)).all()
    assert torch.isfinite(slerp(x, x)).all()
    assert torch.isnan(slerp(x, -x)).all()  # no way between them
    assert slerp(x.half(), y.half()).dtype == torch.float32


@pytest.mark.paper(
    "collm", shows="V", case="the neighbour is never the picture itself; a permuted batch permutes the queries"
)
def test_references_follow_the_batch():
    x, part = vectors(9, 4), MadePart(Widths(4))
    ids = torch.arange(9)
    r, like, good = part.references(x, x, ids, 0.5)
    assert not (like == torch.arange(9)).any()
    best = (x @ x.T).fill_diagonal_(-2).argmax(1)
    assert torch.equal(like, best)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    r2, like2, good2 = part.references(x[order], x[order], ids[order], 0.5)
    assert torch.allclose(r2, r[order])
    assert torch.equal(order[like2], like[order])
    assert torch.equal(good2, good[order])
    twins = torch.tensor([0, 0, 0])
    assert nearest(x[:3], twins)[1].tolist() == [False] * 3  # duplicates of each other: nobody has a neighbour


@pytest.mark.paper("collm", shows="V", case="neighbours beyond a cosine of .98, and opposite ones, make no change")
def test_pictures_that_are_as_good_as_the_same_teach_no_change():
    x = unit(torch.tensor([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [0.0, 1.0]]))
    part = MadePart(Widths(2))
    _, like, good = part.references(x, x, torch.arange(4), 0.5)
    assert (like.tolist(), good.tolist()) == ([1, 0, 3, 1], [False, False, True, True])
    r, _, good = part.references(x[[0, 2]], x[[0, 2]], torch.arange(2), 0.5)
    assert good.tolist() == [False, False]
    assert torch.isfinite(r).all()


@pytest.mark.paper("collm", shows="V", case="15 templates that contrast; with 1 - p the caption as it stands")
def test_changes_in_words():
    part = MadePart(Widths(2))
    assert len(set(TEMPLATES)) == 15
    drawn = [((k + 0.5) / 16 if k < 12 else 0.8, (k + 0.5) / 15, 0.5) for k in range(15)]
    said = part.said(["एक बिल्ली।"] * 15, [(k + 1) % 15 for k in range(15)], drawn)
    assert all("एक बिल्ली" in one and "।" not in one for one in said[:12])
    assert said[12:] == ["एक बिल्ली।"] * 3
    part = MadePart(Widths(2), templates=["nicht {have}, sondern {want}"])
    assert (
        part.said(["ein Hund.", "eine Katze."], [1, 0], [(0.0, 0.9, 0.5)] * 2)[0]
        == "nicht eine Katze, sondern ein Hund"
    )
    for wrong, why in (
        ({"templates": ["{have} only"]}, "must have {want}"),
        ({"templates": ["{want} {x}"]}, "must have"),
        ({"alpha": 2.0}, "in 0..1"),
        ({"low": 0.9}, "low at most alpha"),
        ({"kinds": ["x"]}, "some of"),
    ):
        with pytest.raises(UserError, match=why):
            MadePart(Widths(2), **wrong)


SLOT = {
    "image": {"kind": "vit", "patch": 16, "width": 16, "layers": 1, "heads": 2},
    "text": {"kind": "transformer", "length": 48, "width": 16, "layers": 1, "heads": 2, "tokenizer": "", "pool": "end"},
    "readers": {"composer": {"kind": "slot", "instruction": "find: "}},
    "dim": 8,
}


@pytest.mark.paper(
    "collm", shows="V", case="queries of a picture or a text alone: finite unit vectors; no slot stands for none"
)
def test_what_is_not_there_has_no_slot():
    model = make_model(load_row("collm", "small", **SLOT)).eval()
    x = torch.randn(3, 3, 32, 32)
    texts = ["a cat", "แมวสองตัว", "قطة"]
    found = [model.encode_queries(x, texts), model.encode_queries(x, None), model.encode_queries(None, texts)]
    for one in found:
        assert torch.allclose(one.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.equal(model.encode_texts(texts), found[2])
    f = model.with_texts(Features(), texts)
    composer = model.reader("composer")
    parts = (["find: ", 1, " ", "a cat"], ["find: ", 1], ["find: ", "a cat"])
    lengths = [len(splice(model.text.tokens, one)[0]) for one in parts]
    soft = composer.soft(Features(x=vectors(1, 8)), torch.arange(1))
    rows = torch.arange(1)
    sizes = [composer.sentences(model, s, f, r)[0].shape[1] for s, r in ((soft, rows), (soft, None), (None, rows))]
    assert sizes == lengths
    alone = model.encode_queries(x[:1], texts[:1])  # whatever the batch
    assert torch.allclose(alone, found[0][:1], atol=1e-5)
    with pytest.raises(UserError, match="needs a picture, a text, or both"):
        model.encode_queries(None, None)


@pytest.mark.paper(
    "collm", shows="V", case="the mean of three contrasts, of the reference, the caption, both; one picture: nothing"
)
def test_the_three_losses():
    from panoglot.networks import Data

    row = load_row(
        "collm",
        "small",
        **SLOT,
        batch=6,
        stages=None,
        sampler={"kind": "coin", "p": 0.0},
        losses={"made": {"most": 1.0}},
    )
    model = make_model(row).eval()
    data = Data(captioned(24), model, augment=False)
    batch = data.batch(data.plan(0)[0], 0)
    part, composer, x = model.parts["made"], model.reader("composer"), model.features(batch).x
    whole = model(batch)["made"]
    drawn = batch.targets["made"]
    r, like, good = part.references(x, x, batch.pair_id, 0.5)
    assert good.all()
    captions = [one[0] for one in batch.texts]
    changes = part.said(captions, like.tolist(), drawn.tolist())
    rows, lying = torch.arange(6), Features(x=r)
    queries = [
        composer.query(model, lying, rows, None),
        composer.query(model, model.with_texts(Features(), captions), None, rows),
        composer.query(model, model.with_texts(lying, changes), rows, rows),
    ]
    each = [
        contrast(x, q, rows, ContrastOptions(), scale=1 / 0.07, pair_id=batch.pair_id).value.detach() for q in queries
    ]
    assert float(whole.value.detach()) == pytest.approx(float(torch.stack(each).mean()), abs=1e-5)
    assert Data(captioned(24), model, augment=False).batch(data.plan(0)[0], 0).targets["made"].equal(drawn)
    alone = Batch(ids=["a"], image=batch.image[:1], slot_mask=batch.slot_mask[:1], tokens=batch.tokens[:1],
                  token_mask=batch.token_mask[:1], texts=batch.texts[:1], lang=batch.lang[:1])  # fmt: skip
    assert (model(alone)["made"].count, model(alone)["made"].value.item()) == (0, 0.0)


@pytest.mark.paper(
    "collm", shows="V", case="a queue of the last steps gives nearer neighbours, with their captions; never the picture"
)
def test_neighbours_come_from_the_queue():
    part = MadePart(Widths(2), templates=["{want} not {have}"], queue=3)
    x, ids = unit(torch.tensor([[1.0, 0.0], [0.0, 1.0]])), torch.tensor([7, 8])
    assert part.waiting()[2] == []
    assert part.references(x, x, ids, 0.5, *part.waiting()[:2])[1].tolist() == [1, 0]  # nothing is there yet
    old = unit(torch.tensor([[1.0, 0.3], [0.3, 1.0], [1.0, 0.05]]))
    part.push(old, torch.tensor([1, 2, 7]), ["ein Hund.", "แมว", "the picture itself, an epoch ago"])
    kept, kept_id, texts = part.waiting()
    r, like, good = part.references(x, x, ids, 0.5, kept, kept_id)
    assert (like.tolist(), good.tolist()) == ([2, 3], [True, True])  # the third is nearer, and the picture itself
    assert torch.allclose(r, slerp(x, old[:2], 0.5))
    told = part.said(["a cat.", "قطة", *texts], like.tolist(), [(0.1, 0.5, 0.5)] * 2)
    assert told == ["a cat not ein Hund", "قطة not แมว"]
    part.push(x[:1], ids[:1], ["あ" * 400])
    assert part.waiting()[1].tolist() == [7, 1, 2]  # the oldest went
    assert part.waiting()[2][0] == "あ" * 170  # whole characters of 512 bytes
    with pytest.raises(UserError, match="queue=-1"):
        MadePart(Widths(2), queue=-1)


def test_a_resumed_run_goes_on_with_its_queue(tmp_path):
    given = {**SLOT, "batch": 4, "stages": None, "epochs": 1, "sampler": {"kind": "coin", "p": 0.0}}
    row = load_row("collm", "small", **given, losses={"made": {"queue": 6, "most": 1.0}})
    whole = Trainer(row, captioned(24), tmp_path / "whole", device="cpu")
    figures = whole.fit(progress=False)
    part = whole.model.parts["made"]
    assert [len(part.waiting()[2]), len(set(part.waiting()[1].tolist()))] == [6, 6]
    half = Trainer(row, captioned(24), tmp_path / "parts", device="cpu")
    half.fit(3, progress=False)
    half.save()
    rest = Trainer(row, captioned(24), tmp_path / "parts", device="cpu").resume()
    assert [f["loss"] for f in rest.fit(progress=False)] == [f["loss"] for f in figures[3:]]
    assert rest.model.parts["made"].waiting()[2] == part.waiting()[2]
    alone = load_row("collm", "small", **given, losses={"made": {"most": 1.0}})
    without = Trainer(alone, captioned(24), tmp_path / "without", device="cpu").fit(progress=False)
    assert without[0]["loss"] == figures[0]["loss"]  # nothing waits at the first step
    assert [f["loss"] for f in without] != [f["loss"] for f in figures]


# ---- ISA -------------------------------------------------------------------------------------------------------------


@pytest.mark.paper(
    "isa", shows="V", case="distillation: .4621 of the card's two vectors; 0 where sentence and picture agree"
)
def test_distillation():
    part = SentencePart(Widths(2), temperature=1.0)
    v, q = torch.eye(2), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    each = part.distil(q, v)
    assert float(each.value) * 2 == pytest.approx(0.4621, abs=1e-4)  # the second query agrees
    v, q = vectors(7, 4), vectors(7, 4, seed=1)
    part = SentencePart(Widths(4))
    assert float(part.distil(v, v).value) == pytest.approx(0, abs=1e-6)
    found = float(part.distil(q, v).value)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    assert found > 0
    assert float(part.distil(q[order], v[order]).value) == pytest.approx(found, abs=1e-5)
    more = vectors(5, 4, seed=2)
    s, u = (z @ torch.cat([v, more]).T / 0.01 for z in (q, v))
    want = F.kl_div(s.log_softmax(1), u.softmax(1), reduction="batchmean")
    assert float(part.distil(q, v, more).value) == pytest.approx(float(want), rel=1e-4)
    apart = SentencePart(Widths(4), itself=False).distil(q, v)
    assert float(apart.value) != pytest.approx(found)
    with pytest.raises(UserError, match="temperature=0"):
        SentencePart(Widths(2), temperature=0)


def towers():
    """Text towers that read embeddings, each with its table of words."""
    hf = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 32, "max_position_embeddings": 20}
    bert = hf.BertModel(hf.BertConfig(**sizes)).eval()
    own = t.TextTransformer(48, 16, 2, 2).eval()
    yield own, own.embed
    yield t.HfText(model=bert, tokenizer=Words(), pool="mean"), bert.get_input_embeddings()
    yield t.HfText(model=bert, tokenizer=Words(), pool="last"), bert.get_input_embeddings()
    text = t.BlipText(model=blip(), tokenizer=Words(), length=12).eval()
    yield text, text.model.embeddings.word_embeddings


def blip():
    hf = pytest.importorskip("transformers")
    torch.manual_seed(0)
    text = {"vocab_size": 40, "hidden_size": 16, "encoder_hidden_size": 12, "intermediate_size": 32}
    text |= {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 20}
    vision = {"hidden_size": 12, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 16, "patch_size": 8}
    return hf.BlipForImageTextRetrieval(
        hf.BlipConfig(text_config=text, vision_config=vision, image_text_hidden_size=8)
    ).eval()


@pytest.mark.paper(
    "isa", shows="V", case='the embeddings of "a dog" in the slots: exactly the vector of "a photo of a dog"'
)
def test_splicing_is_reading():
    for tower, table in towers():
        whole, mask = tower.tokens(["a photo of a dog"])
        slots = len(tower.tokens(["a dog"])[0][0]) - 2
        ids, at, cut = splice(tower.tokens, ["a photo of ", slots])
        assert (len(ids), cut) == (whole.shape[1], False)
        where = torch.zeros_like(mask)
        where[0, at] = True
        with torch.no_grad():
            want = tower(whole, mask, ["en"])[0]
            found = tower(torch.tensor([ids]), mask, ["en"], soft=(where, table(whole)[where]))[0]
        assert torch.equal(found, want)


@pytest.mark.paper(
    "isa",
    shows="V",
    case="what does not fit is cut from the instruction, and counted; no room for the picture: refused",
)
def test_the_instruction_is_cut_last():
    tokens = t.ByteTokens(12)
    ids, at, cut = splice(tokens, ["ab", 3, ", ", "a long instruction"], 12)
    assert (len(ids), at, cut, ids[-1]) == (12, [3, 4, 5], True, tokens.end)
    with pytest.raises(UserError, match="no room"):
        splice(tokens, ["a photo of", 3], 12)
    model = make_model(load_row("isa", "small", **ISA)).eval()
    x = torch.randn(1, 3, 32, 32)
    a, b = (model.encode_queries(x, ["z" * 60 + end]) for end in ("a", "b"))
    assert torch.equal(a, b)
    assert model.text.tokens.cut == 4  # by the tower's own tokeniser, and in the sentence


@pytest.mark.paper("isa", shows="V", case="attention maps sum to 1, for any size; a constant map gives equal tokens")
def test_the_token_learner():
    torch.manual_seed(0)
    learner = TokenLearner(12, 16, tokens=6, inner=16, heads=2).eval()
    for places in (1, 9, 20):
        x = torch.randn(2, places, 12)
        assert torch.allclose(learner.attention(x).sum(-1), torch.ones(2, 6), atol=1e-5)
        assert learner(x).shape == (2, 6, 16)
    same = learner(torch.ones(1, 7, 12))
    assert torch.allclose(same, same[:, :1].expand_as(same), atol=1e-6)
    assert float(learner(x).detach().std()) < 0.1  # as small as words are


ISA = {
    "image": {"kind": "vit", "patch": 16, "width": 16, "layers": 1, "heads": 2},
    "text": {"kind": "transformer", "length": 40, "width": 16, "layers": 1, "heads": 2, "tokenizer": "", "pool": "end"},
    "towers": {"light": {"kind": "vit", "patch": 16, "width": 8, "layers": 1, "heads": 2}},
    "readers": {"composer": {"width": 8, "tokens": 2, "inner": 16, "heads": 2}},
    "dim": 8,
}


@pytest.mark.paper("isa", shows="V", case="the large model is the same to the bit after training; g and phi are not")
def test_the_large_model_does_not_move():
    row = load_row("isa", "small", **ISA, batch=6, stages={"large": {"epochs": 1}, "device": {"epochs": 2}})
    trainer = Trainer(row, captioned(12, kind="add"), augment=False)
    trainer.fit(2)
    before = {n: p.clone() for n, p in trainer.model.state_dict().items()}
    trainer.fit()
    changed = {n.partition(".")[0] for n, p in trainer.model.state_dict().items() if not torch.equal(p, before[n])}
    assert changed == {"towers", "readers"}


@pytest.mark.paper(
    "isa", shows="V", case="what is needed of a query: the light tower alone; the gallery is the large model's"
)
def test_a_query_needs_the_light_tower_alone(monkeypatch):
    model = make_model(load_row("isa", "small", **ISA)).eval()
    x = torch.randn(2, 3, 32, 32)
    gallery = model.encode_pixels(x)
    assert torch.equal(gallery, model.picture_vectors(x))
    monkeypatch.setattr(model.image, "forward", None)  # would fail
    found = model.encode_queries(x, ["but a bird", "aber ein Vogel"])
    assert torch.allclose(found.norm(dim=1), torch.ones(2), atol=1e-5)
    light = sum(p.numel() for n, p in model.named_parameters() if n.startswith(("towers.light", "readers.composer")))
    assert light < sum(p.numel() for n, p in model.named_parameters() if n.startswith("image."))
    with pytest.raises(UserError, match="no tower 'light'"):
        SentenceComposer(WIDTHS, 8).soft(Features(), torch.arange(1))


@pytest.mark.paper(
    "isa", shows="V", case="local alignment: the frozen matching encoder judges sentence and picture (BLIP)"
)
def test_blip_judges_the_sentence():
    whole = blip()
    image, text = t.BlipImage(model=whole).eval(), t.BlipText(model=whole, tokenizer=Words(), length=12).eval()
    pixels, (ids, mask) = torch.randn(2, 3, 16, 16), text.tokens(["a cat", "not a dog"])
    with torch.no_grad():
        theirs = whole(ids, pixels, attention_mask=mask.long())
        assert torch.allclose(text.match(ids, mask, image(pixels)[1]), theirs.itm_score, atol=1e-5)
        cosines = whole(ids, pixels, attention_mask=mask.long(), use_itm_head=False).itm_score
        x, y = unit(image.take_projection()(image(pixels)[0])), unit(text.take_projection()(text(ids, mask)[0]))
        assert torch.allclose(x @ y.T, cosines, atol=1e-5)
    composer = SentenceComposer(Widths(8, text=16), 12, tokens=2, inner=16, heads=2)

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.text, self.text_head = text, text.take_projection()

        def reader(self, name):
            return composer

    model, patches = Model(), image(pixels)[1]
    f = Features(x=x, patches=patches, towers={"light": (patches[:, 0], patches)})
    part = SentencePart(Widths(8), temperature=1.0)
    step = type("Step", (), {"model": model})()
    found = part(f, Batch(ids=["a", "b"]), step).value
    ids, mask, langs, soft = composer.sentences(model, composer.soft(f, torch.arange(2)), f)
    q = composer.out_of(model, text(ids, mask, langs, **soft)[0])
    judged = F.cross_entropy(text.match(ids, mask, patches, **soft), torch.ones(2, dtype=torch.long))
    assert float(found.detach()) == pytest.approx(float((part.distil(q, x).value + judged).detach()), abs=1e-5)
    without = SentencePart(Widths(8), temperature=1.0, local=0.0)(f, Batch(ids=["a", "b"]), step).value
    assert float(found.detach()) - float(without.detach()) == pytest.approx(float(judged.detach()), abs=1e-5)


def test_the_queue_holds_the_last_pictures():
    model = make_model(
        load_row("isa", "small", **ISA, stages=None, losses={"contrast": None, "sentence": {"queue": 5}})
    )
    part, x = model.parts["sentence"].train(), torch.randn(4, 1, 3, 32, 32)
    for n in range(2):
        batch = Batch(ids=list("abcd"), image=x + n)
        first = model.features(batch, lone=True).x
        part(model.features(batch, lone=True), batch, type("Step", (), {"model": model})())
    assert torch.allclose(part.kept[:4], first)
    assert part.kept.shape == (5, 8)


def test_own_projections_are_refused_where_there_are_none():
    with pytest.raises(UserError, match="has no projection of its own"):
        make_model(load_row("clip", "small", head={"kind": "own"}))


def test_a_composer_of_words_needs_a_tower_that_reads_them():
    with pytest.raises(UserError, match="needs a text tower that reads embeddings too"):
        load_row("collm", "small", text={"kind": "hashed", "width": 96})
    row = load_row("sprc", "small", losses={"prompted": None, "composed": {}}, batch=4, text={"tokenizer": ""})
    trainer = Trainer(row, wishes(8), augment=False)
    with pytest.raises(UserError, match="'prompted'"):
        trainer.fit(1)


def test_records_of_wishes_are_what_they_say():
    assert [len({r.pair_id for r in wishes(40, kind=kind)}) > 10 for kind in ("change", "add")] == [True, True]
    made = [wishes(200, 0, split) for split in ("train", "test")]
    train, test = ({(shown(some)[r.id], r.texts[0].text) for r in some} for some in made)
    assert {w.texts[0].text.split()[0] for w in wishes(50)} == {"make"}
    assert not train & test
    with pytest.raises(UserError, match="'change' or 'add'"):
        wishes(3, kind="drop")
    assert isinstance(captioned(1)[0], Record)
    assert [isinstance(one, Text) for one in captioned(1)[0].texts] == [True, True]


def test_a_slot_says_what_it_lacks():
    with pytest.raises(UserError, match="the row makes none"):
        SlotComposer(WIDTHS).soft(Features(), torch.arange(1))
