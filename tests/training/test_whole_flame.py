"""FLAME as a whole: the store that a language model fills, a run of the trainer, and use, against its steps by hand."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
F = torch.nn.functional

import panoglot
from panoglot.errors import UserError
from panoglot.networks import load_row
from panoglot.networks.encoder import TrainedEncoder
from panoglot.providers import load_model
from panoglot.providers.facets import PROMPTS, facet_mask, normalised
from panoglot.table import open_dataset
from panoglot.training import read_records
from tests.curation.conftest import Maker, jpeg, scene
from tests.networks.test_language import loud, tokenizer
from tests.training.plain_run import adamw, same_run, warm_cosine

LONG = 'A red boat on "blue" water. Behind it stands a small house. It is calm. Is it evening?'


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    """Mistral's architecture with three layers, and a tokeniser of bytes."""
    folder = tmp_path_factory.mktemp("mistral")
    size = tokenizer(folder)
    torch.manual_seed(0)
    config = transformers.MistralConfig(
        vocab_size=size, hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=2048, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        sliding_window=None,
    )  # fmt: skip
    model = transformers.MistralForCausalLM(config)
    loud(model)
    model.save_pretrained(folder)
    return str(folder)


def facets_by_hand(folder, text, head, count, reset=False):
    """Unit hidden states of the last layer but one at the closing quotes, each facet in a pass of its own."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    kit = transformers.AutoTokenizer.from_pretrained(folder)
    ids = lambda said: kit(said, add_special_tokens=False)["input_ids"]  # noqa: E731
    said = {"a dog": "a dog.", LONG: LONG.replace('"', "'").removesuffix("?") + "."}.get(text, text)
    prefix = [1, *ids(head), *ids(said), *ids('" . After thinking step by step ,')]
    out, begin = [], len(prefix)
    for facet in PROMPTS["facets"][:count]:
        own = ids(facet)
        assert facet.endswith('means in just one word:"')
        place = [
            *range(len(prefix)),
            *range(len(prefix) if reset else begin, (len(prefix) if reset else begin) + len(own)),
        ]
        with torch.no_grad():
            states = model(
                torch.tensor([prefix + own]), position_ids=torch.tensor([place]), output_hidden_states=True
            ).hidden_states
        assert len(states) == 4
        out.append(F.normalize(states[2][0, -1], dim=0).numpy())
        begin += len(own)
    return np.stack(out)


def corpus(path):
    """Twelve pictures with a raw, a short and a long caption each."""
    maker, ids = Maker(path), []
    for n in range(12):
        image = maker.image(jpeg(scene(n, 64, 64)), 64, 64)
        maker.caption(image, f"holiday {n}")
        maker.caption(image, f"boat {n}", kind="short", recipe="describe", model="m")
        maker.caption(image, f"A red boat. House {n} stands behind it.", kind="dense", recipe="describe", model="m")
        ids.append(image)
    return maker.dataset, ids


def flame_loss(model, batch):
    """Steps 5 and 6 by loops over pictures and texts."""
    _, tokens = model.image(batch.image[:, 0])
    first, _, second, norm = model.head.mlp
    x = []
    for one in tokens:
        each = [F.layer_norm(second(F.gelu(first(token))), (16,), norm.weight, norm.bias) for token in one]
        mean = torch.stack(each).mean(0)
        x.append(mean / mean.norm())
    scale, bias = model.parts["contrast"].scale.log.exp(), model.parts["contrast"].scale.bias
    texts = [(i, batch.text_vec[i, k]) for i in range(len(batch)) for k in range(batch.text_vec.shape[1])]
    assert len(texts) == 6 * len(batch)
    total = 0.0
    for i in range(len(batch)):
        for owner, text in texts:
            label = 1.0 if owner == i else -1.0
            total = total + F.softplus(-label * (scale * (x[i] @ text) + bias))
    return total / len(texts)


@pytest.mark.paper(
    "flame",
    shows="C",
    case="a language model fills the store (1 + 3 + 7 facets, last layer but one, each as in a pass of its own); a run "
    "of the paper's row (six of eleven, an MLP a patch, sigmoid, AdamW, warm-up, cosine) equals its steps by loops, "
    "2e-5; texts of queries by one prompt, long ones by the mean of seven",
)
def test_flame_fills_its_store_trains_and_encodes_as_its_paper(llm, tmp_path):
    data, _ = corpus(tmp_path / "x.pano")
    paper = load_row("flame")
    assert paper.text == {
        "kind": "stored", "width": 5120, "encoder": "facets:mistralai/Mistral-Nemo-Instruct-2407"
    }  # fmt: skip
    small = {"image": {"patch": 16, "width": 32, "layers": 1, "heads": 2}, "size": 32}
    settings = [f"image.{key}={value}" for key, value in small["image"].items()] + ["size=32", "schedule.warmup=2"]
    done = panoglot.train(
        "flame", data, output=tmp_path / "run", preset="paper", text_tower=f"facets:{llm}", epochs=2, batch=4,
        set=settings, held_out=0, quiet=True, encode=False, augment=False,
    )  # fmt: skip
    assert done.row.dim == 16

    # steps 1 to 4
    (name,) = open_dataset(data.path).vector_names()
    stored = {}
    for row in data.vectors(name).rows(["id", "vector"]):
        stored.setdefault(row["id"], []).append(np.asarray(row["vector"], np.float32))
    by_kind = {}
    for row in data.captions.rows(["caption_id", "text", "kind"]):
        by_kind.setdefault(row["kind"], []).append(row)
    for kind, count, head in (
        ("alt", 1, 'Image description : "'),
        ("short", 3, 'Detailed Image description : "'),
        ("dense", 7, 'Detailed Image description : "'),
    ):
        row = by_kind[kind][0]
        text = row["text"] if kind == "dense" else row["text"] + "."
        want = facets_by_hand(llm, text, head, count)
        got = np.stack(stored[row["caption_id"]])
        assert got.shape == (count, 16)
        assert all(np.abs(got - one).max(1).min() < 2e-3 for one in want)  # half precision

    # steps 4 to 7
    reading = read_records(data)
    reading.add_vectors(data, text=name, many=True)
    assert {len(r.vectors["text"]) for r in reading.records} == {11}
    row = load_row(
        "flame", image=small["image"], text={"width": 16}, dim=16, size=32, batch=4, epochs=2, schedule={"warmup": 2}
    )
    assert (row.optimiser, row.sampler) == (paper.optimiser, {"kind": "vectors", "k": 6})
    make = adamw(0.5, lr=5e-4, betas=(0.9, 0.95), eps=1e-8)
    before = [r.vectors["text"].tobytes() for r in reading.records]
    same_run(row, reading.records, flame_loss, make, warm_cosine(2, 6))
    assert [r.vectors["text"].tobytes() for r in reading.records] == before

    # step 8
    texts = ["a dog", LONG]
    single = done.encoder.encode_texts(texts)
    want = [facets_by_hand(llm, text, 'Image description : "', 1)[0] for text in texts]
    assert np.allclose(single, want, atol=2e-3)
    mean = load_model(f"pano:{done.run}?infer=mean", "encoder").encode_texts(texts)
    for vector, text in zip(mean, texts, strict=True):
        seven = facets_by_hand(llm, text, 'Detailed Image description : "', 7).mean(0)
        assert np.allclose(vector, seven / np.linalg.norm(seven), atol=2e-3)
    assert done.encoder.fingerprint != load_model(f"pano:{done.run}?infer=mean", "encoder").fingerprint


@pytest.mark.paper("flame", shows="V", case="facets see the caption and themselves: the mask of 3 + 2 + 2 tokens")
def test_facets_see_the_caption_and_themselves():
    lower = np.tri(5, 7, dtype=int).tolist()
    assert facet_mask(3, [2, 2]).int().tolist() == [*lower, [1, 1, 1, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 1]]


@pytest.mark.paper("flame", shows="V", case="with positions reset each facet is that of a prompt of its own, 1e-5")
def test_a_facet_is_that_of_a_prompt_of_its_own(llm):
    encoder = load_model(f"facets:{llm}?positions=reset", "encoder")
    (found,) = encoder.encode_facets([LONG], ["dense"])
    assert np.allclose(found, facets_by_hand(llm, LONG, PROMPTS["detailed"], 7, reset=True), atol=1e-5)
    run = load_model(f"facets:{llm}", "encoder")
    assert run.fingerprint != encoder.fingerprint
    (on,) = run.encode_facets([LONG], ["dense"])
    assert np.allclose(on[0], found[0], atol=1e-6)
    assert not np.allclose(on[3], found[3], atol=1e-2)


@pytest.mark.paper("flame", shows="V", case="the words of one facet change no other; later ones may be left away")
def test_facets_do_not_see_each_other(llm, tmp_path):
    asked = [*PROMPTS["facets"]]
    asked[2] = asked[2].replace("characteristic", "haracteristicc")
    (tmp_path / "mine.yaml").write_text(f"facets: {asked!r}", encoding="utf-8")
    usual, mine = (load_model(f"facets:{llm}{more}", "encoder") for more in ("", f"?prompts={tmp_path}/mine.yaml"))
    (a,), (b,) = (encoder.encode_facets(["a dog"], ["dense"]) for encoder in (usual, mine))
    same = [np.array_equal(x, y) for x, y in zip(a, b, strict=True)]
    assert same == [True, True, False, True, True, True, True]
    (short,) = usual.encode_facets(["a dog"], ["short"])
    assert np.allclose(short, a[:3], atol=1e-6)
    mixed = usual.encode_facets(["a dog", "", LONG], ["dense", "short", "alt"])
    assert [len(one) for one in mixed] == [7, 1, 1]
    assert np.allclose(mixed[0], a, atol=1e-6)  # whatever stands beside it
    assert np.isnan(mixed[1]).all()
    assert usual.fingerprint != mine.fingerprint


def test_long_captions_are_cut_and_prompts_are_not(llm):
    encoder = load_model(f"facets:{llm}?max_tokens=900", "encoder")
    words = "一只红色的船。" * 200
    (long,) = encoder.encode_facets([words], ["dense"])
    assert encoder.cut == 1
    (longer,) = encoder.encode_facets([words * 2], ["dense"])
    assert np.array_equal(long, longer)
    whole = load_model(f"facets:{llm}", "encoder")
    whole.encode_facets(["قارب أحمر على الماء. " * 12], ["dense"])
    assert whole.cut == 0  # far beyond the 77 tokens of a text tower


@pytest.mark.parametrize(
    ("text", "want"),
    [("a dog", "a dog."), ("a dog!", "a dog!."), ('say "hi"', "say 'hi'"), ("एक कुत्ता।", "एक कुत्ता।"), ("why?", "why.")],
)
def test_texts_are_normalised(text, want):
    assert normalised(text) == want


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("?infer=median", "infer=median .* must be single or mean"),
        ("?positions=none", "must be run or reset"),
        ("?layer=-9", "counts from the end: -1 to -3"),
        ("?max_tokens=100", "too few for the prompts"),
        ("?prompts=nowhere.yaml", "prompts=nowhere.yaml cannot be read"),
    ],
)
def test_what_cannot_be_is_refused(llm, options, line):
    with pytest.raises(UserError, match=line):
        load_model(f"facets:{llm}{options}", "encoder")


def test_infer_is_of_facets(tmp_path):
    from panoglot.networks import make_model

    row = load_row("clip", "small", image={"kind": "vector", "width": 3, "encoder": "a:b"})
    encoder = TrainedEncoder([make_model(row)], "x", "x-1", infer="mean")
    assert encoder.base("text") is None
    with pytest.raises(UserError, match=r"infer=most of .* must be single or mean"):
        load_model("pano:nowhere?infer=most", "encoder")
