"""Adapters start as the identity, have the sizes of the papers, share what they should, and are saved alone."""

from __future__ import annotations

import pytest

from panoglot.errors import UserError

torch = pytest.importorskip("torch")
from torch import nn

from panoglot.networks import adapters as ad
from panoglot.networks import freeze


def backbone(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    block = lambda: nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True)  # noqa: E731
    return nn.Sequential(block(), block()).double().eval()


X = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(1)).double()
WHERE = {
    "adapter": ["*.linear2"],
    "compacter": ["*.linear2"],
    "lora": ["*.linear1", "*.linear2"],
    "language": ["*.norm2"],
}
OPTIONS = {
    "adapter": {"reduction": 4},
    "compacter": {"reduction": 4, "n": 2},
    "lora": {"rank": 2},
    "language": {"langs": ["en", "sw"]},
}


def moved(attached) -> None:
    torch.manual_seed(3)
    with torch.no_grad():
        for p in attached.parameters():
            p.add_(torch.randn_like(p) * 0.1)


@pytest.mark.parametrize("method", WHERE)
def test_step_zero_is_the_frozen_model_bit_for_bit(method):
    model = backbone()
    want = model(X)
    attached = ad.attach(model, WHERE[method], method, **OPTIONS[method])
    attached.langs = ["en", "sw", "en"]
    assert torch.equal(model(X), want)
    moved(attached)
    assert not torch.allclose(model(X), want)


def test_the_release_s_initialisation_is_no_identity():
    x = torch.randn(4, 16)
    assert torch.equal(ad.Adapter(16, 4)(x), x)
    assert not torch.allclose(ad.Adapter(16, 4, zero=False)(x), x, atol=1e-3)


@pytest.mark.paper(
    "vl-adapter",
    shows="V",
    case="the backbone stays bit for bit; a file of adapters alone restores the output",
)
def test_only_adapters_learn_and_the_backbone_stays(tmp_path):
    model = backbone()
    attached = ad.attach(model, WHERE["adapter"], "adapter", reduction=4)
    freeze(model, [{"freeze": "*"}, {"train": "*.adapters.*"}])
    before = {n: p.clone() for n, p in model.named_parameters() if "adapters" not in n}
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        model(X).square().mean().backward()
        optimiser.step()
    assert all((p.grad is not None) == ("adapters" in n) for n, p in model.named_parameters())
    assert all(torch.equal(p, dict(model.named_parameters())[n]) for n, p in before.items())
    out = model(X)
    ad.save_adapters(attached, tmp_path / "a.safetensors")
    fresh = backbone()
    again = ad.attach(fresh, WHERE["adapter"], "adapter", reduction=4)
    ad.load_adapters(again, tmp_path / "a.safetensors")
    freeze(fresh, [{"freeze": "*"}, {"train": "*.adapters.*"}])
    assert torch.equal(fresh(X), out)
    other = ad.attach(backbone(), WHERE["adapter"], "adapter", reduction=8)
    with pytest.raises(UserError, match="options"):
        ad.load_adapters(other, tmp_path / "a.safetensors")
    wide = ad.attach(nn.Sequential(nn.Linear(16, 16)), ["0"], "adapter", reduction=4)
    with pytest.raises(UserError, match="another backbone"):
        ad.load_adapters(wide, tmp_path / "a.safetensors")


