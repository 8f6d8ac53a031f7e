"""CapArena whole, from files by the commands: people's votes to ranks, a metric's audit, and the arena with a judge."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import PIL.Image
import pytest

from panoglot.evaluate import commands, find_benchmark
from panoglot.providers import register
from panoglot.providers.roles import Answer

MODELS = ("alpha", "beta", "gamma")
#: How many words each writes; the votes follow the words but for every fifth.
WORDS = {"alpha": 6, "beta": 4, "gamma": 2, "human": 9}


def save(path, data):
    path.write_text(json.dumps(data))
    return str(path)


def some_votes():
    """48 votes between three models in four levels, and three with people's captions."""
    rows = []
    for n in range(48):
        one, two = list(itertools.permutations(MODELS, 2))[n % 6]
        better, worse = sorted((one, two), key=lambda name: -WORDS[name])
        winner = worse if n % 5 == 3 else "tie" if n % 11 == 0 else better
        said = f"Caption {1 if better == one else 2} is better" if n % 7 else "Tie."
        rows.append(vote(n, one, two, winner, f"level {n // 12 + 1}", said))
    return rows + [vote(90 + n, "human", model, "human", "level 1", "Tie") for n, model in enumerate(MODELS)]


def vote(n, one, two, winner, level, judge):
    texts = {name: " ".join(["word"] * count) for name, count in WORDS.items()}
    return {
        "img": f"{n}.png", "source1": one, "source2": two, "caption1": texts[one], "caption2": texts[two],
        "ref": texts["human"], "winner": winner, "cluster": level, "judge": judge,
    }  # fmt: skip


def plain_elo(rows, picks):
    """Step 2 as the card has it."""
    ratings = dict.fromkeys(MODELS, 1000.0)
    for pick in picks:
        row = rows[pick]
        one, two = row["source1"], row["source2"]
        expected = 1 / (1 + 10 ** ((ratings[two] - ratings[one]) / 400))
        score = {one: 1.0, two: 0.0}.get(row["winner"], 0.5)
        ratings[one], ratings[two] = ratings[one] + 4 * (score - expected), ratings[two] - 4 * (score - expected)
    return ratings


class Careful:
    """A judge: the longer caption, said on the second time of asking; what it was asked."""

    name, fingerprint, batch_size, sees = "toy:careful", "careful-1", 8, True
    asked = []  # noqa: RUF012

    def generate(self, prompts):
        found = []
        for prompt in prompts:
            one, two = (prompt.text.split(f"Caption {n}: ")[1].split("\n")[0] for n in "12")
            mute = prompt.seed == 0 and "word" in (one, two)
            Careful.asked.append(prompt)
            first = len(one) > len(two)
            found.append(
                Answer("Both are fine." if mute else f"Reason: more\nJudgment: Caption {1 if first else 2} is better.")
            )
        return found


def gold_of(pictures):
    """Two pictures of each of the three bases."""
    bases = ("GPT-4o-0806", "CogVLM2-llama3-chat-19B", "MiniCPM-V2.6-8B")
    texts = dict(zip(("human", *bases), ("word " * 9, "word " * 5, "word " * 3, "word")))
    rows = {}
    for n in range(6):
        PIL.Image.new("RGB", (8, 8), (40 * n, 0, 0)).save(pictures / f"{n}.png")
        rows[f"{n}.png"] = {"captions": {k: v.strip() for k, v in texts.items()}, "ref_model": bases[n % 3]}
    return rows


