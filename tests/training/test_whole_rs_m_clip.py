"""RS-M-CLIP as a whole: pooled and translated captions, published weights, views and their teacher, by loops."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")
F, nn = torch.nn.functional, torch.nn

import panoglot
from panoglot.curation import curate
from panoglot.errors import UserError
from panoglot.networks import Data, Record, Text, View, begin_with, export_model, load_row, make_model
from panoglot.providers import register
from panoglot.table import open_dataset
from panoglot.training import Trainer, read_records
from tests.curation.conftest import Maker, jpeg, scene
from tests.training.plain_run import adamw, plain_run, warm_cosine

WORDS = {
    "en": "many planes are parked near a long white building river with green trees".split(),
    "de": "viele Flieger stehen geparkt nahe einem langen weissen Haus Fluss mit grünen Bäumen".split(),
    "zh": "许多 飞机 都 停 近 一个 长 白色 建筑 河流 和 绿色 树木".split(),
}
VIEWS = {"global": 2, "local": 2, "local_size": 24}
FOUND = [(lang, lang != "en") for lang in ("de", "de", "en", "en", "zh", "zh")]
DINO = {"prototypes": 12, "hidden": 16, "bottleneck": 8}


class Lexicon:
    """A translator for tests: word by word."""

    name, fingerprint, batch_size = "toy:lexicon", "toy-lexicon-1", 8
    pairs = frozenset({("en", "de"), ("en", "zh")})

    def translate(self, texts, source, target):
        table = {lang: dict(zip(WORDS["en"], words, strict=True)) for lang, words in WORDS.items()}
        return [" ".join(table[t].get(w, w) for w in text.split()) for text, t in zip(texts, target, strict=True)]


class Knows:
    """A language identifier for tests."""

    name, fingerprint, batch_size = "toy:knows", "toy-knows-1", 8

    def identify(self, texts):
        return [(max(WORDS, key=lambda lang: len(set(text.split()) & set(WORDS[lang]))), 0.99) for text in texts]


@pytest.fixture(scope="module")
def xlmr(tmp_path_factory):
    """XLM-R's architecture with two layers, and word pieces."""
    folder = tmp_path_factory.mktemp("xlmr")
    words = {
        *(w.lower() for words in WORDS.values() for w in words),
        *"许多飞机都停近一个长白色建筑河流和绿色树木0123456789",
    }
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(words)]))
    transformers.BertTokenizer(str(folder / "vocab.txt"), model_max_length=80).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    quiet = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "pad_token_id": 0}
    config = transformers.XLMRobertaConfig(vocab_size=len(words) + 5, max_position_embeddings=90, **sizes, **quiet)
    torch.manual_seed(0)
    transformers.XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    return str(folder)


class Published(nn.Module):
    """open_clip's `xlm-roberta-base-ViT-B-32`, small, with torch's own attention and the library's names."""

    def __init__(self, folder):
        super().__init__()
        v = self.visual = nn.Module()
        v.conv1 = nn.Conv2d(3, 24, 8, 8, bias=False)
        v.class_embedding = nn.Parameter(torch.randn(24) * 0.3)
        v.positional_embedding = nn.Parameter(torch.randn(17, 24) * 0.3)
        v.ln_pre, v.ln_post = nn.LayerNorm(24), nn.LayerNorm(24)
        v.proj = nn.Parameter(torch.randn(24, 12) * 0.2)
        v.transformer = nn.Module()
        v.transformer.resblocks = nn.ModuleList(self.block() for _ in range(2))
        self.text = nn.Module()
        self.text.transformer = transformers.XLMRobertaModel.from_pretrained(folder, add_pooling_layer=False)
        self.text.proj = nn.Sequential(nn.Linear(16, 14, bias=False), nn.GELU(), nn.Linear(14, 12, bias=False))
        self.logit_scale = nn.Parameter(torch.tensor(3.0))
        with torch.no_grad():
            for p in self.parameters():  # norms and biases too: nothing is 0 or 1
                p.add_(torch.randn_like(p) * 0.05)

    def block(self):
        one = nn.Module()
        one.ln_1, one.ln_2, one.attn = (
            nn.LayerNorm(24),
            nn.LayerNorm(24),
            nn.MultiheadAttention(24, 2, batch_first=True),
        )
        one.mlp = nn.ModuleDict({"c_fc": nn.Linear(24, 96), "c_proj": nn.Linear(96, 24)})
        return one

    def encode_image(self, image):
        v = self.visual
        x = v.conv1(image).flatten(2).transpose(1, 2)
        x = torch.cat([v.class_embedding.expand(len(x), 1, -1), x], 1) + v.positional_embedding
        x = v.ln_pre(x)
        for one in v.transformer.resblocks:
            y = one.ln_1(x)
            x = x + one.attn(y, y, y, need_weights=False)[0]
            x = x + one.mlp["c_proj"](F.gelu(one.mlp["c_fc"](one.ln_2(x))))
        return F.normalize(v.ln_post(x)[:, 0] @ v.proj, dim=1)

    def encode_text(self, ids):
        mask = (ids != 0).long()
        x = self.text.transformer(input_ids=ids, attention_mask=mask).last_hidden_state
        return F.normalize(self.text.proj((x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)), dim=1)


