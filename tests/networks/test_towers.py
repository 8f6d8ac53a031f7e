"""Towers, decoders, heads: masks, padding, limits, what is cut."""

from __future__ import annotations

import pytest

from panoglot.errors import MissingPackage, UserError

torch = pytest.importorskip("torch")

from panoglot.networks import towers as t

TEXTS = ["a red circle", "ein rotes Känguru", "قطة على سرير", "แมวนอน", "一只猫", "paka mweusi"]


def image(n: int = 2, size: int = 16, seed: int = 0):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed)).double()


@pytest.fixture
def vit():
    torch.manual_seed(0)
    return t.Vit(16, 4, 32, 2, 4).double().eval()


@pytest.mark.paper("clip", shows="V", case="ViT-B/32: the number of parameters by its published sizes")
def test_vit_has_clip_s_size():
    with torch.device("meta"):
        tower = t.Vit(224, 32, 768, 12, 12)
    blocks = 12 * (12 * 768**2 + 13 * 768)
    rest = 3 * 32 * 32 * 768 + 768 + 50 * 768 + 768 + 4 * 768
    assert sum(p.numel() for p in tower.parameters()) == blocks + rest


def test_vit_shapes_and_other_grids(vit):
    pooled, patches = vit(image())
    assert (pooled.shape, patches.shape) == ((2, 32), (2, 16, 32))
    assert vit(image(size=8))[1].shape == (2, 4, 32)  # local views: the grid is interpolated
    assert torch.equal(vit.places(4, 4), vit.place)
    with pytest.raises(UserError, match="patches of 4"):
        vit(image(size=10))
    with pytest.raises(UserError, match="patches of 5"):
        t.Vit(16, 5)


@pytest.mark.paper("sycoca", shows="V", case="what is under the mask changes nothing, bit for bit")
def test_hidden_pixels_leak_nowhere(vit):
    hide = torch.zeros(2, 16, dtype=torch.bool)
    hide[:, 5] = True
    x = image()
    other = x.clone()
    other[:, :, 4:8, 4:8] += 3  # patch 5
    assert all(torch.equal(a, b) for a, b in zip(vit(x, hide=hide), vit(other, hide=hide), strict=True))
    assert not torch.equal(vit(x)[0], vit(other)[0])
    pooled, patches = vit(x, keep=~hide)
    pooled2, patches2 = vit(other, keep=~hide)
    assert torch.equal(pooled, pooled2)
    rest = [i for i in range(16) if i != 5]
    assert torch.equal(patches[:, rest], patches2[:, rest])


@pytest.mark.parametrize("pool", ["end", "mean"])
def test_text_padding_changes_nothing(pool):
    torch.manual_seed(0)
    tower = t.TextTransformer(40, 32, 2, 4, pool).double().eval()
    ids, mask = tower.tokens(TEXTS)
    pooled, tokens = tower(ids, mask)
    assert tokens.shape == (6, ids.shape[1], 32)
    for i, text in enumerate(TEXTS):
        alone = tower(*tower.tokens([text]))[0][0]
        assert torch.allclose(pooled[i], alone, atol=1e-12)
    if pool == "end":  # causal: a token never knows what follows
        longer = ids.clone()
        longer[0, 9] = 50
        assert torch.allclose(tower(longer, mask)[1][0, :9], tokens[0, :9], atol=1e-12)
    with pytest.raises(UserError, match="pool"):
        t.TextTransformer(pool="max")


def test_language_towers_need_the_language():
    tower = t.TextTransformer(40, 32, 1, 4, "mean", langs=["en", "th"])
    ids, mask = tower.tokens(TEXTS[:2])
    assert tower(ids, mask, ["en", "th"])[0].shape == (2, 32)
    with pytest.raises(UserError, match="'de'"):
        tower(ids, mask, ["en", "de"])


def test_cuts_are_counted_and_keep_characters_whole():
    tokens = t.ByteTokens(12)
    ids, mask = tokens(["x" * 40, "ok", "แมวนอน", "👩‍🚀👩‍🚀"])
    assert tokens.cut == 3
    assert ids.shape == (4, 12)
    assert [tokens.decode(i) for i in ids] == ["x" * 10, "ok", "แมว", "👩‍🚀"[:2]]
    assert all(row[m].tolist()[-1] == 2 for row, m in zip(ids, mask, strict=True))  # the end token stays
    with pytest.raises(UserError, match="holds no text"):
        t.ByteTokens(2)


