"""CapArena-Auto: a judge compares one captioner with three fixed ones on 600 pictures (arXiv 2503.12329).

File `caparena_auto_600.json`: `{picture: {"captions": {"human": …, <base>: …}, "ref_model": <base>}}`, and the DOCCI
pictures (links in github.com/njucckevin/CapArena).
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.asking import ask, open_picture
from panoglot.checks import check_option, meet_ids, offenders
from panoglot.errors import RowError, UserError
from panoglot.evaluate._declare import Benchmark, Protocol, Way
from panoglot.evaluate._read import read_predictions
from panoglot.formats._json import read_json
from panoglot.metrics._result import MetricResult, mean_result
from panoglot.metrics._results import ResultSet

if TYPE_CHECKING:
    from panoglot.providers.roles import Generator

__all__ = ["CAPARENA_AUTO", "caparena_auto", "caparena_auto_scores", "caparena_auto_verdicts", "read_verdict"]

#: The paper's three captioners: each other one is compared with them.
BASES = ("GPT-4o-0806", "CogVLM2-llama3-chat-19B", "MiniCPM-V2.6-8B")
_VERDICTS = {"caption 1 is better": 1.0, "caption 2 is better": 0.0, "tie": 0.5}
_PROMPT = """You judge two descriptions of the picture for somebody who cannot see it.
Weigh: precision; how much of what matters in the picture is told; right details; what picture one would imagine.
Anything that is not in the picture counts heavily against a description. Length alone is no merit.
{reference}
Caption 1: {one}

Caption 2: {two}

