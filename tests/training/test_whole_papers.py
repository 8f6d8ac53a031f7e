"""Whole papers: data, a run of the trainer and use, against their numbered steps written out in plain PyTorch."""

from __future__ import annotations

import copy
import math
import re
from collections import Counter, defaultdict

import numpy as np
import PIL.Image
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional
linear_sum_assignment = pytest.importorskip("scipy.optimize").linear_sum_assignment

import panoglot
from panoglot.curation import curate
from panoglot.errors import RowError, UserError
from panoglot.networks import Data, Record, Text, load_row, make_model
from panoglot.networks.encoder import TrainedEncoder
from panoglot.pictures import Image
from panoglot.providers import TenCrops, load_model, register
from panoglot.providers.roles import Answer
from panoglot.retrieval import search
from panoglot.table import vector_id
from panoglot.training import Trainer, questions, read_records, shapes
from tests.curation.conftest import Maker, jpeg, scene
from tests.training.plain_run import Lamb, adamw, groups_of, plain_run, same, same_run, warm_cosine, warm_line
from tests.training.test_whole_methods import TOWERS, clip_loss, need_clip_tokens

VIT = {"kind": "vit", "patch": 17, "width": 32, "layers": 1, "heads": 2}
BERT = {"vocab_size": 120, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WORDS = "red green blue old new dog cat boat house tree runs sits stands here".split()


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """BERT's architecture with two layers, and word pieces."""
    hf = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "a"]))
    hf.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    quiet = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    hf.BertModel(hf.BertConfig(**BERT, max_position_embeddings=80, **quiet)).save_pretrained(folder)
    return str(folder)


# ---- ALIGN -----------------------------------------------------------------------------------------------------------


def align_corpus(tmp_path):
    """Twelve good pairs, and something for each of the eight rules to drop; its path, and the good texts."""
    maker, test = Maker(tmp_path / "x.pano"), Maker(tmp_path / "test.pano")
    test.image(jpeg(scene(99)))
    good = [f"a {a} {b} {c} here" for a in WORDS[:3] for b in WORDS[5:7] for c in WORDS[10:12]]
    ids = [maker.image(jpeg(scene(n, 346, 346))) for n in range(12)]
    texts = [*zip(ids, good, strict=True), *((ids[n], "wallpaper image of today") for n in range(11))]
    texts += [(ids[0], text) for text in ("red dog", " ".join(["dog"] * 21), "a red zyxw")]
    sizes = {"adult": (640, 480), "small": (200, 300), "narrow": (900, 300), "busy": (640, 480), "copy": (640, 480)}
    bad = {name: maker.image(jpeg(scene(50 + n)), *size) for n, (name, size) in enumerate(sizes.items())}
    bad["copy"] = maker.image(jpeg(scene(99, 320, 240), 60), 320, 240)
    maker.dataset.score("marks", {bad["adult"]: ({"nsfw": 0.99}, None)})
    texts += [(bad[name], "a red dog runs here") for name in ("adult", "small", "narrow", "copy")]
    texts += [(bad["busy"], f"a red dog {n}") for n in range(1001)]
    maker.add([{"image": image, "text": text} for image, text in texts])
    return maker, test, set(good)


def align_loss(model, batch):
    """ALIGN's step 3: both directions added, targets smoothed by a tenth over the batch."""
    ids, mask = batch.tokens[:, 0], batch.token_mask[:, 0]
    words = model.text.model(ids, attention_mask=mask.long()).last_hidden_state[:, 0]  # BERT's class vector
    x = F.normalize(model.image(batch.image[:, 0])[0] @ model.head.weight.T, dim=1)
    y = F.normalize(words @ model.text_head.weight.T, dim=1)
    scores, b = model.parts["contrast"].scale.log.exp() * x @ y.T, len(ids)
    target = 0.9 * torch.eye(b) + 0.1 / b
    return sum(-(target * s.log_softmax(1)).sum() / b for s in (scores, scores.T))