@pytest.mark.paper(
    "vl-adapter",
    shows="V",
    case="30 adapters on BART-base: 6,081,600 of 145,452,864 parameters, 4.1811 %",
)
def test_vl_adapter_share_is_4_18_percent():
    transformers = pytest.importorskip("transformers")
    from panoglot.networks.towers import VisualEmbedding

    with torch.device("meta"):  # counted, not filled: BART-base without its 560 MB
        config = transformers.BartConfig(
            d_model=768,
            encoder_layers=6,
            decoder_layers=6,
            encoder_attention_heads=12,
            decoder_attention_heads=12,
            encoder_ffn_dim=3072,
            decoder_ffn_dim=3072,
        )
        model = nn.ModuleDict({"lm": transformers.BartModel(config), "visual": VisualEmbedding(2048, 768)})
        assert sum(p.numel() for p in model["lm"].parameters()) == 139_420_416
        where = ["lm.encoder.layers.*.self_attn", "lm.encoder.layers.*.fc2"]
        where += [f"lm.decoder.layers.*.{x}" for x in ("self_attn", "encoder_attn", "fc2")]
        attached = ad.attach(model, where, "adapter", reduction=8)
    assert len(attached.modules) == 30
    assert sum(p.numel() for p in attached.parameters()) == 4_449_600
    assert sum(p.numel() for p in model["visual"].parameters()) == 1_582_848
    rules = [{"freeze": "*"}, {"train": ["*.adapters.*", "visual.*", "lm.*layer_norm.*", "lm.*layernorm_embedding.*"]}]
    plan = freeze(model, rules)
    assert (plan.trained, plan.total) == (6_081_600, 145_452_864)
    assert "4.1811 %" in str(plan)


@pytest.mark.paper("vl-adapter", shows="V", case="before training the output is that of the frozen model, bit for bit")
def test_bart_step_zero_is_the_frozen_model():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BartConfig(
        vocab_size=50, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=20,
    )  # fmt: skip
    model = transformers.BartModel(config).eval()
    ids = torch.arange(3, 11)[None]
    want = model(ids).last_hidden_state
    attached = ad.attach(model, ["*.layers.*.self_attn", "*.layers.*.encoder_attn", "*.layers.*.fc2"], reduction=4)
    assert len(attached.modules) == 2 * 2 + 2 * 3
    assert torch.equal(model(ids).last_hidden_state, want)


@pytest.mark.paper(
    "vl-adapter",
    shows="V",
    case="shared adapters are one object; training one task leaves another's alone",
)
def test_sharing():
    def gradients(share):
        model = backbone()
        attached = ad.attach(model, WHERE["adapter"], "adapter", reduction=4, tasks=["vqa", "caption"], share=share)
        moved(attached)
        attached.task = "vqa"
        model(X).square().mean().backward()
        return attached

    both = gradients("multiple").modules["0.linear2"]
    assert all(p.grad is None for p in both["caption"].parameters())  # training one leaves the other alone
    assert all(p.grad is not None for p in both["vqa"].parameters())
    half = gradients("down").modules["0.linear2"]
    assert half["vqa"].down is half["caption"].down
    assert half["vqa"].up is not half["caption"].up
    model = backbone()
    attached = ad.attach(model, WHERE["adapter"], "adapter", reduction=4, tasks=["vqa"], share="multiple")
    attached.task = "vqaa"
    with pytest.raises(UserError, match="'vqa'"):
        model(X)
    with pytest.raises(UserError, match="tasks"):
        ad.attach(backbone(), ["*.linear2"], share="multiple")


@pytest.mark.paper("vl-adapter", shows="V", case="LoRA merged and unmerged: equal outputs, weights restored")
def test_lora_merge():
    model = backbone()
    attached = ad.attach(model, WHERE["lora"], "lora", rank=2, dropout=0.3)
    moved(attached)
    model.eval()
    want, weight = model(X), model[0].linear1.weight.clone()
    parts = list(attached.modules.values())
    for part in parts:
        part.merge()
    assert torch.allclose(model(X), want, atol=1e-12)
    assert not torch.equal(model[0].linear1.weight, weight)
    with pytest.raises(UserError, match="already"):
        parts[0].merge()
    for part in parts:
        part.unmerge()
    assert torch.allclose(model[0].linear1.weight, weight, atol=1e-14)
    with pytest.raises(UserError, match="not merged"):
        parts[0].unmerge()
    model.train()
    with pytest.raises(UserError, match="evaluation"):
        parts[0].merge()