Answer in two lines. Say tie only when you cannot decide.
Reason: <one or two sentences>
Judgment: <Caption 1 is better | Caption 2 is better | Tie>"""


def read_verdict(text: str) -> float | None:
    """What a judge said: 1 for the first, 0 for the second, 0.5 a tie, None when it cannot be read.

    >>> [read_verdict(t) for t in ("Reason: x\\nJudgment: Caption 2 is better.", "Tie", "Both have merits")]
    [0.0, 0.5, None]
    """
    lines = re.findall(r"judge?ment\W*:\W*(.+)", text, re.IGNORECASE) or [text]
    return _VERDICTS.get(lines[-1].strip().strip("*.\"' ").lower())


def caparena_auto_scores(
    verdicts: Mapping[str, float | None],
    bases: Mapping[str, str],
    *,
    captioner: str = "",
    captions: Mapping[str, str] | None = None,
) -> MetricResult:
    """The leaderboard's row: (wins - losses) / 2 against each base's 200 pictures, and their mean.

    The published score divides by two whatever the number of pictures; here it is 100 (wins - losses) / pictures, the
    same for 200. Ties and unreadable verdicts add nothing; a base that is the captioner itself scores 0. A base
    without one readable verdict has no score, and then there is no mean.

    Args:
        verdicts: by picture: 1 the captioner won, 0.5 tie (0.25 and 0.75 in two orders), 0 lost, None unreadable.
        bases: base of each picture.
        captioner: whose captions they are: one that is a base is not compared with itself, and has 0 there.
        captions: its captions; `words` is then their mean length, in words between spaces.

    Returns:
        `value` the mean over bases, -100..100; parts `score/<base>`, `unread`, maybe `words`. Item values -1..1.
    """
    missing = [name for name in verdicts if name not in bases]
    if missing or not verdicts:
        raise UserError(f"{len(missing)} verdicts are of unknown pictures: {offenders(missing)}.")
    parts: dict[str, float | None] = {}
    for base in sorted(set(bases.values())):
        mine = [verdict for name, verdict in verdicts.items() if bases[name] == base]
        read = [verdict for verdict in mine if verdict is not None]
        parts[f"score/{base}"] = 100 * sum(2 * verdict - 1 for verdict in read) / len(mine) if read else None
    if captioner in (*BASES, *bases.values()):
        parts[f"score/{captioner}"] = 0.0
    scores = list(parts.values())
    mute = [name.partition("/")[2] for name, score in parts.items() if score is None]
    parts["unread"] = sum(verdict is None for verdict in verdicts.values()) / len(verdicts)
    if captions:
        parts["words"] = sum(len(text.split()) for text in captions.values()) / len(captions)
    items = [None if verdict is None else 2 * verdict - 1 for verdict in verdicts.values()]
    result = mean_result("caparena-auto", items, version="1", ids=list(verdicts), parts=parts)
    have = [score for score in scores if score is not None]
    notes = [f"no verdict could be read against {offenders(mute)}: no score there, and no mean"] if mute else []
    return replace(result, value=sum(have) / len(have) if not mute else None, notes=tuple(notes))


def caparena_auto_verdicts(rows: Sequence[Mapping[str, Any]]) -> MetricResult:
    """Score what a judge said already, in the form of the benchmark's result files.

    Args:
        rows: `img, source1, source2, judge` each; the captioner is the one source that is in every row.

    Raises:
        UserError: several captioners, a picture twice, rows that lack a field.

    >>> says = ["Caption 1 is better", "Caption 1 is better", "Caption 1 is better", "Caption 2 is better"]
    >>> rows = [{"img": n, "source1": "me", "source2": "base", "judge": said} for n, said in enumerate(says)]
    >>> caparena_auto_verdicts(rows).value
    50.0
    """
    lacking = [n for n, row in enumerate(rows) if not {"img", "source1", "source2", "judge"} <= set(row)]
    if lacking or not rows:
        raise UserError(f"{len(lacking)} rows lack img, source1, source2 or judge: {offenders(lacking)}.")
    common = set.intersection(*({str(row["source1"]), str(row["source2"])} for row in rows))
    if len(common) == 2 and all(row["source1"] == rows[0]["source1"] for row in rows):
        common = {str(rows[0]["source1"])}  # one base only: the captioner comes first
    if len(common) != 1:
        raise UserError(f"no one captioner is in every row (in all of them: {offenders(sorted(common))}).")
    mine = common.pop()
    verdicts: dict[str, float | None] = {}
    bases: dict[str, str] = {}
    twice = []
    for row in rows:
        first = str(row["source1"]) == mine
        verdict = read_verdict(str(row["judge"] or ""))
        if str(row["img"]) in verdicts:
            twice.append(row["img"])
        verdicts[str(row["img"])] = verdict if verdict is None or first else 1 - verdict
        bases[str(row["img"])] = str(row["source2"] if first else row["source1"])
    if twice:
        raise UserError(f"{len(twice)} pictures are judged more than once: {offenders(twice)}.")
    sides = [(row, "1" if str(row["source1"]) == mine else "2") for row in rows]
    said = {str(row["img"]): str(row[f"caption{n}"]) for row, n in sides if row.get(f"caption{n}") is not None}
    return caparena_auto_scores(verdicts, bases, captioner=mine, captions=said)


def caparena_auto(
    judge: Generator,
    captions: Mapping[str, str],
    gold: Mapping[str, Mapping[str, Any]],
    images: str | os.PathLike[str],
    *,
    captioner: str = "",
    reference: bool = True,
    orders: str = "both",
    seed: int = 0,
    tries: int = 5,
) -> MetricResult:
    """Have a judge compare captions with the bases', at the paper's temperature .1 and top_p .9.

    Args:
        judge: a `Generator` that sees pictures.
        captions: of the captioner, by picture.
        gold: the benchmark's file.
        images: folder of the pictures.
        captioner: who wrote the captions; pictures whose base it is are passed over.
        reference: show the human description.
        orders: `both` asks in both orders and takes the mean (no position bias); `random` one, seeded by picture.
        seed: of the random order.
        tries: how often an unreadable verdict is asked again.

    Raises:
        UserError: missing captions or pictures.
    """
    from panoglot.providers.roles import Prompt

    check_option("orders", orders, ("both", "random"))
    gold = {name: row for name, row in gold.items() if str(row["ref_model"]) != captioner}
    missing = [name for name in gold if name not in captions]
    if missing:
        raise UserError(f"{len(missing)} pictures have no caption: {offenders(missing)}.")
    asked: list[tuple[str, bool]] = []
    for name in gold:
        first = random.Random(f"{seed} {name}").random() < 0.5
        asked += [(name, True), (name, False)] if orders == "both" else [(name, first)]
    found: dict[tuple[str, bool], float | None] = {}
    strange = ""
    for turn in range(max(1, tries)):
        left = [key for key in asked if found.get(key) is None]
        prompts = []
        for name, first in left:
            mine, base = captions[name], gold[name]["captions"][gold[name]["ref_model"]]
            human = f"A right, if not complete, description: {gold[name]['captions']['human']}\n" if reference else ""
            one, two = (mine, base) if first else (base, mine)
            picture = open_picture(Path(images) / name)
            text = _PROMPT.format(reference=human, one=one, two=two)
            prompts.append(Prompt(text, (picture,), max_tokens=1500, temperature=0.1, top_p=0.9, seed=seed + turn))
        for key, answer in zip(left, ask(judge, prompts)):
            verdict = None if isinstance(answer, RowError) else read_verdict(answer.text)
            if verdict is None:
                strange = str(answer) if isinstance(answer, RowError) else " ".join(answer.text.split())
            found[key] = verdict if verdict is None or key[1] else 1 - verdict
    verdicts: dict[str, float | None] = {}
    for name in gold:
        mine_ = [found[key] for key in asked if key[0] == name]
        verdicts[name] = None if None in mine_ else sum(v for v in mine_ if v is not None) / len(mine_)
    bases = {name: str(row["ref_model"]) for name, row in gold.items()}
    said_of = {name: captions[name] for name in gold}
    result = caparena_auto_scores(verdicts, bases, captioner=captioner, captions=said_of)
    said = f"an answer that says no verdict: {strange[:80]!r}" if strange else ""
    return replace(result, notes=(*result.notes, *([said] if said and None in verdicts.values() else [])))


def _read(
    preds: str, data: str | None = None, *, model: str | None = None
) -> tuple[Sequence[Mapping[str, Any]] | None, Any, Any, str]:
    """Captions and the benchmark's file; or captions that come with a judge's verdicts.

    Args:
        model: whose captions to take from a file or dataset of several models; one that is a base of the benchmark has
            0 against itself.
    """
    rows = read_json(preds) if not Path(preds).is_dir() else {}
    if isinstance(rows, list) and rows and all(isinstance(row, dict) and "judge" in row for row in rows):
        return rows, {}, {}, ""
    if data is None:
        return None, {}, {}, ""
    said = {key: text or "" for key, text in read_predictions(preds, model=model).items()}
    return None, said, read_json(data), model or ""


def _run(
    given: Any,
    *,
    images: str | None = None,
    judge: Any = None,
    orders: str = "both",
    reference: bool = True,
    seed: int = 0,
    tries: int = 5,
) -> ResultSet:
    """Ask the judge, or score what it said.

    Args:
        orders: `both` asks in both orders and takes the mean, so that no position is preferred; `random` asks once, as
            the paper does.
        reference: show the judge people's description.
        seed: of the order, and of the judge.
        tries: how often a verdict that cannot be read is asked again.
    """
    verdicts, said, gold, model = given
    if verdicts is not None:
        return ResultSet({"caparena-auto": caparena_auto_verdicts(verdicts)})
    CAPARENA_AUTO.need(data=gold or None, images=images, judge=judge)
    said, note = meet_ids(gold, said, "captions")
    found = caparena_auto(
        judge, said, gold, str(images), captioner=model, orders=orders, reference=reference, seed=seed, tries=tries
    )
    return ResultSet({"caparena-auto": found}, notes=(note,) if note else ())


#: One question a picture, the sides by chance, people's description beside them.
PAPER = Protocol(
    options={"orders": "random", "reference": True, "tries": 5},
    models={"judge": "openai:gpt-4o-2024-08-06"},
    published="Score_avg of 14 captioners from their scores against the three bases, and what their order agrees with "
    "people's votes: Spearman .943, Kendall .824 (Table 3)",
    unverified=(
        "the words of the judge's prompt: ours says the same in other words",
        "the picture's `detail` is the server's own choice, the paper's is `high`",
        "the seed of the sides: the released code has none",
    ),
)
CAPARENA_AUTO = Benchmark(
    "caparena-auto", "captions", "--judge compares with three fixed captioners in both orders (600 pictures)",
    "--data: `caparena_auto_600.json`; --images; or captions that come with a judge's verdicts (`judge`)",
    "github.com/njucckevin/CapArena", Way(_run, _read), {"paper": PAPER},
)  # fmt: skip
