"""ISA as a whole: pictures alone, a run over BLIP's architecture, and a search, against its steps by loops."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

import panoglot
from panoglot.networks import load_row
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.training import Trainer, read_records, wishes
from tests.networks.test_composers import blip
from tests.training.plain_run import adamw, plain_run, same, warm_cosine
from tests.training.test_composed import put
from tests.training.test_whole_sprc import embed, unit

WORDS = "a photo of , make it red green blue at the top left right bottom circle square triangle cross".split()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """BLIP's architecture at a small size, and word pieces."""
    hf = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("blip")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    hf.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    model = blip()
    torch.manual_seed(1)
    for p in model.parameters():
        if p.dim() > 1:
            p.data.normal_(std=0.3)
    model.save_pretrained(folder)
    return str(folder)


def sentences(model, pictures, text=""):
    """Steps 1 to 3 (and 7): attention-weighted sums of the light tower's map, related, filtered; among the words."""
    learner, tower, words = model.reader("composer").learner, model.towers["light"], model.text.model
    out = []
    for picture in pictures:
        grid = tower(picture[None])[1][0]  # [HW, d]
        maps = learner.maps(grid).softmax(0)  # over the places
        tokens = torch.stack([(maps[:, k, None] * grid).sum(0) for k in range(maps.shape[1])])
        related = learner.block(learner.into(tokens)[None], memory=grid[None])[0]
        soft = learner.out(learner.after(related))
        tokenizer = model.text.tokens.tokenizer
        before = tokenizer("a photo of")["input_ids"]
        behind = tokenizer(f", {text}")["input_ids"][1:] if text else before[-1:]
        table = words.embeddings.word_embeddings.weight
        row = torch.cat([table[before[:-1]], soft, table[behind]])[None]
        mask = torch.ones(row.shape[:2], dtype=torch.long)
        read = words(inputs_embeds=row.clone(), attention_mask=mask).last_hidden_state
        out.append((row, mask, unit(model.text_head(read[:, 0]))[0]))
    return out


def isa_loss(model, batch):
    """Steps 4 and 5: the distributions over the step's pictures at .01, and the frozen matching encoder's judgement."""
    pictures = batch.image[:, 0]
    with torch.no_grad():
        pooled, patches = model.image(pictures)
        v = unit(model.head(pooled))
    made = sentences(model, pictures)
    loss = 0.0
    for i, (row, mask, q) in enumerate(made):
        teacher = torch.stack([v[i] @ v[k] for k in range(len(v))]).div(0.01).log_softmax(0)
        student = torch.stack([q @ v[k] for k in range(len(v))]).div(0.01).log_softmax(0)
        loss = loss + (teacher.exp() * (teacher - student)).sum()
        seen = model.text.model(
            inputs_embeds=row.clone(), attention_mask=mask, encoder_hidden_states=patches[i][None],
            encoder_attention_mask=torch.ones(1, patches.shape[1], dtype=torch.long),
        ).last_hidden_state[0, 0]  # fmt: skip
        loss = loss - model.text.judge(seen).log_softmax(0)[1]
    return loss / len(v)


@pytest.mark.paper(
    "isa",
    shows="C",
    case="a run of the paper's row over BLIP's architecture (token learner of 6, distillation at .01 + 1.0 x the "
    "frozen matching encoder's judgement, AdamW 1e-4, large model frozen, pictures alone) equals its steps by loops; a "
    "query is 'a photo of S, instruction', ranked by the large model's vectors of the gallery",
)
def test_isa_trains_and_searches_as_its_paper(checkpoint, tmp_path):
    paper = load_row("isa")
    assert (paper.losses["sentence"], paper.readers["composer"]["tokens"], paper.sampler["kind"]) == (
        {"weight": 1.0, "temperature": 0.01, "local": 1.0}, 6, "pictures"
    )  # fmt: skip
    assert (paper.batch, paper.epochs, paper.optimiser["lr"], paper.towers["light"]["name"]) == (
        256, 20, 1e-4, "efficientnet_b2"
    )  # fmt: skip
    data, triples = put(tmp_path / "x.pano", wishes(18))
    records = [r for r in read_records(data, takes=("picture",)).records if r.image is not None]
    row = load_row(
        "isa", image={"name": checkpoint}, text={"name": checkpoint, "length": 16}, dim=8, size=16, batch=12, epochs=2,
        towers={"light": {"kind": "vit", "patch": 8, "width": 8, "layers": 1, "heads": 2}}, optimiser={"lr": 1e-3},
        readers={"composer": {"width": 8, "tokens": 6, "inner": 16, "heads": 2}}, schedule={"warmup": 2},
        views={"scale": [1.0, 1.0]},
    )  # fmt: skip
    learns = lambda name: name.startswith(("towers.light.", "readers.composer."))  # noqa: E731
    make = adamw(0.01, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, learns=learns)
    trainer = Trainer(row, records, tmp_path / "run", workers=0)
    got = [figures["loss"] for figures in trainer.fit(progress=False)]
    want, model = plain_run(row, records, isa_loss, make, warm_cosine(2, len(got)))
    same(trainer, got, want, model, tolerance=2e-4, weights=2e-3)  # sums of hundreds at a temperature of .01

    encoder = load_model(f"pano:{tmp_path / 'run'}", "encoder")
    embed(data, encoder.name)
    reference, text = triples[0].image_id, "make it red"
    raw = {row["image_id"]: Image(row["data"]) for row in data.images.read(["image_id", "data"]).to_pylist()}
    hits = panoglot.search(data.path, text, image=reference, encoder=encoder, k=8)
    assert hits.plan.preset == "learned"
    from panoglot.networks import square_of

    model = encoder.model
    with torch.no_grad():
        (query,) = sentences(model, [square_of(raw[reference], 16)], text)
        gallery = {key: unit(model.head(model.image(square_of(one, 16)[None])[0]))[0] for key, one in raw.items()}
    scores = {key: float(query[2] @ vector) for key, vector in gallery.items()}
    best = sorted(scores.values(), reverse=True)
    assert [hit.score for hit in hits] == pytest.approx(best[:8], abs=2e-3)
    assert [scores[hit.image_id] for hit in hits] == pytest.approx(best[:8], abs=2e-3)
    assert np.allclose(encoder.encode_queries([[raw[reference], text]])[0], query[2].numpy(), atol=1e-5)
