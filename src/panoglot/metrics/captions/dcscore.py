"""DCScore: a long caption fact by fact, for truth (precision) and coverage (recall).

Source: "Painting with Words" (ICLR 2025; arXiv 2503.07906), steps and samples read in its evaluation code. A model
splits the caption into primitive facts, matches them to the reference's facts, and checks each against the picture;
three matchings times three verifications are averaged, over all facts and over the relevant (visible) ones; the score
is the mean of the two F1. Prompts are ours. Kept for fidelity: m facts matched to one reference fact share its
credit, false ones too (`duplicates="all"`; `"verified"` counts only true ones). Ours: equal facts are merged before
matching; a caption without facts scores 0 (the original divides by zero).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from panoglot.asking import ask
from panoglot.checks import check_option, offenders
from panoglot.errors import RowError, UserError
from panoglot.metrics._inputs import OnEmpty, Predictions, prepare
from panoglot.metrics._result import MetricResult, mean_result

if TYPE_CHECKING:
    from panoglot.pictures import Image
    from panoglot.providers.roles import Generator

__all__ = ["Fact", "dcscore", "fact_scores", "parse_json_list"]


@dataclass(frozen=True, slots=True)
class Fact:
    """A primitive fact of a caption.

    Attributes:
        text: the fact.
        relevant: it describes what can be seen (not mood or interpretation).
        match: number of the reference fact it corresponds to, or None.
        true: it holds for the picture or its reference caption.
    """

    text: str
    relevant: bool
    match: int | None
    true: bool


def _half(facts: Sequence[Fact], shares: Mapping[int, int], references: int) -> tuple[float, float, float]:
    if not facts:
        return 0.0, 0.0, 0.0
    true = [fact for fact in facts if fact.true]
    precision = len(true) / len(facts)
    extra = sum(fact.match is None for fact in true)
    credit = sum(1 / shares[fact.match] for fact in true if fact.match is not None) + extra
    recall = credit / (references + extra) if references + extra else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall + 1e-8)


def fact_scores(facts: Sequence[Fact], references: int, *, duplicates: str = "all") -> dict[str, float]:
    """Score one matching and verification.

    Args:
        facts: of the caption, without repetition.
        references: number of reference facts.
        duplicates: whose number divides the credit of a reference fact: `all` matched facts, or the `verified` ones.

    >>> rows = [(1, 0, 1), (1, 1, 0), (1, None, 1), (0, None, 1), (1, None, 0)]
    >>> scores = fact_scores([Fact(f"f{n}", bool(r), m, bool(v)) for n, (r, m, v) in enumerate(rows)], 4)
    >>> {name: round(value, 5) for name, value in scores.items()}  # doctest: +NORMALIZE_WHITESPACE
    {'precision': 0.6, 'recall': 0.5, 'f1': 0.54545,
     'relevant_precision': 0.5, 'relevant_recall': 0.4, 'relevant_f1': 0.44444, 'dcscore': 0.49495}
    """
    check_option("duplicates", duplicates, ("all", "verified"))
    shares = Counter(
        fact.match for fact in facts if fact.match is not None and (duplicates == "all" or fact.true)
    )  # fmt: skip
    every = _half(facts, shares, references)
    # the shares stay those of all facts: that is how the original weighs them
    seen = _half([fact for fact in facts if fact.relevant], shares, references)
    names = ("precision", "recall", "f1")
    scores = dict(zip(names, every)) | {f"relevant_{name}": value for name, value in zip(names, seen)}
    return {**scores, "dcscore": (every[2] + seen[2]) / 2}


_SPLIT = """You are a linguist. Split the image caption below into primitive facts. A primitive fact has one subject
and states one property of it or one relation to another thing, and cannot be split further. Leave nothing out and add
nothing.
Give every thing that is mentioned an identifier (its noun and a number: cat_0, cat_1) and use it wherever the thing
returns, so that two cats are never mixed up. Mark each fact with relevance 1 when it describes something that can be
seen in the image, and 0 when it is an interpretation, a mood or a comment.
Answer with a JSON list only: [{{"fact": "cat_0 is black", "identifier": "cat_0", "relevance": 1}}, ...]