@pytest.mark.paper(
    "align",
    shows="C",
    case="eight rules keep twelve pairs; a run of the paper's row on them (289 of 346 pixels, flips, BERT's class "
    "vector, sum of both directions, smoothing .1, scale from 1, LAMB, linear) equals its steps in plain PyTorch, "
    "2e-5; a query of picture and text is the sum of their unit vectors",
)
def test_align_s_rules_run_and_queries_are_its_paper_s(tmp_path, bert):
    maker, test, good = align_corpus(tmp_path)
    steps = [("align", {"test": str(test.dataset.path), "top_n": 45})]
    done = curate(maker.dataset, steps=steps, quiet=True)
    assert dict(done.images_dropped) == {
        "adult": 1, "too_small": 1, "bad_aspect": 1, "too_many_texts": 1, "in_test_set": 1
    }  # fmt: skip
    assert {"common_text", "rare_words", "few_words", "many_words"} <= set(done.captions_dropped)
    records = read_records(maker.dataset).train
    assert {t.text for r in records for t in r.texts} == good

    towers = {"image": VIT, "text": {"name": bert, "length": 64}, "dim": 24}
    schedule = {"kind": "linear", "warmup": 2}
    row = load_row("align", **towers, batch=4, epochs=2, schedule=schedule)
    paper = load_row("align")
    assert (paper.dim, paper.size, paper.views["of"], paper.batch, paper.schedule["warmup"]) == (
        640, 289, 346, 16_384, 10_000
    )  # fmt: skip
    make = lambda model: Lamb(groups_of(model, 1e-5), lr=1e-3)  # noqa: E731
    trainer = same_run(row, records, align_loss, make, warm_line(2, 6))
    assert load_row("align", "retrieval").batch == 2048

    # step 6: pictures are searched by the sum of a picture's and a text's unit vectors
    encoder, text = TrainedEncoder([trainer.model], "align", "align-1"), "a new boat sits here"
    pictures = encoder.encode_images([Image(r.image()) for r in records])
    data, name = maker.dataset, maker.dataset.add_vectors("align", "align-1", 24)
    rows = [
        {
            "vector_id": vector_id(r.id, "align-1", 0),
            "id": r.id,
            "of": "image",
            "lang": "und",
            "vector": v,
            "run_id": "",
        }
        for r, v in zip(records, pictures.astype(np.float16), strict=True)
    ]
    data.vectors(name).insert(rows)
    both = pictures[3] + encoder.encode_texts([text], ["en"])[0]
    want = dict(zip([r.id for r in records], pictures @ both / 2, strict=True))
    hits = search(data, text, image=records[3].id, weight=0.5, encoder=encoder, k=12)
    assert {hit.image_id: hit.score for hit in hits} == pytest.approx(want, abs=2e-3)
    assert len({round(score, 2) for score in want.values()}) > 1


@pytest.mark.paper("align", shows="V", case="crops of 289 of 346 pixels of each side, anywhere, half of them mirrored")
def test_align_s_crops():
    place = np.broadcast_to(np.arange(346, dtype=np.float32) / 346, (346, 346))
    picture = np.stack([place, place.T, place])
    records = [Record(f"r{n}", picture, [Text("a dog")]) for n in range(60)]
    row = load_row("align", image=VIT, text={"kind": "hashed", "width": 8}, dim=8, batch=60)
    model = make_model(row)
    spans, sides = [], []
    for augment in (True, False):
        shown = Data(records, model, 0, augment=augment).batch([(r.id, 0) for r in records], 0).image[:, 0]
        across, down = shown[:, 0] * 0.26862954, shown[:, 1] * 0.26130258  # CLIP's deviations
        spans.append(torch.stack([across[:, 9, -1] - across[:, 9, 0], down[:, -1, 9] - down[:, 0, 9]]) * 346)
        sides.append([across[:, 9].amin(1), down[:, :, 9].amin(1)])
    assert shown.shape[-2:] == (289, 289)
    assert torch.allclose(spans[0].abs(), torch.tensor(288.0), atol=1.5)  # each side loses 57 pixels
    assert 15 < int((spans[0][0] < 0).sum()) < 45  # mirrored across, never down
    assert bool((spans[0][1] > 0).all())
    assert min(float(x.std()) for x in sides[0]) > 0.02  # anywhere
    assert spans[1].tolist() == [[spans[1][0, 0]] * 60, [spans[1][1, 0]] * 60]  # in use: all of the middle