@pytest.mark.paper("vgs-char-gru", shows="V", case="an unknown character has an id of its own, within the table")
def test_char_tokens_know_what_they_do_not_know():
    tokens = t.CharTokens()
    ids, _ = tokens(["aé~"])
    assert ids.max() == tokens.size - 1  # an id of its own, within the table
    assert len(set(ids[0].tolist())) == 3
    table = torch.nn.Embedding(tokens.size, 2)
    table(tokens([tokens.alphabet])[0])  # the last character is no overflow


@pytest.mark.paper(
    "vgs-char-gru",
    shows="V",
    case="padding changes no vector; the paper's size: 102 characters, 2,048 numbers",
)
def test_char_gru():
    torch.manual_seed(0)
    for heads in (1, 2):
        tower = t.CharGru(8, 16, 12, heads).double()
        ids, mask = tower.tokens(TEXTS)
        pooled, _ = tower(ids, mask)
        assert pooled.shape == (6, 32 * heads) == (6, tower.width)
        padded = torch.nn.functional.pad(ids, (0, 7)), torch.nn.functional.pad(mask, (0, 7))
        assert torch.allclose(tower(*padded)[0], pooled, atol=1e-12)
        order = torch.tensor([3, 0, 5, 1, 4, 2])
        assert torch.allclose(tower(ids[order], mask[order])[0], pooled[order], atol=1e-12)
    with pytest.raises(UserError, match="no characters"):
        tower(ids, mask & False)
    with torch.device("meta"):
        full = t.CharGru(alphabet="ascii")
    assert full.embed.weight.shape == (102, 20)
    assert full.width == 2048


@pytest.mark.paper("vgs-char-gru", shows="V", case="attention sums to 1 over time in every dimension")
def test_char_gru_attention_sums_to_one():
    tower = t.CharGru(8, 16, 12).double()
    with torch.no_grad():
        ids, mask = tower.tokens(TEXTS)
        h = torch.ones(6, ids.shape[1], 32).double()
        weight = tower.attend[0](h).masked_fill(~mask[..., None], float("-inf")).softmax(1)
        assert torch.allclose(weight.sum(1), torch.ones(6, 32).double())
        assert weight[~mask].abs().max() == 0


