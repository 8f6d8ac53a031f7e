"""VL-Adapter as a whole: a frozen encoder-decoder, stored regions, small trained parts of every kind, several tasks."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
F = torch.nn.functional

from panoglot.errors import UserError
from panoglot.networks import adapters as ad
from panoglot.networks import load_row, make_model
from panoglot.networks.samplers import TaskPrefix
from panoglot.training import questions, shapes
from tests.networks.test_language import tokenizer
from tests.training.plain_run import adamw, same_run, warm_line

REGIONS, WIDTH = 4, 12


@pytest.fixture(scope="module")
def bart(tmp_path_factory):
    """BART's architecture, small and without dropout: what a step draws is not what is compared."""
    folder = tmp_path_factory.mktemp("bart")
    n = tokenizer(folder)
    quiet = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
    config = transformers.BartConfig(
        vocab_size=n, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        max_position_embeddings=128, decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        bos_token_id=1, eos_token_id=2, pad_token_id=0, decoder_start_token_id=2, forced_eos_token_id=None, **quiet,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.BartForConditionalGeneration(config)
    model.model.shared.weight.data.mul_(10)  # loud enough for the order of regions to matter
    model.save_pretrained(folder)
    return str(folder)


def bed():
    """Captions and questions over stored regions."""
    records, draw = [*shapes(12), *questions(shapes(12, 5, "more"))], np.random.default_rng(0)
    for record in records:
        record.texts = [text for text in record.texts if text.of is None]  # no translations
        record.vectors["image"] = draw.standard_normal((REGIONS, WIDTH)).astype(np.float32)
    return records


def small(bart, preset="paper", **more):
    how = {"image": {"width": WIDTH}, "text": {"name": bart, "length": 100}, "schedule": {"warmup": 2}, "batch": 6}
    return load_row("vl-adapter", preset, **{**how, "epochs": 1, **more})


def adapted(module, x):
    """Step 3: what stands behind a sub-layer."""
    a = module.adapters
    middle = x @ a.down.weight.T + a.down.bias
    return x + F.gelu(middle) @ a.up.weight.T + a.up.bias


def attention(layer, x, memory, see=None):
    """BART's, by its equation, with its adapter behind it."""
    q, k, v = layer.q_proj(x), layer.k_proj(memory), layer.v_proj(memory)
    hide = 0.0 if see is None else torch.zeros(see.shape).masked_fill(~see, -1e30)
    heads = [
        (a @ b.T / 8**0.5 + hide).softmax(1) @ c for a, b, c in zip(*(z.chunk(2, 1) for z in (q, k, v)), strict=True)
    ]
    return adapted(layer, torch.cat(heads, 1) @ layer.out_proj.weight.T + layer.out_proj.bias)


def fed(layer, x):
    middle = F.gelu(x @ layer.fc1.weight.T + layer.fc1.bias)
    return adapted(layer.fc2, middle @ layer.fc2.weight.T + layer.fc2.bias)


def regions(model, features):
    """Step 1, one region at a time: a grid of 2 x 2 boxes of one picture."""
    words, made = model.text.lm.model.shared.weight, []
    for n, feature in enumerate(features):
        left, top = n % 2 / 2, n // 2 / 2
        box = torch.tensor([left, top, left + 0.5, top + 0.5, 0.25])
        token = model.head.feature(feature) + model.head.box(box) + model.head.image.weight[0]
        made.append(token + words[len(words) - 1 - n])
    return torch.stack(made)


def vl_loss(model, batch):
    """The model by hand, one item at a time: regions behind the prompt, adapters behind every sub-layer."""
    bart, nats, count = model.text.lm.model, torch.zeros(()), 0
    assert batch.task in ("caption", "vqa")  # step 6: one task a step
    for i in range(len(batch)):
        ids = batch.given[i][batch.given_mask[i]]
        said = model.text.tokens.decode(ids)
        assert said.startswith({"caption": "caption: ", "vqa": "vqa: "}[batch.task].strip())
        x = torch.cat([bart.shared(ids), regions(model, batch.image_vec[i])])
        x = bart.encoder.layernorm_embedding(x + bart.encoder.embed_positions.weight[2 : 2 + len(x)])
        for layer in bart.encoder.layers:
            x = layer.self_attn_layer_norm(x + attention(layer.self_attn, x, x))
            x = layer.final_layer_norm(x + fed(layer, x))
        target = batch.target[i]
        y = bart.shared(torch.cat([torch.tensor([2]), batch.written[i][:-1]]))
        y = bart.decoder.layernorm_embedding(y + bart.decoder.embed_positions.weight[2 : 2 + len(y)])
        see = torch.ones(len(y), len(y)).tril().bool()
        for layer in bart.decoder.layers:
            y = layer.self_attn_layer_norm(y + attention(layer.self_attn, y, y, see))
            y = layer.encoder_attn_layer_norm(y + attention(layer.encoder_attn, y, x))
            y = layer.final_layer_norm(y + fed(layer, y))
        logits = y @ bart.shared.weight.T + model.text.lm.final_logits_bias[0]
        nats = nats + F.cross_entropy(logits, target, ignore_index=-100, reduction="sum")
        count += int((target != -100).sum())
    return nats / count


@pytest.mark.paper(
    "vl-adapter",
    shows="C",
    case="a run of the paper's row (regions with box, picture and order, 10 adapters that all share, norms, a "
    "task a step, AdamW, clip 5, a line up and down) over a small BART equals its steps by hand, 1e-4; Compacter, "
    "Hyperformer, LoRA, prompts and full training under one switch",
)
def test_vl_adapter_s_run_is_its_paper_s_by_hand(bart):
    records, row = bed(), small(bart, optimiser={"eps": 1e-5})
    paper = load_row("vl-adapter")
    assert (paper.text["adapters"]["reduction"], paper.clip, paper.epochs, paper.batch) == (8, 5.0, 20, 500)
    model = make_model(row)
    assert len(model.text.adapters.modules) == 2 * 2 + 2 * 3
    which, words = torch.tensor([[0, 0, 1, 1, 0]]), torch.randn(50, 16)  # step 1: the order within each picture
    x, boxes = torch.randn(1, 5, WIDTH), torch.rand(1, 5, 4)
    with torch.no_grad():
        order = model.head(x, boxes, which, words) - model.head(x, boxes, which)
    assert torch.allclose(order[0], words[[49, 48, 49, 48, 47]], atol=1e-5)

    def learns(name):  # step 2
        return name.startswith("head.") or ".adapters." in name or "layer_norm" in name or "layernorm_embedding" in name

    make = adamw(0.01, lr=1e-3, betas=(0.9, 0.999), eps=1e-5, learns=learns)
    steps = len(same_steps(row, records))
    trainer = same_run(row, records, vl_loss, make, warm_line(2, steps), tolerance=1e-4, clip=5.0)
    assert {trainer.data.batch(ids, 0).task for ids in trainer.data.plan(0)} == {"caption", "vqa"}
    pools = {"caption": list("abcdefgh"), "vqa": list("123")}
    balanced = TaskPrefix(sampling="balanced").steps(pools, 1, 0, 0)
    assert sorted(one[0].isdigit() for one in balanced) == [False] * 3 + [True] * 3
    # step 5: the other parts, all trained by the same row
    learnt = {}
    for preset in ("compacter", "hyperformer", "lora", "prompt", "full"):
        other = small(bart, preset)
        trained = Trained(other, records)
        learnt[preset] = trained
        if preset != "full":
            assert not any("shared" in name or "q_proj.weight" in name for name in trained)
    assert load_row("vl-adapter", "lora").text["adapters"]["rank"] == 128
    assert load_row("vl-adapter", "prompt").text["adapters"]["k"] == 40
    assert load_row("vl-adapter", "full").optimiser["lr"] == 1e-4
    assert any(name.endswith("adapters.net.task.weight") for name in learnt["hyperformer"])
    assert any(name.endswith("adapters.tokens") for name in learnt["prompt"])
    assert any(name.endswith("q_proj.adapters.b") for name in learnt["lora"])
    assert any(name.endswith("adapters.down.left") for name in learnt["compacter"])
    assert any(name.endswith("shared.weight") for name in learnt["full"])


def same_steps(row, records):
    from panoglot.networks import Data

    return Data(records, make_model(row, 0), 0).plan(0)


def Trained(row, records):
    """Names of what a run of the trainer moved."""
    from panoglot.training import Trainer

    trainer = Trainer(row, records, workers=0)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.fit(3, progress=False)
    return {name for name, p in trainer.model.named_parameters() if not torch.equal(p, before[name])}


# ---- Hyperformer and prompts -----------------------------------------------------------------------------------------


def backbone():
    torch.manual_seed(0)
    return torch.nn.ModuleDict({"a": torch.nn.Linear(8, 8), "b": torch.nn.Linear(8, 8)}).double()


@pytest.mark.paper(
    "vl-adapter",
    shows="V",
    case="Hyperformer: one network makes the weights of each task and place, by hand; step 0 is frozen",
)
def test_hyperformer_by_hand():
    model, x = backbone(), torch.randn(3, 8).double()
    plain = model["a"](x), model["b"](x)
    made = ad.attach(model, ["a", "b"], "hyperformer", tasks=["vqa", "caption"], reduction=4, embed=6, hidden=5)
    made.task = "vqa"
    assert all(torch.equal(model[name](x), want) for name, want in zip("ab", plain, strict=True))
    net = made.modules["a"].net
    assert net is made.modules["b"].net
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(std=0.5)
    found = {}
    for task, t in (("vqa", 0), ("caption", 1)):
        made.task = task
        for place, name in enumerate("ab"):
            y = plain[place]
            z = net.mlp(torch.cat([net.task.weight[t], net.place.weight[place]]))
            down = (net.down.weight @ z + net.down.bias).reshape(2, 8)
            up = (net.up.weight @ z + net.up.bias).reshape(8, 2)
            middle = F.gelu(y @ down.T + net.down_bias.weight @ z + net.down_bias.bias)
            want = y + middle @ up.T + net.up_bias.weight @ z + net.up_bias.bias
            found[task, name] = model[name](x)
            assert torch.allclose(found[task, name], want, atol=1e-12)
    assert not torch.allclose(found["vqa", "a"], found["caption", "a"], atol=1e-3)
    made.task = "vqq"
    with pytest.raises(UserError, match=r"'vqq'.*'vqa'"):
        model["a"](x)
    with pytest.raises(UserError, match="needs tasks"):
        ad.attach(backbone(), ["a"], "hyperformer")


@pytest.mark.paper(
    "vl-adapter", shows="V", case="prompts: 40 tokens by embedding, Linear, tanh, Linear before the encoder's text"
)
def test_prompts_stand_before_the_text(bart):
    model = make_model(small(bart, "prompt")).eval()
    lm, prompt = model.text.lm, model.text.adapters.modules[""]
    assert [tuple(p.shape) for p in prompt.parameters()] == [(40, 16), (800, 16), (800,), (16, 800), (16,)]
    ids = torch.tensor([[1, 9, 8, 2], [1, 9, 2, 0]])
    mask, written = ids > 0, torch.tensor([[5, 6, 2], [5, 2, 0]])
    with torch.no_grad():
        first, _, second = prompt.mlp
        tokens = torch.tanh(prompt.tokens @ first.weight.T + first.bias) @ second.weight.T + second.bias
        x = torch.cat([tokens.expand(2, -1, -1), lm.get_input_embeddings()(ids)], 1)
        full = torch.cat([torch.ones(2, 40), mask], 1)
        given = torch.cat([torch.full((2, 1), 2), written[:, :-1]], 1)
        want = lm(inputs_embeds=x, attention_mask=full, decoder_input_ids=given).logits
        assert torch.allclose(model.text(ids, mask, written=written).logits, want, atol=1e-5)
    with pytest.raises(UserError, match="where="):
        ad.attach(backbone(), ["a"], "prompt")
