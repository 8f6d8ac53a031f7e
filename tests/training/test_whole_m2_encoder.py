"""M2-Encoder as a whole: a run against its numbered steps by loops, the losses of its switchboard, both taps in use."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sentencepiece")
F = torch.nn.functional

import panoglot
from panoglot.errors import UserError
from panoglot.networks import Data, load_row, make_model, square_of
from panoglot.networks.towers import fuse
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.training import Trainer, shapes
from tests.training.plain_run import adamw, plain_run, same, warm_cosine
from tests.training.test_commands import draw, make

SMALL = {
    "image": {"patch": 8, "width": 32, "layers": 2, "heads": 4, "drop_path": 0.0},
    "text": {"width": 32, "layers": 2, "heads": 4, "drop_path": 0.0, "vocabulary": 400},
    "shared": 2, "dim": 16, "size": 32,
}  # fmt: skip
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def pairs(n):
    """Pictures, half of them with a text in English, half with one that is called Chinese."""
    out = []
    for k, record in enumerate(shapes(n, noise=0.0)):
        found = {t.lang: t for t in record.texts}
        own = found["qaa"] if k % 2 else found["en"]
        out.append(replace(record, texts=[replace(own, lang="zh" if k % 2 else "en", kind="short", of=None)]))
    return out


def layer(block, x, see=None, others=()):
    """One layer by its equations over one sequence; `others` are (layer, sequence) that the attention joins it with."""
    everybody, rows = [(block, x), *others], []
    parts = [(b.q(b.norm1(z)), b.k(b.norm1(z)), b.v(b.norm1(z))) for b, z in everybody]
    q, k, v = (torch.cat(one) for one in zip(*parts, strict=True))
    for a, b, c in zip(*(z.chunk(block.heads, 1) for z in (q, k, v)), strict=True):
        rows.append((a @ b.T / a.shape[1] ** 0.5).softmax(1) @ c)
    seen, out, at = torch.cat(rows, 1), [], 0
    for b, z in everybody:
        z, at = z + b.out(b.inner(seen[at : at + len(z)])), at + len(z)
        hidden = b.first(b.norm2(z))
        out.append(z + b.second(b.middle(hidden * (1 + torch.erf(hidden / 2**0.5)) / 2)))
    return out


def entered(tower, picture, hide=()):
    """What the picture's first layer reads: pixels in -1..1, patches, a class token before, positions."""
    pixels = picture * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    patches = tower.embed((2 * pixels - 1)[None])[0].flatten(1).T
    rows = [tower.hidden if n in hide else patch for n, patch in enumerate(patches)]
    return torch.stack([tower.first, *rows]) + tower.place


def through(model, x):
    """The shared layers and the norm behind them."""
    for block in model.stack:
        (x,) = layer(block, x)
    return model.settle(x)


def encoded(model, picture, ids):
    """Step 1: the four vectors of a picture and a text."""
    x, y = entered(model.image, picture), model.text.embed(ids) + model.text.place[: len(ids)]
    for a, b in zip(model.image.blocks, model.text.blocks, strict=True):
        (x,), (y,) = layer(a, x), layer(b, y)
    x, y = model.image.after(x), model.text.after(y)
    found = [model.head(x[0]), model.text_head(y[0]), model.head2(through(model, x)[0])]
    return [F.normalize(z, dim=0) for z in (*found, model.text_head2(through(model, y)[0]))]


def dense(x, y, log):
    scores, own = log.exp() * x @ y.T, torch.arange(len(x))
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2


def grouped_loss(group):
    """Steps 3 to 5: pools that do not see each other, both taps, a scale each; the mean over the groups."""

    def loss(model, batch):
        rows = [
            encoded(model, batch.image[i, 0], batch.tokens[i, 0][batch.token_mask[i, 0]]) for i in range(len(batch))
        ]
        x, y, x2, y2 = (torch.stack(one) for one in zip(*rows, strict=True))
        part, total = model.parts["contrast"], 0.0
        for at in range(0, len(x), group):
            one = slice(at, at + group)
            total = total + dense(x[one], y[one], part.scale.log) + dense(x2[one], y2[one], part.scale2.log)
        return total * group / len(x)

    return loss


