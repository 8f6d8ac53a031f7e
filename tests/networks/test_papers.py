"""The preset `paper` of every row against its paper: settings typed anew, and sizes of what needs no download."""

from importlib.util import find_spec

import pytest

torch = pytest.importorskip("torch")

from panoglot.networks import load_row, make_model

VIT = {"image.kind": "vit", "image.width": 768, "image.layers": 12, "image.heads": 12}
CLIP_TEXT = {"text.length": 77, "text.width": 512, "text.layers": 12, "text.heads": 8, "text.pool": "end"}
CLIP_TEXT |= {"text.tokenizer": "clip", "dim": 512, "size": 224}
OPEN_CLIP = {"optimiser.kind": "adamw", "optimiser.betas": [0.9, 0.98], "optimiser.eps": 1e-6, "optimiser.lr": 5e-4}

#: Row -> settings of its paper.
PAPERS = {
    "align": {
        "dim": 640, "size": 289, "views.of": 346, "views.flip": 0.5, "losses.contrast.reduce": "sum",
        "losses.contrast.smoothing": 0.1, "losses.contrast.scale.start": 1.0, "optimiser.kind": "lamb",
        "optimiser.lr": 1e-3, "optimiser.weight_decay": 1e-5, "schedule.kind": "linear", "schedule.warmup": 10_000,
        "batch": 16_384, "epochs": 12, "image.name": "tf_efficientnet_l2", "text.name": "bert-large-uncased",
        "text.pool": "cls",
    },
    "clip": {
        **VIT, **CLIP_TEXT, **OPEN_CLIP, "image.patch": 32, "optimiser.weight_decay": 0.2, "schedule.warmup": 2000,
        "batch": 32_768, "epochs": 32, "sampler.kind": "one",
    },
    "colbert-xm": {
        "text.name": "facebook/xmod-base", "text.length": 256, "losses.colbert.dim": 128, "sampler.negatives": 1,
        "optimiser.lr": 5e-6, "optimiser.eps": 1e-6, "schedule.kind": "linear", "schedule.warmup": 20_000,
        "batch": 128, "epochs": 51, "image": None,
    },
    "collm": {
        "readers.composer.kind": "slot", "losses.made.alpha": 0.5, "losses.made.p": 0.75, "text.adapters.rank": 64,
        "image.adapters.rank": 64, "text.pool": "last", "views.global": 2, "sampler.kind": "one",
    },
    "compress-align": {
        "image.kind": "blip", "text.kind": "blip", "image.name": "Salesforce/blip-itm-base-coco", "head.kind": "own",
        "text.name": "Salesforce/blip-itm-base-coco", "sampler.kind": "ranked", "losses.rank.backbone": "tower",
        "losses.rank.weight": 1.0, "stop.patience": 2, "optimiser.lr": 1e-5, "dim": 256, "size": 384,
    },
    "cosmo": {
        "image.name": "openai/clip-vit-large-patch14", "text.name": "facebook/opt-iml-1.3b", "text.split": 12,
        "text.gated": {"first": 12, "every": 2, "compress": 2, "heads": 8}, "head.latents": 64, "head.layers": 6,
        "head.heads": 8, "dim": 512, "losses.contrast.scale.start": 1.2214, "losses.contrast.weight": 1.0,
        "optimiser.lr": 5e-4, "schedule.warmup": 500, "epochs": 5, "batch": 96, "sampler.max_images": 3,
        "sampler.max_tokens": 128, "sampler.min_similarity": 0.24, "sampler.frames": 3,
        "sampler.min_bytes": 10_000, "sampler.assign": "hf:openai/clip-vit-large-patch14",
        "losses.contrast.gather": "device", "freeze": ({"freeze": ["image.*", "text.lm.*"]},),
        "sampler.weights": {"pair": 2, "pair_video": 1, "interleaved": 2, "interleaved_video": 2},
    },
    "croc": {
        "image.name": "openai/clip-vit-large-patch14-336", "image.layer": -2, "size": 336, "head.normalise": True,
        "losses.recon.weight": 10.0, "losses.recon.ratio": 0.75, "losses.recon.pool": 2048, "losses.recon.beta": 0.01,
        "losses.recon.assign": "hungarian", "schedule.warmup": 0.03, "optimiser.lr": 2e-5,
    },
    "dc-clip": {
        "losses.map.weight": 1.0, "losses.map.teacher": "hf:BAAI/AltCLIP", "losses.map.width": 1024, "dim": 768,
        "losses.tokens.teacher": "hf:BAAI/AltCLIP", "losses.tokens.width": 768, "text.tokenizer": "xlm-roberta-base",
        "losses.contrast.weight": 1.0, "sampler.kind": "each",
    },
    "dreamlip": {
        **VIT, **CLIP_TEXT, **OPEN_CLIP, "image.patch": 16, "sampler.kind": "sentences", "sampler.k": 6,
        "losses.contrast.negatives": "per_slot", "losses.contrast.weight": 1.0, "losses.group_patches.weight": 1.0,
        "epochs": 32, "schedule.kind": "cosine", "schedule.warmup": 2000, "batch": 1536,
    },
    "florenz": {
        "sampler.cells": {"caption": ["en", "de"], "translation": ["de", "fr", "es", "ru", "zh"]},
        "losses.lm.weight": 1.0, "image.kind": "florence", "text.kind": "florence", "head.kind": "none",
        "image.name": "florence-community/Florence-2-base", "text.name": "florence-community/Florence-2-base",
        "text.tokenizer": "google/gemma-2-2b", "vocabulary": ("<en>", "<de>", "<fr>", "<es>", "<ru>", "<zh>"),
        "size": 768,
    },
    "grain": {
        **VIT, **CLIP_TEXT, "image.patch": 16, "head.queries": 5, "head.width": 512, "head.layers": 6, "head.heads": 8,
        "head.drop": 0.1, "sampler.r": 5, "sampler.p": 0.5, "losses.contrast.weight": 1.0, "losses.box.weight": 1.0,
        "losses.regions.weight": 1.0, "optimiser.lr": 1e-3, "optimiser.betas": [0.9, 0.98], "optimiser.eps": 1e-8,
        "optimiser.weight_decay": 0.1, "schedule.warmup_epochs": 1, "schedule.start": 0.001, "schedule.minimum": 0.01,
        "epochs": 35, "batch": 2048,
    },
    "isa": {
        "readers.composer.tokens": 6, "losses.sentence.temperature": 0.01, "losses.sentence.local": 1.0, "epochs": 20,
        "optimiser.lr": 1e-4, "batch": 256, "sampler.kind": "pictures", "towers.light.name": "efficientnet_b2",
        "head.kind": "own", "freeze": ({"freeze": "*"}, {"train": ["towers.light.*", "readers.composer.*"]}),
    },
    "merit-coral": {
        "image.name": "Qwen/Qwen2.5-VL-3B-Instruct", "text.name": "Qwen/Qwen2.5-VL-3B-Instruct",
        "readers.composer.kind": "interleaved", "losses.interleaved.visual": 0.1, "losses.interleaved.textual": 0.1,
        "losses.interleaved.scale.start": 50.0, "sampler.kind": "products",
    },
    "m2-encoder": {
        "image.kind": "multiway", "text.kind": "multiway", "image.drop_path": 0.1, "text.drop_path": 0.1,
        "image.layers": 9, "text.layers": 9, "shared": 3, "dim": 768, "image.width": 768, "image.heads": 12,
        "text.width": 768, "text.heads": 12, "text.length": 52, "text.vocabulary": 115_244, "losses.contrast.taps": 2,
        "size": 224, "image.patch": 16, "views.scale": [0.8, 1.0], "views.flip": 0.5, "views.augment.count": 2,
        "views.augment.strength": 7, "languages.weights": {"zh": 1, "en": 1},
    },
    "rs-m-clip": {
        "image.patch": 32, "image.width": 768, "image.layers": 12, "text.name": "xlm-roberta-base", "text.pool": "mean",
        "dim": 512, "losses.contrast.weight": 1.0, "losses.views.weight": 1.0, "losses.views.prototypes": 65_536,
        "sampler.kind": "translation", "views.global": 2, "views.local_size": 96, "views.flip": 0.5, "views.flop": 0.5,
        "views.turn": True, "losses.views.frozen": 1, "text.project": 512,
        "start": "open_clip:laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k",
    },
    "sprc": {
        "readers.composer.queries": 32, "readers.composer.width": 768, "readers.composer.layers": 12,
        "readers.composer.heads": 12, "readers.composer.every": 2, "text.length": 32, "dim": 256, "size": 224,
        "losses.prompted.text": 0.4, "losses.prompted.align": 0.4, "optimiser.kind": "adamw", "optimiser.lr": 1e-5,
        "optimiser.betas": [0.9, 0.98], "optimiser.eps": 1e-7, "optimiser.weight_decay": 0.05,
        "schedule.kind": "one_cycle", "schedule.rise": 0.02, "schedule.of": 1.6, "epochs": 50, "batch": 128,
        "views.pad": 1.25, "stop.patience": 50, "freeze": ({"freeze": ["image.*", "head.*"]},),
    },
    "sycoca": {
        **VIT, **CLIP_TEXT, "losses.contrast.weight": 1.0, "losses.caption.weight": 2.0, "losses.caption.ratio": 0.5,
        "losses.inpaint.weight": 1.0, "losses.inpaint.ratio": 0.5, "losses.caption.given": "text",
        "sampler.kind": "one",
    },
    "tldr": {
        "losses.vq.codes": 1024, "losses.vq.beta": 0.25, "text.length": 32, "optimiser.lr": 3e-4,
        "image.name": "deit_base_patch16_224", "schedule.start": 0.00333,
        "optimiser.weight_decay": 0.05, "schedule.rate": 0.9, "schedule.every_epochs": 1, "schedule.warmup": 3000,
        "epochs": 20, "views.scale": [0.2, 1.0], "size": 224,
    },
    "veclip": {**VIT, **CLIP_TEXT, "image.patch": 16, "sampler.kind": "coin", "sampler.p": 0.5},
    "vgs-char-gru": {
        "image.width": 2048, "text.embed": 20, "text.hidden": 1024, "text.attention": 128, "text.alphabet": "ascii",
        "dim": 2048, "sampler.kind": "each", "losses.contrast.form": "hinge", "losses.contrast.margin": 0.2,
        "optimiser.kind": "adam", "optimiser.lr": 1e-4, "schedule.kind": "cyclic_cosine", "schedule.period_epochs": 4,
        "schedule.minimum": 0.01, "snapshots": True, "epochs": 32, "batch": 32,
    },
    "vl-adapter": {
        "text.name": "facebook/bart-base", "text.length": 20, "text.adapters.reduction": 8,
        "text.adapters.share": "single",
        "image.width": 2048, "optimiser.lr": 1e-3, "schedule.kind": "linear", "schedule.warmup": 0.1, "clip": 5.0,
        "epochs": 20, "batch": 500,
    },
}  # fmt: skip

