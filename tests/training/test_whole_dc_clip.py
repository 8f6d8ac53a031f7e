"""DC-CLIP as a whole: maps and tokens of a small AltCLIP, pairs of two languages, against its steps by loops."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
F = torch.nn.functional

import panoglot
from panoglot.errors import UserError
from panoglot.evaluate import zeroshot
from panoglot.networks import Record, Text, load_row, make_data, make_model
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.training import Trainer
from tests.training.plain_run import adamw, plain_run, same, warm_cosine
from tests.training.test_commands import COLOURS, SHAPES, draw, make

LANGS = ("en", "zh-Hant")
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's
WORDS = [word for lang in COLOURS for word in (*COLOURS[lang], *SHAPES[lang])]
VIT = {"kind": "vit", "patch": 8, "width": 24, "layers": 1, "heads": 2}
TEXT = {"width": 24, "layers": 1, "heads": 2, "length": 24}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """AltCLIP's architecture, small: a map of 2 x 2 of width 20, tokens of width 12, and word pieces."""
    folder = tmp_path_factory.mktemp("altclip")
    letters = sorted({letter for word in WORDS for letter in word} | set("0123456789"))
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{one}" for one in letters)]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    transformers.BertTokenizer(str(folder / "vocab.txt"), model_max_length=80).save_pretrained(folder)
    quiet = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    text = {
        "vocab_size": len(pieces),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "pad_token_id": 0,
    }
    text |= {"intermediate_size": 32, "project_dim": 12, "max_position_embeddings": 90, **quiet}
    vision = {"hidden_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    vision |= {"image_size": 32, "patch_size": 16}
    torch.manual_seed(0)
    model = transformers.AltCLIPModel(transformers.AltCLIPConfig(text_config=text, vision_config=vision))
    with torch.no_grad():
        for p in model.parameters():  # loud enough to be learnt from
            p.mul_(4.0 if p.dim() > 1 else 1.0)
    model.save_pretrained(folder)
    return str(folder)


def bed():
    """Twelve pairs in two languages, and four pictures without a text."""
    out = []
    for n in range(16):
        raw, colour, shape = draw(n)
        texts = [
            Text(f"{COLOURS[lang][colour]} {SHAPES[lang][shape]} {n}", "raw" if lang == "en" else "translation", lang)
            for lang in LANGS
        ]
        out.append(Record(f"r{n:02}", raw, texts if n < 12 else []))
    return out


def small(teacher, **more):
    name = {"teacher": f"hf:{teacher}"}
    losses = {"map": {**name, "width": 20}, "tokens": {**name, "width": 12}}
    text = {**TEXT, "tokenizer": teacher}
    few = {"epochs": 2, "schedule": {"warmup": 1}, "optimiser": {"eps": 1e-5}}
    return load_row(
        "dc-clip", **{"image": VIT, "text": text, "dim": 16, "size": 32, "batch": 4, "losses": losses, **few, **more}
    )


def smooth(found, want):
    """Sum of the smooth L1, beta 1, and how many elements."""
    d = (found - want).abs()
    return torch.where(d < 1, d * d / 2, d - 0.5).sum(), d.numel()


def map_loss(altclip):
    """Step 1: every position of the teacher's grid, the student's four there averaged, through a 1 x 1 convolution."""

    def loss(model, batch):
        batch, total, count = batch.streams["pictures"], torch.zeros(()), 0
        assert batch.tokens is None
        adapter = model.parts["map"].adapter
        for i in range(len(batch)):
            with torch.no_grad():
                want = altclip.vision_model(batch.image[i, :1]).last_hidden_state[0, 1:].reshape(2, 2, 20)
            own = model.image(batch.image[i, :1])[1][0].reshape(4, 4, 24)
            for row in range(2):
                for column in range(2):
                    mean = own[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean((0, 1))
                    value, n = smooth(adapter.weight @ mean + adapter.bias, want[row, column])
                    total, count = total + value, count + n
        return total / count

    return loss


def tokens_loss(altclip):
    """Step 2: text by text, without padding, zh and en in one step."""

    def loss(model, batch):
        batch, total, count = batch.streams["texts"], torch.zeros(()), 0
        assert batch.image is None
        adapter = model.parts["tokens"].adapter
        for i in range(len(batch)):
            ids = batch.tokens[i, 0][batch.token_mask[i, 0]][None]
            with torch.no_grad():
                want = altclip.text_model(ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
            own = model.text(ids, torch.ones_like(ids, dtype=torch.bool))[1][0]
            value, n = smooth(own @ adapter.weight.T + adapter.bias, want)
            total, count = total + value, count + n
        return total / count

    return loss


def align_loss(model, batch):
    """Step 4: InfoNCE both ways, halved, at a learned temperature."""
    ids, mask = batch.tokens[:, 0], batch.token_mask[:, 0]
    x = F.normalize(model.image(batch.image[:, 0])[0] @ model.head.weight.T, dim=1)
    y = F.normalize(model.text(ids, mask)[0] @ model.text_head.weight.T, dim=1)
    scores = model.parts["contrast"].scale.log.exp() * x @ y.T
    same_picture = torch.tensor([[a == b for b in batch.ids] for a in batch.ids]) & ~torch.eye(
        len(ids), dtype=torch.bool
    )
    scores, own = scores.masked_fill(same_picture, float("-inf")), torch.arange(len(ids))
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2


@pytest.mark.paper(
    "dc-clip",
    shows="C",
    case="a run of the paper's three stages (AltCLIP's map through a 1 x 1 adapter and smooth L1, pictures alone; its "
    "tokens likewise, texts of zh and en alone; contrast of pairs at a tenth of the rate) equals its steps by loops, "
    "1e-4; the teacher does not move; zero-shot in English and Chinese",
)
def test_dc_clip_s_three_stages_are_its_paper_s_by_loops(teacher, tmp_path):
    row, records = small(teacher), bed()
    paper = load_row("dc-clip")
    assert [r.optimiser["lr"] for _, r in paper.each_stage()] == [1e-3, 1e-3, 1e-4]
    altclip = transformers.AltCLIPModel.from_pretrained(teacher).eval()
    trainer = Trainer(row, records, workers=0)
    got = [figures["loss"] for figures in trainer.fit(progress=False)]
    model, want, first = make_model(row, 0), [], 0
    sides = {"pictures": ("image.", "parts.map"), "texts": ("text.", "parts.tokens")}
    sides["align"] = ("image.", "text.", "head.", "text_head.", "parts.contrast")
    losses = {"pictures": map_loss(altclip), "texts": tokens_loss(altclip), "align": align_loss}
    langs, shown = [], []
    for name, stage in row.each_stage():

        def loss(model, batch, name=name):
            for part in (batch, *batch.streams.values()):
                langs.extend(tag for one in part.lang for tag in one)
                shown.extend(part.ids if name == "pictures" else ())
            return losses[name](model, batch)

        rate = 1e-4 if name == "align" else 1e-3
        model.begin(stage.losses, stage.streams)
        make_ = adamw(
            0.05, lr=rate, betas=(0.9, 0.999), eps=1e-5, learns=lambda one, of=sides[name]: one.startswith(of)
        )
        total = len(trainer_steps(stage, records, model, first)) * stage.epochs
        found, model = plain_run(stage, records, loss, make_, warm_cosine(1, total), model=model, first=first)
        want, first = [*want, *found], first + stage.epochs
    assert set(shown) == {r.id for r in records}  # pictures without a text too
    assert abs(sum(tag == "en" for tag in langs) - len(langs) / 2) <= 4  # both languages alike
    same(trainer, got, want, model, 1e-4, 1e-3)
    # 3: the teacher is as it was, and no part of what is kept
    tower = trainer.model.parts["map"].teacher.tower()
    assert not tower.training
    assert not any(p.requires_grad for p in tower.parameters())
    for mine, kept in zip(tower.model.parameters(), altclip.vision_model.parameters(), strict=True):
        assert torch.equal(mine, kept)
        assert mine.grad is None
    assert not any("teacher" in name for name in trainer.model.state_dict())
    # by the command; 5: zero-shot in both languages
    place = make(tmp_path / "x.pano", 36).path
    sets = ["dim=16", "size=32", f"text.tokenizer={teacher}", "schedule.warmup=1"]
    sets += [f"{side}.{key}={value}" for side, spec in (("image", VIT), ("text", TEXT)) for key, value in spec.items()]
    run = panoglot.train("dc-clip", place, output=tmp_path / "run", teacher=f"hf:{teacher}", set=sets, batch=8,
                         epochs=2, lang="en,zh", held_out=0, encode=False, quiet=True)  # fmt: skip
    assert [name for name, _ in run.row.each_stage()] == ["pictures", "texts", "align"]
    encoder, pictures = load_model(f"pano:{run.run}"), [Image(draw(n)[0]) for n in range(12)]
    labels = {"en": COLOURS["en"], "zh-Hant": COLOURS["zh-Hant"]}
    forms = {"en": ["a {} thing", "{}"], "zh-Hant": ["{}"]}
    found = zeroshot(encoder, pictures, [n % 3 for n in range(12)], labels, templates=forms)
    for lang, names in labels.items():
        y = [encoder.encode_texts([form.replace("{}", one) for form in forms[lang]], [lang] * len(forms[lang])).mean(0)
             for one in names]  # fmt: skip
        y = np.stack([one / np.linalg.norm(one) for one in y])
        best = (encoder.encode_images(pictures) @ y.T).argmax(1)
        assert found[lang].value == pytest.approx(np.mean(best == np.arange(12) % 3))

    # 6: logits in place of maps: the teacher's similarities, rows and columns, halved
    logits = load_row("dc-clip", "logits", image=VIT, text=row.text, dim=16, size=32, batch=4, epochs=1)
    assert [list(stage.losses) for _, stage in logits.each_stage()] == [["logits"], ["contrast"]]
    rng, stored = np.random.default_rng(0), bed()[:12]
    for record in stored:
        record.vectors = {"image": rng.standard_normal(6).astype(np.float32)}
        record.vectors["text"] = rng.standard_normal((2, 6)).astype(np.float32)
    model = Trainer(logits, stored, workers=0).model
    model.begin({"logits": logits.losses["logits"]})
    data = make_data(stored, model, 0, row=logits.each_stage()[0][1])
    batch = data.batch(data.plan(0)[0], 0)
    with torch.no_grad():
        f = model.features(batch)
        u, v = (F.normalize(z, dim=1) for z in (batch.image_vec, batch.text_vec[:, 0]))
        mine, its = f.x @ f.y.T / 0.07, 100 * u @ v.T
        want = sum(
            (b.softmax(1) * (b.log_softmax(1) - a.log_softmax(1))).sum(1).mean()
            for a, b in ((mine, its), (mine.T, its.T))
        )
        assert float(model(batch)["logits"].value) == pytest.approx(float(want) / 2, rel=1e-4)


def trainer_steps(stage, records, model, epoch):
    return make_data(records, model, 0, row=stage).plan(epoch)


@pytest.mark.paper("dc-clip", shows="V", case="a teacher with another tokeniser has no tokens to compare, but a vector")
def test_tokens_of_another_tokeniser_are_refused(teacher):
    row = small(teacher, text={**TEXT, "tokenizer": ""})
    with pytest.raises(UserError, match=r"cuts texts in another way.*targets=pooled"):
        Trainer(row, bed(), workers=0).fit(10, progress=False)
    pooled = {"map": {"targets": "pooled"}, "tokens": {"targets": "pooled"}}
    row = small(teacher, text={**TEXT, "tokenizer": ""})
    same_towers = {key: row.plain()[key] for key in ("image", "text", "dim", "size", "batch")}
    row = load_row("dc-clip", **same_towers,
                   losses={n: {**row.losses[n], **pooled[n]} for n in pooled}, epochs=1)  # fmt: skip
    assert all(np.isfinite(figures["loss"]) for figures in Trainer(row, bed(), workers=0).fit(progress=False))
    for wrong, said in (("embedded:e5", "gives no map"), ("pano:nowhere", "nowhere")):
        losses = {"map": {"teacher": wrong, "width": 20}}
        with pytest.raises(UserError, match=said):
            Trainer(small(teacher, losses={**small(teacher).losses, **losses}), bed(), workers=0)


@pytest.mark.paper(
    "dc-clip",
    shows="V",
    case="a teacher of another size and normalisation is shown the student's own crop in both; targets=pooled takes "
    "the vector of its map, smooth L1 by hand",
)
def test_the_teacher_sees_the_student_s_crop_as_it_knows_pictures(teacher):
    altclip = transformers.AltCLIPModel.from_pretrained(teacher).eval()
    as_it_knows = {"size": 32, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
    loss = {"teacher": f"hf:{teacher}", "width": 20, "targets": "pooled", **as_it_knows}
    row = load_row("dc-clip", image=VIT, text={**TEXT, "tokenizer": teacher}, dim=16, size=48, batch=4,
                   losses={"map": loss, "tokens": {"teacher": f"hf:{teacher}", "width": 12}})  # fmt: skip
    model = make_model(row, 0)
    model.begin({"map": row.losses["map"]}, {"pictures": {"has": ["picture"], "sampler": {"kind": "pictures"}}})
    data = make_data(bed(), model, 0, row=row.each_stage()[0][1])
    batch = data.batch(data.plan(0)[0], 0)
    crops = batch.streams["pictures"].image[:, 0]
    assert crops.shape[-1] == 48
    plain = crops * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    known = (plain - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
    known = F.interpolate(known, (32, 32), mode="bicubic", antialias=True)
    with torch.no_grad():
        want = altclip.vision_model(known).pooler_output
        got = model.parts["map"].adapter(model.image(crops)[0])
        total, count = smooth(got, want)
        assert float(model(batch)["map"].value) == pytest.approx(float(total) / count, abs=1e-5)


@pytest.mark.paper(
    "dc-clip", shows="V", case="half of a text's target is the mean of its translations (M-CLIP), by hand: cosine"
)
def test_translations_share_half_of_their_target():
    texts = [Text("a red bird", "raw", "en"), Text("طائر أحمر", "translation", "ar"), Text("ลูกนก", "translation", "th")]
    vectors = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
    records = [Record(f"r{n}", texts=texts[: 3 - n], vectors={"image": vectors[0], "text": vectors[: 3 - n]})
               for n in range(2)]  # fmt: skip
    regress = {"weight": 1.0, "teacher": 6, "distance": "cosine", "adapter": "none", "shared": 0.5}
    row = load_row("dc-clip", "student", image={"width": 6}, text={"width": 6, "size": 64}, dim=6, batch=2,
                   losses={"regress": regress})  # fmt: skip
    model = make_model(row, 0)
    model.begin({"regress": row.losses["regress"]})
    data = make_data(records, model, 0, row=row.each_stage()[0][1])
    batch = data.batch(data.plan(0)[0], 0)
    with torch.no_grad():
        said, pictures, sides = model.features(batch).y, model.features(batch).x, []
        for y, i, k in zip(said, batch.owner, batch.slot, strict=True):
            mean = batch.text_vec[i][batch.slot_mask[i]].mean(0)
            sides.append(1 - F.cosine_similarity(y, (batch.text_vec[i, k] + mean) / 2, dim=0))
        own = 1 - F.cosine_similarity(pictures, batch.image_vec, dim=1)
        want = (torch.stack(sides).mean() + own.mean()) / 2
        assert float(model(batch)["regress"].value) == pytest.approx(float(want), abs=1e-5)
        assert len(said) > len(records)
