"""COSMO as a whole: pictures, videos and documents in, a run of the trainer, captions and vectors out, by its steps."""

from __future__ import annotations

import math

import numpy as np
import PIL.Image
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
F = torch.nn.functional
pytest.importorskip("scipy.optimize")

import panoglot
from panoglot.errors import UserError
from panoglot.networks import Data, Record, Text, load_row, make_model, square_of
from panoglot.networks.encoder import TrainedBoth, TrainedEncoder, TrainedGenerator
from panoglot.pictures import Image
from panoglot.providers import load_model, register
from panoglot.providers.roles import Generator, Prompt
from panoglot.table import Document, DocumentPart
from panoglot.training import measure, read_records
from tests.curation.conftest import Maker, jpeg, scene
from tests.networks.test_language import build
from tests.training.plain_run import adamw, same_run, warm_cosine
from tests.training.test_whole_grain import attention, layer_norm

WIDTH = 16


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    """CLIP's vision tower and OPT, both small."""
    folder = tmp_path_factory.mktemp("cosmo")
    torch.manual_seed(1)
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    vision = transformers.CLIPVisionConfig(image_size=32, patch_size=16, **sizes)
    transformers.CLIPVisionModel(vision).save_pretrained(folder / "clip")
    build(folder / "opt", "opt")
    return {"image": {"name": str(folder / "clip")}, "text": {"name": str(folder / "opt")}}


class Matches:
    """An encoder for tests: pictures by their width, texts by the number in them; every odd one fits worse."""

    name, fingerprint, batch_size, dim = "toy:matches", "matches-1", 4, 64

    def encode_images(self, images):
        return np.stack([np.eye(64)[image.width] for image in images])

    def encode_texts(self, texts, langs=None):
        said = [int("".join(c for c in text if c.isdigit()) or 0) for text in texts]
        fit = [0.2 if "hardly" in text else 0.9 for text in texts]
        return np.stack(
            [f * np.eye(64)[n] + (1 - f * f) ** 0.5 * np.eye(64)[0] for n, f in zip(said, fit, strict=True)]
        )


def corpus(path):
    """Eight pairs, four videos of five frames, six documents of pictures and four of a video and a picture."""
    register("toy:matches", Matches)
    maker = Maker(path)

    def frames(n, count, clip):
        made = [jpeg(scene(100 * n + k, 40, 32)) for k in range(count)]
        ids = maker.images(made, [40] * count, [32] * count)
        rows = maker.dataset.images.get(ids).to_pylist()
        maker.dataset.images.delete(f"image_id in {tuple(ids)}")
        rows = [{**row, "group": clip, "time": float(ids.index(row["image_id"]))} for row in rows]
        maker.dataset.images.insert(rows[::-1])  # not in their order
        return ids

    for n in range(8):
        maker.caption(maker.image(jpeg(scene(n, 40, 32)), 40, 32), f"thing {n}")
    films = [frames(20 + n, 5, f"v{n}.mp4#clip=0001") for n in range(8)]
    for n, film in enumerate(films[:4]):
        maker.caption(film[1], f"film {n}")
        maker.caption(film[3], f"scene {n}")
    pages, images = [], {}
    for n in range(12):
        images[n] = maker.image(jpeg(scene(40 + n, 30 + n, 32)), 30 + n, 32)
    for n in range(6):  # the sentences stand before the other picture, and the last says nothing of it
        parts = [DocumentPart(image_id=images[2 * n]), DocumentPart(f"about {31 + 2 * n}"),
                 DocumentPart(image_id=images[2 * n + 1]), DocumentPart(f"about {30 + 2 * n}"),
                 DocumentPart(f"hardly {30 + 2 * n}")]  # fmt: skip
        pages.append(Document(parts, "en", document_id=f"page {n}"))
    for n, film in enumerate(films[4:]):
        parts = [DocumentPart(image_id=film[2]), DocumentPart("it moves 40"), DocumentPart(image_id=images[n]),
                 DocumentPart(f"about {30 + n}")]  # fmt: skip
        pages.append(Document(parts, "en", document_id=f"moving {n}"))
    maker.dataset.documents.insert([page.plain() for page in pages])
    return maker.dataset, films, images