#: What the cards of the papers do not confirm, as far as the table above names it: a row lists it.
UNSURE = {
    "align": {"image", "text", "views", "optimiser", "schedule", "epochs", "batch", "losses.contrast"},
    "clip": {"batch", "epochs", "optimiser.lr", "schedule.warmup"},
    "dreamlip": {"losses.group_patches.delta"},
    "compress-align": {"image", "text", "losses.rank", "freeze", "stop", "optimiser", "schedule", "epochs", "batch"},
    "collm": {"image", "text", "optimiser", "schedule", "epochs", "batch", "losses.made.most"},
    "isa": {"readers.composer", "losses.sentence.temperature", "losses.sentence.local", "optimiser", "batch", "epochs"},
    "sprc": {"losses.prompted.text", "losses.prompted.align", "image"},
    "merit-coral": {"losses.interleaved", "readers.composer", "optimiser", "schedule", "epochs", "batch", "freeze"},
    "m2-encoder": {"text.tokenizer", "losses", "optimiser", "schedule", "epochs", "batch", "accumulate"},
    "sycoca": {"image", "text", "losses", "optimiser", "schedule", "epochs", "batch"},
    "rs-m-clip": {"losses.views", "optimiser", "schedule", "epochs", "batch", "views"},
    "tldr": {"batch", "text"},
    "florenz": {"image", "text", "optimiser", "schedule", "epochs", "batch", "sampler.cells", "size", "vocabulary"},
    "dc-clip": {"image", "text", "losses.map", "losses.tokens", "optimiser", "schedule", "epochs", "batch"},
    "veclip": {"sampler.p"},
}