# ---- VeCLIP ----------------------------------------------------------------------------------------------------------


class Sees:
    """A captioner for tests; the first picture is too much for it."""

    name, fingerprint, batch_size, asked = "toy:sees", "sees-1", 4, []

    def generate(self, prompts):
        Sees.asked += [prompt.text for prompt in prompts]
        return [
            RowError("down") if p.images[0].width == 40 else Answer(f"A boat {p.images[0].width} feet long.")
            for p in prompts
        ]


class Fuses:
    """A language model for tests: it refuses the second picture, and announces what it says of the others."""

    name, fingerprint, batch_size, asked = "toy:fuses", "fuses-1", 4, []

    def generate(self, prompts):
        Fuses.asked += [prompt.text for prompt in prompts]
        found = [re.search(r"trip (\d+)", prompt.text)[1] for prompt in prompts]
        said = "Sure! Here is the caption: A blue boat on trip {}."
        return [Answer("I'm sorry, I can't help with that." if n == "1" else said.format(n)) for n in found]


@pytest.mark.paper(
    "veclip",
    shows="C",
    case="the captioner does not see the alt text; fused, cleaned, a refusal and a failure fall back; a run of the "
    "paper's row on what was written tosses a fair coin a picture and epoch and equals CLIP's steps in plain "
    "PyTorch, 2e-5",
)
def test_veclip_writes_and_trains_as_its_paper(tmp_path):
    need_clip_tokens()
    register("python:sees", Sees)
    register("python:fuses", Fuses)
    maker, alts = Maker(tmp_path / "x.pano"), [f"holiday photo of trip {n}" for n in range(16)]
    for n, alt in enumerate(alts):
        maker.caption(maker.image(jpeg(scene(n, 40 + n, 40)), 40 + n, 40), alt)
    panoglot.caption(maker.dataset, method="veclip", captioner="python:sees", llm="python:fuses", lang="en", quiet=True)
    # steps 1 to 3
    assert not any("trip" in prompt for prompt in Sees.asked)
    assert len(Fuses.asked) == 15 + 1  # asked again of what it refused, more simply
    assert all("trip" in prompt and "feet long" in prompt for prompt in Fuses.asked)
    records = read_records(maker.dataset).train
    said = {
        min(t.text for t in r.texts if t.kind == "raw"): [t.text for t in r.texts if t.kind != "raw"] for r in records
    }
    want = {alt: [f"A blue boat on trip {n}."] for n, alt in enumerate(alts)}
    want[alts[1]] = ["A boat 41 feet long."]  # the visual text
    assert said == {**want, alts[0]: [alts[0]]}  # nobody saw it: the alt text stands for what was to be written
    # step 4
    row = load_row("veclip", **TOWERS, batch=8, epochs=8, schedule={"warmup": 3})
    assert (load_row("veclip").sampler, row.losses) == ({"kind": "coin", "p": 0.5}, {"contrast": {"weight": 1.0}})
    shown = defaultdict(list)

    def loss(model, batch):
        for id_, texts in zip(batch.ids, batch.texts, strict=True):
            shown[id_] += texts
        return clip_loss(model, batch)

    make = adamw(0.2, lr=5e-4)
    same_run(row, records, loss, make, warm_cosine(3, 16))
    tossed = [shown[r.id] for r in records if alts[0] not in [t.text for t in r.texts]]
    raw = [[text.startswith("holiday") for text in texts] for texts in tossed]
    assert all(len(one) == 8 and 0 < sum(one) < 8 for one in raw)  # both come, whatever the order of the epochs
    assert 45 <= sum(map(sum, raw)) <= 75  # 120 tosses of a fair coin, 3 sigma: 60 +- 16
    assert len({tuple(one) for one in raw}) > 10  # each picture has tosses of its own


