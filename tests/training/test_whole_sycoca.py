"""SyCoCa as a whole: a run against its numbered steps written out one picture at a time, and its captions in use."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

import panoglot
from panoglot.errors import UserError
from panoglot.networks import Data, Record, Text, load_row, make_model, square_of
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.providers.roles import Prompt
from panoglot.table import image_id, open_dataset
from panoglot.training import draw_groups, draw_masks, shapes
from tests.training.plain_run import adamw, same_run, warm_cosine
from tests.training.test_commands import COLOURS, draw, make
from tests.training.test_whole_methods import TOWERS, need_clip_tokens

PARTS = {"caption": {"width": 24, "layers": 2, "heads": 2}, "inpaint": {"layers": 1, "heads": 2}}


def attended(part, x, memory, causal=False):
    """Attention by its equation over one sequence; all of the memory is seen, or what is not ahead."""
    (q,), (k, v) = (part.q(x),), part.kv(memory).chunk(2, -1)
    hide = torch.full((len(x), len(memory)), float("-inf")).triu(1) if causal else 0.0
    heads = [
        (a @ b.T / a.shape[1] ** 0.5 + hide).softmax(1) @ c
        for a, b, c in zip(*(z.chunk(part.heads, 1) for z in (q, k, v)), strict=True)
    ]
    return part.out(torch.cat(heads, 1))


def passed(block, x, memory=None, causal=False):
    """A block of a transformer over one sequence [L, width]."""
    y = block.norm1(x)
    x = x + attended(block.attention, y, y, causal)
    if memory is not None:
        x = x + attended(block.cross, block.norm_memory(x), memory)
    return x + block.mlp(block.norm2(x))


def seen(tower, picture, hidden=()):
    """The tower on one picture, some patches of which are a learned token: its vector and its patches."""
    patches = tower.embed(picture[None])[0].flatten(1).T
    rows = [tower.hidden if n in hidden else patch for n, patch in enumerate(patches)]
    x = tower.before(torch.stack([tower.first, *rows]) + tower.place)
    for block in tower.blocks:
        x = passed(block, x)
    x = tower.after(x)
    return x[0], x[1:]


def read(tower, ids):
    """The text tower on one text without padding, left to right: T, and t at the end token."""
    x = tower.embed(ids) + tower.place[: len(ids)]
    for block in tower.blocks:
        x = passed(block, x, causal=True)
    x = tower.after(x)
    return x, x[ids.tolist().index(tower.end)]


def said(part, tokens, patches):
    """Logits of the text decoder: causal over T, across to patches."""
    x = part.bring(tokens) + part.decoder.place[: len(tokens)]
    for block in part.decoder.blocks:
        x = passed(block, x, patches, causal=True)
    return part.decoder.after(x) @ part.decoder.embed.weight.T


def sycoca_loss(model, batch):
    """Steps 1 to 7 by loops."""
    caption, inpaint = model.parts["caption"], model.parts["inpaint"]
    x, y, words, count, painted = [], [], 0.0, 0, []
    for i in range(len(batch)):
        ids, picture = batch.tokens[i, 0][batch.token_mask[i, 0]], batch.image[i, 0]
        v, patches = seen(model.image, picture)
        tokens, t = read(model.text, ids)
        x.append(F.normalize(model.head(v), dim=0))
        y.append(F.normalize(model.text_head(t), dim=0))
        sims = [float((F.normalize(model.head(p), dim=0) @ y[-1]).detach()) for p in patches]  # 3: numbers, no gradient
        order = sorted(range(len(sims)), key=lambda n: (-sims[n], n))
        top = sorted(order[: len(sims) - int(0.5 * len(sims))])  # 4: captions read these,
        hidden = order[: int(0.5 * len(sims))]  # and these are painted
        logits = said(caption, tokens, patches[top])
        words = words + F.cross_entropy(logits[:-1], ids[1:], reduction="sum")  # 5
        count += len(ids) - 1
        z = seen(model.image, picture, hidden)[1]  # 6
        for block in inpaint.decoder.blocks:
            z = passed(block, z, tokens)
        z, side = inpaint.decoder.paint(inpaint.decoder.after(z)), model.image.patch
        for n in hidden:
            row, column = n // model.image.grid * side, n % model.image.grid * side
            want = picture[:, row : row + side, column : column + side].reshape(-1)
            want = (want - want.mean()) / (want.var(unbiased=False) + 1e-6).sqrt()
            painted.append((z[n] - want).abs().mean())
    scores = model.parts["contrast"].scale.log.exp() * torch.stack(x) @ torch.stack(y).T  # 2
    own = torch.arange(len(scores))
    contrast = (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2
    return contrast + 2 * words / count + torch.stack(painted).mean()  # 7


def written(model, picture):
    """The likeliest caption, token by token, from all patches; no more than `most` tokens."""
    patches, ids, tokens = seen(model.image, picture)[1], [model.text.tokens.start], model.text.tokens
    while len(ids) < 13 and ids[-1] != tokens.end:
        x = model.text.embed(torch.tensor(ids)) + model.text.place[: len(ids)]
        for block in model.text.blocks:
            x = passed(block, x, causal=True)
        ids.append(int(said(model.parts["caption"], model.text.after(x), patches)[-1].argmax()))
    return tokens.decode(ids)


@pytest.mark.paper(
    "sycoca",
    shows="C",
    case="a run of the paper's row (contrast; captions over the text tower's tokens from the half of the patches that "
    "fit the text; the same half painted from the rest and the text; weights 1, 2, 1) equals its steps one picture at "
    "a time, 5e-5; what it learnt searches, and writes captions from all patches, token by token as by hand",
)
def test_sycoca_s_run_is_its_paper_s_by_loops(tmp_path):
    need_clip_tokens()
    row = load_row("sycoca", **TOWERS, losses=PARTS, batch=6, epochs=2, schedule={"warmup": 2})
    paper = load_row("sycoca")
    assert {name: spec["weight"] for name, spec in paper.losses.items()} == {"contrast": 1, "caption": 2, "inpaint": 1}
    assert {"losses", "image", "text"} <= set(paper.unverified)
    make_ = adamw(0.1, lr=5e-4, eps=1e-8)
    same_run(row, shapes(18), sycoca_loss, make_, warm_cosine(2, 6), tolerance=5e-5)
    # 8: the mask at the tower's input is another pass: the kept patches do not know of the others
    spec = {**PARTS["caption"], "where": "input"}
    other = make_model(load_row("sycoca", **TOWERS, losses={**PARTS, "caption": spec}))
    batch_model = make_model(row)
    other.load_state_dict(batch_model.state_dict())
    values = []
    for model in (batch_model, other):
        data = Data(shapes(18), model, 0, row=row)
        values.append({n: float(t.value.detach()) for n, t in model(data.batch(data.plan(0)[0], 0)).items()})
    assert values[0]["contrast"] == pytest.approx(values[1]["contrast"], abs=1e-6)
    assert values[0]["caption"] != pytest.approx(values[1]["caption"], abs=1e-4)
    # 9: by the command, on a dataset; then search and captions
    place, sets = make(tmp_path / "x.pano", 36).path, ["dim=16", "size=32", "optimiser.lr=0.005"]
    for side in ("image", "text"):
        sets += [f"{side}.{key}={value}" for key, value in TOWERS[side].items()]
    sets += [f"losses.{name}.{key}={value}" for name, spec in PARTS.items() for key, value in spec.items()]
    run = panoglot.train("sycoca", place, output=tmp_path / "run", batch=8, epochs=30, set=sets, lang="en", quiet=True)
    assert set(run.figures["languages"]) == {"en"}
    card = (run.run / "README.md").read_text()
    assert "--captioner pano:run/" in card
    assert "](masks.svg)" in card
    assert len(tiles_of((run.run / "masks.svg").read_text())) == 4 * 2  # two pictures were held out
    both, raw = load_model(f"pano:{run.run}"), [Image(draw(n)[0]) for n in range(36)]
    with torch.no_grad():
        texts = [written(run.encoder.model, square_of(one, 32)) for one in raw[:4]]
    asked = [Prompt("Say what is there.", (one,), max_tokens=12) for one in raw[:4]]
    assert [getattr(answer, "text", "") for answer in both.generate(asked)] == texts
    assert both.encode_images(raw).shape == (36, 16)
    panoglot.caption(place, method="describe", captioner=f"pano:{run.run}", lang="en", quiet=True)
    found = {r["image_id"]: r["text"] for r in open_dataset(place).captions.rows(["image_id", "text", "model"])
             if r["model"].startswith("pano:")}  # fmt: skip
    assert len(found) == 36
    right = sum(COLOURS["en"][draw(n)[1]] in found.get(image_id(draw(n)[0]), "") for n in range(36))
    assert right >= 24  # chance: 12


@pytest.mark.paper("sycoca", shows="V", case="a text tower that reads both ways would tell what comes next: refused")
def test_the_decoder_needs_a_text_tower_that_reads_left_to_right():
    text = {**TOWERS["text"], "tokenizer": "", "pool": "mean"}
    with pytest.raises(UserError, match=r"pool: end.*given=words"):
        make_model(load_row("sycoca", **{**TOWERS, "text": text}, losses=PARTS))
    for wrong in ({"given": "ids"}, {"where": "here"}):
        spec = {"caption": {**PARTS["caption"], **wrong}}
        with pytest.raises(UserError, match=r"caption: (given|where)="):
            make_model(load_row("sycoca", **TOWERS, losses=spec))


def tiles_of(svg):
    """The pictures of a page, [H, W, 3] each, in its order."""
    found = re.findall(r'href="data:image/png;base64,([^"]+)"', svg)
    return [np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB")).astype(int) for one in found]


def patches_that_differ(a, b, side):
    """Numbers of the patches, row by row, where two pictures are not the same."""
    cells = (np.abs(a - b).max(-1) > 2).reshape(len(a) // side, side, -1, side).any((1, 3))
    return set(np.flatnonzero(cells).tolist())


@pytest.mark.paper(
    "sycoca",
    shows="V",
    case="masks in the card: captions from the half of the patches that fits the text, the same half hidden, and "
    "painted there alone",
)
def test_the_masks_that_are_drawn_are_those_that_are_learnt_from():
    towers = {"image": {**TOWERS["image"], "patch": 8}, "text": {**TOWERS["text"], "tokenizer": ""}}
    model = make_model(load_row("sycoca", **{**TOWERS, **towers}, losses=PARTS, batch=4))
    records = [replace(r, texts=[Text("一个红色的圆 — قطة حمراء", "raw", "zh")]) for r in shapes(3)]
    assert draw_masks(model, [replace(r, texts=[]) for r in records], "nothing to show") is None
    svg = draw_masks(model, records, "قناع · masks")
    assert "قناع · masks" in svg
    assert svg.count("一个红色的圆 — قطة حمراء") == 3
    tiles = tiles_of(svg)
    assert len(tiles) == 12
    for n, record in enumerate(sorted(records, key=lambda r: r.id)):
        whole, captioned, hidden, painted = tiles[4 * n : 4 * n + 4]
        pixels = square_of(record.image, 32)
        with torch.no_grad():
            patches = seen(model.image, pixels)[1]
            ids, mask = model.text.tokens([record.texts[0].text])
            y = F.normalize(model.text_head(read(model.text, ids[0][mask[0]])[1]), dim=0)
            fits = (F.normalize(model.head(patches), dim=1) @ y).argsort(descending=True, stable=True).tolist()
        # a patch that is as grey as a hidden one does not differ: there is none in these pictures
        assert patches_that_differ(whole, hidden, 8) == set(fits[:8])
        assert patches_that_differ(whole, captioned, 8) == set(fits[8:])
        assert 0 < len(patches_that_differ(whole, painted, 8)) <= 8
        assert patches_that_differ(whole, painted, 8) <= set(fits[:8])


@pytest.mark.paper(
    "dreamlip", shows="V", case="the patches of each sentence in the card: as pale as their weight is small, cut at 1/N"
)
def test_the_patches_that_are_drawn_are_those_of_each_sentence():
    model = make_model(load_row("dreamlip", "small"))
    long = "A red circle lies on the left. Et blått kvadrat. صورة جميلة."
    record = Record("a", shapes(1)[0].image, [Text("red", "raw", "en"), Text(long, "long", "en")])
    svg = draw_groups(model, [record], "patches")
    whole, *each = tiles_of(svg)
    assert len(each) == 3
    batch = Data([record], model, augment=False, row=load_row("dreamlip", "small", batch=1)).batch([("a", 0)], 0)
    with torch.no_grad():
        f = model.features(batch)
    assert len(set(batch.texts[0])) == 3
    for text, y, tile in zip(batch.texts[0], f.y, each, strict=True):
        assert text in svg
        sims = f.local[0] @ y
        value = (sims - sims.min()) / (sims.max() - sims.min())
        share = torch.where(value < 1 / 16, 0.0, value).view(4, 4).repeat_interleave(8, 0).repeat_interleave(8, 1)
        want = share.numpy()[..., None] * whole + (1 - share.numpy()[..., None]) * 255
        assert np.abs(tile - want).max() <= 2