def resample(head, tokens):
    """Step 1: the vector of the whole and the media tokens of one picture, or of all frames of a video."""
    x = head.latents
    for block in head.blocks:
        y = layer_norm(x, block.norm1)
        x = x + attention(block.attention, y, y, y)
        x = x + attention(block.cross, layer_norm(x, block.norm_memory), tokens, tokens)
        x = x + block.mlp[2](F.gelu(block.mlp[0](layer_norm(x, block.norm2))))
    x = layer_norm(x, head.after)
    return x[0], x[1:]


def gated(gate, x, media, which):
    """Step 2: each token looks at the tokens of the latest picture before it, through two gates."""
    rows = []
    for t in range(len(x)):
        if which[t] < 0:
            rows.append(x[t])
            continue
        q = layer_norm(x[t], gate.norm) @ gate.q.weight.T
        k, v = (media[which[t]] @ gate.kv.weight.T).chunk(2, -1)
        d = len(q) // gate.heads
        parts = [slice(h * d, h * d + d) for h in range(gate.heads)]
        seen = torch.cat([(k[:, s] @ q[s] / math.sqrt(d)).softmax(0) @ v[:, s] for s in parts])
        y = x[t] + gate.gate.tanh() * (seen @ gate.out.weight.T)
        rows.append(y + gate.gate_ff.tanh() * gate.feed(layer_norm(y, gate.norm_ff)))
    return torch.stack(rows)


def read(model, ids, media):
    """The language model on one sample, layer by layer: its logits, and the states after the split."""
    lm, text, place = model.text.lm.model.decoder, model.text, ids == -1
    which = place.long().cumsum(0) - 1
    x = lm.embed_tokens.weight[ids.clamp(min=0)]
    x = torch.where(place[:, None], text.mark, x) + lm.embed_positions.weight[torch.arange(len(ids)) + 2]
    see = torch.ones(len(ids), len(ids)).tril().bool()
    mask = torch.zeros(see.shape).masked_fill(~see, torch.finfo(torch.float32).min)[None, None]
    half = None
    for n, layer in enumerate(lm.layers):
        if str(n) in text.gates:
            x = gated(text.gates[str(n)].look, x, media, which)
        out = layer.forward(x[None], attention_mask=mask)  # without the hooks that put the gates there
        x = (out[0] if isinstance(out, tuple) else out).reshape(len(ids), -1)
        half = x if n == 1 else half
    return layer_norm(x, lm.final_layer_norm) @ lm.embed_tokens.weight.T, half[~place]