# ---- Croc ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    """CLIP's vision tower and Llama, both small."""
    hf = pytest.importorskip("transformers")
    from tests.networks.test_language import build

    folder = tmp_path_factory.mktemp("llava")
    torch.manual_seed(1)
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    hf.CLIPVisionModel(hf.CLIPVisionConfig(image_size=32, patch_size=8, **sizes)).save_pretrained(folder / "clip")
    build(folder / "llama", "llama")
    return str(folder / "clip"), str(folder / "llama")


def croc_sample(model, image, ids, labels, mixed, replaced, pool):
    """One sample: its logits with what is learnt at each, the rebuilt tokens and what they should be."""
    lm = model.text.lm
    states = model.image.model(pixel_values=image[None], output_hidden_states=True).hidden_states
    v = F.normalize(model.head.mlp(states[-2][0, 1:]), dim=-1)  # 2a
    target, n, first = v.detach(), len(v), int((ids == -1).nonzero()[0, 0])
    if replaced is not None:  # 2b, 2c
        at = replaced.nonzero()[:, 0].tolist()
        far = [[float((target[p] - m).norm()) for m in pool.detach()] for p in at]
        code = dict(zip(at, linear_sum_assignment(far)[1], strict=True))
        v = torch.stack([pool[code[p]] if p in code else v[p] for p in range(n)])
    words = lm.get_input_embeddings()
    x = torch.cat([words(ids[:first]), v, words(ids[first + 1 :])])
    learn = torch.cat([labels[:first], torch.full((n,), -100), labels[first + 1 :]])
    prefix = int((learn != -100).nonzero()[0, 0]) if mixed else 0  # 2d
    see = torch.tensor([[column < prefix or column <= row for column in range(len(x))] for row in range(len(x))])
    mask = torch.zeros(see.shape).masked_fill(~see, torch.finfo(torch.float32).min)
    hidden = lm.model(inputs_embeds=x[None], attention_mask=mask[None, None]).last_hidden_state[0]
    logits = hidden @ lm.get_output_embeddings().weight.T
    return logits[:-1][learn[1:] != -100], learn[1:][learn[1:] != -100], hidden[first : first + n], target


def croc_loss(mixed):
    """Croc's stage by loops over the samples; `mixed` is the one in which it rebuilds pictures."""

    def loss(model, batch):
        said, wanted, rebuilt, targets, part = [], [], [], [], model.parts["recon"]
        chosen = part.chosen(16, batch) if mixed else [None] * len(batch)
        for i in range(len(batch)):
            real = batch.given_mask[i]
            one = croc_sample(
                model, batch.image[i, 0], batch.given[i][real], batch.target[i][real], mixed, chosen[i],
                part.pool.detach() if chosen[i] is None else part.pool,
            )  # fmt: skip
            said, wanted, targets = [*said, one[0]], [*wanted, one[1]], [*targets, one[3]]
            rebuilt.append(part.out(part.layer((one[2] + part.place[:16])[None])[0]) if mixed else one[2])  # 2e
        text = F.cross_entropy(torch.cat(said), torch.cat(wanted))
        if not mixed:
            return text
        assert all(int(one.sum()) == 12 for one in chosen)  # three quarters of 16
        d = (torch.cat(rebuilt) - torch.cat(targets)).abs()
        return text + 10 * torch.where(d < 0.01, d * d / 0.02, d - 0.005).mean()  # 2f, 2g

    return loss