@pytest.mark.paper(
    "caparena",
    shows="C",
    case="1-4: people out, Elo by 4 over 1,000 resamples, median, percentiles, Bradley-Terry; 5-8: verdicts, agreement "
    "by level with and without ties, rank correlations; 9-11: three bases, a judge with retries, wins less losses",
)
def test_every_step(tmp_path):
    rows = some_votes()
    path = save(tmp_path / "votes.json", rows)
    kept = [row for row in rows if "human" not in (row["source1"], row["source2"])]
    found = commands.arena(path, exclude="human")  # 1
    picks = np.random.default_rng(42).integers(0, 48, (48, 1000), dtype=np.int32)  # 3
    draws = [plain_elo(kept, picks[:, n]) for n in range(1000)]
    assert found.ranking == MODELS
    for model in MODELS:
        values = [draw[model] for draw in draws]
        assert found.ratings[model] == pytest.approx(np.median(values), abs=1e-9)
        assert found.intervals[model] == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])), abs=1e-9)
        assert f"{model:<5}  {math.floor(np.median(values) + 0.5):8d} [" in found.table()
    assert {key: found.options[key] for key in ("k", "start", "scale", "resamples", "seed")} == {
        "k": 4.0, "start": 1000.0, "scale": 400.0, "resamples": 1000, "seed": 42,
    }  # fmt: skip
    strength = commands.arena(path, exclude="human", rating="bradley-terry", resamples=10).ratings  # 4
    for model in MODELS:
        mine = [row for row in kept if model in (row["source1"], row["source2"])]
        rivals = [row["source2"] if row["source1"] == model else row["source1"] for row in mine]
        won = sum({model: 1.0, rival: 0.0}.get(row["winner"], 0.5) for row, rival in zip(mine, rivals))
        expected = sum(1 / (1 + 10 ** ((strength[rival] - strength[model]) / 400)) for rival in rivals)
        assert won == pytest.approx(expected, abs=1e-4)

    audit = commands.agreement("length,judge", path, benchmark="caparena")
    bare = commands.agreement("length,judge", path, benchmark="caparena", ties=False)
    longer = [max((row["source1"], row["source2"]), key=WORDS.__getitem__) for row in kept]  # 5
    said = [
        "tie" if row["judge"].startswith("Tie") else row["source1" if "Caption 1" in row["judge"] else "source2"]
        for row in kept
    ]
    for name, verdicts in (("length", longer), ("judge", said)):
        same = [verdict == row["winner"] for verdict, row in zip(verdicts, kept)]
        assert audit[name].n == 48  # the votes on people's captions are out
        assert audit[name].value == pytest.approx(np.mean(same))  # 6
        for level in ("level 1", "level 2", "level 3", "level 4"):  # 7
            here = [n for n, row in enumerate(kept) if row["cluster"] == level]
            assert audit[name].parts[f"agreement/{level}"] == pytest.approx(np.mean([same[n] for n in here]))
            assert audit[name].parts[f"tie_rate/{level}"] == np.mean([verdicts[n] == "tie" for n in here])
            assert audit[name].parts[f"votes/{level}"] == 12
        clear = [s for s, v, row in zip(same, verdicts, kept) if "tie" not in (v, row["winner"])]
        assert bare[name].value == pytest.approx(np.mean(clear))
        assert audit[name].parts["spearman"] == audit[name].parts["kendall_b"] == 1  # 8

    register("toy:careful", Careful)
    Careful.asked.clear()
    (tmp_path / "pictures").mkdir()
    data = save(tmp_path / "gold.json", gold_of(tmp_path / "pictures"))
    mine = save(tmp_path / "mine.json", {f"{n}.png": "word word" for n in range(6)})
    run = {
        "benchmark": "caparena-auto", "data": data, "images": str(tmp_path / "pictures"), "judge": "toy:careful",
        "cache": "off",
    }  # fmt: skip
    once = commands.captions(mine, protocol="paper", **run)
    auto = once["caparena-auto"]
    assert auto.parts["score/GPT-4o-0806"] == auto.parts["score/CogVLM2-llama3-chat-19B"] == -100  # 11
    assert auto.parts["score/MiniCPM-V2.6-8B"] == 100
    assert auto.value == pytest.approx(-100 / 3)
    assert (auto.parts["words"], auto.parts["unread"]) == (2, 0)
    assert len(Careful.asked) == 8  # 9: one order a picture; 10: two were asked again
    for prompt in Careful.asked:
        assert (prompt.temperature, prompt.top_p, prompt.max_tokens, len(prompt.images)) == (0.1, 0.9, 1500, 1)
        assert "word word word word word word word word word" in prompt.text.split("Caption 1: ")[0]  # people's
    sides = {prompt.text.split("Caption 1: ")[1].split("\n")[0] == "word word" for prompt in Careful.asked}
    assert sides == {True, False}
    assert any("published figures stand for openai:gpt-4o-2024-08-06" in note for note in once.notes)
    # a base is not compared with itself, and its 0 is one of the three
    base = commands.captions(mine, model="GPT-4o-0806", **run)["caparena-auto"]
    assert (base.n, base.parts["score/GPT-4o-0806"]) == (4, 0)
    assert base.value == pytest.approx(0)


