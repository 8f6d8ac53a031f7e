"""Coral: an interleaved query of several products, in-batch negatives, vectors that rebuild what they were made of."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from panoglot.errors import UserError
from panoglot.networks import Data, Record, Turn, load_row, make_model, square_of
from panoglot.networks.parts import InterleavedPart, Widths, hidden_of
from panoglot.networks.samplers import PICTURE, Products
from panoglot.networks.towers import QwenVlImage, QwenVlText
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.training import Trainer, product_queries
from tests.networks.test_composers import Words
from tests.networks.test_papers import fresh

BYTES = {
    "image": {"patch": 16, "width": 16, "heads": 2}, "dim": 16, "batch": 4,
    "text": {"tokenizer": "", "width": 16, "layers": 1, "heads": 2, "length": 160},
    "losses": {"interleaved": {"inner": 16, "heads": 2}},
}  # fmt: skip


def coral(seed=0, **more):
    return make_model(load_row("merit-coral", "small", **{**BYTES, **more}), seed)


def batch_of(model, n=4, **more):
    data = Data(product_queries(n), model, augment=False, **more)
    return data.batch(data.plan(0)[0], 0)


@pytest.mark.paper(
    "merit-coral",
    shows="V",
    case="an interleaved sequence: words where words stand, each picture's tokens in its place",
)
def test_the_sequence_is_interleaved():
    model = coral().eval()
    composer, tokens = model.reader("composer"), model.text.tokens
    patches = torch.randn(2, 3, 16)
    found = composer.sequences(model, [["ab", 1, "cd", 0], [0, "é"], ["only words"]], patches)
    assert torch.allclose(found.vectors.norm(dim=1), torch.ones(3), atol=1e-5)
    whole = tokens(["ab\0\0\0cd\0\0\0"])[0][0].tolist()
    assert found.ids[0].tolist() == [i if w else 0 for i, w in zip(whole, found.words[0].tolist())]
    assert [k for k, w in enumerate(found.words[0].tolist()) if not w] == [3, 4, 5, 8, 9, 10]
    table = model.text.embed.weight.data
    ids, _ = tokens(["xyz"])  # pictures whose tokens are those of words are those words
    composer.adapter = torch.nn.Identity()
    said = composer.sequences(model, [["a", 0, "b"]], table[ids[:, 1:4]])
    assert torch.allclose(said.vectors, composer.sequences(model, [["axyzb"]], None).vectors, atol=1e-5)
    swapped = composer.sequences(model, [["a", 0, "b", 1], ["a", 1, "b", 0]], torch.randn(2, 3, 16)).vectors
    assert not torch.allclose(swapped[0], swapped[1], atol=1e-3)  # which product is which counts
    with pytest.raises(UserError, match="no room"):
        composer.sequences(model, [[0]], torch.randn(1, 200, 16))
    with pytest.raises(UserError, match="needs a picture, a text, or both"):
        composer.sequences(model, [[]], None)


@pytest.mark.paper(
    "merit-coral",
    shows="V",
    case="InfoNCE over the step's products at tau .02; twins are no negatives, hard negatives are",
)
def test_the_contrast():
    model = coral(losses={"interleaved": {"visual": 0.0, "textual": 0.0}}, sampler={"negatives": 1}).eval()
    records = product_queries(4)
    for n, record in enumerate(records):  # a product that does not answer
        record.pictures = [*record.pictures, records[n - 1].pictures[0]]
        record.turns = [*record.turns, Turn("a trap", len(record.pictures) - 1, True, "negative")]
    records[1].pair_id = records[0].pair_id
    data = Data(records, model, augment=False)
    batch = data.batch(data.plan(0)[0], 0)
    term, part = model(batch)["interleaved"], model.parts["interleaved"]
    queries, products, whose, patches = part.read(None, batch, model)
    assert [sum(isinstance(one, int) for one in row) for row in queries] == [3] * 4
    assert (whose, [row[1] for row in products[4:]]) == ([0, 1, 2, 3, -1, -1, -1, -1], ["a trap"] * 4)
    made = model.reader("composer").sequences(model, [*queries, *products], patches).vectors
    scores = (50.0 * made[:4] @ made[4:].T).detach()
    twins = [k for k, id_ in enumerate(batch.ids) if id_ in (records[0].id, records[1].id)]
    scores[twins[0], twins[1]] = scores[twins[1], twins[0]] = -math.inf
    want = -torch.stack([scores[i].log_softmax(0)[i] for i in range(4)]).mean()
    assert float(term.value.detach()) == pytest.approx(float(want), abs=1e-4)
    assert term.count == 4
    assert float(part.scale()[0].detach()) == pytest.approx(1 / 0.02)


@pytest.mark.paper(
    "merit-coral", shows="V",
    case="L = L_con + .1 L_vis + .1 L_txt: squared error of hidden tokens, cross-entropy of hidden words, both sides",
)  # fmt: skip
def test_the_sum_of_three():
    model = coral().eval()
    batch, part = batch_of(model), model.parts["interleaved"]
    queries, products, _, patches = part.read(None, batch, model)
    made = model.reader("composer").sequences(model, [*queries, *products], patches)
    scores = 50.0 * made.vectors[:4] @ made.vectors[4:].T
    contrast = F.cross_entropy(scores, torch.arange(4))
    # three pictures a query, one a product: by loops
    owners = [k for k, row in enumerate([*queries, *products]) for one in row if isinstance(one, int)]
    assert owners == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5, 6, 7]
    hide = hidden_of(torch.ones(16, patches.shape[1], dtype=torch.bool), 0.5, batch.seed)
    errors = []
    for k, owner in enumerate(owners):
        found = part.pictures(
            patches[k][None], hide[k][None], torch.ones_like(hide[k])[None], made.vectors[owner][None]
        )
        errors += [float(e) for e in ((found[0] - patches[k])[hide[k]] ** 2).detach().flatten()]
    visual = float(part.seen(patches, [*queries, *products], made.vectors, batch.seed).value.detach())
    assert visual == pytest.approx(np.mean(errors), abs=1e-5)
    hide = hidden_of(made.words, 0.3, batch.seed + 1)
    table, losses = model.text.embed.weight, []
    for k in range(8):
        found = part.words(table[made.ids[k]][None], hide[k][None], made.words[k][None], made.vectors[k][None])[0]
        for place in hide[k].nonzero()[:, 0].tolist():
            losses.append(-float((table @ found[place]).log_softmax(0)[made.ids[k, place]].detach()))
    textual = float(part.said(model, made.ids, made.words, made.vectors, batch.seed + 1).value.detach())
    assert textual == pytest.approx(np.mean(losses), abs=1e-4)
    want = float(contrast.detach()) + 0.1 * visual + 0.1 * textual
    assert float(model(batch)["interleaved"].value.detach()) == pytest.approx(want, abs=1e-4)


@pytest.mark.paper(
    "merit-coral", shows="V",
    case="the gradient of each reconstruction reaches the vector; with the vector cut off it does not",
)  # fmt: skip
def test_reconstruction_teaches_the_vector():
    model = coral()
    part, out = model.parts["interleaved"], model.reader("composer").out.weight
    for weights in ({"visual": 1.0, "textual": 0.0}, {"visual": 0.0, "textual": 1.0}):
        one = coral(losses={"interleaved": weights})
        batch, part = batch_of(one), one.parts["interleaved"]
        queries, products, _, patches = part.read(None, batch, one)
        made = one.reader("composer").sequences(one, [*queries, *products], patches)
        for vectors, reaches in ((made.vectors, True), (made.vectors.detach(), False)):
            if weights["visual"]:
                term = part.seen(patches, [*queries, *products], vectors, 0)
            else:
                term = part.said(one, made.ids, made.words, vectors, 0)
            out = one.reader("composer").out.weight
            (grad,) = torch.autograd.grad(term.value, [out], retain_graph=True, allow_unused=True)
            assert (grad is not None and bool(grad.abs().max() > 0)) == reaches
    assert (part.pictures, part.words is None) == (None, False)
    alone = coral(losses={"interleaved": {"visual": 0.0, "textual": 0.0}})
    assert (alone.parts["interleaved"].pictures, alone.parts["interleaved"].words) == (None, None)


@pytest.mark.paper(
    "merit-coral", shows="V", case="the layers that rebuild are not there when queries are embedded: equal vectors"
)
def test_the_rebuilding_layers_are_dropped():
    model = coral().eval()
    query = [["colour of ", torch.randn(3, 32, 32), "; size of ", torch.randn(3, 32, 32)]]
    before = model.encode_interleaved(query)
    part = model.parts["interleaved"]
    part.pictures = part.words = None
    assert torch.equal(model.encode_interleaved(query), before)


def test_what_is_hidden():
    real = torch.tensor([[True] * 8 + [False] * 2, [True] + [False] * 9, [False] * 10])
    for seed in range(5):
        hide = hidden_of(real, 0.25, seed)
        assert hide.sum(1).tolist() == [2, 1, 0]
        assert not (hide & ~real).any()
        assert torch.equal(hide, hidden_of(real, 0.25, seed))
    with pytest.raises(UserError, match="hide=1"):
        InterleavedPart(Widths(4, image=4, text=4), hide=1)


def test_documents_are_queries_answers_and_traps():
    turns = [Turn("Stil von "), Turn(" กระเป๋า {picture}", 0), Turn(" و ", None), Turn("", 1),
             Turn("túi", 2, True, "answer"), Turn("", 3, True, "negative"), Turn("bag", None, True, "negative"),
             Turn("", 4, True, "negative")]  # fmt: skip
    record = Record("d", pictures=["a", "b", "c", "d", "e"], turns=turns)
    sampler = Products(negatives=5)
    assert sampler.items(record) == 1
    sample = sampler(record, 0, 0)
    assert sample.texts[0].text == f"Stil von {PICTURE} กระเป๋า  و {PICTURE}"  # a mark in a title is no picture
    assert [None if one is None else one.text for one in sample.texts[1:]] in (
        ["túi", "bag", None],
        ["túi", None, "bag"],
    )
    assert (sample.others[0], sorted(sample.others)) == (2, [2, 3, 4])
    assert [piece for piece, _ in sample.pieces] == [0, 1]
    for broken in (turns[:4], turns[4:], [Turn("only words"), turns[4]]):
        assert Products().items(Record("x", pictures=record.pictures, turns=broken)) == 0


def shots(record):
    """The parts of a query as `encode_queries` takes them."""
    parts = []
    for turn in record.turns:
        if turn.role != "answer":
            parts += [picture(record.pictures[turn.picture])] if turn.picture is not None else []
            parts.append(turn.text)
    return parts


def picture(pixels):
    import PIL.Image

    return Image.from_pil(PIL.Image.fromarray((pixels.transpose(1, 2, 0) * 255).astype(np.uint8)))


def test_many_products_are_one_query(tmp_path):
    trainer = Trainer(load_row("merit-coral", "small", **BYTES), product_queries(8), tmp_path / "run", augment=False)
    trainer.fit(1, progress=False)
    trainer.save()
    encoder = load_model(f"pano:{tmp_path / 'run'}", "encoder")
    record = product_queries(1)[0]
    parts = shots(record)
    found = encoder.encode_queries([parts, [parts[1]], ["กระเป๋า สีแดง"], [], [Image(b"torn", "x", 1, 1), "x"]])
    assert np.isfinite(found).all(1).tolist() == [True, True, True, False, False]
    assert np.allclose(np.linalg.norm(found[:3], axis=1), 1, atol=1e-5)
    assert np.allclose(encoder.encode_images([parts[1]]), found[1:2], atol=1e-5)  # a picture alone, in the gallery too
    assert np.allclose(encoder.encode_texts(["กระเป๋า สีแดง"]), found[2:3], atol=1e-5)
    cut = [part for part in parts if isinstance(part, str)]
    assert not np.allclose(encoder.encode_queries([cut]), found[:1], atol=1e-2)  # the products count
    assert encoder.composes
    whole = torch.stack([square_of(one, 32) for one in record.pictures[:2]])
    two = trainer.model.encode_interleaved([[whole[0], "a"], [whole[1]]])
    assert two.shape == (2, 16)
    with pytest.raises(UserError, match="takes one picture a query"):
        make_model(load_row("collm", "small")).encode_interleaved([["x"]])


# ---- Qwen2.5-VL ------------------------------------------------------------------------------------------------------


def qwen():
    hf = pytest.importorskip("transformers")
    torch.manual_seed(0)
    text = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}}  # fmt: skip
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 32,
              "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 16,
              "fullatt_block_indexes": [1]}  # fmt: skip
    config = hf.Qwen2_5_VLConfig(
        text_config=text, vision_config=vision, image_token_id=60, video_token_id=61, vision_start_token_id=62,
        vision_end_token_id=63,
    )  # fmt: skip
    return hf.Qwen2_5_VLForConditionalGeneration(config).eval()


class Marks(Words):
    """Words, and Qwen's marks around a picture; 2 is the end of a text."""

    model_max_length = 200
    marks = (("<|vision_start|>", 62), ("<|vision_end|>", 63))

    def __call__(self, texts, truncation, padding=False, max_length=None, return_tensors=None):
        if isinstance(texts, list) and any(text in dict(self.marks) for text in texts):
            ids = torch.tensor([[1, dict(self.marks)[text], 2] for text in texts])
            return {"input_ids": ids if return_tensors else ids.tolist(), "attention_mask": torch.ones_like(ids)}
        return super().__call__(texts, truncation, padding, max_length, return_tensors)