@pytest.fixture(scope="module")
def published(xlmr, tmp_path_factory):
    """Its folder, as it lies on the hub, and the model."""
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(1)
    model = Published(xlmr).eval()
    safetensors.save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    return str(folder), model


def small(xlmr, **more):
    how = {"image": {"patch": 8, "width": 24, "layers": 2, "heads": 2}, "text": {"name": xlmr, "project": 12}}
    how |= {"dim": 12, "size": 32, "views": VIEWS, "losses": {"views": DINO}, "schedule": {"warmup": 2}, "batch": 4}
    return load_row("rs-m-clip", **{**how, "epochs": 2, **more})


def corpus(tmp_path):
    """Steps 1 and 2: two sets of captions pooled, the pictures of the test split out, every caption translated."""
    one, two, test = (Maker(tmp_path / f"{name}.pano") for name in ("one", "two", "test"))
    for n in range(14):
        maker = (one, two)[n % 2]
        image = maker.image(jpeg(scene(n)))
        for k in range(2):
            words = np.random.default_rng([n, k]).choice(WORDS["en"], 6, replace=False)
            maker.caption(image, " ".join(words), kind="human")
    for n in (3, 8):
        test.image(jpeg(scene(n), 70))
    data = open_dataset(panoglot.merge(one.dataset, str(two.dataset.path), output=tmp_path / "all.pano").dataset)
    done = curate(data, steps=[("in_test_set", {"test": str(test.dataset.path)})], quiet=True)
    assert dict(done.images_dropped) == {"in_test_set": 2}
    register("python:lexicon", Lexicon)
    register("python:knows", Knows)
    panoglot.translate(data, lang="de,zh", translator="python:lexicon", set="identifier=python:knows", quiet=True)
    return data


class Views:
    """Steps 5 to 7 by loops, with a teacher of its own."""

    def __init__(self, total, epochs):
        self.total, self.epochs, self.n, self.z = total, epochs, 0, None

    def follow(self, model):
        """After a step: the teacher's weights and the centre."""
        if self.n == 0:
            self.tower, self.head = copy.deepcopy(model.image), copy.deepcopy(model.parts["views"].head)
            self.centre = torch.zeros(12)
            return
        m = 1 - 0.004 * (1 + math.cos(math.pi * (self.n - 1) / self.total)) / 2
        with torch.no_grad():
            for mine, its in ((self.tower, model.image), (self.head, model.parts["views"].head)):
                for p, q in zip(mine.parameters(), its.parameters(), strict=True):
                    p.mul_(m).add_((1 - m) * q)
            self.centre = 0.9 * self.centre + 0.1 * self.z.flatten(0, 1).mean(0)

    def scores(self, head, x, frozen=False):
        a, b = head.mlp(x), head.last.detach() if frozen else head.last
        return (a / a.norm(dim=-1, keepdim=True)) @ (b / b.norm(dim=-1, keepdim=True)).T

    def __call__(self, model, batch):
        self.follow(model)
        share = min(1.0, self.n / self.total / 0.3)
        tau, frozen = 0.04 + 0.03 * round(1000 * share) / 1000, self.n < self.total / self.epochs
        head = model.parts["views"].head
        with torch.no_grad():
            self.z = torch.stack([self.scores(self.head, self.tower(batch.image[:, g])[0]) for g in range(2)], 1)
        shown = [*batch.image.unbind(1), *batch.local_image.unbind(1)]
        assert [v.shape[-1] for v in shown] == [32, 32, 24, 24]
        student = [self.scores(head, model.image(v)[0], frozen) for v in shown]
        terms = []
        for b in range(len(batch)):
            for g in range(2):
                p = ((self.z[b, g] - self.centre) / tau).softmax(0)
                terms += [-(p * (student[v][b] / 0.1).log_softmax(0)).sum() for v in range(4) if v != g]
        ids, mask = batch.tokens[:, 0], batch.token_mask[:, 0]
        h = model.text.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        y = F.normalize(model.text.project((h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)), dim=1)
        x = F.normalize(model.image(batch.image[:, 0])[0] @ model.head.weight.T, dim=1)
        s, own = model.parts["contrast"].scale.log.exp() * x @ y.T, torch.arange(len(x))
        self.n += 1
        return (F.cross_entropy(s, own) + F.cross_entropy(s.T, own)) / 2 + torch.stack(terms).mean()