#: Scores against GPT-4o, CogVLM2 and MiniCPM, Score_avg, and the place by people's votes, as published.
BOARD = {
    "Gemini-1.5-pro": (29, 61, 78.5, 56.17, 4), "GPT-4o-0806": (0, 55.5, 76.5, 44.00, 1),
    "Gemini-2.0-flash": (-2, 39.5, 55, 30.83, 2), "Claude-3.5": (-14, 30, 48.5, 21.50, 5),
    "InternVL2-26B": (-38.5, 20, 57.5, 13.00, 3), "GPT-4o-mini": (-36, 17, 47, 9.33, 6),
    "CogVLM2-llama3-chat-19B": (-56.5, 0, 31, -8.50, 9), "Qwen2-VL-72B": (-50.5, -4.5, 28, -9.00, 8),
    "LLama-3.2-90B": (-72, -13, 8, -25.67, 7), "MiniCPM-V2.6-8B": (-80, -34, 0, -38.00, 10),
    "Qwen2-VL-2B": (-86, -49.5, -10.5, -48.67, 12), "Qwen2-VL-7B": (-78, -59, -10, -49.00, 11),
    "LLaVA-1.6-34B": (-92, -53.5, -57, -67.50, 13), "LLaVA-1.5-7B": (-99.5, -92, -90.5, -94.00, 14),
}  # fmt: skip


@pytest.mark.paper(
    "caparena",
    shows="P",
    case="--protocol paper: one order, the reference, GPT-4o as judge; 14 captioners' published scores against three "
    "bases give the published Score_avg, whose order agrees with people's by .943 and .824",
)
def test_the_protocol_and_the_published_board(tmp_path):
    protocol = find_benchmark("captions", "caparena-auto").protocols["paper"]
    assert protocol.options == {"orders": "random", "reference": True, "tries": 5}
    assert protocol.models == {"judge": "openai:gpt-4o-2024-08-06"}
    assert len(protocol.unverified) == 3
    bases = ("GPT-4o-0806", "CogVLM2-llama3-chat-19B", "MiniCPM-V2.6-8B")
    averages = {}
    for model, (*scores, average, _) in BOARD.items():
        rows = []
        for base, score in zip(bases, scores):
            if base == model:
                continue
            for n in range(200):  # wins less losses are twice the score
                said = ("1" if score > 0 else "2") if n < abs(2 * score) else ""
                judge = f"Caption {said} is better" if said else "Tie"
                rows.append({"img": f"{base} {n}", "source1": model, "source2": base, "judge": judge})
        found = commands.captions(save(tmp_path / "v.json", rows), benchmark="caparena-auto")["caparena-auto"]
        assert found.value == pytest.approx(average, abs=0.0051), model
        averages[model] = found.value
    places = {model: place for model, (*_, place) in BOARD.items()}
    scores = save(tmp_path / "scores.json", averages)
    people = save(tmp_path / "people.json", [{"id": model, "score": -place} for model, place in places.items()])
    agreed = commands.agreement(scores, people)
    (result,) = agreed.values()
    assert result.parts["spearman"] == pytest.approx(0.943, abs=5e-4)
    assert result.parts["kendall_b"] == pytest.approx(0.824, abs=5e-4)
