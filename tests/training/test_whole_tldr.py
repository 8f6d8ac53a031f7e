"""TL;DR as a whole: a codebook captioner, clusters of codes, a few of each, the better half, captions appended."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

import panoglot
from panoglot.curation import resolve
from panoglot.errors import RowError, UserError
from panoglot.networks import load_row, square_of
from panoglot.pictures import Image
from panoglot.providers import load_model, register
from panoglot.providers.roles import Answer
from panoglot.training import shapes
from tests.curation.conftest import Maker, jpeg
from tests.training.plain_run import adamw, same_run

TINY = {
    "image": {"kind": "vit", "patch": 8, "width": 16, "layers": 1, "heads": 2},
    "text": {"width": 16, "layers": 1, "heads": 2, "length": 48, "tokenizer": ""},
    "size": 32,
}


class Matches:
    """A matching head for tests: what it thinks of a pair stands at the end of the text."""

    name, fingerprint, batch_size = "toy:matches", "matches-1", 4

    def match(self, images, texts):
        return [RowError("broken") if "broken" in text else float(text.rpartition(" ")[2]) for text in texts]


class Writes:
    """A captioner for tests."""

    name, fingerprint, batch_size, asked = "toy:writes", "writes-1", 4, []

    def generate(self, prompts):
        Writes.asked += prompts
        return [Answer("a plain surface") for _ in prompts]


def attend(layer, x, memory, see=None):
    """One attention by its equation."""
    q, (k, v) = layer.q(x), layer.kv(memory).chunk(2, -1)
    heads = [
        (a @ b.T / a.shape[1] ** 0.5 + (0 if see is None else torch.zeros(see.shape).masked_fill(~see, -1e30))).softmax(
            1
        )
        @ c
        for a, b, c in zip(*(z.chunk(layer.heads, -1) for z in (q, k, v)), strict=True)
    ]
    return layer.out(torch.cat(heads, -1))


def captioner_loss(model, batch):
    """Step 1, one picture at a time: nearest codes, both terms, a decoder that reads codes alone."""
    lm, codes = model.text.lm, model.parts["vq"].codebook.codes
    pooled, patches = model.image(batch.image[:, 0])
    nats, apart = [], []
    for i in range(len(batch)):
        z = torch.cat([pooled[i][None], patches[i]])  # the class token first
        e = codes[torch.stack([(codes.detach() - one.detach()).norm(dim=1).argmin() for one in z])]
        apart.append((z.detach() - e) ** 2 + 0.25 * (z - e.detach()) ** 2)
        memory = z + (e - z).detach()
        real = batch.given_mask[i]
        ids, target = batch.given[i][real], batch.target[i][real]
        see = torch.ones(len(ids), len(ids)).tril().bool()
        x = lm.embed(ids) + lm.place[: len(ids)]
        for block in lm.layers:
            x = x + attend(block.attention, block.norm1(x), block.norm1(x), see)
            x = x + attend(block.cross, block.norm_memory(x), memory)
            x = x + block.mlp(block.norm2(x))
        logits = lm.after(x) @ lm.embed.weight.T
        nats.append(F.cross_entropy(logits[:-1], target[1:], ignore_index=-100, reduction="none")[target[1:] != -100])
    return torch.cat(nats).mean() + torch.stack(apart).mean()


def decayed(per_epoch, warmup):
    """Step → share of the rate: from 1e-6 up to 3e-4, then a tenth less every epoch, never below 1e-6."""
    low = 0.00333
    return lambda step: low + (1 - low) * (step + 1) / warmup if step < warmup else max(low, 0.9 ** (step // per_epoch))


def striped(concept, number):
    """A picture of one of four kinds of stripes."""
    across, down = np.meshgrid(np.arange(64), np.arange(64))
    wave = [across, down, across + down, (across // 16 + down // 16) * 8][concept] // 8 % 2 * 200
    noise = np.random.default_rng(number).integers(0, 30, (64, 64))
    return PIL.Image.fromarray(np.repeat((wave + noise)[..., None], 3, 2).astype(np.uint8))


@pytest.mark.paper(
    "tldr",
    shows="C",
    case="a run of the codebook captioner equals its step by loops, 1e-4; by one command its codes are whitened and "
    "clustered, every fifth of a cluster and the better half by a matching head stay, and a caption is appended",
)
def test_tldr_from_its_codebook_to_appended_captions(tmp_path):
    paper = load_row("tldr")
    assert (paper.image["name"], paper.losses["vq"]["codes"], paper.text["length"]) == (
        "deit_base_patch16_224",
        1024,
        32,
    )
    every, best = ({**step.options} for step in resolve("tldr"))
    assert [every[key] for key in ("clusters", "n", "whiten", "iterations")] == [1000, 5, 256, 20]
    assert (best["share"], best["ties"]) == (0.5, "keep")
    row = load_row(
        "tldr", **TINY, losses={"vq": {"codes": 24}}, epochs=3, batch=8, schedule={"warmup": 3}, optimiser={"eps": 1e-5}
    )
    make = adamw(0.05, lr=3e-4, betas=(0.9, 0.999), eps=1e-5)
    same_run(row, shapes(32), captioner_loss, make, decayed(4, 3), tolerance=1e-4)

    # steps 2 to 6 on a dataset
    register("python:matches", Matches)
    register("python:writes", Writes)
    maker, sizes = Maker(tmp_path / "x.pano"), (5, 6, 10, 11)
    kinds = np.repeat(np.arange(4), sizes)
    pictures = [striped(kind, n) for n, kind in enumerate(kinds)]
    ids = maker.images([jpeg(one) for one in pictures], [64] * 32, [64] * 32)
    scores = np.random.default_rng(5).permutation(32) / 32
    maker.add([{"image": key, "text": f"stripes {n} {scores[n]}"} for n, key in enumerate(ids)])
    more = [f"{key}={value}" for key, value in (("epochs", 8), ("losses.vq.codes", 32), ("losses.vq.revive", 5))]
    panoglot.train(
        "tldr",
        maker.dataset,
        preset="small",
        output=tmp_path / "codebook",
        batch=16,
        set=more,
        quiet=True,
        held_out=0.0,
    )
    coded = f"pano:{tmp_path}/codebook?codes=true"
    recipe = tmp_path / "tldr.yaml"
    recipe.write_text(
        f"output: x.pano\nmodels: {{captioner: 'python:writes'}}\nsteps:\n- curate:\n    steps:\n    - tldr:\n"
        f"        {{clusters: 4, encoder: '{coded}', score: match, scorer: 'python:matches'}}\n- append: {{}}\n"
    )
    done = panoglot.build(str(recipe), quiet=True)
    # step 2: indices of 17 tokens, and how often each code is used
    images = [Image(jpeg(one)) for one in pictures]
    encoder = load_model(coded, "encoder")
    raw = encoder.codes(torch.stack([square_of(one, 32) for one in images]))
    assert raw.shape == (32, 17)
    counts = np.stack([np.bincount(one, minlength=32) for one in raw.numpy()]).astype(np.float32)
    vectors = encoder.encode_images([*images, Image(b"", "broken", 1, 1)])
    with pytest.raises(UserError, match="texts have none"):
        encoder.encode_texts(["a"])
    assert np.allclose(vectors[:-1], counts / np.linalg.norm(counts, axis=1, keepdims=True), atol=1e-6)
    assert np.isnan(vectors[-1]).all()
    codes = [{tuple(raw[n].tolist()) for n in np.flatnonzero(kinds == kind)} for kind in range(4)]
    assert sum(map(len, codes)) == len(set.union(*codes)) >= 4  # no code of one kind is that of another
    # steps 3 and 4: clusters of what looks alike, and one in five of each
    gone = {one["image_id"] for one in maker.dataset.marks.rows(["image_id", "dropped"]) if one["dropped"]}
    kept = [n for n, key in enumerate(ids) if key not in gone]
    assert [sum(kinds[n] == kind for n in kept) for kind in range(4)] == [1, 2, 2, 3]
    # step 5: the upper half by the matching head
    given = {
        one["text"]: one["dropped"]
        for one in maker.dataset.captions.rows(["text", "dropped", "kind"])
        if one["kind"] == "alt"
    }
    assert {int(text.split()[1]) for text, why in given.items() if why is None} == {
        n for n in range(32) if scores[n] >= 0.5
    }
    # step 6: behind what is kept by both, and nothing else
    both = [n for n in kept if scores[n] >= np.median(scores)]
    new = [
        one["text"]
        for one in maker.dataset.captions.rows(["text", "recipe", "dropped"])
        if one["recipe"] == "append/1" and one["dropped"] is None
    ]
    assert sorted(new) == sorted(f"stripes {n} {scores[n]}; a plain surface" for n in both)
    assert len(Writes.asked) == len(both)
    assert done.rejected == 0


def test_codes_are_of_codebooks_alone(tmp_path):
    maker = Maker(tmp_path / "x.pano")
    for n in range(16):
        maker.caption(maker.image(jpeg(striped(n % 4, n))), f"stripes {n}")
    panoglot.train(
        "align", maker.dataset, preset="small", output=tmp_path / "run", epochs=1, batch=8, quiet=True, held_out=0.0
    )
    with pytest.raises(UserError, match="has no codes: align learns no codebook; tldr does"):
        load_model(f"pano:{tmp_path}/run?codes=true", "encoder")