@pytest.mark.paper(
    "croc",
    shows="C",
    case="a run of the paper's three stages (projector alone; 75 % of CLIP's second to last tokens by a pool, "
    "Hungarian, two-way prefix, rebuilding at weight 10; causal instructions) over Llama equals its steps by loops, "
    "1e-3 of 12",
)
def test_croc_s_three_stages_are_its_paper_s_by_loops(llava):
    records, (clip, llama) = [*shapes(18), *questions(shapes(6, 5, "more"))], llava
    paper = load_row("croc")
    assert [(r.batch * 1, r.optimiser["lr"]) for _, r in paper.each_stage()] == [(256, 1e-3), (128, 2e-5), (128, 2e-5)]
    assert paper.losses["recon"] == {
        "weight": 10.0, "ratio": 0.75, "pool": 2048, "assign": "hungarian", "over": "all", "beta": 0.01, "places": 576
    }  # fmt: skip
    few = {"epochs": 1, "batch": 6, "accumulate": 1}  # and a larger eps: Adam makes steps of rounding
    stages = {
        "project": {**few, "optimiser": {"lr": 1e-2, "eps": 1e-4}},
        "comprehend": {**few, "optimiser": {"lr": 2e-3, "eps": 1e-4}},
        "instruct": {**few, "optimiser": {"lr": 2e-3, "eps": 1e-4}},
    }
    row = load_row(
        "croc", size=32, image={"name": clip}, text={"name": llama, "length": 200}, stages=stages,
        losses={"recon": {"pool": 32, "head_width": 8, "places": 16}}, schedule={"warmup": 1},
    )  # fmt: skip
    trainer = Trainer(row, records, workers=0)
    got = [figures["loss"] for figures in trainer.fit(progress=False)]
    model, want, first = make_model(row, 0), [], 0
    for name, stage in row.each_stage():
        mixed = name == "comprehend"

        def learns(parameter, name=name, mixed=mixed):
            if name == "project":  # step 1
                return parameter.startswith("head.")
            return parameter.startswith(("head.", "text.")) or (mixed and parameter.startswith("parts.recon"))

        lr = {"project": 1e-2}.get(name, 2e-3)
        make = adamw(0.0, lr=lr, betas=(0.9, 0.999), eps=1e-4, learns=learns)
        model.begin(stage.losses)
        steps = len(Data(records, model, 0, row=stage).plan(first))
        losses, model = plain_run(
            stage, records, croc_loss(mixed), make, warm_cosine(1, steps), model=model, first=first
        )
        want, first = [*want, *losses], first + 1
    same(trainer, got, want, model, 1e-3, 1e-3)
    assert {trainer.data.batch(ids, 2).task for ids in trainer.data.plan(2)} >= {"caption", "vqa"}


# ---- Visually grounded sentences -------------------------------------------------------------------------------------


def char_gru_vectors(model, batch):
    """Steps 1 to 3, one caption at a time: unit vectors of pictures and texts."""
    text, made = model.text, []
    for i in range(len(batch)):
        ids = batch.tokens[i, 0][batch.token_mask[i, 0]]
        h = text.gru(text.embed(ids)[None])[0][0]  # [T, 2 hidden], both ways over its true length
        first, _, second = text.attend[0]
        score = torch.tanh(h @ first.weight.T + first.bias) @ second.weight.T + second.bias
        weight = score.exp() / score.exp().sum(0)  # over time, for every dimension
        made.append((weight * h).sum(0))
    y = torch.stack(made)
    x = batch.image_vec @ model.head.weight.T + model.head.bias
    return x / x.norm(dim=1, keepdim=True), y / y.norm(dim=1, keepdim=True)


def char_gru_loss(model, batch):
    """Step 4 by loops."""
    s = (lambda x, y: x @ y.T)(*char_gru_vectors(model, batch))
    cost = torch.zeros(())
    for i in range(len(s)):
        for j in range(len(s)):
            if batch.ids[i] != batch.ids[j]:  # two captions of one picture are no negatives: here, not in the release
                cost = cost + (0.2 - s[j, j] + s[i, j]).clamp(min=0) + (0.2 - s[i, i] + s[i, j]).clamp(min=0)
    return cost / len(s) ** 2


class Features:
    """An encoder for tests that gives what the pixels are, not of unit length: 8 x 8 of them, red and green."""

    name, fingerprint, batch_size, dim = "toy:features", "features-1", 4, 128

    def encode_images(self, images):
        small = [np.asarray(image.pil().resize((8, 8)), np.float32)[..., :2] / 99 for image in images]
        return np.stack([one.reshape(-1) for one in small])

    def encode_texts(self, texts, langs=None):
        return np.ones((len(texts), 128), np.float32)