@pytest.mark.paper(
    "rs-m-clip",
    shows="C",
    case="two sets pooled, the test's pictures out, captions translated; published weights by name give their "
    "vectors, 1e-5; a run of the paper's row (a caption, then a language; contrast on the first view; DINO's "
    "views with moving teacher, centre, temperatures, prototypes frozen for an epoch) equals its steps by "
    "loops, 1e-4; recall by language",
)
def test_rs_m_clip_s_run_is_its_paper_s_by_loops(tmp_path, xlmr, published):
    data = corpus(tmp_path)
    records = read_records(data).train
    assert len(records) == 12
    assert all(sorted((t.lang, t.kind == "translation") for t in r.texts) == FOUND for r in records)
    assert {r["model"] for r in data.captions.rows(["model", "lang"]) if r["lang"] == "de"} == {"toy:lexicon"}
    folder, library = published
    row = small(xlmr, start=f"open_clip:{folder}")
    paper = load_row("rs-m-clip")
    assert paper.start == "open_clip:laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k"
    assert paper.losses["views"] == {"weight": 1.0, "prototypes": 65536, "frozen": 1}
    # 3
    trainer = Trainer(row, records, workers=0)
    pixels, texts = torch.randn(3, 3, 32, 32), [r.texts[0].text for r in records]
    with torch.no_grad():
        assert torch.allclose(trainer.model.encode_pixels(pixels), library.encode_image(pixels), atol=1e-5)
        ids = trainer.model.text.tokens(texts)[0]
        assert torch.allclose(trainer.model.encode_texts(texts), library.encode_text(ids), atol=1e-5)
        teacher = trainer.model.parts["views"].teacher.teacher
        assert all(
            torch.equal(a, b) for a, b in zip(next(teacher.children()).parameters(), trainer.model.image.parameters())
        )
    assert float(trainer.model.parts["contrast"].scale.log.detach()) == pytest.approx(
        float(library.logit_scale.detach())
    )
    # 4 to 7
    begun = copy.deepcopy(trainer.model)
    got = [figures["loss"] for figures in trainer.fit(progress=False)]
    loss, seen = Views(6, 2), []
    count = lambda model, batch: seen.extend(x for one in batch.lang for x in one) or loss(model, batch)  # noqa: E731
    make = adamw(0.2, lr=1e-4, betas=(0.9, 0.999), eps=1e-8)
    want, model = plain_run(row, records, count, make, warm_cosine(2, 6), model=begun)
    assert got == pytest.approx(want, abs=1e-4)
    assert set(seen) == {"en", "de", "zh"}
    loss.follow(model)
    for name, value in trainer.model.named_parameters():
        if value.dim() > 1 and "teacher" not in name:
            assert torch.allclose(value, dict(model.named_parameters())[name], atol=1e-4), name
    mine = trainer.model.parts["views"]
    for a, b in zip(
        mine.teacher.teacher.parameters(), [*loss.tower.parameters(), *loss.head.parameters()], strict=True
    ):
        assert torch.allclose(a, b, atol=1e-5)
    assert torch.allclose(mine.centre.value, loss.centre, atol=1e-5)
    # 9: by the command, recall of every language
    sets = [
        "views.local_size=24",
        "views.local=2",
        "image.patch=8",
        "image.width=24",
        "image.layers=2",
        "image.heads=2",
    ]
    sets += [f"text.name={xlmr}", "text.project=12", "dim=12", "size=32", "batch=4", "epochs=1", "schedule.warmup=1"]
    sets += [f"losses.views.{key}={value}" for key, value in DINO.items()]
    run = panoglot.train("rs-m-clip", data, output=tmp_path / "run", start=f"open_clip:{folder}", set=sets,
                         held_out=0.3, encode=False, quiet=True)  # fmt: skip
    assert set(run.figures["languages"]) == {"en", "de", "zh"}
    assert {"t2i@1", "t2i@5", "t2i@10", "i2t@1", "i2t@5", "i2t@10"} == set(run.figures["mean"])
    assert json.loads((run.run / "run.json").read_text())["step"] == run.steps