@pytest.mark.paper(
    "merit-coral", shows="V",
    case="over Qwen2.5-VL's architecture: hidden states of two pictures among words are transformers', padded rows too",
)  # fmt: skip
def test_qwen_reads_pictures_among_words():
    whole = qwen()
    image, text = QwenVlImage(model=whole), QwenVlText(model=whole, tokenizer=Marks(), length=200)
    pixels = torch.randn(2, 3, 16, 16)
    cells = pixels.reshape(2, 3, 2, 2, 4, 2, 2, 4).permute(
        0, 2, 5, 3, 6, 1, 4, 7
    )  # as the library's processor cuts them
    patches = torch.stack([cells] * 2, 6).reshape(32, -1)
    grid = torch.tensor([[1, 4, 4]] * 2)
    shown = [62, *[60] * 4, 63]
    rows = [[1, 9, *shown, 11, 12, *shown, 7, 2], [1, 5, 6, 2]]
    ids, mask = (torch.tensor(z) for z in ([rows[0], rows[1] + [0] * 14], [[1] * 18, [1] * 4 + [0] * 14]))
    with torch.no_grad():
        tokens = image(pixels)[1]
        want = whole.model.visual(patches, grid_thw=grid).pooler_output
        assert torch.allclose(tokens.flatten(0, 1), want, atol=1e-5)
        both = whole.model(
            input_ids=ids, attention_mask=mask, pixel_values=patches, image_grid_thw=grid,
            mm_token_type_ids=(ids == 60).int(),
        ).last_hidden_state  # fmt: skip
        found = text(ids, mask.bool(), soft=(ids == 60, tokens.flatten(0, 1)))
    assert torch.allclose(found[1][0], both[0], atol=1e-5)
    assert torch.allclose(found[1][1, :4], both[1, :4], atol=1e-5)
    assert torch.allclose(found[0], torch.stack([both[0, -1], both[1, 3]]), atol=1e-5)
    with pytest.raises(UserError, match="words must stand between pictures"):
        text.places(torch.ones(1, 8, dtype=torch.bool), torch.ones(1, 8, dtype=torch.bool))
    with pytest.raises(UserError, match="must be a multiple of 8"):
        image(torch.randn(1, 3, 20, 20))


