"""The best candidates of a search, or of many, looked at where the plan says so and there are models that look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from panoglot.asking import Models
from panoglot.errors import PanoglotError, RowError
from panoglot.pictures import Image
from panoglot.retrieval._planning import AT_ONCE, Askers
from panoglot.retrieval._records import Plan, Query
from panoglot.retrieval._reranking import can_rerank, not_reranked, reranked

__all__ = ["Looks", "look_all", "looked"]


def looked(
    plan: Plan,
    query: Query,
    ids: list[str],
    askers: Askers,
    picture: Callable[[Any], Image],
    notes: list[str],
    encoder: Any = None,
) -> tuple[list[str], dict[str, list[bool]], dict[str, list[str]]]:
    """Reorder the best by a verifier and an evaluator.

    Args:
        plan: says how many are looked at.
        query: has the reference.
        ids: best first.
        askers: the models `verifier` and `evaluator`.
        picture: of a candidate or of the query.
        notes: what is worth saying is added.
        encoder: that reranks, if it can.

    Returns:
        `(ids, verdicts by id, ids after each stage)`; a stage that fails leaves the order as it was.
    """
    verdicts: dict[str, list[bool]] = {}
    stages = {"search": list(ids)}
    if plan.rerank and ids:
        if can_rerank(encoder, query):
            ids = reranked(encoder, {"": query}, {"": ids}, {"": plan.rerank}, picture)[""]
            stages["rerank"] = list(ids)
        else:
            notes.append(not_reranked(encoder))
    if not ids or not (plan.verify or plan.judge):
        return ids, verdicts, stages
    from panoglot.retrieval._verify import accept_first, verify

    if plan.verify and plan.propositions:
        if "verifier" not in askers.names:
            notes.append("not verified: no --model verifier=PROVIDER:NAME.")
        else:
            try:
                models = askers.find({"verifier": "generator"}, plan.preset)
                ids, verdicts, failed = askers.run(
                    models, lambda m: verify(list(ids), plan.propositions, m["verifier"], picture, plan.verify)
                )
                stages["verify"] = list(ids)
                if failed:
                    notes.append(f"{failed} questions of the verifier had no answer.")
            except (PanoglotError, OSError) as error:
                notes.append(f"not verified: {error}")
    if plan.judge and query.images and ids:
        if "evaluator" not in askers.names:
            notes.append("not compared with the reference: no --model evaluator=PROVIDER:NAME.")
        else:
            before = list(ids)
            try:
                models, first = askers.find({"evaluator": "generator"}, plan.preset), picture(query.images[0])
                ids, accepted = askers.run(
                    models, lambda m: accept_first(first, query.text, before, m["evaluator"], picture, plan.judge)
                )
                stages["judge"] = list(ids)
                if accepted is None:
                    notes.append(f"none of the first {plan.judge} was accepted by the evaluator.")
            except (PanoglotError, OSError) as error:
                notes.append(f"not compared: {error}")
    return ids, verdicts, stages


@dataclass
class Looks:
    """What looking at the best of many queries came to.

    Attributes:
        ranked: ids by query, best first.
        verified: queries whose best a verifier put in order.
        judged: queries whose best were held beside the reference.
        accepted: queries of which one was accepted.
        failed: questions of the verifier without an answer; they count as not fulfilled.
        reranked: queries whose best the encoder put in order.
    """

    ranked: dict[str, list[str]] = field(default_factory=dict)
    verified: int = 0
    judged: int = 0
    accepted: int = 0
    failed: int = 0
    reranked: int = 0


def look_all(
    plans: Mapping[str, Plan],
    queries: Mapping[str, Query],
    ranked: Mapping[str, Sequence[str]],
    askers: Askers,
    picture: Callable[[Any], Image],
    encoder: Any = None,
) -> Looks:
    """Reorder the best of many queries by the encoder and the models `verifier` and `evaluator`, those that there are.

    Args:
        plans: by query, say how many are looked at.
        queries: by the same ids, have the references.
        ranked: ids by query, best first.
        askers: the models.
        picture: of a candidate or of a query.
        encoder: that reranks, if it can.

    Returns:
        The orders, and how many were looked at.

    Raises:
        BudgetReached: the money is spent; every answer so far is kept.
    """
    from panoglot.retrieval._verify import accept_first, verify

    done = Looks({query: list(ids) for query, ids in ranked.items()})
    depths = {key: plans[key].rerank for key in ranked if plans[key].rerank and can_rerank(encoder, queries[key])}
    if depths:
        done.ranked |= reranked(encoder, queries, {key: done.ranked[key] for key in depths}, depths, picture)
        done.reranked = len(depths)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(key: str, m: Models) -> None:
        plan, query, ids = plans[key], queries[key], done.ranked[key]
        async with gate:
            if "verifier" in askers.names and plan.verify and plan.propositions and ids:
                ids, _, failed = await verify(ids, plan.propositions, m["verifier"], picture, plan.verify)
                done.verified += 1
                done.failed += failed
            if "evaluator" in askers.names and plan.judge and query.images and ids:
                try:
                    reference = picture(query.images[0])
                except RowError:
                    reference = None
                if reference is not None:
                    ids, accepted = await accept_first(reference, query.text, ids, m["evaluator"], picture, plan.judge)
                    done.judged += 1
                    done.accepted += accepted is not None
            done.ranked[key] = ids

    async def work(m: Models) -> None:
        await asyncio.gather(*(one(key, m) for key in done.ranked))

    there: dict[str, str] = {alias: "generator" for alias in ("verifier", "evaluator") if alias in askers.names}
    if there:
        askers.run(askers.find(there, "search"), work)
    return done
