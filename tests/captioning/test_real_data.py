"""Published captions and real network code through the shared parts of captioning methods."""

import json
from statistics import mean

import pytest

from panoglot.captioning import (
    check_text,
    contrast,
    densefusion,
    fusecap,
    joined,
    scalecap,
    split_claims,
    without_loops,
)
from panoglot.captioning.revisit_captions import trimmed
from panoglot.metrics import readability
from panoglot.providers import load_model
from panoglot.table import Caption
from tests.captioning.scripted import models, picture, run


@pytest.fixture(scope="module")
def scaled(test_data):
    file = test_data / "Cooperx521+ScaleCap" / "mmvet_captions_ScaleCap-VLM-7B-LLM-72B.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.paper("scalecap", shows="R", case="218 captions before and after: 267.5 → 447.3 words, 27 are shorter")
def test_published_captions_of_scalecap(scaled):
    before, after = [row["ori_caption"] for row in scaled], [row["final_caption"] for row in scaled]
    assert len(scaled) == 218
    assert [round(mean(len(text.split()) for text in texts), 1) for texts in (before, after)] == [267.5, 447.3]
    assert sum(len(b) > len(a) for b, a in zip(before, after)) == 27
    for text in (*before, *after):
        claims = split_claims(text, "clause")
        assert [c for claim in claims for c in claim.text if c.isalnum()] == [c for c in text if c.isalnum()]
        assert joined(text, claims)
    flagged = [text for text in (*before, *after) if check_text(text)]
    assert len(flagged) == 1  # "in real-world scenarios": what the guard costs in 436 sound captions
    assert "real-world scenarios" in flagged[0]


@pytest.mark.paper("scalecap", shows="R", case="published captions before and after by our readability")
def test_published_captions_score_by_our_metrics(scaled):
    found = {}
    for name in ("ori_caption", "final_caption"):
        texts = [without_loops(trimmed(row[name], float("inf")))[0] or row[name] for row in scaled]
        found[name] = readability(texts).value
    assert found["final_caption"] > found["ori_caption"]  # longer sentences are harder to read


@pytest.mark.paper(
    "image-textualization", shows="R", case="two sets of 101 references, 248.1 and 238.9 words, joined by id"
)
def test_published_references_of_image_textualization(test_data):
    folder = test_data / "sterzhang+image-textualization"
    sets = [json.loads((folder / f"gt-{who}-prefer.json").read_text()) for who in ("gpt4v", "llava")]
    assert [len(found) for found in sets] == [101, 101]
    texts = [[text for own in found.values() for text in own] for found in sets]
    assert [round(mean(len(text.split()) for text in own), 1) for own in texts] == [248.1, 238.9]
    rows = json.loads((test_data / "GeWu-Lab+Patch-Matters" / "did_bench.json").read_text())
    first = {row["image"].rpartition("/")[2].partition(".")[0]: row["global"] for row in rows}
    assert set(first) == set(sets[0]) | set(sets[1])
    assert sum(text.endswith("</s>") for text in first.values()) == 126
    assert all("</s>" not in claim.text for text in first.values() for claim in split_claims(text))


@pytest.mark.hf
@pytest.mark.parametrize("kind", ["smolvlm"])
def test_rating_runs_on_real_network_code(kind, tmp_path):
    pytest.importorskip("torch", reason="needs torch: pip install 'panoglot[hf]'")
    from tests.providers import checkpoints

    model = load_model(f"hf:{getattr(checkpoints, kind)(tmp_path / kind)}", "generator")

    async def rated():
        m = models(c=model)
        return await contrast(m["c"], "What is it?", picture(), "A dog sits, perhaps waiting. قطة سوداء 猫。")

    import asyncio

    tokens = asyncio.run(rated())
    assert "".join(token for token, _ in tokens).strip() == "A dog sits, perhaps waiting. قطة سوداء 猫。"
    assert any(value != 0 for _, value in tokens)
    caption = run(scalecap, picture(), {"captioner": model}, llm="", budget=1, max_tokens=12, answer_tokens=6)
    assert caption.text
    assert "fallback_rating" not in caption.scores or caption.scores["fallback_rating"] < 2


def test_what_runs_without_any_downloaded_model():
    """Embedded experts alone: no language model, no network."""
    alt = Caption("Golden Gate Bridge 1937", "en", "alt")
    short = Caption("A bridge over water.", "en", "human")
    experts = {name: load_model(name, role) for name, role in (
        ("embedded:efficientnet-lite2", "tagger"), ("embedded:faces", "detector"),
    )}  # fmt: skip
    dense, *_ = run(densefusion, picture(captions=[alt]), experts, captioner="", detector="embedded:faces")
    assert dense.text.startswith("Golden Gate Bridge 1937.")
    same = run(fusecap, picture(captions=[short]), experts, llm="", detector="embedded:faces")
    assert same.text == short.text