@pytest.mark.paper("croc", shows="V", case="prefix 3 of 5: rows 0-2 see 0-2, then causal; prefix 0 is causal")
def test_mixed_mask_of_croc():
    m = t.causal_mask(5, torch.tensor([3, 0])).int()
    assert m[0].tolist() == [[1, 1, 1, 0, 0]] * 3 + [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    assert torch.equal(m[1], torch.ones(5, 5).int().tril())


def test_attention_row_that_sees_nothing_is_zero():
    layer = t.Attention(8, 2)
    see = torch.tensor([[[True, False], [False, False]]])
    out = layer(torch.randn(1, 2, 8), see=see)
    assert out[0, 1].abs().max() == 0
    assert out[0, 0].abs().max() > 0


def test_query_decoder(vit):
    torch.manual_seed(0)
    decoder = t.QueryDecoder(32, 12, queries=3, width=16, layers=2, heads=4).double().eval()
    picture, regions, boxes = decoder(vit(image())[1])
    assert (picture.shape, regions.shape, boxes.shape) == ((2, 12), (2, 3, 12), (2, 3, 4))
    assert ((boxes > 0) & (boxes < 1)).all()


def test_caption_decoder_is_causal_and_respects_what_is_kept(vit):
    torch.manual_seed(0)
    decoder = t.CaptionDecoder(259, 32, 16, 2, 4, 20).double().eval()
    memory = vit(image())[1].detach().clone()
    ids = torch.randint(3, 259, (2, 8))
    base = decoder(ids, memory)
    later = ids.clone()
    later[:, 5] = 7
    assert torch.allclose(decoder(later, memory)[:, :5], base[:, :5], atol=1e-12)
    keep = torch.ones(2, 16, dtype=torch.bool)
    keep[:, 3] = False
    moved = memory.clone()
    moved[:, 3] += 1
    assert torch.equal(decoder(ids, memory, keep), decoder(ids, moved, keep))
    assert not torch.equal(decoder(ids, memory), decoder(ids, moved))
    assert decoder.generate(memory, 6).shape[1] <= 6


def test_image_decoder_and_resampler(vit):
    torch.manual_seed(0)
    _, patches = vit(image())
    paint = t.ImageDecoder(32, 12, 48, heads=4).double()
    text, mask = torch.randn(2, 5, 12).double(), torch.tensor([[1, 1, 0, 0, 0], [0] * 5]).bool()
    out = paint(patches, text, mask)
    assert out.shape == (2, 16, 48)
    assert torch.isfinite(out).all()  # a text of nothing but padding
    text[:, 3] += 5
    assert torch.equal(paint(patches, text, mask), out)
    whole, media = t.Resampler(32, 4, 24, 2, 4).double()(patches)
    assert (whole.shape, media.shape) == ((2, 24), (2, 4, 24))


@pytest.mark.paper("clip", shows="V", case="the scale begins at 1/.07 and stays in 1..100 after a step")
def test_scale():
    scale = t.Scale()
    assert float(scale()[0]) == pytest.approx(1 / 0.07, rel=1e-6)
    with torch.no_grad():
        scale.log.fill_(9.0)
    scale.after_step()
    assert float(scale()[0]) == pytest.approx(100, rel=1e-5)
    with torch.no_grad():
        scale.log.fill_(-1.0)
    scale.after_step()
    assert float(scale()[0]) == pytest.approx(1, rel=1e-6)
    assert float(t.Scale(10.0, bias=-10.0)()[1]) == -10


def test_heads():
    torch.manual_seed(0)
    assert t.TokenMlp(8, 6)(torch.randn(2, 5, 8)).shape == (2, 6)
    scores = t.PrototypeHead(8, 7, 16, 4)(torch.randn(3, 2, 8))
    assert scores.shape == (3, 2, 7)
    assert scores.abs().max() <= 1 + 1e-6
    reward = t.Reward(6, 8)
    x, y = torch.randn(50, 6), torch.randn(50, 6)
    reward.calibrate(x, y)
    r = reward(x, y)
    assert float(r.mean().detach()) == pytest.approx(0, abs=1e-5)
    assert float(r.std().detach()) == pytest.approx(1, abs=1e-5)
    assert t.unit(torch.zeros(2, 3)).abs().max() == 0


def test_hf_towers():
    hf = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = hf.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=16, patch_size=4
    )
    pooled, tokens = t.HfImage(model=hf.ViTModel(config, add_pooling_layer=False))(image().float())
    assert (pooled.shape, tokens.shape) == ((2, 16), (2, 16, 16))

    class Tokenizer:  # as little of a tokeniser as the tower needs
        model_max_length = 10

        def __len__(self):
            return 30

        def __call__(self, texts, truncation, padding, max_length=None, return_tensors=None):
            ids = [[2 + len(w) for w in text.split()][: max_length if truncation else None] for text in texts]
            if not return_tensors:
                return {"input_ids": ids}
            ids, mask = t.pad_tokens(ids)
            return {"input_ids": ids, "attention_mask": mask.long()}

    bert = hf.BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    for pool in ("mean", "cls"):
        tower = t.HfText(model=hf.BertModel(bert).eval(), tokenizer=Tokenizer(), pool=pool, length=4)
        ids, mask = tower.tokens(["one two", "one two three four five six"])
        assert tower.tokens.cut == 1
        pooled, _ = tower(ids, mask)
        alone, _ = tower(*tower.tokens(["one two"]))
        assert torch.allclose(pooled[0], alone[0], atol=1e-6)
    with pytest.raises(UserError, match="at most 10"):
        t.HfText(model=hf.BertModel(bert), tokenizer=Tokenizer(), length=11)


def test_timm_is_asked_for_by_name():
    import importlib.util

    if importlib.util.find_spec("torchvision"):
        pytest.skip("torchvision is here: timm works")
    with pytest.raises((MissingPackage, ModuleNotFoundError), match="torchvision"):
        t.timm_image("resnet18", pretrained=False)


