"""CoLLM as a whole: pairs alone, both stages over CLIP's and a language model's architecture, triplets; by loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

import panoglot
from panoglot.networks import begin_with, load_row, make_model, square_of
from panoglot.networks.losses import TEMPLATES
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.training import Trainer, read_records, wishes
from tests.providers import checkpoints
from tests.training.plain_run import adamw, plain_run, same, warm_cosine
from tests.training.test_composed import put
from tests.training.test_whole_sprc import embed, unit

ASK = "Find the picture that is meant: "


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    """CLIP's and Llama's architectures at a small size; a text ends with a token of its own."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import processors

    clip, llm = checkpoints.clip(tmp_path_factory.mktemp("clip")), checkpoints.llm(tmp_path_factory.mktemp("llm"))
    words = transformers.AutoTokenizer.from_pretrained(llm)
    end = [("<|im_end|>", words.convert_tokens_to_ids("<|im_end|>"))]
    words._tokenizer.post_processor = processors.TemplateProcessing(single="$A <|im_end|>", special_tokens=end)
    words.save_pretrained(llm)
    return str(clip), str(llm)


def settings(towers, **more):
    return {
        "image": {"name": towers[0]}, "text": {"name": towers[1], "length": 96}, "dim": 16, "size": 32, "batch": 8,
        "epochs": 2, "stages": None, "optimiser": {"lr": 1e-3}, "schedule": {"warmup": 2}, **more,
    }  # fmt: skip


def asked(model, picture=None, text=""):
    """The model: instruction, the picture's token, words, the end; the last token's state through a linear map."""
    composer, words = model.reader("composer"), model.text.model
    tokenizer, table = model.text.tokens.tokenizer, words.get_input_embeddings().weight
    said = lambda some: table[tokenizer(some)["input_ids"][:-1]]  # noqa: E731
    soft = [composer.adapter(picture)[None]] if picture is not None else []
    space = [said(" ")] if soft and text else []
    end = table[tokenizer("")["input_ids"]]
    row = torch.cat([said(ASK), *soft, *space, *([said(text)] if text else []), end])[None]
    mask = torch.ones(row.shape[:2], dtype=torch.long)
    return unit(composer.out(words(inputs_embeds=row.clone(), attention_mask=mask).last_hidden_state[0, -1]))


def both_ways(queries, pictures, owner, scale):
    """InfoNCE of queries with all pictures, and of the pictures that have one with all queries."""
    logits = scale * torch.stack([torch.stack([q @ x for x in pictures]) for q in queries])
    there = F.cross_entropy(logits, torch.tensor(owner))
    back = F.cross_entropy(logits.T[owner], torch.arange(len(owner)))
    return (there + back) / 2


def made_loss(model, batch):
    """Steps 1 to 4, picture by picture."""
    x, own = model.picture_vectors(batch.image[:, 0]), model.picture_vectors(batch.image[:, 1])
    captions, drawn = [one[0] for one in batch.texts], batch.targets["made"].tolist()
    scale = model.parts["made"].scale.log.exp()
    pictures, words, composed, owner = [], [], [], []
    for i in range(len(x)):
        words.append(asked(model, None, captions[i]))
        cosines = [float((x[i] @ x[k]).detach()) if k != i else -2.0 for k in range(len(x))]
        j = int(np.argmax(cosines))
        cos = (own[i] * x[j]).sum()
        if float(cos.detach()) > model.parts["made"].most:
            continue  # as good as the same: no change
        if float(cos.detach()) > 0.9995:
            r = unit(0.5 * own[i] + 0.5 * x[j])
        else:
            theta = torch.arccos(cos)
            r = (torch.sin(0.5 * theta) * own[i] + torch.sin(0.5 * theta) * x[j]) / torch.sin(theta)
        want, have = (captions[k].strip().rstrip(".") for k in (i, j))
        u, template, _ = drawn[i]
        change = TEMPLATES[int(template * 15)].format(want=want, have=have) if u < 0.75 else captions[i]
        owner.append(i)
        pictures.append(asked(model, r))
        composed.append(asked(model, r, change))
    assert len(owner) > 2
    every = list(range(len(x)))
    terms = (
        both_ways(pictures, x, owner, scale),
        both_ways(words, x, every, scale),
        both_ways(composed, x, owner, scale),
    )
    return sum(terms) / 3


def composed_loss(model, batch):
    """Stage 2: the sentences of a pair, joined, with its reference, toward its target."""
    x = model.picture_vectors(batch.image[:, 0])
    wanted = model.picture_vectors(batch.others[:, 0])
    queries = [asked(model, x[i], batch.texts[i][0]) for i in range(len(x))]
    return both_ways(queries, wanted, list(range(len(x))), model.parts["composed"].scale.log.exp())