@pytest.mark.paper("vl-adapter", shows="V", case="Compacter: the dense Kronecker sum; n = 1 is a low-rank layer")
def test_kronecker_is_the_dense_reference():
    torch.manual_seed(0)
    for rank in (None, 1):
        layer = ad.KroneckerLinear(8, 12, 2, rank=rank)
        b = layer.right if rank is None else layer.right @ layer.thin
        dense = sum(torch.kron(layer.left[i], b[i]) for i in range(2))
        assert torch.allclose(layer.weight(), dense, atol=1e-6)
    one = ad.KroneckerLinear(8, 12, 1, rank=3)
    assert torch.linalg.matrix_rank(one.weight()) == 3  # n = 1 is a low-rank layer
    shared = nn.Parameter(torch.randn(2, 2, 2))
    c = ad.Compacter(16, 4, 2, shared=shared)
    assert c.down.left is c.up.left is shared
    with pytest.raises(UserError, match="multiples"):
        ad.Compacter(12, 4, 2)
    with pytest.raises(UserError, match="reduced"):
        ad.Adapter(10, 4)


def test_language_adapters():
    torch.manual_seed(0)
    layer = ad.LanguageAdapters(["en", "zh-hant", "sw"], 16)
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_()
    x = torch.randn(4, 3, 16)
    first = layer(x, ["sw"] * 4)
    layer(x, ["en"] * 4)
    assert torch.equal(layer(x, ["sw"] * 4), first)  # nothing leaks from one language to the next
    mixed = layer(x, ["sw", "en", "sw", "zh-Hant"])
    for i, lang in enumerate(["sw", "en", "sw", "zh-Hant"]):
        assert torch.allclose(mixed[i], layer(x[i : i + 1], [lang])[0], atol=1e-6)
    mixed.sum().backward()
    assert all(p.grad is not None for p in layer.each["zh-Hant"].parameters())
    layer.each["en"].load_state_dict(layer.each["sw"].state_dict())
    assert torch.equal(layer(x, ["en"] * 4), first)
    assert torch.equal(layer(x, ["sw-KE"] * 4), first)  # tags meet
    with pytest.raises(UserError, match="'swg'"):
        layer(x, ["swg"] * 4)
    with pytest.raises(UserError, match="3 languages"):
        layer(x, ["en"] * 3)


def test_prompt():
    x, mask = torch.randn(2, 4, 16), torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    y, m = ad.Prompt(16, k=3, hidden=8)(x, mask)
    assert y.shape == (2, 7, 16)
    assert torch.equal(y[:, 3:], x)
    assert m.tolist() == [[1, 1, 1, 1, 1, 1, 0], [1] * 7]


@pytest.mark.paper(
    "cosmo",
    shows="V",
    case="closed gates are the identity; no picture yet: exactly nothing; only the latest picture is seen; inner "
    "widths are halved, the attention's and the feed-forward's",
)
def test_gated_cross_attention():
    torch.manual_seed(0)
    layer = ad.GatedCrossAttention(16, 8, heads=2).double()
    x, media = X[:2].clone(), torch.randn(2, 3, 4, 8).double()
    which = ad.media_of_tokens(torch.tensor([[0, 1, 0, 1, 0], [1, 0, 0, 0, 1]]).bool())
    assert torch.equal(layer(x, media, which), x)  # gates at 0
    assert [m.out_features for m in (layer.q, layer.kv, layer.feed[0], layer.out)] == [8, 2 * 8, 4 * 8, 16]
    with torch.no_grad():
        layer.gate.fill_(0.7)
        layer.gate_ff.fill_(0.5)
    base = layer(x, media, which)
    assert torch.equal(base[0, 0], x[0, 0])  # no picture yet: exactly nothing
    other = media.clone()
    other[:, 1] += 1
    changed = (layer(x, other, which) - base).abs().amax(-1) > 1e-12
    assert changed.tolist() == [[False, False, False, True, True], [False, False, False, False, True]]
    layer(x, media, which - 5).sum().backward()  # nobody sees anything
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in layer.parameters())


def test_mistakes():
    with pytest.raises(UserError, match=r"0\.linear1"):
        ad.attach(backbone(), ["0.linaer1"])
    with pytest.raises(UserError, match="'lora'"):
        ad.attach(backbone(), ["*.linear2"], "loar")
    with pytest.raises(UserError, match="linear layer"):
        ad.attach(backbone(), ["*.norm2"], "lora")