@pytest.mark.paper(
    "m2-encoder",
    shows="C",
    case="a run of the paper's row (multiway towers with inner norms, shared layers, both taps with a scale each, "
    "groups, features of two micro-batches accumulated, zh and en balanced) equals its steps one pair at a time, 5e-5; "
    "match, masked text alone and beside the picture, masked patches, captions: each by hand; depth by chance, "
    "RandAugment, sizes and beginnings; both taps in use by the command",
)
def test_every_step(tmp_path):
    paper, small = load_row("m2-encoder"), {**SMALL, "batch": 8, "epochs": 2, "schedule": {"warmup": 2}}
    # 1: layers, widths, norms, padding; 3 to 5: the loss
    records = pairs(16)
    row = load_row("m2-encoder", **small, losses={"contrast": {"group": 4}}, accumulate=2,
                   views={"augment": {"count": 0}})  # fmt: skip
    trainer = Trainer(row, records, workers=0)
    got = [figures["loss"] for figures in trainer.fit(progress=False)]
    model = make_model(row, 0)
    model.learn_tokens(records)
    want, model = plain_run(
        row, records, grouped_loss(4), adamw(0.2, lr=5e-4, eps=1e-8), warm_cosine(2, 4), model=model
    )
    same(trainer, got, want, model, 5e-5)
    part = make_model(row, 0).parts["contrast"]
    assert [float(s.log.detach()) for s in (part.scale, part.scale2)] == pytest.approx([math.log(1 / 0.07)] * 2)
    spoken = {lang for epoch in (0, 1) for ids in trainer.data.plan(epoch)
              for one in trainer.data.batch(ids, epoch).lang for lang in one}  # fmt: skip
    assert spoken == {"en", "zh"}
    assert paper.languages == {"weights": {"zh": 1, "en": 1}}
    beginnings(row)
    chances()
    switchboard()
    taps(tmp_path)