CASE = "the preset against the paper's settings, typed anew; what is not confirmed is listed as unverified"
#: Those whose row is the paper's; the others have pieces that stand in, named as unverified.
WHOLE = ("clip", "colbert-xm", "cosmo", "croc", "dreamlip", "grain", "tldr", "veclip", "vgs-char-gru",
         "vl-adapter", "align", "sycoca", "dc-clip", "rs-m-clip", "compress-align", "sprc", "isa", "merit-coral",
         "m2-encoder", "florenz")  # fmt: skip


def fresh(kind, config, words, **more):
    """What stands for a tower's `load_pretrained`: a model of an architecture, and a tokeniser of so many words."""
    tokens = type("Words", (), {"__len__": lambda self: words, **more})()
    return lambda asked, name: tokens if "Tokenizer" in asked.__name__ else kind(config)


def marked(name):
    return pytest.param(name, marks=[pytest.mark.paper(name, shows="P" if name in WHOLE else "V", case=CASE)])


def setting(row, path):
    here = row.plain()
    for key in path.split("."):
        here = here[key]
    return here


@pytest.mark.parametrize("name", [marked(name) for name in PAPERS])
def test_a_preset_is_its_paper_s(name):
    row = load_row(name)
    found = {path: setting(row, path) for path in PAPERS[name]}
    assert found == PAPERS[name]
    assert UNSURE.get(name, set()) <= set(row.unverified)