Example caption: A black cat sleeps beside two dogs, giving the room a peaceful mood.
Example answer: [{{"fact": "cat_0 is black", "identifier": "cat_0", "relevance": 1}},
{{"fact": "cat_0 sleeps", "identifier": "cat_0", "relevance": 1}},
{{"fact": "There are two dogs dog_0", "identifier": "dog_0", "relevance": 1}},
{{"fact": "cat_0 is beside dog_0", "identifier": "cat_0", "relevance": 1}},
{{"fact": "The mood of the room is peaceful", "identifier": "room_0", "relevance": 0}}]

Example caption: A wooden table stands under a window. On it are three cups, one of them broken.
Example answer: [{{"fact": "table_0 is wooden", "identifier": "table_0", "relevance": 1}},
{{"fact": "table_0 stands under window_0", "identifier": "table_0", "relevance": 1}},
{{"fact": "There are three cups cup_0", "identifier": "cup_0", "relevance": 1}},
{{"fact": "cup_0 are on table_0", "identifier": "cup_0", "relevance": 1}},
{{"fact": "cup_1 is one of cup_0", "identifier": "cup_1", "relevance": 1}},
{{"fact": "cup_1 is broken", "identifier": "cup_1", "relevance": 1}}]

Example caption: Two women in saris wait for a train; the taller one holds a blue umbrella.
Example answer: [{{"fact": "There are two women woman_0", "identifier": "woman_0", "relevance": 1}},
{{"fact": "woman_0 wear saris", "identifier": "woman_0", "relevance": 1}},
{{"fact": "woman_0 wait for train_0", "identifier": "woman_0", "relevance": 1}},
{{"fact": "woman_1 is the taller one of woman_0", "identifier": "woman_1", "relevance": 1}},
{{"fact": "woman_1 holds umbrella_0", "identifier": "woman_1", "relevance": 1}},
{{"fact": "umbrella_0 is blue", "identifier": "umbrella_0", "relevance": 1}}]

Example caption: A red sign reads "Bakery" in white letters. The street looks as if it had just rained.
Example answer: [{{"fact": "sign_0 is red", "identifier": "sign_0", "relevance": 1}},
{{"fact": "sign_0 reads Bakery", "identifier": "sign_0", "relevance": 1}},
{{"fact": "The letters of sign_0 are white", "identifier": "sign_0", "relevance": 1}},
{{"fact": "street_0 looks as if it had just rained", "identifier": "street_0", "relevance": 1}}]

Example caption: An old fisherman mends a net on the beach, perhaps dreaming of better days.
Example answer: [{{"fact": "fisherman_0 is old", "identifier": "fisherman_0", "relevance": 1}},
{{"fact": "fisherman_0 mends net_0", "identifier": "fisherman_0", "relevance": 1}},
{{"fact": "fisherman_0 is on beach_0", "identifier": "fisherman_0", "relevance": 1}},
{{"fact": "fisherman_0 may dream of better days", "identifier": "fisherman_0", "relevance": 0}}]

Caption: {caption}
Answer:"""
_MATCH = """Two people described the same image. Facts of the first person (numbered strings) and of the second person
(numbered, "id") are below; they use different identifiers for the same things, so first find out which things
correspond. Then give for every fact of the first person the id of the second person's fact that it corresponds to. They
correspond when they speak of the same thing and the same property or relation, even when a detail or a place differs.
Use null when none corresponds. Leave no fact of the first person out, and copy it exactly.
Answer with a JSON list only: [{{"fact": "...", "matched_oracle_id": 3}}, {{"fact": "...", "matched_oracle_id": null}}]

First person: {facts}
Second person: {oracle}
Answer:"""
_VERIFY = """Look at the image and read its reference description. Judge every fact in the list: 1 when it is true
according to the image or to the description, 0 when it is false. Words such as cat_0 name things in the image. Copy
every fact exactly
and leave none out. Answer with a JSON list only: [{{"fact": "...", "verification": 1}}, ...]

