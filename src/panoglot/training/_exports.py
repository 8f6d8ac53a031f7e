"""A run for other libraries: the folder, and a card that says how that library reads it and what it is fed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from panoglot.networks._checkpoint import write
from panoglot.networks._export import EXPORTS, export_model
from panoglot.networks._load import load_run
from panoglot.networks._views import MEAN, STD
from panoglot.training._drawings import DRAWINGS

__all__ = ["export_run"]

_USE = {
    "transformers": """from PIL import Image
from transformers import AutoModel, AutoTokenizer, CLIPImageProcessorPil

model, words = AutoModel.from_pretrained("."), AutoTokenizer.from_pretrained(".")
pictures = CLIPImageProcessorPil.from_pretrained(".")
seen = pictures([Image.open("picture.jpg").convert("RGB")], return_tensors="pt")
read = words(["a red bird"], padding=True, truncation=True, return_tensors="pt")
image = model.get_image_features(**seen).pooler_output
text = model.get_text_features(**read).pooler_output""",
    "open_clip": """import open_clip
from PIL import Image

model, preprocess = open_clip.create_model_from_pretrained("local-dir:.")
words = open_clip.get_tokenizer("local-dir:.")
image = model.encode_image(preprocess(Image.open("picture.jpg").convert("RGB"))[None])
text = model.encode_text(words(["a red bird"]))""",
    "sentence-transformers": """from PIL import Image
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(".", device="cpu")
image = model.encode([Image.open("picture.jpg").convert("RGB")], convert_to_tensor=True)
text = model.encode(["a red bird"], convert_to_tensor=True)""",
    "onnx": """import numpy as np
import onnxruntime
import tokenizers
from PIL import Image

picture = Image.open("picture.jpg").convert("RGB")
short = min(picture.size)
picture = picture.resize([int({size} * side / short) for side in picture.size], Image.Resampling.BICUBIC)
left, top = (picture.width - {size}) // 2, (picture.height - {size}) // 2
pixels = np.asarray(picture.crop((left, top, left + {size}, top + {size}))) / 255
pixels = ((pixels - {mean}) / {std}).transpose(2, 0, 1)[None].astype(np.float32)
image = onnxruntime.InferenceSession("image.onnx").run(None, {{"pixel_values": pixels}})[0]

words = tokenizers.Tokenizer.from_file("tokenizer.json")
words.enable_truncation({length})
words.enable_padding(pad_id={pad})
read = words.encode_batch(["a red bird"])
ids, mask = (np.array([getattr(one, name) for one in read]) for name in ("ids", "attention_mask"))
text = onnxruntime.InferenceSession("text.onnx").run(None, {{"input_ids": ids, "attention_mask": mask}})[0]""",
}

_TASK = {"sentence-transformers": "sentence-similarity", "onnx": "feature-extraction"}


def export_run(run: Path, to: str) -> Path:
    """Write what a run has learnt as another library reads it, with a card of its own.

    Args:
        run: its folder.
        to: of `EXPORTS`.

    Returns:
        The folder, `run/export/LIBRARY`.

    Raises:
        UserError: a model that the library has no architecture for.
        MissingPackage: the library is not here.
    """
    model: Any = load_run(run)
    folder = export_model(model, to, run / "export" / to)
    for name in ("plot.svg", *DRAWINGS, "row.yaml"):  # what the card links to
        if (run / name).is_file():
            shutil.copyfile(run / name, folder / name)
    card = (run / "README.md").read_text("utf-8") if (run / "README.md").is_file() else ""
    write(folder / "README.md", _card(model, to, run.resolve().name, card).encode())
    return folder


def _card(model: Any, to: str, name: str, card: str) -> str:
    """Return the card: how the library reads it, what it is fed, and the run's own card from its figures on."""
    row, tokens = model.row, model.text.tokens
    mean, std = list(MEAN), list(STD)
    pad = 0
    if to == "onnx":
        from panoglot.networks._export import make_tokenizer

        kit, names, _ = make_tokenizer(model)
        pad = kit.token_to_id(names["pad"])
    use = _USE[to]
    if to == "onnx":
        use = use.format(size=row.size, mean=mean, std=std, length=tokens.length, pad=pad)
    graph = " The graphs take any batch, and texts of any length up to that; opset 18." if to == "onnx" else ""
    full = ", but not here" if to == "sentence-transformers" else ""
    rest = card[card.find("\n## Figures") :] if "\n## Figures" in card else ""
    return f"""---
library_name: {to}
pipeline_tag: {_TASK.get(to, "zero-shot-image-classification")}
tags: [panoglot, {row.method}]
---

# {name}, for {to}

An encoder of pictures and texts, trained with Panoglot: {row.method}, {row.about}.

## Use

In this folder; two vectors are compared by their cosine.

```python
{use}
```

Panoglot reads it as `{EXPORTS[to]}:FOLDER`, with the vectors of the run itself (`pano:`) to 1e-4. It decodes JPEGs of
more than four times this size at a fraction of theirs{full}: they give slightly other vectors where they are decoded in
full.

## What it is fed

- Pictures in RGB, transparent ones on white: the shorter side is resized to {row.size} pixels (Pillow's bicubic), the
  middle {row.size} × {row.size} are kept, divided by 255, less the mean {mean}, divided by {std}.
- Texts of at most {tokens.length} tokens, {_tokens(row)}. The tokeniser lies in this folder.{graph}
{_differs(row, to)}{rest}"""


def _tokens(row: Any) -> str:
    name = str(row.text.get("tokenizer", ""))
    if row.text["kind"] == "hf":
        return f"those of {row.text.get('name', 'its model')}"
    return {"": "UTF-8 bytes", "clip": "CLIP's byte pairs", "captions": "learnt of the captions"}.get(name, name)


def _differs(row: Any, to: str) -> str:
    """Say where a library shows a model another thing than the run saw."""
    out = []
    if to == "open_clip":
        out.append(
            "open_clip mends texts first (ftfy, HTML entities, spaces in a row), and its crop rounds to even pixels: "
            "texts that this changes, and pictures whose resized longer side is longer by 3, 7, 11 … pixels, give "
            "slightly other vectors."
        )
    elif row.text.get("tokenizer") == "clip":
        out.append("HTML entities (&amp;amp;) are not decoded, as CLIP's own code does: decode them first.")
    if row.text.get("tokenizer", "") == "" and row.text["kind"] == "transformer":
        out.append("Texts that are too long are cut between bytes; the run cuts between characters.")
    return "".join(f"- {one}\n" for one in out)