@pytest.mark.paper(
    "merit-coral", shows="P",
    case="the paper's row over Qwen2.5-VL-3B's architecture at full size: 3,754,622,976 parameters, the vector is the "
    "last hidden state; what is remembered is listed as unverified",
)  # fmt: skip
def test_coral_at_full_size(monkeypatch):
    hf = pytest.importorskip("transformers")
    from panoglot.networks.towers import qwen_vl

    text = {"vocab_size": 151_936, "hidden_size": 2048, "intermediate_size": 11_008, "num_hidden_layers": 36,
            "num_attention_heads": 16, "num_key_value_heads": 2, "tie_word_embeddings": True}  # fmt: skip
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 2048}
    config = hf.Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True)
    whole = hf.Qwen2_5_VLForConditionalGeneration
    monkeypatch.setattr(qwen_vl, "load_pretrained", fresh(whole, config, words=151_665))
    row = load_row("merit-coral")
    with torch.device("meta"):
        model = make_model(row)
    assert sum(p.numel() for tower in (model.image, model.text) for p in tower.parameters()) == 3_754_622_976
    composer = model.reader("composer")
    assert not list(composer.parameters())
    assert (row.losses["interleaved"]["visual"], row.losses["interleaved"]["textual"], row.sampler["negatives"]) == (
        0.1, 0.1, 1
    )  # fmt: skip
    assert {"losses.interleaved", "optimiser", "epochs", "batch", "freeze"} <= set(row.unverified)