Reference description: {reference}
Facts: {facts}
Answer:"""
_LIST = re.compile(r"\[.*\]", re.DOTALL)


def parse_json_list(text: str) -> list[dict[str, Any]] | None:
    """Read the JSON list of objects in a model's answer: code fences, talk around it and a trailing comma are forgiven.

    >>> parse_json_list('Sure! ```json\\n[{"fact": "a", "verification": 1},]\\n``` Anything else?')
    [{'fact': 'a', 'verification': 1}]
    >>> parse_json_list("I cannot help with that.") is None
    True
    """
    found = _LIST.search(text)
    if not found:
        return None
    raw = re.sub(r",\s*([\]}])", r"\1", found[0])
    raw = re.sub(r":\s*None\b", ": null", raw)
    try:
        rows = json.loads(raw)
    except json.JSONDecodeError:
        # talk after the list may hold a bracket of its own
        try:
            rows = json.JSONDecoder().raw_decode(raw)[0]
        except json.JSONDecodeError:
            return None
    return rows if isinstance(rows, list) and all(isinstance(row, dict) and "fact" in row for row in rows) else None


def _number(value: Any, count: int) -> int | None:
    """A reference number, or None: `None`, "None", -1, out of range, or not a number."""
    try:
        found = int(value)
    except (TypeError, ValueError):
        return None
    return found if 0 <= found < count else None


def dcscore(
    preds: Predictions,
    references: Sequence[str],
    facts: Sequence[Sequence[str]],
    images: Sequence[Image],
    generator: Generator,
    verifier: Generator | None = None,
    *,
    lang: str | Sequence[str] = "en",
    ids: Sequence[Any] | None = None,
    samples: int = 3,
    attempts: int = 5,
    duplicates: str = "all",
    seed: int = 0,
    on_error: OnEmpty = "raise",
    confidence: float | None = None,
    resamples: int = 1000,
) -> MetricResult:
    """DCScore of a corpus, 0..100.

    Args:
        preds: a long caption for each item.
        references: a detailed human caption of each item.
        facts: the primitive facts of each reference caption (made by people).
        images: the pictures.
        generator: text model that splits and matches.
        verifier: picture model that verifies; None is `generator`.
        lang: language of all captions.
        ids: item ids.
        samples: matchings and verifications a caption (all combinations are averaged).
        attempts: how often an item is tried with other seeds before it stays null.
        duplicates: as in `fact_scores`.
        seed: of the samples; asked seeds are a function of (seed, attempt, sample).
        on_error: what empty captions do; with `score` they score 0.
        confidence: level of a bootstrap interval.
        resamples: of the interval.

    Returns:
        `parts` hold the six means and `valid` (share of items); `details` the facts of each item with their last match
        and verification. Items no attempt could score are null.

    Raises:
        UserError: bad input, naming the first offenders.
    """
    given = prepare(preds, None, lang=lang, tokenizer="whitespace", ids=ids, on_error=on_error)
    for what, column in (("references", references), ("facts", facts), ("images", images)):
        if len(column) != len(given.ids):
            raise UserError(f"{len(given.ids)} captions but {what} for {len(column)} items.")
    bare = [name for name, oracle in zip(given.ids, facts) if not oracle or isinstance(oracle, str)]
    if bare:
        raise UserError(f"every item needs a list of reference facts; not so for {offenders(bare)}.")
    verifier = verifier or generator
    rows: dict[int, dict[str, float]] = {}
    tables: dict[int, list[dict[str, Any]]] = {}
    texts = dict(zip(given.kept, given.texts))
    pending = [n for n in given.kept if texts[n].strip()]
    for n in set(given.kept) - set(pending):  # on_error="score": nothing was said
        rows[n], tables[n] = fact_scores([], len(facts[n])), []
    for attempt in range(attempts):
        if not pending:
            break
        done = _attempt(pending, texts, references, facts, images, generator, verifier, samples, seed, attempt)
        for n, combinations in done.items():
            each = [fact_scores(combination, len(facts[n]), duplicates=duplicates) for combination in combinations]
            rows[n] = {name: sum(row[name] for row in each) / len(each) for name in each[0]}
            tables[n] = [
                {"fact": f.text, "relevant": f.relevant, "match": f.match, "true": f.true} for f in combinations[-1]
            ]
        pending = [n for n in pending if n not in done]
    names = [name for name in fact_scores([], 1) if name != "dcscore"]
    parts: dict[str, float | None] = {
        name: 100 * sum(row[name] for row in rows.values()) / len(rows) if rows else None for name in names
    }
    parts["valid"] = len(rows) / len(given.ids) if given.ids else None
    return mean_result(
        "dcscore",
        [rows[n]["dcscore"] if n in rows else None for n in range(len(given.ids))],
        version="2",
        ids=given.ids,
        scale=100.0,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        parts=parts,
        language=given.language,
        details=tuple(tables.get(n) for n in range(len(given.ids))),
        options={
            "samples": samples, "attempts": attempts, "duplicates": duplicates, "seed": seed, "on_error": on_error,
            "generator": getattr(generator, "fingerprint", type(generator).__name__),
            "verifier": getattr(verifier, "fingerprint", type(verifier).__name__),
        },
    )  # fmt: skip


def _attempt(
    pending: Sequence[int],
    texts: Mapping[int, str],
    references: Sequence[str],
    oracles: Sequence[Sequence[str]],
    images: Sequence[Image],
    generator: Generator,
    verifier: Generator,
    samples: int,
    seed: int,
    attempt: int,
) -> dict[int, list[list[Fact]]]:
    """Try every pending item once; returns the combinations of those that parsed throughout."""
    from panoglot.providers.roles import Prompt

    def seeded(sample: int) -> int:
        return (seed * 1_000 + attempt) * 100 + sample

    def read(answer: Any) -> list[dict[str, Any]] | None:
        return None if isinstance(answer, RowError) else parse_json_list(answer.text)

    prompts = [
        Prompt(_SPLIT.format(caption=texts[n]), max_tokens=2000, temperature=1.0, seed=seeded(0)) for n in pending
    ]
    split: dict[int, dict[str, bool]] = {}
    for n, answer in zip(pending, ask(generator, prompts)):
        rows = read(answer)
        if rows:
            split[n] = {}
            for row in rows:  # equal facts are one fact; the first one's relevance counts
                split[n].setdefault(str(row["fact"]).strip(), str(row.get("relevance", 1)).strip() != "0")
    jobs = [(n, sample) for n in split for sample in range(samples)]
    listed = {n: json.dumps(list(split[n]), ensure_ascii=False) for n in split}
    oracle = {
        n: json.dumps([{"id": k, "fact": text} for k, text in enumerate(oracles[n])], ensure_ascii=False) for n in split
    }
    match_prompts = [
        Prompt(_MATCH.format(facts=listed[n], oracle=oracle[n]), max_tokens=4000, temperature=1.0, seed=seeded(10 + s))
        for n, s in jobs
    ]
    verify_prompts = [
        Prompt(
            _VERIFY.format(facts=listed[n], reference=references[n]),
            images=(images[n],), max_tokens=4000, temperature=0.3, seed=seeded(20 + s),
        )
        for n, s in jobs
    ]  # fmt: skip
    matched: dict[int, list[Any]] = {n: [] for n in split}
    verified: dict[int, list[Any]] = {n: [] for n in split}
    for prompts_, model, key, into in (
        (match_prompts, generator, "matched_oracle_id", matched),
        (verify_prompts, verifier, "verification", verified),
    ):
        for (n, _), answer in zip(jobs, ask(model, prompts_)):
            rows = read(answer)
            table = {str(row["fact"]).strip(): row.get(key) for row in rows} if rows else {}
            into[n].append(table if set(table) == set(split[n]) else None)
    done = {}
    for n, facts in split.items():
        if None in matched[n] or None in verified[n]:
            continue
        done[n] = [
            [
                Fact(
                    text,
                    relevant,
                    _number(match[text], len(oracles[n])),
                    str(check[text]).strip() in ("1", "True", "true"),
                )
                for text, relevant in facts.items()
            ]
            for match in matched[n]
            for check in verified[n]
        ]
    return done