def turned(place):
    """A picture of 40 x 32 whose pixels say where they are."""
    across, down = np.meshgrid(np.arange(40) / 40, np.arange(32) / 32)
    return np.stack([across, down, np.full((32, 40), place)]).astype(np.float32)


@pytest.mark.paper(
    "rs-m-clip", shows="V", case="mirrored, upside down, turned: all eight as likely; boxes, points and masks go along"
)
def test_pictures_from_above_have_no_up(xlmr):
    pixels = torch.from_numpy(turned(0.0))
    for flip in (False, True):
        for flop in (False, True):
            for turns in range(4):
                view = View(0.25, 0.0, 0.75, 1.0, flip, flop, turns)
                shown = view.pixels(pixels, 64)
                across, down = view.point(0.4, 0.2)
                here = shown[:, int(down * 64), int(across * 64)]
                assert here[:2].tolist() == pytest.approx([0.4, 0.2], abs=0.05)
                x0, y0, x1, y1 = view.box((0.35, 0.1, 0.45, 0.3))
                assert x0 < across < x1
                assert y0 < down < y1
                mask = torch.zeros(32, 40, dtype=torch.bool)
                mask[4:10, 14:18] = True
                at = view.mask(mask, 64).nonzero().float().mean(0) / 64
                assert at.tolist() == pytest.approx([(y0 + y1) / 2, (x0 + x1) / 2], abs=0.06)
    records = [Record(f"r{n}", turned(0.0), [Text("many planes")]) for n in range(240)]
    row = small(xlmr, batch=240, views={**VIEWS, "global": 1, "local": 1})
    shown = Data(records, make_model(row), 0).batch([(r.id, 0) for r in records], 0)
    for views in (shown.image[:, 0], shown.local_image[:, 0]):
        a = views[:, 0, :, 9] - views[:, 0, :1, 9]  # whether across goes down, and which way
        b = views[:, 0, 9] - views[:, 0, 9, :1]
        kinds = [(abs(float(a[n, -1])) > abs(float(b[n, -1])), float(a[n, -1] + b[n, -1]) > 0) for n in range(240)]
        c = views[:, 1, :, 9] - views[:, 1, :1, 9] + views[:, 1, 9] - views[:, 1, 9, :1]
        counts = {}
        for n, kind in enumerate(kinds):
            counts[(*kind, float(c[n, -1]) > 0)] = counts.get((*kind, float(c[n, -1]) > 0), 0) + 1
        assert len(counts) == 8
        assert all(12 <= one <= 52 for one in counts.values())  # 30 each, four deviations


@pytest.mark.paper("rs-m-clip", shows="V", case="what we export to open_clip is what a run begins with again")
def test_published_weights_go_round(tmp_path):
    pytest.importorskip("tokenizers")
    if not __import__("importlib.util", fromlist=["util"]).find_spec("open_clip"):
        pytest.skip("CLIP's tokens come in open_clip's package")
    sizes = {
        "image": {"patch": 8, "width": 16, "layers": 2, "heads": 2},
        "text": {"width": 16, "layers": 2, "heads": 2},
    }
    row = load_row("clip", **sizes, dim=8, size=32)
    model, other = make_model(row, 0), make_model(row, 1)
    export_model(model, "open_clip", tmp_path)
    fresh = begin_with(other, f"open_clip:{tmp_path}")
    assert fresh == ["image.hidden"]
    state = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in other.state_dict().items() if name not in fresh)
    wide = make_model(load_row("clip", **sizes, dim=12, size=32))
    with pytest.raises(UserError, match=r"of other towers: head\.weight is \(8, 16\) in them, \(12, 16\) in the row"):
        begin_with(wide, f"open_clip:{tmp_path}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no weights of open_clip"):
        begin_with(wide, f"open_clip:{tmp_path / 'empty'}")