# ---- X-MOD, for ColBERT-XM -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def xmod(tmp_path_factory):
    """A small X-MOD on disk, with a tokeniser of bytes."""
    hf = pytest.importorskip("transformers")
    from tests.networks.test_language import tokenizer

    folder = tmp_path_factory.mktemp("xmod")
    vocabulary = tokenizer(folder)
    torch.manual_seed(0)
    config = hf.XmodConfig(
        vocab_size=vocabulary, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=66, languages=["en_XX", "de_DE", "zh_CN", "zh_TW"], default_language="en_XX",
        pad_token_id=0,
    )  # fmt: skip
    model = hf.XmodModel(config)
    for p in model.parameters():
        if p.dim() > 1:
            p.data.normal_(std=0.4)
    model.save_pretrained(folder)
    return str(folder)


@pytest.mark.paper(
    "colbert-xm",
    shows="V",
    case="X-MOD: embeddings and adapters stay bit for bit, as the library freezes them",
)
def test_colbert_xm_trains_the_shared_layers_only(xmod):
    import transformers

    from panoglot.networks import Record, Text, load_row
    from panoglot.training import Trainer

    texts = [
        Text("what?", "question", "en"),
        Text("a", "answer", "en", score=1.0),
        Text("b", "answer", "en", score=0.0),
    ]
    records = [Record(f"r{i}", texts=texts, pair_id=f"{i}") for i in range(8)]
    paper = load_row("colbert-xm", text={"name": xmod, "length": 60}, dim=16, batch=4, epochs=1)
    trainer = Trainer(paper, records)
    want = transformers.XmodForMaskedLM.from_pretrained(xmod)
    want.freeze_embeddings_and_language_adapters()  # the library's own idea of it
    learn = {n.removeprefix("roberta.") for n, p in want.named_parameters() if p.requires_grad and "roberta" in n}
    mine = {n.removeprefix("text.model.") for n, p in trainer.model.named_parameters() if p.requires_grad}
    assert mine == learn | {"parts.colbert.project.weight"}
    before = {n: p.clone() for n, p in trainer.model.named_parameters()}
    trainer.fit()
    moved = {
        n.removeprefix("text.model.") for n, p in trainer.model.named_parameters() if not torch.equal(p, before[n])
    }
    assert moved <= mine
    assert {n for n in moved if "attention.self" in n}
    assert not any("adapter" in n or "embeddings" in n for n in moved)


@pytest.mark.paper(
    "colbert-xm",
    shows="V",
    case="languages a, b, a: equal vectors; equal adapters: equal vectors; an unknown language is refused",
)
def test_xmod_takes_the_language_of_every_text(xmod):
    tower = t.HfText(xmod, length=60).eval()
    ids, mask = tower.tokens(["一只猫"] * 4)
    mixed = tower(ids, mask, ["en", "de", "zh-Hans", "zh-Hant"])[0]
    for i, lang in enumerate(["en", "de", "zh", "zh-Hant"]):
        assert torch.allclose(tower(ids[:1], mask[:1], [lang])[0][0], mixed[i], atol=1e-5)
    assert len({round(float(v[0]), 4) for v in mixed}) == 4
    first = tower(ids, mask, ["en"] * 4)[0]
    tower(ids, mask, ["de"] * 4)
    assert torch.equal(tower(ids, mask, ["en"] * 4)[0], first)  # no state is left behind
    layer = tower.model.encoder.layer
    for block in layer:
        block.output.adapter_modules["de_DE"].load_state_dict(block.output.adapter_modules["en_XX"].state_dict())
    assert torch.equal(tower(ids, mask, ["de"] * 4)[0], first)
    with pytest.raises(UserError, match=r"'und'.*en, de, zh, zh"):
        tower(ids, mask, ["und"] * 4)
    with pytest.raises(UserError, match="4 texts, but 0"):
        tower(ids, mask)


def test_image_towers_of_transformers_with_and_without_a_class_token():
    hf = pytest.importorskip("transformers")
    x = torch.randn(2, 3, 32, 32)
    size = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    clip = hf.CLIPVisionModel(hf.CLIPVisionConfig(image_size=32, patch_size=8, **size)).eval()
    last, before = t.HfImage(model=clip), t.HfImage(model=clip, layer=-2)
    assert last(x)[1].shape == before(x)[1].shape == (2, 16, 16)
    states = clip(pixel_values=x, output_hidden_states=True).hidden_states
    assert torch.equal(before(x)[1], states[-2][:, 1:])
    dino = hf.Dinov2WithRegistersModel(
        hf.Dinov2WithRegistersConfig(image_size=32, patch_size=8, num_register_tokens=4, **size)
    ).eval()
    assert t.HfImage(model=dino)(x)[1].shape == (2, 16, 16)
    swin = hf.SwinModel(
        hf.SwinConfig(image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 1], window_size=2)
    ).eval()
    pooled, tokens = t.HfImage(model=swin)(x)
    assert (pooled.shape, tokens.shape) == ((2, 16), (2, 16, 16))
    assert torch.allclose(pooled, tokens.mean(1), atol=1e-5)