def cosmo_loss(model, batch):
    """Steps 1 to 5, sample by sample."""
    said, wanted, xs, ys = [], [], [], []
    model.image.eval()  # frozen
    model.text.lm.eval()
    for i in range(len(batch)):
        there = slice(None) if batch.picture_mask is None else batch.picture_mask[i]
        patches = model.image.model(pixel_values=batch.image[i][there]).last_hidden_state[:, 1:]
        counts = [1] * len(patches) if batch.frames is None else [c for c in batch.frames[i].tolist() if c]
        made = [resample(model.head, one.flatten(0, 1)) for one in patches.split(counts)]
        real = batch.given_mask[i]
        ids, target = batch.given[i][real], batch.target[i][real]
        logits, half = read(model, ids, torch.stack([tokens for _, tokens in made]))
        said.append(logits[:-1][target[1:] != -100])
        wanted.append(target[1:][target[1:] != -100])
        if batch.task == "pair":
            x = torch.stack([whole for whole, _ in made]).mean(0) @ model.out.weight.T
            pool = model.text.pool
            y = pool.query[0] + 0  # one learned query reads the words
            y = attention(pool.read, y, half, half)
            y = layer_norm(y + pool.feed(y), pool.after)[0] @ model.text_head.weight.T
            xs.append(x / x.norm())
            ys.append(y / y.norm())
    loss = F.cross_entropy(torch.cat(said), torch.cat(wanted))
    if not xs:  # the contrast has a gradient of exactly 0, which moments and decay go on with
        vectors = [model.text.pool, model.text_head, model.out, model.parts["contrast"]]
        return loss + 0 * sum(p.sum() for module in vectors for p in module.parameters())
    scores, own = model.parts["contrast"].scale.log.exp() * torch.stack(xs) @ torch.stack(ys).T, torch.arange(len(xs))
    return loss + (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2


@pytest.mark.paper(
    "cosmo",
    shows="C",
    case="pairs, videos, documents of pictures and of videos from a dataset, sentences assigned by an encoder; a run "
    "of the paper's row over CLIP and OPT (resampler, split, gates, soft contrast for pairs alone, four loaders, "
    "AdamW, warm-up, cosine) equals its steps sample by sample, 1e-4; captions after shots, videos as means",
)
def test_cosmo_reads_trains_and_writes_as_its_paper(towers, tmp_path):
    data, films, images = corpus(tmp_path / "x.pano")
    paper = load_row("cosmo")
    assert paper.sampler == {
        "kind": "loaders", "weights": {"pair": 2, "pair_video": 1, "interleaved": 2, "interleaved_video": 2},
        "frames": 3, "max_images": 3, "max_tokens": 128, "min_similarity": 0.24, "min_bytes": 10_000,
        "assign": "hf:openai/clip-vit-large-patch14",
    }  # fmt: skip
    assert paper.losses == {
        "lm": {"weight": 1.0}, "contrast": {"weight": 1.0, "scale": {"start": 1.2214}, "gather": "device"}
    }  # fmt: skip
    assert paper.text["gated"] == {"first": 12, "every": 2, "compress": 2, "heads": 8}

    # step 6 and 7: what there is to learn from
    records = read_records(data, takes=("caption", "document", "video"), assign="toy:matches").train
    by_id = {r.id: r for r in records}
    film = next(r for r in records if any(t.text == "film 2" for t in getattr(r, "texts", ())))
    assert ([p.id for p in film.pictures], {t.text for t in film.texts}) == (films[2], {"film 2", "scene 2"})
    page = by_id["page 1"]
    assert [(page.sentences[s], page.images[i].id, round(fit, 3)) for s, i, fit in page.match] == [
        ("about 33", images[3], 0.9), ("about 32", images[2], 0.9)
    ]  # fmt: skip
    assert [p.id for p in by_id["moving 0"].images[0]] == films[4]

    small = {
        "text": {**towers["text"], "length": 120, "split": 2, "gated": {"first": 2, "every": 1, "heads": 2}},
        "head": {"width": WIDTH, "latents": 3, "layers": 2, "heads": 2}, "image": towers["image"], "dim": 8, "size": 32,
    }  # fmt: skip
    row = load_row(
        "cosmo", **small, sampler={"min_bytes": 100, "assign": "", "weights": {"pair_video": 2}}, batch=2, epochs=2,
        optimiser={"lr": 2e-3, "eps": 1e-4}, schedule={"warmup": 2},
    )  # fmt: skip
    seen = []

    def loss(model, batch):
        seen.append((batch.task, batch.frames is not None, batch.image.shape[1]))
        return cosmo_loss(model, batch)

    def learns(name):
        return not name.startswith(("image.", "text.lm."))

    total = sum(len(Data(records, make_model(row, 0), 0).plan(epoch)) for epoch in range(2))
    make = adamw(0.1, lr=2e-3, betas=(0.9, 0.999), eps=1e-4, learns=learns)
    model = same_run(row, records, loss, make, warm_cosine(2, total), tolerance=1e-4).model
    assert {(task, video) for task, video, _ in seen} == {
        ("pair", False), ("pair", True), ("interleaved", False), ("interleaved", True)
    }  # fmt: skip
    assert ("pair", True, 3) in seen  # three frames of five
    assert all(float(gate.look.gate.detach().abs()) > 0 for gate in model.text.gates.values())

    # step 9: vectors of videos are means over frames; captions go on after shots in the interleaved form
    model.eval()
    encoder = TrainedEncoder([model], "pano:run", "cosmo-1")
    alone = [r for r in records if getattr(r, "loader", "-") == "" and r.image]
    figures = measure(encoder, [film, *alone])
    frames = encoder.encode_images([Image(film.pictures[n]()) for n in (0, 2, 4)])
    pictures = [
        frames.mean(0) / np.linalg.norm(frames.mean(0)),
        *encoder.encode_images([Image(r.image()) for r in alone]),
    ]
    texts = [(0, t.text) for t in film.texts] + [(n, t.text) for n, r in enumerate(alone, 1) for t in r.texts]
    said = encoder.encode_texts([text for _, text in texts])
    first = [np.sum(np.stack(pictures) @ y >= pictures[n] @ y) == 1 for (n, _), y in zip(texts, said, strict=True)]
    assert figures["pictures"] == 9
    assert figures["languages"]["en"]["t2i@1"][0] == pytest.approx(np.mean(first), abs=1e-6)
    shots = [(Image(by_id[images_of(records, f"thing {n}")].image()), f"thing {n}") for n in range(2)]
    query = Image(by_id[images_of(records, "thing 5")].image())
    writer = TrainedGenerator(model, "pano:run", "cosmo-1", shots=shots)
    both = TrainedBoth(writer, [model], "pano:run", "cosmo-1")
    assert isinstance(both, Generator)
    (answer,) = both.generate([Prompt("", (query,), max_tokens=5)])
    kit = model.text.tokens
    shown = [image for image, _ in shots] + [query]
    pixels = torch.stack([torch.tensor(pixels_of(image)) for image in shown])
    patches = model.image.model(pixel_values=pixels).last_hidden_state[:, 1:]
    media = torch.stack([resample(model.head, one)[1] for one in patches])
    ids = [*kit.before]
    for _, text in shots:
        ids += [-1, *kit.encode(text), kit.end]
    ids.append(-1)
    new = []
    with torch.no_grad():
        while len(new) < 5 and (not new or new[-1] != kit.end):
            new.append(int(read(model, torch.tensor(ids + new), media)[0][-1].argmax()))
    assert kit.decode([i for i in new if i != kit.end]).strip() == (getattr(answer, "text", "") or "")


def images_of(records, text):
    return next(r.id for r in records if any(t.text == text for t in getattr(r, "texts", ())))


def pixels_of(image):
    """The middle of a picture at 32 x 32, as CLIP's tower wants it."""
    picture = image.pil()
    side = 32 / min(picture.size)
    wide, high = (round(side * n) for n in picture.size)
    picture = picture.resize((wide, high), PIL.Image.Resampling.BICUBIC)
    left, top = (wide - 32) // 2, (high - 32) // 2
    x = np.asarray(picture.crop((left, top, left + 32, top + 32)), np.float32) / 255
    mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    return ((x - np.float32(mean)) / np.float32(deviation)).transpose(2, 0, 1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The small preset, trained by the command on a dataset with everything; its folder and the dataset."""
    folder = tmp_path_factory.mktemp("run")
    data, _, _ = corpus(folder / "x.pano")
    done = panoglot.train(
        "cosmo", data, output=folder / "run", preset="small", epochs=1, batch=2, held_out=0, quiet=True,
        set=["text.length=160", "sampler.assign=toy:matches"],
    )  # fmt: skip
    return done, data


def test_a_run_by_the_command_is_an_encoder_and_a_captioner(run, tmp_path):
    done, data = run
    vectors = load_model(f"pano:{done.run}", "encoder").encode_texts(["thing 1"], ["en"])
    assert np.isfinite(vectors).all()
    writer = load_model(f"pano:{done.run}?shots={data.path}&k=2", "generator")
    plain = load_model(f"pano:{done.run}", "generator")
    assert writer.fingerprint != plain.fingerprint
    before = data.captions.count()
    panoglot.caption(
        data, method="describe", captioner=f"pano:{done.run}", lang="en", limit=2, set=["max_tokens=8"], quiet=True
    )
    assert data.captions.count() - before + len(data.rejects) == 2  # written, or refused with a reason
    with pytest.raises(UserError, match=r"captions in sw of 0 pictures, and 2 are asked for"):
        load_model(f"pano:{done.run}?shots={data.path}&k=2&lang=sw", "generator")


def test_shots_are_of_documents(tmp_path):
    row = load_row("croc", "small")
    with pytest.raises(UserError, match="shots are of a model that reads interleaved documents"):
        TrainedGenerator(make_model(row), "x", "x-1", shots=[(Image(b"", "a", 1, 1), "a")])


def test_small_pictures_of_documents_go_with_their_text(tmp_path):
    data, _, _ = corpus(tmp_path / "x.pano")
    records = read_records(data, takes=("document",)).train
    sizes = sorted(len(image()) for r in records for image in r.images)
    row = load_row("cosmo", "small", batch=2, text={"length": 160}, sampler={"min_bytes": sizes[len(sizes) // 2]})
    loader = Data(records, make_model(row, 0), 0)
    shown = [loader.batch(step, 0) for step in loader.plan(0)]
    assert loader.skipped["small_picture"] > 0
    for batch in shown:
        real = (batch.given == -1).sum(1)
        count = batch.image.shape[1] if batch.picture_mask is None else batch.picture_mask.sum(1)
        assert bool((real == count).all())


class Frames:
    """An encoder for tests: the n-th frame (picture of width 32 + n) is the n-th axis, and what `said` says a text."""

    dim = 6

    def __init__(self, said):
        self.said = said

    def base(self, side):
        return None

    def encode_images(self, images):
        return np.stack([np.eye(6, dtype=np.float32)[image.width - 32] for image in images])

    def encode_texts(self, texts, langs):
        return np.stack([self.said[text] for text in texts])


@pytest.mark.paper("cosmo", shows="V", case="a video is found by the mean of three of its five frames, and not by one")
def test_a_video_is_found_by_the_mean_of_three_frames():
    pictures = [jpeg(scene(n, 32 + n, 32)) for n in range(5)]
    of_three = np.float32([1, 0, 1, 0, 1, 0]) / np.float32(3**0.5)
    film = Record("film", pictures[2], [Text("一部电影", "raw", "zh")], pictures=pictures, loader="pair_video")
    # nearer to the text than any one frame is, and not than the mean of three
    like = Record("like", pictures[1], [Text("a picture", "raw", "en")])
    found = measure(
        Frames({"一部电影": of_three + np.float32([0, 0.6, 0, 0, 0, 0]), "a picture": of_three}), [film, like]
    )
    assert found["languages"]["zh"]["t2i@1"][0] == 1
    assert found["languages"]["en"]["t2i@1"][0] == 0


class Asked:
    """A model for tests: keeps what it is asked."""

    text = type("Marked", (), {"mark": 1})

    def __init__(self):
        self.row, self.asked = load_row("cosmo", "small"), []

    def eval(self):
        return self

    def generate(self, x, asked, lang, **more):
        self.asked.append((x, more["shots"]))
        return ["ok"]


@pytest.mark.paper("cosmo", shows="V", case="each shot is shown with its own picture, in order, before what is asked")
def test_each_shot_is_shown_with_its_own_picture():
    images, model = [Image(jpeg(scene(n, 40, 32))) for n in range(3)], Asked()
    writer = TrainedGenerator(model, "toy", "toy-1", shots=[(images[0], "บ้าน"), (images[1], "घर")])
    (answer,) = writer.generate([Prompt("", (images[2],))])
    assert answer.text == "ok"
    ((x, said),) = model.asked
    assert said == ["บ้าน", "घर"]
    assert x.shape[:2] == (1, 3)
    for shown, image in zip(x[0], images, strict=True):
        assert torch.equal(shown, square_of(image, model.row.size))
    assert not torch.equal(x[0, 0], x[0, 2])