@pytest.mark.paper(
    "collm",
    shows="C",
    case="over CLIP's and a language model's architecture, by loops: 1 nearest neighbour; 2 slerp at .5 with another "
    "view; 3 one of 15 templates at .75; 4 three contrasts both ways from .07; 5 the adapter, then LoRA of rank 64 on "
    "both towers; instruction, slot, text, end, last token; stage 2 on triplets; a search has that order",
)
def test_collm_trains_on_pairs_then_triplets_and_searches_as_its_paper(towers, tmp_path):
    paper = load_row("collm")
    assert paper.losses["made"] == {"weight": 1.0, "alpha": 0.5, "p": 0.75}
    assert len(TEMPLATES) == 15
    align, pairs = (stage["freeze"] for stage in paper.stages)
    assert (align, pairs) == (
        [{"freeze": "*"}, {"train": ["readers.composer.*", "parts.*"]}],
        [{"freeze": "*"}, {"train": ["readers.composer.*", "parts.*", "*.adapters.*"]}],
    )
    assert {tower["adapters"]["rank"] for tower in (paper.image, paper.text)} == {64}
    data, triples = put(tmp_path / "x.pano", wishes(16))
    records = [r for r in read_records(data, takes=("caption",)).records if r.image is not None and r.texts]
    assert len(records) == 16

    first = lambda name: name.startswith(("readers.composer.", "parts."))  # noqa: E731
    both = lambda name: first(name) or ".adapters." in name  # noqa: E731
    # as good as the same is what is ours: untrained towers see all pictures alike
    made = {"views": {"global": 2, "scale": [0.6, 1.0]}, "losses": {"made": {"most": 0.9999}}}
    start = {}
    for name, freeze, learns in (("align", align, first), ("pairs", pairs, both)):
        row = load_row("collm", **settings(towers, freeze=freeze, **made, **start))
        trainer = Trainer(row, records, tmp_path / name, workers=0)
        assert start or float(trainer.model.parts["made"].scale.log.detach().exp()) == pytest.approx(1 / 0.07)
        got = [figures["loss"] for figures in trainer.fit(progress=False)]
        model = make_model(row, 0)
        if start:
            begin_with(model, tmp_path / "align")
        make = adamw(0.05, lr=1e-3, eps=1e-8, learns=learns)
        want, model = plain_run(row, records, made_loss, make, warm_cosine(2, len(got)), model=model)
        same(trainer, got, want, model, tolerance=2e-4, weights=3e-3)
        start = {"start": str(tmp_path / name)}

    queries = read_records(data, takes=("triple",)).records
    row = load_row("collm", "triples", **settings(towers, **start, views={"global": 1, "scale": [1.0, 1.0]}))
    trainer = Trainer(row, queries, tmp_path / "triples", workers=0)
    got = [figures["loss"] for figures in trainer.fit(progress=False)]
    model = make_model(row, 0)
    begin_with(model, tmp_path / "pairs")
    make = adamw(0.05, lr=1e-3, eps=1e-8, learns=both)
    want, model = plain_run(row, queries, composed_loss, make, warm_cosine(2, len(got)), model=model)
    same(trainer, got, want, model, tolerance=2e-4, weights=3e-3)

    encoder = load_model(f"pano:{tmp_path / 'triples'}", "encoder")
    embed(data, encoder.name)
    reference, text = triples[0].image_id, triples[0].text
    raw = {row["image_id"]: Image(row["data"]) for row in data.images.read(["image_id", "data"]).to_pylist()}
    hits = panoglot.search(data.path, text, image=reference, encoder=encoder, k=8)
    assert hits.plan.preset == "learned"
    model = encoder.model
    with torch.no_grad():
        gallery = {key: model.picture_vectors(square_of(one, 32)[None])[0] for key, one in raw.items()}
        query = asked(model, gallery[reference], text)
    scores = {key: float(query @ vector) for key, vector in gallery.items()}
    best = sorted(scores.values(), reverse=True)
    assert [hit.score for hit in hits] == pytest.approx(best[:8], abs=2e-3)
    assert [scores[hit.image_id] for hit in hits] == pytest.approx(best[:8], abs=2e-3)
    assert math.isclose(float(query.norm()), 1, abs_tol=1e-5)


@pytest.mark.paper(
    "collm",
    shows="P",
    case="over CLIP-L/14's and Qwen2-1.5B's architectures at full size: 1,543,714,304 numbers of the language model, "
    "12,582,912 and 17,432,576 of LoRA, a slot of 768 to 1,536; what is remembered is listed as unverified",
)
def test_collm_at_full_size(monkeypatch):
    hf = pytest.importorskip("transformers")
    from panoglot.networks import freeze
    from panoglot.networks.towers import hf as towers_of
    from tests.networks.test_papers import fresh

    qwen = hf.Qwen2Config(
        vocab_size=151_936, hidden_size=1536, intermediate_size=8960, num_hidden_layers=28, num_attention_heads=12,
        num_key_value_heads=2,
    )  # fmt: skip
    vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
              "patch_size": 14, "image_size": 224, "projection_dim": 768}  # fmt: skip
    clip = hf.CLIPConfig(vision_config=vision, projection_dim=768)
    words = fresh(hf.Qwen2Model, qwen, words=151_665, model_max_length=32_768)
    made = lambda kind, name: hf.CLIPModel(clip) if name.startswith("openai/clip") else words(kind, name)  # noqa: E731
    monkeypatch.setattr(towers_of, "load_pretrained", made)
    row = load_row("collm")
    with torch.device("meta"):
        model = make_model(row)
    lora = lambda tower: sum(p.numel() for n, p in tower.named_parameters() if ".adapters." in n)  # noqa: E731
    assert (lora(model.image), lora(model.text)) == (12_582_912, 17_432_576)
    assert sum(p.numel() for p in model.text.model.parameters()) - lora(model.text) == 1_543_714_304
    composer = model.reader("composer")
    assert (tuple(composer.adapter.weight.shape), tuple(composer.out.weight.shape)) == ((1536, 768), (768, 1536))
    freeze(model, row.stages[1]["freeze"])
    learns = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(name.startswith(("readers.composer.", "parts.")) or ".adapters." in name for name in learns)
    assert {"optimiser", "epochs", "batch", "schedule"} <= set(row.unverified)