# ---- what defines a method: taken away, one of these fails -----------------------------------------------------------


@pytest.mark.paper(
    "vgs-char-gru", shows="V", case="the vector: a softmax over time of its own for every dimension, by loops"
)
def test_char_gru_pools_by_a_softmax_over_time_in_every_dimension():
    torch.manual_seed(0)
    tower = t.CharGru(8, 3, 4).double()
    with torch.no_grad():
        for p in tower.attend.parameters():
            p.mul_(4)  # weights that are far from even
        ids, mask = tower.tokens(TEXTS[:2])
        pooled, h = tower(ids, mask)
        for i in range(2):
            steps = h[i, : int(mask[i].sum())]
            score = tower.attend[0](steps)
            for d in range(6):
                raw = [float(x) for x in score[:, d].exp()]
                want = sum(w / sum(raw) * float(x) for w, x in zip(raw, steps[:, d], strict=True))
                assert float(pooled[i, d]) == pytest.approx(want, abs=1e-12)
            assert not torch.allclose(pooled[i], steps.mean(0), atol=1e-3)


@pytest.mark.paper(
    "grain", shows="V", case="the picture's vector is that of the last query, the regions' those of the others"
)
def test_the_picture_s_vector_is_that_of_the_last_query(vit):
    torch.manual_seed(0)
    decoder = t.QueryDecoder(32, 12, queries=3, width=16, layers=1, heads=4).double().eval()
    kept = []
    decoder.after.register_forward_hook(lambda module, given, out: kept.append(out))
    with torch.no_grad():
        picture, regions, boxes = decoder(vit(image())[1])
    (queries,) = kept
    for b in range(2):
        assert torch.allclose(picture[b], queries[b, 3] @ decoder.picture.weight.T, atol=1e-12)
        assert torch.allclose(regions[b], queries[b, :3] @ decoder.region.weight.T, atol=1e-12)
        assert torch.allclose(boxes[b], decoder.box(queries[b, :3]).sigmoid(), atol=1e-12)
    assert not torch.allclose(queries[:, 3], queries[:, 2], atol=1e-3)


@pytest.mark.paper("flame", shows="V", case="the MLP works on every token, the mean comes after it")
def test_flame_s_mlp_works_on_every_token_before_the_mean():
    torch.manual_seed(0)
    head, tokens = t.TokenMlp(8, 6).double(), torch.randn(2, 5, 8).double() * 3
    want = torch.stack([torch.stack([head.mlp(x) for x in row]).mean(0) for row in tokens])
    assert torch.allclose(head(tokens), want, atol=1e-12)
    assert not torch.allclose(head(tokens), head.mlp(tokens.mean(1)), atol=1e-2)
    kinds = [type(layer).__name__ for layer in head.mlp]
    assert kinds == ["Linear", "GELU", "Linear", "LayerNorm"]


@pytest.mark.paper(
    "rs-m-clip", shows="V", case="small views through a picture tower of transformers: 4 of 96 at 224's grid"
)
@pytest.mark.parametrize("name", ["ViT", "CLIPVision", "Siglip"])
def test_small_views_pass_through_towers_of_transformers(name):
    hf = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = getattr(hf, f"{name}Config" if name != "Siglip" else "SiglipVisionConfig")(
        image_size=64, patch_size=16, **sizes
    )
    model = getattr(hf, f"{name}Model" if name != "Siglip" else "SiglipVisionModel")(config)
    tower = t.HfImage(model=model).eval()
    with torch.no_grad():
        pooled, tokens = tower(torch.randn(2, 3, 32, 32))
        assert pooled.shape == (2, 16)
        assert tokens.shape == (2, 4, 16)
        whole = torch.randn(2, 3, 64, 64)
        assert tower(whole)[1].shape == (2, 16, 16)