@pytest.mark.paper("croc", shows="V", case="stages: projector alone, then all but the tower, mixed mask in the second")
def test_croc_s_stages():
    stages = dict(load_row("croc").each_stage())
    assert [list(s.freeze) for s in stages.values()] == [
        [{"freeze": "*"}, {"train": "head.*"}], [{"freeze": "image.*"}], [{"freeze": "image.*"}]
    ]  # fmt: skip
    assert [s.losses["lm"]["attention"] for s in stages.values()] == ["causal", "mixed", "causal"]
    assert [list(s.losses) for s in stages.values()] == [["lm"], ["lm", "recon"], ["lm"]]
    assert [s.optimiser["lr"] for s in stages.values()] == [1e-3, 2e-5, 2e-5]


@pytest.mark.paper(
    "dc-clip", shows="P", case="maps of pictures alone, tokens of zh and en texts alone, then contrast at a tenth"
)
def test_dc_clip_s_stages():
    stages = dict(load_row("dc-clip").each_stage())
    assert [list(s.losses) for s in stages.values()] == [["map"], ["tokens"], ["contrast"]]
    assert [[one["has"] for one in s.streams.values()] for s in stages.values()] == [[["picture"]], [["text"]], []]
    assert [s.optimiser["lr"] for s in stages.values()] == [1e-3, 1e-3, 1e-4]
    assert stages["texts"].languages == stages["align"].languages == {"weights": {"zh": 1, "en": 1}}


@pytest.mark.parametrize(
    ("name", "towers"),
    [
        pytest.param(
            "clip", 151_277_313,
            marks=pytest.mark.paper("clip", shows="P", case="ViT-B/32 at full size: 151,277,313 parameters"),
        ),
        ("veclip", 149_620_737),
    ],
)  # fmt: skip
def test_full_size_without_a_download(name, towers):
    """The release's number, and the one learned token for hidden patches that it does not have."""
    with torch.device("meta"):
        model = make_model(load_row(name))
    assert sum(p.numel() for p in model.parameters()) == towers + 768


@pytest.mark.paper("dreamlip", shows="P", case="at full size: CLIP's towers and a scale of the grouping loss")
def test_dreamlip_at_full_size():
    with torch.device("meta"):
        model = make_model(load_row("dreamlip"))
    assert sum(p.numel() for p in model.parameters()) == 149_620_737 + 768 + 1