@pytest.mark.paper("vgs-char-gru", shows="V", case="ten crops of 224 of 256: corners and middle, mirrored, averaged")
def test_ten_crops_by_hand():
    picture = PIL.Image.fromarray(np.arange(256 * 320 * 3, dtype=np.uint32).reshape(256, 320, 3).astype(np.uint8))
    encoder = TenCrops(Features())
    pixels, want = np.asarray(picture), []
    for top, left in ((0, 0), (0, 96), (32, 0), (32, 96), (16, 48)):
        crop = pixels[top : top + 224, left : left + 224]
        want += [Features().encode_images([Image.from_pil(PIL.Image.fromarray(c))])[0] for c in (crop, crop[:, ::-1])]
    found = encoder.encode_images([Image.from_pil(picture), Image(b"", "broken", 1, 1)])
    assert np.allclose(found[0], np.mean(want, 0), atol=1e-5)
    assert np.isnan(found[1]).all()
    with pytest.raises(UserError, match=r"crops=5 of model .*: only 10"):
        load_model("embedded:efficientnet-lite2?crops=5", "encoder")


@pytest.mark.paper(
    "vgs-char-gru",
    shows="C",
    case="ten crops; a run of the paper's row (a map of stored vectors, GRU both ways, attention over time, hinge .2 "
    "over all negatives, Adam, the rate round every four epochs, every caption once an epoch) equals its steps by "
    "loops, 2e-5; the vectors of both snapshots are added",
)
def test_char_gru_s_run_is_its_paper_s_by_loops():
    records = [Record(r.id, texts=r.texts[:2]) for r in shapes(8)]
    encoder = TenCrops(Features())
    for n, record in enumerate(records):
        (vector,) = encoder.encode_images([Image.from_pil(scene(n, 80, 64))])
        record.vectors["image"] = vector
    row = load_row(
        "vgs-char-gru", image={"width": 128}, text={"hidden": 12, "attention": 8}, dim=24, epochs=8, batch=4,
        optimiser={"lr": 1e-3},
    )  # fmt: skip
    assert (load_row("vgs-char-gru").optimiser, row.snapshots) == ({"kind": "adam", "lr": 1e-4}, True)
    kept, period = {}, 4 * 4  # four epochs of sixteen captions by fours

    def loss(model, batch):
        steps.append(batch.ids)
        if len(steps) == period + 1:
            kept[period] = copy.deepcopy(model)
        return char_gru_loss(model, batch)

    steps = []
    make = lambda model: torch.optim.Adam(model.parameters(), lr=1e-3)  # noqa: E731
    factor = lambda step: 0.01 + 0.99 * (1 - math.cos(2 * math.pi * step / period)) / 2  # noqa: E731
    got = Trainer(row, records, workers=0)
    losses = [figures["loss"] for figures in got.fit(progress=False)]
    want, model = plain_run(row, records, loss, make, factor)
    same(got, losses, want, model)
    for epoch in range(8):
        assert Counter(id_ for ids in steps[4 * epoch : 4 * epoch + 4] for id_ in ids) == {r.id: 2 for r in records}
    bound = (6 / (128 + 24)) ** 0.5
    fresh = make_model(row, 0).head.weight.detach().abs().max()
    assert 0.95 * bound < float(fresh) <= bound  # Xavier's
    text = make_model(row, 0).text  # step 2: what comes later reaches the first character
    ids, mask = text.tokens(["a red cat", "a red cap"])
    h = text(ids, mask)[1][:, 0]
    assert torch.equal(h[0, :12], h[1, :12])
    assert not torch.equal(h[0, 12:], h[1, 12:])
    # step 6
    states = [copy.deepcopy(model) for _ in range(2)]
    for one, step in zip(states, (period, 2 * period), strict=True):
        one.load_state_dict(got.snapshots[step])
    assert all(
        torch.allclose(a, b, atol=1e-4)
        for a, b in zip(states[0].parameters(), kept[period].parameters())
        if a.dim() > 1
    )
    batch = got.data.batch(got.data.plan(0)[0], 0)
    texts = [batch.texts[i][0] for i in range(4)]
    both = [char_gru_vectors(one.eval(), batch) for one in (kept[period].eval(), model.eval())]
    found = TrainedEncoder(states, "vgs", "vgs-1", summed=True).encode_texts(texts)
    added = (both[0][1] + both[1][1]).detach()
    assert np.allclose(found, added / added.norm(dim=1, keepdim=True), atol=1e-4)
