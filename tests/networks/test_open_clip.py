"""open_clip and timm towers: with torchvision, real small architectures; without it, one line that says what to do."""

from __future__ import annotations

import importlib.util

import pytest

from panoglot.errors import MissingPackage, UserError

torch = pytest.importorskip("torch")

from panoglot.networks import load_row, make_model
from panoglot.networks import towers as t
from panoglot.training import Trainer, shapes

TEXTS = ["a red circle", "ein rotes Känguru", "قطة على سرير", "แมวนอน", "一只猫", "paka mweusi " * 60]


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is here")
@pytest.mark.parametrize(
    "make", [lambda: t.timm_image("resnet18", False), lambda: t.OpenClipImage("RN50"), lambda: t.OpenClipText("RN50")]
)
def test_without_torchvision_one_line_says_what_to_install(make):
    with pytest.raises(MissingPackage, match=r"the tower \w+:\w+ needs the package 'torchvision': pip install"):
        make()


@pytest.fixture
def small():
    pytest.importorskip("torchvision")
    package = pytest.importorskip("open_clip")
    from open_clip import factory

    vision = {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
    text = {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    factory._MODEL_CONFIGS["tiny-clip"] = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    yield "tiny-clip"
    del factory._MODEL_CONFIGS["tiny-clip"]
    assert package


def test_open_clip_towers_are_the_model(small):
    import open_clip

    torch.manual_seed(0)
    image, text = t.OpenClipImage(small).eval(), t.OpenClipText(small).eval()
    assert (image.width, text.width) == (24, 24)
    x = torch.randn(2, 3, 32, 32)
    assert torch.allclose(image(x)[0], image.model(x))
    ids, mask = text.tokens(TEXTS)
    assert text.tokens.cut == 1
    assert torch.equal(ids, open_clip.get_tokenizer("ViT-B-32")(TEXTS, context_length=32))
    pooled, _ = text(ids, mask)
    assert torch.allclose(pooled, text.model.encode_text(ids), atol=1e-6)
    assert not any("visual" in n for n, _ in text.named_parameters())
    with pytest.raises(UserError, match="Did you mean"):
        t.OpenClipImage("ViT-B-33")


def test_open_clip_towers_learn(small):
    r = load_row(
        "clip", "small", image={"kind": "open_clip", "name": small}, text={"kind": "open_clip", "name": small},
        batch=16, epochs=1,
    )  # fmt: skip
    trainer = Trainer(r, shapes(32))
    assert all(f["grad_norm"] > 0 for f in trainer.fit())
    assert trainer.model.encode_texts(TEXTS).shape == (6, 64)


def test_timm_towers_learn():
    pytest.importorskip("torchvision")
    pytest.importorskip("timm")
    r = load_row("align", "small", image={"kind": "timm", "name": "test_efficientnet", "pretrained": False}, batch=16)
    model = make_model(r)
    pooled, tokens = model.image(torch.zeros(2, 3, 64, 64))
    assert pooled.shape == (2, model.image.width)
    assert tokens.shape[0] == 2
    with torch.device("meta"):  # the paper's: EfficientNet-L2
        tower = t.timm_image("tf_efficientnet_l2", False)
    assert tower.width == 5504