@pytest.mark.paper(
    "sycoca", shows="P", case="at full size: CLIP's towers, a text decoder of six layers over T, a decoder of patches"
)
def test_sycoca_at_full_size():
    with torch.device("meta"):
        model = make_model(load_row("sycoca"))
    layer = 12 * 512**2 + 13 * 512 + (2 * 512**2 + 2 * 512) + (2 * 768 * 512 + 2 * 512) + 2 * 512
    caption = 49_408 * 512 + 77 * 512 + 6 * layer + 2 * 512
    assert sum(p.numel() for p in model.parts["caption"].parameters()) == caption
    assert isinstance(model.parts["caption"].bring, torch.nn.Identity)
    paint = model.parts["inpaint"].decoder
    assert (len(paint.blocks), paint.paint.out_features) == (2, 3 * 16**2)
    towers = [model.image, model.text, model.head, model.text_head]
    assert sum(p.numel() for tower in towers for p in tower.parameters()) == 149_620_737 + 768 - 1  # without a scale


@pytest.mark.paper(
    "grain", shows="P", case="at full size: six layers of width 512 over 5 + 1 queries, boxes by three layers"
)
def test_grain_at_full_size():
    with torch.device("meta"):
        model = make_model(load_row("grain"))
    layer = 12 * 512**2 + 13 * 512 + 4 * 512**2 + 6 * 512  # self-attention, feed-forward, cross-attention, norms
    box = 2 * (512**2 + 512) + 4 * 512 + 4
    want = 768 * 512 + 2 * 512 + 6 * 512 + 6 * layer + 2 * 512 + box + 2 * 512 * 512
    assert sum(p.numel() for p in model.head.parameters()) == want
    assert model.text.tokens.size == 49_408


@pytest.mark.paper(
    "m2-encoder",
    shows="P",
    case="at full size, three of them: 9 + 3 layers of width 768, 21 + 3 of 1,024 and of 4,096 (9.6 billion numbers), "
    "12, 16 and 32 heads, 115,244 ids, 52 tokens, 197 places, two taps with a scale each",
)
@pytest.mark.parametrize(
    ("preset", "layers", "width", "heads", "dim"),
    [("paper", 9, 768, 12, 768), ("1b", 21, 1024, 16, 1024), ("10b", 21, 4096, 32, 1024)],
)
def test_m2_encoder_at_full_size(preset, layers, width, heads, dim):
    with torch.device("meta"):
        model = make_model(load_row("m2-encoder", preset))
    layer = 12 * width**2 + 9 * width + 3 * 2 * width + 2 * 4 * width  # maps, their biases, norms
    sides = 2 * layers * layer + 2 * 2 * width + (115_244 + 52 + 197 + 2) * width + (3 * 16**2 + 1) * width
    assert sum(p.numel() for p in model.parameters()) == sides + 3 * layer + 2 * width + 4 * width * dim + 2
    assert {b.heads for b in (*model.image.blocks, *model.text.blocks, *model.stack)} == {heads}
    assert model.parts["contrast"].scale is not model.parts["contrast"].scale2
    assert model.usual_tap() == "after"


@pytest.mark.paper(
    "vgs-char-gru", shows="P", case="at full size: 2,048 to 2,048, a GRU of 1,024 both ways over 100 characters of 20"
)
def test_char_gru_at_full_size():
    with torch.device("meta"):
        model = make_model(load_row("vgs-char-gru"))
    assert model.head.weight.shape == (2048, 2048)
    assert model.text.embed.weight.shape == (102, 20)  # 100 characters, padding, unknown
    gru = 2 * 3 * (1024 * 20 + 1024 * 1024 + 2 * 1024)
    attend = 2048 * 128 + 128 + 128 * 2048 + 2048
    assert sum(p.numel() for p in model.text.gru.parameters()) == gru
    assert sum(p.numel() for p in model.text.attend.parameters()) == attend