def beginnings(row):
    """Step 1: weights at .02, cut; values, outputs and second maps of layer i smaller by the root of 2i, counted on."""
    wide = load_row("m2-encoder", image={"width": 128, "layers": 2, "heads": 2}, size=32, shared=2, dim=16,
                    text={"width": 128, "layers": 2, "heads": 2, "vocabulary": 400})  # fmt: skip
    model = make_model(wide, 0)
    cut = 0.02 * 0.5396  # the deviation of a normal that is cut at one deviation
    for i, block in enumerate([*model.image.blocks, *model.stack], 1):
        assert float(block.q.weight.detach().std()) == pytest.approx(cut, rel=0.05)
        for one in (block.v, block.out, block.second):
            assert float(one.weight.detach().std()) == pytest.approx(cut / (2 * i) ** 0.5, rel=0.05)
    assert float(model.text_head2.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert not model.image.first.any()


def chances():
    """Step 1: depth by chance rises to .1; the train transform's changes."""
    with torch.device("meta"):
        model = make_model(load_row("m2-encoder"))
    assert [b.drop_path for b in model.image.blocks] == pytest.approx([0.1 * n / 8 for n in range(9)])
    assert [b.drop_path for b in model.stack] == pytest.approx([0, 0.05, 0.1])
    torch.manual_seed(0)
    (block,) = make_model(load_row("m2-encoder", **{**SMALL, "shared": 1})).stack
    block.drop_path, x = 0.5, torch.randn(400, 3, 32)
    block.train()
    with torch.no_grad():
        still = (block(x) == x).flatten(1).all(1)
    assert 60 <= int(still.sum()) <= 140  # a quarter is passed by twice
    block.eval()
    with torch.no_grad():
        assert not (block(x) == x).flatten(1).all(1).any()
    views = load_row("m2-encoder").views
    assert views == {"scale": [0.8, 1.0], "flip": 0.5, "augment": {"count": 2, "strength": 7}}


def switchboard():
    """Step 2: the losses besides the contrast, one record at a time."""
    cells = {"tokeniser": {"grid": 4}}
    some = {"masked_picture": {"hidden": 6}, "caption": {"width": 16, "layers": 1, "heads": 2}}
    row = load_row(
        "m2-encoder", "all-losses", **SMALL, batch=6, readers=cells, views={"augment": {"count": 0}}, losses=some
    )
    assert load_row("m2-encoder", "all-losses").losses["masked_picture"] == {"weight": 1.0, "hidden": 80}
    full = load_row("m2-encoder", "all-losses").losses
    assert (full["masked_text"]["ratio"], full["masked_pair"]["ratio"]) == (0.15, 0.5)
    records = pairs(6)
    model = make_model(row, 0)
    model.learn_tokens(records)
    data = Data(records, model, 0, row=row)
    batch = data.batch(data.plan(0)[0], 0)
    found = {name: float(term.value.detach()) for name, term in model.eval()(batch).items()}
    texts = [batch.tokens[i, 0][batch.token_mask[i, 0]] for i in range(6)]
    with torch.no_grad():
        assert found["masked_text"] == pytest.approx(masked_text(model, batch, texts, "masked_text", 0.15), abs=1e-5)
        assert found["masked_pair"] == pytest.approx(masked_text(model, batch, texts, "masked_pair", 0.5), abs=1e-5)
        assert found["masked_picture"] == pytest.approx(masked_picture(model, batch), abs=1e-5)
        assert found["itm"] == pytest.approx(match(model, batch, texts), abs=1e-5)
        logits = [model.parts["caption"].decoder(ids[None], model.image(batch.image[i])[1])[0, :-1]
                  for i, ids in enumerate(texts)]  # fmt: skip
    nats = F.cross_entropy(torch.cat(logits), torch.cat([ids[1:] for ids in texts]))
    assert found["caption"] == pytest.approx(float(nats), abs=1e-5)


def both(model, picture, ids, hide=None, hidden=None):
    """A picture and a text as one sequence: layers of their own, one attention, then the shared layers."""
    words = model.text.embed(ids)
    if hide is not None:
        words = torch.stack([hidden if at else word for at, word in zip(hide, words, strict=True)])
    x, y = entered(model.image, picture), words + model.text.place[: len(ids)]
    for a, b in zip(model.image.blocks, model.text.blocks, strict=True):
        x, y = layer(a, x, others=[(b, y)])
    return through(model, torch.cat([model.image.after(x), model.text.after(y)]))


def masked_text(model, batch, texts, name, ratio):
    part, out, aims = model.parts[name], [], []
    mask = part.chosen(batch, batch.token_mask[:, 0])
    for i, ids in enumerate(texts):
        hide = mask[i, : len(ids)]
        assert int(hide.sum()) == max(1, round(ratio * (len(ids) - 2)))
        assert not hide[0]
        assert not hide[-1]
        if name == "masked_pair":
            states = both(model, batch.image[i, 0], ids, hide, part.hidden)[-len(ids) :]
        else:
            states = torch.where(hide[:, None], part.hidden, model.text.embed(ids)) + model.text.place[: len(ids)]
            for block in model.text.blocks:
                (states,) = layer(block, states)
            states = through(model, model.text.after(states))
        out.append(part.after(F.gelu(part.turn(states[hide]))) @ model.text.embed.weight.T)
        aims.append(ids[hide])
    return float(F.cross_entropy(torch.cat(out), torch.cat(aims)))


def masked_picture(model, batch):
    from panoglot.networks.parts import hidden_cells

    part, out, aims = model.parts["masked_picture"], [], []
    hide = hidden_cells(batch, 16, (6 / 16, 6 / 16), "masked_picture")
    codes = model.reader("tokeniser").encode(batch.image[:, 0])
    assert hide.sum(1).tolist() == [6] * len(batch)
    for i in range(len(batch)):
        at = hide[i].nonzero()[:, 0].tolist()
        x = entered(model.image, batch.image[i, 0], at)
        for block in model.image.blocks:
            (x,) = layer(block, x)
        out.append(part.guess(through(model, model.image.after(x))[1:][at]))
        aims.append(codes[i, at])
    return float(F.cross_entropy(torch.cat(out), torch.cat(aims)))


def match(model, batch, texts):
    """Every pair is right; a picture with a text drawn by the softmax, a text with a picture; the mean of all."""
    from panoglot.networks.samplers import Draw

    part, nats = model.parts["itm"], []
    vectors = [encoded(model, batch.image[i, 0], ids) for i, ids in enumerate(texts)]
    x, y = (torch.stack([one[side] for one in vectors]) for side in (0, 1))
    scores = model.parts["contrast"].scale.log.exp() * x @ y.T

    def verdict(i, j, yes):
        first = both(model, batch.image[i, 0], texts[j])[0]
        nats.append(-part.judge(torch.tanh(part.pool(first))).log_softmax(0)[yes])

    for i in range(len(batch)):
        verdict(i, i, 1)
        for way, row in (("texts", scores[i]), ("pictures", scores[:, i])):
            weights = [0.0 if j == i else math.exp(float(row[j] - row.max())) for j in range(len(batch))]
            rest, at = Draw(batch.seed, batch.ids[i], "match", way).number() * sum(weights), 0
            while rest >= weights[at]:
                rest, at = rest - weights[at], at + 1
            verdict(*((i, at) if way == "texts" else (at, i)), 0)
    return float(torch.stack(nats).mean())


def taps(tmp_path):
    """In use: the vectors after the shared layers where nobody says otherwise, those before them when asked."""
    place, sets = make(tmp_path / "x.pano", 24).path, ["views.augment.count=0", "losses.contrast.group=8"]
    sets += [f"{side}.{key}={value}" for side in ("image", "text") for key, value in SMALL[side].items()]
    sets += [f"{key}={SMALL[key]}" for key in ("shared", "dim", "size")]
    run = panoglot.train("m2-encoder", place, output=tmp_path / "run", batch=8, epochs=2, set=sets, lang="en",
                         preset="small", quiet=True).run  # fmt: skip
    raw, texts = [Image(draw(n)[0]) for n in range(4)], ["a red thing", "一个红色的东西", "شيء أحمر"]
    found = {tap: load_model(f"pano:{run}{tap}", "encoder") for tap in ("", "?tap=after", "?tap=before")}
    model = found[""].model
    seen = {tap: encoder.encode_images(raw) for tap, encoder in found.items()}
    read = {tap: encoder.encode_texts(texts) for tap, encoder in found.items()}
    with torch.no_grad():
        for n in range(3):
            ids = model.text.tokens([texts[n]])[0][0]
            one = encoded(model, square_of(raw[n], 32), ids)
            for tap, (x, y) in (("?tap=before", one[:2]), ("?tap=after", one[2:]), ("", one[2:])):
                assert np.allclose(seen[tap][n], x.numpy(), atol=1e-5)
                assert np.allclose(read[tap][n], y.numpy(), atol=1e-5)
    assert found[""].fingerprint == found["?tap=after"].fingerprint != found["?tap=before"].fingerprint
    with pytest.raises(UserError, match=r"tap=both of .* must be before or after"):
        load_model(f"pano:{run}?tap=both", "encoder")


@pytest.mark.paper("m2-encoder", shows="V", case="a wrong pair is never a copy of the right one; none at all: no pair")
def test_wrong_pairs_are_of_others():
    from panoglot.networks import Batch
    from panoglot.networks.parts.fused import wrong

    scores = torch.tensor([[9.0, 9.0, 0.0], [9.0, 9.0, 0.0], [0.0, 0.0, 9.0]])
    batch = Batch(["a", "b", "c"], pair_id=torch.tensor([7, 7, 8]))
    for seed in range(20):
        left = wrong(scores, replace(batch, seed=seed), "texts")
        assert left[:2].tolist() == [2, 2]
        assert int(left[2]) in (0, 1)
    assert {int(wrong(scores, replace(batch, seed=seed), "texts")[2]) for seed in range(20)} == {0, 1}
    assert wrong(scores, replace(batch, pair_id=torch.tensor([7, 7, 7])), "texts").tolist() == [-1, -1, -1]
    sharp = torch.tensor([[0.0, 30.0, 0.0], [30.0, 0.0, 0.0], [0.0, 30.0, 0.0]])
    plain = Batch(["a", "b", "c"], pair_id=torch.tensor([0, 1, 2]))
    assert wrong(sharp, plain, "texts").tolist() == [1, 0, 1]  # what looks right


@pytest.mark.paper("m2-encoder", shows="V", case="padding changes no vector of a text and no verdict on a pair")
def test_padding_is_seen_by_nobody():
    model = make_model(load_row("m2-encoder", **SMALL), 0).eval()
    model.text.learn(["a red bird", "a green tree on a hill", "twelve blue boats"] * 9)
    ids, mask = model.text.tokens(["a red bird", "a green tree on a hill and twelve blue boats"])
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        long = fuse(model.image, model.text, pixels, ids, mask)[0][0]
        real = int(mask[0].sum())
        short = fuse(model.image, model.text, pixels[:1], ids[:1, :real], mask[:1, :real])[0][0]
        assert torch.allclose(long[: 17 + real], short, atol=1e-5)


def test_settings_that_cannot_be_are_one_line():
    for more, said in (
        ({"views": {"augment": {"much": 1}}}, r"views\.augment: unknown option 'much'"),
        ({"views": {"augment": {"strength": 11}}}, r"strength=11 must be a number in 0\.\.10"),
        ({"views": {"augment": {"count": -1}}}, r"count=-1 must be a whole number"),
    ):
        with pytest.raises(UserError, match=said):
            load_row("m2-encoder", **more)
    with pytest.raises(UserError, match=r"views\.augment moves what is in a picture, and the loss 'box'"):
        load_row("grain", views={"augment": {"count": 2}})
    for more, said in (
        (
            {"text": {"kind": "transformer", "width": 32, "layers": 2, "heads": 4}},
            r"both towers must be \{kind: multiway",
        ),
        ({"text": {**SMALL["text"], "layers": 1}}, r"equally many layers and heads"),
        ({"text": {**SMALL["text"], "width": 64}}, r"two towers of one width"),
        ({"image": {**SMALL["image"], "heads": 3}}, r"cannot be cut into 3 heads"),
    ):
        with pytest.raises(UserError, match=said):
            make_model(load_row("m2-encoder", **{**SMALL, **more}))
    cells = {"readers": {"tokeniser": {"grid": 7}}}
    with pytest.raises(UserError, match=r"16 patches, and the tokeniser 49 cells.*grid: 4"):
        make_model(load_row("m2-encoder", "all-losses", **SMALL, **cells))
    with pytest.raises(UserError, match=r"'itm' needs a picture and a text in one sequence"):
        load_row("clip", losses={"itm": {}})
