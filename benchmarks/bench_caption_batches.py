"""Batching of a captioning stage against a hand-batched loop over the same model.

    PYTHONPATH=. python benchmarks/bench_caption_batches.py [--pictures 160] [--batch 8] [--rounds 3]

The model is BLIP's architecture with random weights (6 layers of 384 for the picture, 4 for the text, 224 pixels),
built on disk; every answer has the same number of tokens. Floor: transformers' own processor and `generate` on batches
of decoded files, answers kept in memory. Ours: `panoglot.caption` with `describe` on a dataset that holds the same
files: identification of the language, journal, ledger and captions included. CPU seconds of the process, which other
work on the machine does not count in. Both load the model. Rounds take turns; each side's best counts. Ends in one
JSON line.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

TOKENS = 16


def checkpoint(folder: Path) -> Path:
    """BLIP with random weights, large enough that the model is what takes the time."""
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessorPil, BlipProcessor

    from tests.providers.checkpoints import BERT, randomise, tokenizer

    words = tokenizer(BERT, ["[DEC]"])
    layers = {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6}
    text = {
        **layers, "num_hidden_layers": 4, "vocab_size": len(words), "encoder_hidden_size": 384, "projection_dim": 64,
        "max_position_embeddings": 64, "bos_token_id": words.convert_tokens_to_ids("[DEC]"),
        "pad_token_id": words.pad_token_id, "sep_token_id": words.sep_token_id, "eos_token_id": words.sep_token_id,
    }  # fmt: skip
    vision = {**layers, "num_hidden_layers": 6, "image_size": 224, "patch_size": 16}
    config = BlipConfig(text_config=text, vision_config=vision, projection_dim=64)
    randomise(BlipForConditionalGeneration(config)).save_pretrained(folder)
    BlipProcessor(BlipImageProcessorPil(size={"height": 224, "width": 224}), words).save_pretrained(folder)
    return folder


def by_hand(folder: Path, photos: Path, batch: int) -> float:
    """CPU seconds of the loop that somebody writes who needs nothing else."""
    import PIL.Image
    import torch
    from transformers import BlipForConditionalGeneration, BlipProcessor

    start = time.process_time()
    processor = BlipProcessor.from_pretrained(folder)
    model = BlipForConditionalGeneration.from_pretrained(folder).eval()
    paths = sorted(photos.iterdir())
    texts: list[str] = []
    for first in range(0, len(paths), batch):
        pictures = [PIL.Image.open(path).convert("RGB") for path in paths[first : first + batch]]
        with torch.inference_mode():
            ids = model.generate(
                **processor(images=pictures, return_tensors="pt"), max_new_tokens=TOKENS, do_sample=False, num_beams=1
            )
        texts += processor.batch_decode(ids, skip_special_tokens=True)
    assert len(texts) == len(paths)
    return time.process_time() - start


def ours(model: str, photos: Path, dataset: Path) -> float:
    """CPU seconds of the same by Panoglot, everything stored."""
    import panoglot

    panoglot.ingest(photos, output=dataset, quiet=True)
    start = time.process_time()
    done = panoglot.caption(dataset, captioner=model, set=[f"max_tokens={TOKENS}"], quiet=True)
    seconds = time.process_time() - start
    (stage,) = [stage for stage in done.stages if stage.name == "caption.describe"]
    assert stage.done == len(list(photos.iterdir())), (stage, done.remarks)
    return seconds


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=160)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    import numpy as np
    import PIL.Image
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder, photos = Path(scratch, "blip"), Path(scratch, "photos")
        folder.mkdir()
        photos.mkdir()
        for n in range(given.pictures):
            pixels = np.kron(
                np.random.default_rng(n).integers(0, 256, (7, 8, 3), np.uint8), np.ones((40, 40, 1), np.uint8)
            )
            PIL.Image.fromarray(pixels).save(photos / f"{n:04}.jpg", quality=90)
        checkpoint(folder)
        model = f"hf:{folder}?batch_size={given.batch}"
        floor, measured = [], []
        for n in range(given.rounds):
            floor.append(by_hand(folder, photos, given.batch))
            measured.append(ours(model, photos, Path(scratch, f"{n}.pano")))
    hand, run = (1000 * min(seconds) / given.pictures for seconds in (floor, measured))
    found = {"hand_ms": round(hand, 1), "ours_ms": round(run, 1), "efficiency": round(hand / run, 3)}
    print(json.dumps({"pictures": given.pictures, "batch": given.batch, **found}))


if __name__ == "__main__":
    main()