@pytest.mark.skipif(find_spec("transformers") is None, reason="needs transformers")
@pytest.mark.paper(
    "rs-m-clip", shows="P", case="over XLM-R base's architecture, ViT-B/32 and DINO's head of 65,536, at full size"
)
def test_rs_m_clip_at_full_size(monkeypatch):
    import transformers

    from panoglot.networks.towers import hf

    sizes = {"vocab_size": 250_002, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
    config = transformers.XLMRobertaConfig(**sizes)
    whole = transformers.XLMRobertaModel
    monkeypatch.setattr(hf, "load_pretrained", fresh(whole, config, words=250_002, model_max_length=512))
    with torch.device("meta"):
        model = make_model(load_row("rs-m-clip"))
    assert sum(p.numel() for p in model.text.model.parameters()) == 278_043_648  # of the published checkpoint
    assert [tuple(p.shape) for p in model.text.project.parameters()] == [
        (640, 768),
        (512, 640),
    ]  # open_clip's head of it
    assert isinstance(model.text_head, torch.nn.Identity)
    assert model.parts["views"].head.last.shape == (65_536, 256)
    assert model.image.grid == 7


@pytest.mark.skipif(find_spec("transformers") is None, reason="needs transformers")
@pytest.mark.paper(
    "compress-align", shows="P", case="over BLIP-base's architecture at full size: the last quarter and an MLP learn"
)
def test_compress_align_at_full_size(monkeypatch):
    import transformers

    from panoglot.networks import freeze
    from panoglot.networks.towers import blip

    config = transformers.BlipConfig(text_config={"encoder_hidden_size": 768})
    whole = transformers.BlipForImageTextRetrieval
    monkeypatch.setattr(blip, "load_pretrained", fresh(whole, config, words=30_524))
    row = load_row("compress-align")
    with torch.device("meta"):
        model = make_model(row)
    assert (len(model.image.model.encoder.layers), len(model.text.model.encoder.layer)) == (12, 12)
    freeze(model, row.freeze)
    learns = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name.split(".layer")[1].split(".")[1] for name in learns if ".layer" in name} == {"9", "10", "11"}
    assert all(name.startswith(("parts.rank.mlp", "image.model.encoder", "text.model.encoder")) for name in learns)


@pytest.mark.skipif(find_spec("transformers") is None, reason="needs transformers")
@pytest.mark.paper(
    "sprc",
    shows="P",
    case="over BLIP-2's architecture at full size: 12 layers of 768, 32 queries and prompts, 256 numbers",
)
@pytest.mark.parametrize("preset", ["paper", "fashioniq", "rerank"])
def test_sprc_at_full_size(preset, monkeypatch):
    import transformers

    from panoglot.networks.towers import words

    former = {"use_qformer_text_input": True, "vocab_size": 30_523}
    config = transformers.Blip2Config(qformer_config=former, image_text_hidden_size=256)
    config.text_config.num_hidden_layers = 1  # not part of a BLIP-2 for retrieval
    whole = transformers.Blip2ForImageTextRetrieval
    monkeypatch.setattr(whole, "from_pretrained", classmethod(lambda cls, name: cls(config)))
    monkeypatch.setattr(words, "tokens_of", lambda *a: type("Words", (), {"size": 30_522, "length": 32})())
    row = load_row("sprc", preset)
    with torch.device("meta"):
        model = make_model(row)
    composer = model.reader("composer")
    layers = 12 * (4 * (768**2 + 768) + 2 * (8 * 768**2 + 5 * 768) + 6 * 768)
    crosses = 6 * (2 * (768**2 + 768) + 2 * (1408 * 768 + 768) + 2 * 768)
    assert sum(p.numel() for p in composer.former.parameters()) == layers + crosses + 2 * 768
    assert (tuple(composer.queries.shape), tuple(composer.prompt.shape)) == ((32, 768), (32, 768))
    assert (composer.of_text.weight.shape, composer.of_picture.weight.shape, composer.views) == (
        (256, 768),
        (256, 768),
        32,
    )
    assert (tuple(model.text.place.shape), len(model.image.model.encoder.layers)) == ((32, 768), 39)
    if preset == "rerank":
        assert model.parts["match"].head.weight.shape == (2, 768)


