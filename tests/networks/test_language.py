"""Language models that read pictures: tokens, gates, masks, writing; small real architectures from disk."""

from __future__ import annotations

import copy

import pytest

from panoglot.errors import RowError, UserError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from panoglot.networks import Ema, pad
from panoglot.networks import towers as t
from panoglot.networks.adapters import media_of_tokens

TEXTS = ["قطة على سرير", "एक बिल्ली", "แมวนอน", "一只猫", "猫が寝ている", "paka mweusi", "a red circle"]
VIT = {"kind": "vit", "patch": 8, "width": 16, "layers": 1, "heads": 2}


def tokenizer(folder, bos=True):
    """Write a real tokeniser of bytes: every language, no downloads."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {s: i for i, s in enumerate(["<pad>", "<s>", "</s>", "<unk>", *alphabet])}
    made = Tokenizer(models.BPE(vocab, [], unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    if bos:
        made.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", bos_token="<s>" if bos else None, unk_token="<unk>"
    )
    fast.save_pretrained(folder)
    return len(vocab)


def loud(model):
    """Fresh models of this size hardly look at anything: make their weights large enough to matter."""
    for name, p in model.named_parameters():
        if p.dim() > 1 and "place" not in name:
            p.data.mul_(0.4 / p.data.std())


def build(folder, kind):
    """Write a small model of a real architecture, with its tokeniser."""
    folder.mkdir(parents=True, exist_ok=True)
    n = tokenizer(folder, bos=kind not in ("gpt2", "t5"))
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    more = {"decoder_start_token_id": 2}
    configs = {
        "llama": lambda: transformers.LlamaConfig(
            vocab_size=n, hidden_size=16, intermediate_size=32, num_hidden_layers=4, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=256, **ids),
        "gpt2": lambda: transformers.GPT2Config(vocab_size=n, n_embd=16, n_layer=4, n_head=2, n_positions=256, **ids),
        "opt": lambda: transformers.OPTConfig(
            vocab_size=n, hidden_size=16, word_embed_proj_dim=16, ffn_dim=32, num_hidden_layers=4,
            num_attention_heads=2, max_position_embeddings=256, **ids),
        "t5": lambda: transformers.T5Config(
            vocab_size=n, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, eos_token_id=2, pad_token_id=0,
            decoder_start_token_id=0),
        "bart": lambda: transformers.BartConfig(
            vocab_size=n, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=256,
            forced_eos_token_id=None, **ids, **more),
    }  # fmt: skip
    torch.manual_seed(0)
    auto = transformers.AutoModelForSeq2SeqLM if kind in ("t5", "bart") else transformers.AutoModelForCausalLM
    model = auto.from_config(configs[kind]())
    loud(model)
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    made = {}

    def get(kind):
        if kind not in made:
            made[kind] = build(root / kind, kind)
        return made[kind]

    return get


CAUSAL = ["llama", "gpt2", "opt", "own"]
SEQ2SEQ = ["t5", "bart", "own"]


def causal(disk, kind, **more):
    torch.manual_seed(1)
    if kind == "own":
        lm = t.own_decoder(width=16, layers=4, heads=2, length=64, media=4, **more).eval()
        loud(lm.lm)
        return lm
    return t.causal_lm(disk(kind), length=64, **more).eval()


def seq2seq(disk, kind, **more):
    torch.manual_seed(1)
    if kind == "own":
        lm = t.own_seq2seq(width=16, layers=2, heads=2, length=64, **more).eval()
        loud(lm.lm)
        return lm
    return t.seq2seq_lm(disk(kind), length=64, **more).eval()


def composed(lm, targets=TEXTS, prefix="", start="", picture=True):
    made = [lm.compose(prefix, start, x, picture) for x in targets]
    ids, mask = pad([g for g, _, _ in made], lm.tokens.pad)
    labels = pad([y for _, _, y in made], -100)[0]
    written = pad([w for _, w, _ in made], lm.tokens.pad)[0] if made[0][1] else None
    return ids, mask, written, labels


def media(n=len(TEXTS), pictures=1, tokens=4, width=16, seed=0):
    return torch.randn(n, pictures, tokens, width, generator=torch.Generator().manual_seed(seed))


# ---- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*CAUSAL, "bart", "t5"])
def test_texts_of_every_script_come_back(disk, kind):
    lm = (seq2seq if kind in ("bart", "t5") else causal)(disk, kind)
    for text in TEXTS:
        _, _, labels = lm.compose("prompt", "", text, True)
        learnt = [i for i in labels if i != -100]
        assert learnt[-1] == lm.tokens.end
        assert lm.tokens.decode(learnt) == text
    assert lm.tokens.cut == 0


@pytest.mark.parametrize("kind", [*CAUSAL, "bart", "t5"])
def test_what_is_cut_is_counted_and_does_not_teach_to_end(disk, kind):
    lm = (seq2seq if kind in ("bart", "t5") else causal)(disk, kind)
    _, _, labels = lm.compose("", "", "猫" * 100, True)
    assert lm.tokens.cut == 1
    assert len(labels) <= 64
    learnt = [i for i in labels if i != -100]
    assert lm.tokens.end not in learnt
    if kind == "own":  # between characters
        assert set(lm.tokens.decode(learnt)) == {"猫"}
    if kind not in ("bart", "t5"):
        with pytest.raises(RowError, match="64 tokens"):
            lm.compose("long prompt " * 20, "", "a cat", True)
    else:  # the prompt has its own place, and its cut is counted too
        lm.compose("long prompt " * 20, "", "a cat", True)
        assert lm.tokens.cut == 2


def test_a_sample_needs_room():
    with pytest.raises(UserError, match="holds no text"):
        t.Pieces(None, 2)


# ---- pictures as tokens ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CAUSAL)
def test_pictures_anywhere_in_a_text(disk, kind):
    """A picture of eight tokens in one place is two pictures of four side by side; each row alone gives the same."""
    lm = causal(disk, kind)
    v = media(2, pictures=2)
    one, _, labels = lm.compose("", "", "", True, document=[(1, False), ("what?", False), ("red", True)])
    two, _, spread = lm.compose("", "", "", True, document=[(2, False), ("what?", False), ("red", True)])
    ids, places = torch.tensor([one] * 2), torch.tensor([two] * 2)
    whole = lm(ids, torch.ones_like(ids).bool(), v.flatten(1, 2)[:, None]).logits
    parts = lm(places, torch.ones_like(places).bool(), v).logits
    assert parts.shape[:2] == places.shape
    behind = len(one) - len(lm.tokens.before) - 1  # the text behind the pictures
    assert torch.allclose(whole[:, -behind:], parts[:, -behind:], atol=1e-5)
    assert labels[-behind:] == spread[-behind:]
    late, _, _ = lm.compose("", "", "", True, document=[("this", False), (1, False), ("and", False), (1, False)])
    rows, mask = pad([two, late], lm.tokens.pad)
    both = lm(rows, mask, v).logits
    for i in range(2):
        n = int(mask[i].sum())
        alone = lm(rows[i : i + 1, :n], mask[i : i + 1, :n], v[i : i + 1]).logits[0]
        assert torch.allclose(both[i, :n], alone, atol=1e-5)
    more = torch.tensor([lm.compose("", "", "", True, document=[(3, False), ("x", True)])[0]])
    with pytest.raises(UserError, match="places for 3 pictures, and 2 are there"):
        lm(more, torch.ones_like(more).bool(), v[:1])


@pytest.mark.parametrize("kind", CAUSAL)
def test_tokens_before_the_text(disk, kind):
    lm = causal(disk, kind)
    ids, mask, _, _ = composed(lm)
    v = media()
    out = lm(ids, mask, v)
    first = len(lm.tokens.before)
    assert out.logits.shape[:2] == (len(TEXTS), ids.shape[1] - first)
    assert out.seen.shape == (len(TEXTS), 4, 16)
    # each row alone, without padding, gives the same
    for i in range(len(TEXTS)):
        n = int(mask[i].sum())
        alone = lm(ids[i : i + 1, :n], mask[i : i + 1, :n], v[i : i + 1]).logits[0]
        assert torch.allclose(out.logits[i, : n - first], alone, atol=1e-5)
    # the picture's tokens are what an untouched model would read at their place
    x = torch.cat([lm.embedding()(ids[:1, :first]), v[:1, 0], lm.embedding()(ids[:1, first + 1 :])], 1)
    n = int(mask[0].sum()) + 3
    if kind != "own":
        plain = lm.lm(inputs_embeds=x[:, :n], use_cache=False).logits[0, first + 3 :]
        assert torch.allclose(out.logits[0, : n - first - 3], plain, atol=1e-5)
    # causal: what is written later changes nothing before
    other = ids.clone()
    other[:, -1] = 7
    assert torch.allclose(lm(other, mask, v).logits[:, : ids.shape[1] - first - 1][0], out.logits[0, :-1], atol=1e-5)


@pytest.mark.parametrize("kind", CAUSAL)
def test_a_picture_that_is_not_there_changes_nothing(disk, kind):
    lm = causal(disk, kind)
    ids, mask, _, _ = composed(lm, prefix="say ")
    real = torch.ones(len(TEXTS), 1, 4, dtype=torch.bool)
    real[2] = False
    a = lm(ids, mask, media(seed=0), real).logits
    b = lm(ids, mask, media(seed=1), real).logits
    n = int(mask[2].sum()) - len(lm.tokens.before)
    assert torch.allclose(a[2, 1:n], b[2, 1:n], atol=1e-6)  # the first speaks from the picture's own place
    assert not torch.allclose(a[1], b[1], atol=1e-3)


@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.paper(
    "croc",
    shows="V",
    case="image tokens see each other both ways; an answer never alters what stands before it",
)
def test_the_mixed_mask_lets_the_picture_see_itself_both_ways(disk, kind):
    lm = causal(disk, kind)
    ids, mask, _, labels = composed(lm, prefix="what? ")
    v = media()
    w = v.clone()
    w[:, :, 3] *= -1  # the last token of the picture
    causal_a, causal_b = (lm(ids, mask, x).seen for x in (v, w))
    mixed_a, mixed_b = (lm(ids, mask, x, mixed=labels) for x in (v, w))
    assert torch.allclose(causal_a[:, :3], causal_b[:, :3], atol=1e-6)
    assert not torch.allclose(mixed_a.seen[:, 0], mixed_b.seen[:, 0], atol=1e-4)
    # an answer's token never alters what stands before it
    other = ids.clone()
    at = (labels != -100).long().argmax(1) + 2
    other[torch.arange(len(ids)), at] = 9
    changed = lm(other, mask, v, mixed=labels)
    assert torch.allclose(changed.seen, mixed_a.seen, atol=1e-6)
    for i, k in enumerate((at - len(lm.tokens.before)).tolist()):
        assert torch.allclose(changed.logits[i, :k], mixed_a.logits[i, :k], atol=1e-6)
        assert not torch.allclose(changed.logits[i, k], mixed_a.logits[i, k], atol=1e-4)


def test_the_prefix_ends_where_learning_begins():
    lm = t.own_decoder(width=16, layers=1, heads=2, length=64, media=4).eval()
    labels = torch.tensor([[-100, -100, -100, 5, 6], [-100, -100, -100, -100, -100]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]).bool()
    assert lm._prefix(labels, mask, 4).tolist() == [6, 7]  # nothing learnt: the whole text
    assert lm._prefix(labels, mask, 0).tolist() == [3, 4]


# ---- pictures through gates ------------------------------------------------------------------------------------------

GATES = {"gated": {"first": 2, "every": 1, "compress": 2, "heads": 2}, "split": 2, "media_width": 12}


def open_gates(lm):
    for gate in lm.gates.values():
        gate.look.gate.data.fill_(1.0)
        gate.look.gate_ff.data.fill_(1.0)


@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.paper("cosmo", shows="V", case="gates at 0: the logits of the untouched model, bit for bit")
def test_closed_gates_are_the_untouched_model_bit_for_bit(disk, kind):
    lm = causal(disk, kind, **GATES)
    ids, mask, _, _ = composed(lm)
    looking = lm(ids, mask, media(width=12)).logits
    x = lm.embedding()(ids.clamp(min=0)).masked_fill((ids == t.PICTURE)[..., None], 0.0)
    if kind == "own":
        plain = t.own_decoder(width=16, layers=4, heads=2, length=64, media=4).eval()
        plain.lm.load_state_dict(lm.lm.state_dict())
        place = (mask.long().cumsum(1) - 1).clamp(min=0)
        see = (t.causal_mask(ids.shape[1]) & mask[:, None]) | torch.eye(ids.shape[1], dtype=torch.bool)
        want = plain.lm(x, see, place) @ plain.lm.embed.weight.T
    else:
        plain = transformers.AutoModelForCausalLM.from_pretrained(disk(kind)).eval()
        place = (mask.long().cumsum(1) - 1).clamp(min=0)
        want = plain(inputs_embeds=x, attention_mask=mask.long(), position_ids=place, use_cache=False).logits
    assert torch.equal(looking, want)
    open_gates(lm)
    assert not torch.allclose(lm(ids, mask, media(width=12)).logits, want, atol=1e-3)


@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.paper(
    "cosmo",
    shows="V",
    case="a picture reaches the tokens up to the next picture and nothing else; never the text's vector",
)
def test_what_a_picture_reaches(disk, kind):
    lm = causal(disk, kind, **GATES)
    open_gates(lm)
    chunks = [(0, ["one."]), (1, ["two."]), (2, ["three."])]
    ids, _, labels = lm.compose("", "", "", True, chunks)
    assert [i for i, x in zip(labels, labels, strict=True) if x == lm.tokens.end] == [lm.tokens.end] * 3
    ids = torch.tensor([ids])
    mask, v = torch.ones_like(ids, dtype=torch.bool), media(1, 3, width=12)
    places = (ids[0] == t.PICTURE).nonzero()[:, 0].tolist()
    base = lm(ids, mask, v)
    for j in range(3):
        w = v.clone()
        w[:, j] += 1
        out = lm(ids, mask, w)
        assert torch.equal(out.logits[0, : places[j]], base.logits[0, : places[j]])
        assert not torch.allclose(out.logits[0, places[j] + 1], base.logits[0, places[j] + 1], atol=1e-4)
        assert torch.equal(out.pooled, base.pooled)  # the text's own vector sees no picture
    which = media_of_tokens(ids == t.PICTURE)[0].tolist()
    assert which[: places[0]] == [-1] * places[0]
    assert [which[p] for p in places] == [0, 1, 2]
    # a picture that is not there is looked at by nobody
    real = torch.ones(1, 3, 4, dtype=torch.bool)
    real[0, 1] = False
    a = lm(ids, mask, v, real).logits
    v2 = v.clone()
    v2[0, 1] = 5
    assert torch.equal(a, lm(ids, mask, v2, real).logits)


@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.paper(
    "cosmo",
    shows="V",
    case="changing the upper layers never changes the text's vector; padding is not read",
)
def test_the_text_vector_is_that_of_the_lower_half(disk, kind):
    lm = causal(disk, kind, **GATES)
    open_gates(lm)
    ids, mask, _, _ = composed(lm)
    base = lm(ids, mask, media(width=12)).pooled
    layers = lm._layers()
    for layer in layers[2:]:
        for p in layer.parameters():
            p.data += 0.1
    assert torch.equal(lm(ids, mask, media(width=12, seed=3)).pooled, base)
    assert torch.allclose(lm.text_vector(ids, mask), base, atol=1e-6)
    for i in range(len(ids)):  # padding is not read
        n = int(mask[i].sum())
        assert torch.allclose(lm.text_vector(ids[i : i + 1, :n], mask[i : i + 1, :n])[0], base[i], atol=1e-5)
    for p in layers[0].parameters():
        p.data *= -1
    assert not torch.allclose(lm.text_vector(ids, mask), base, atol=1e-4)


def test_gates_where_they_cannot_be(disk):
    for more, says in (
        ({"gated": {"first": 1}, "split": 2, "media_width": 12}, "would show pictures"),
        ({"gated": {"first": 9}, "media_width": 12}, "are none"),
        ({"gated": {"frist": 1}, "media_width": 12}, "'frist'"),
        ({"split": 9}, "4 layers"),
        ({"media_width": 12}, "projector"),
    ):
        with pytest.raises(UserError, match=says):
            causal(disk, "llama", **more)
    with pytest.raises(UserError, match="gates"):
        causal(disk, "llama").compose("", "", "", True, [(0, ["a"])])
    with pytest.raises(UserError, match="decoder"):
        seq2seq(disk, "bart").compose("", "", "", True, [(0, ["a"])])


@pytest.mark.parametrize("kind", ["llama", "own"])
def test_a_copy_looks_through_its_own_gates(disk, kind):
    lm = causal(disk, kind, **GATES)
    ids, mask, _, _ = composed(lm)
    lm(ids, mask, media(width=12)).logits.sum().backward()
    teacher = Ema(lm).teacher if kind == "own" else copy.deepcopy(lm)
    before = teacher(ids, mask, media(width=12)).logits
    open_gates(lm)
    lm(ids, mask, media(width=12, seed=2))
    assert torch.equal(teacher(ids, mask, media(width=12)).logits, before)
    open_gates(teacher)
    assert not torch.allclose(teacher(ids, mask, media(width=12)).logits, before, atol=1e-3)


# ---- encoder-decoders ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SEQ2SEQ)
def test_an_encoder_reads_pictures(disk, kind):
    lm = seq2seq(disk, kind)
    ids, mask, written, labels = composed(lm, prefix="caption:")
    v = media()
    out = lm(ids, mask, v, written=written).logits
    assert out.shape[:2] == labels.shape
    assert not torch.allclose(out, lm(ids, mask, media(seed=1), written=written).logits, atol=1e-3)
    for i in range(len(TEXTS)):
        n, m = int(mask[i].sum()), int((labels[i] != -100).nonzero().max()) + 1
        alone = lm(ids[i : i + 1, :n], mask[i : i + 1, :n], v[i : i + 1], written=written[i : i + 1, :m]).logits[0]
        assert (out[i, :m] - alone).abs().max() < 1e-4
    # prompts of different lengths: what stands beside a row changes nothing in it
    given, there = pad([lm.compose(x, "", x, True)[0] for x in TEXTS], lm.tokens.pad)
    out = lm(given, there, v, written=written).logits
    for i in range(len(TEXTS)):
        n, m = int(there[i].sum()), int((labels[i] != -100).nonzero().max()) + 1
        alone = lm(given[i : i + 1, :n], there[i : i + 1, :n], v[i : i + 1], written=written[i : i + 1]).logits[0]
        assert torch.allclose(out[i, :m], alone[:m], atol=1e-4)
    real = torch.ones(len(TEXTS), 1, 4, dtype=torch.bool)
    real[0] = False
    a, b = (lm(ids, mask, media(seed=s), real, written=written).logits[0] for s in (0, 1))
    assert torch.allclose(a, b, atol=1e-6)
    with pytest.raises(UserError, match="write"):
        lm(ids, mask, v)


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_logits_are_those_of_the_library(disk, kind):
    lm = seq2seq(disk, kind)
    ids, mask, written, labels = composed(lm, prefix="caption:", picture=False)
    plain = transformers.AutoModelForSeq2SeqLM.from_pretrained(disk(kind)).eval()
    # the library shifts labels itself: padding and what is given count nothing there either
    whole = written.masked_fill(pad([[1] * int((r != -100).nonzero().max() + 1) for r in labels], 0)[0] == 0, -100)
    want = plain(input_ids=ids, attention_mask=mask.long(), labels=whole)
    got = lm(ids, mask, written=written).logits
    real = whole != -100
    assert torch.allclose(got[real], want.logits[real], atol=1e-5)


# ---- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt", "own", "bart", "t5", "own2", "gated"])
def test_it_learns_a_caption_and_writes_it(disk, kind):
    """Greedy writing is what teacher-forced argmax says, and a model that learnt two captions tells them apart."""
    torch.manual_seed(0)
    if kind == "own2":
        lm = seq2seq(disk, "own")
    elif kind == "gated":
        lm = t.causal_lm(
            disk("llama"),
            length=64,
            pretrained=False,
            gated={"first": 0, "every": 1, "compress": 1, "heads": 2},
            media_width=16,
        )
        open_gates(lm)
    elif kind == "own":
        lm = causal(disk, "own")
    else:
        lm = (t.seq2seq_lm if kind in ("bart", "t5") else t.causal_lm)(disk(kind), length=64, pretrained=False)
    lm.train()
    texts = ["猫", "кот"]
    made = [lm.compose("say", "", x, True) for x in texts]
    ids, mask = pad([g for g, _, _ in made], lm.tokens.pad)
    labels = pad([y for _, _, y in made], -100)[0]
    written = pad([w for _, w, _ in made], lm.tokens.pad)[0] if made[0][1] else None
    v = media(2) * 2
    steps = torch.optim.Adam(lm.parameters(), 2e-2)
    from panoglot.networks.losses import lm as loss

    for _ in range(200):
        out = lm(ids, mask, v, written=written).logits
        term = loss(out, labels[:, -out.shape[1] :], shift=lm.shift)
        steps.zero_grad()
        term.value.backward()
        steps.step()
        if term.value.item() < 0.05:
            break
    assert term.value.item() < 0.5
    lm.eval()
    given, start, _ = lm.compose("say ", "", "", True) if lm.shift else lm.compose("say", "", "", True)
    prompt = torch.tensor([given, given])
    ones = torch.ones_like(prompt, dtype=torch.bool)
    for beams in (1, 2) if not lm.own else (1,):
        new = lm.generate(prompt, ones, v, None, start, 12, beams)
        assert [lm.tokens.decode(x) for x in new] == texts
    if lm.own:
        with pytest.raises(UserError, match="beams"):
            lm.generate(prompt, ones, v, None, start, 12, 2)


@pytest.mark.parametrize("make", [t.causal_lm, t.seq2seq_lm])
@pytest.mark.parametrize("pretrained", [True, False])
def test_a_name_that_cannot_be_loaded_is_one_line(make, pretrained, tmp_path):
    with pytest.raises(UserError, match=r"^the tower hf:\S+ cannot be loaded: [^\n]+$"):
        make(str(tmp_path / "nowhere"), pretrained=pretrained)