@pytest.mark.skipif(find_spec("transformers") is None, reason="needs transformers")
@pytest.mark.paper(
    "isa", shows="P", case="over BLIP-base's architecture at full size: six tokens, and only the light side learns"
)
def test_isa_at_full_size(monkeypatch):
    import transformers

    from panoglot.networks import freeze
    from panoglot.networks.towers import blip

    config = transformers.BlipConfig(text_config={"encoder_hidden_size": 768})
    whole = transformers.BlipForImageTextRetrieval
    monkeypatch.setattr(blip, "load_pretrained", fresh(whole, config, words=30_524))
    light = {"kind": "vit", "patch": 16, "width": 1408, "layers": 1, "heads": 8}  # as wide as EfficientNet-B2's map
    row = load_row("isa", towers={"light": light})
    with torch.device("meta"):
        model = make_model(row)
    learner = model.reader("composer").learner
    assert (learner.maps[0].in_features, learner.maps[2].out_features, learner.out.out_features) == (1408, 6, 768)
    assert (len(model.image.model.encoder.layers), len(model.text.model.encoder.layer), model.row.dim) == (12, 12, 256)
    freeze(model, row.freeze)
    learns = {name.rpartition(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert all(name.startswith(("towers.light", "readers.composer")) for name in learns)


def test_align_s_crops_and_mirrors():
    """289 of 346 pixels of each side, anywhere, mirrored half of the time."""
    from panoglot.networks import choose_view
    from panoglot.networks.samplers import Draw

    views = [choose_view(346, 692, Draw("align", n), flip=0.5, share=289 / 346) for n in range(200)]
    assert {round((v.x1 - v.x0) * 692) for v in views} == {578}
    assert {round((v.y1 - v.y0) * 346) for v in views} == {289}
    assert len({round(v.y0 * 346) for v in views}) > 20
    assert 70 < sum(v.flip for v in views) < 130


@pytest.mark.skipif(find_spec("transformers") is None, reason="needs transformers")
@pytest.mark.paper(
    "florenz",
    shows="P",
    case="from 0.4 to 11 billion numbers: Florence-2 base, and large with Gemma-2 of 2 and 9 billion, by their "
    "architectures at full size, with a cross-attention before every layer",
)
@pytest.mark.parametrize(
    ("preset", "least", "most"), [("paper", 0.38, 0.42), ("gemma-2b", 2.9, 3.9), ("gemma-9b", 9.9, 12.0)]
)
def test_florenz_at_full_size(preset, least, most, tmp_path):
    """Built of the architectures' own sizes, written down as folders without weights: nothing is downloaded."""
    import transformers as hf

    row = load_row("florenz", preset)
    large = row.text["name"].endswith("large")
    width, layers = (1024, 12) if large else (768, 6)
    stages = (256, 512, 1024, 2048) if large else (128, 256, 512, 1024)
    heads = (8, 16, 32, 64) if large else (4, 8, 16, 32)
    text = hf.BartConfig(
        vocab_size=51289, d_model=width, encoder_layers=layers, decoder_layers=layers, encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width, encoder_attention_heads=width // 64, decoder_attention_heads=width // 64,
    )  # fmt: skip
    vision = hf.Florence2VisionConfig(embed_dim=stages, num_heads=heads, num_groups=heads, projection_dim=width)
    hf.Florence2Config(text_config=text.to_dict(), vision_config=vision.to_dict()).save_pretrained(tmp_path / "f")
    sizes = {"gemma-2b": (2304, 26, 8, 9216), "gemma-9b": (3584, 42, 16, 14336)}
    options = {"image": {"name": str(tmp_path / "f"), "pretrained": False}}
    options["text"] = {"name": str(tmp_path / "f"), "pretrained": False, "tokenizer": str(tmp_path / "g")}
    if preset in sizes:
        inner, count, each, middle = sizes[preset]
        assert row.text["decoder"] == f"google/{preset.replace('gemma', 'gemma-2')}"
        hf.Gemma2Config(
            hidden_size=inner, num_hidden_layers=count, num_attention_heads=each, num_key_value_heads=each // 2,
            head_dim=256, intermediate_size=middle,
        ).save_pretrained(tmp_path / "g")  # fmt: skip
        options["text"] |= {"decoder": str(tmp_path / "g"), "tokenizer": ""}
    from tests.networks.test_language import tokenizer

    for name in ("f", "g"):
        (tmp_path / name).mkdir(exist_ok=True)
        tokenizer(tmp_path / name)
    with torch.device("meta"):
        model = make_model(load_row("florenz", preset, vocabulary=[], **options))
    count = sum(p.numel() for p in model.parameters())
    if preset == "paper":  # 256,000 pieces of Gemma's tokeniser, of which a toy is here
        assert model.text.embedding().num_embeddings == model.text.tokens.size
        count += (256_000 - model.text.tokens.size) * width
    assert least * 1e9 < count < most * 1e9
    assert model.image.width == width
    if preset in sizes:
        assert len(model.text.looks) == sizes[preset][1]
