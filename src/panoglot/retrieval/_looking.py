"""The best candidates of a search, looked at where the plan says so and there are models that look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from panoglot.errors import PanoglotError
from panoglot.pictures import Image
from panoglot.retrieval._planning import Askers
from panoglot.retrieval._records import Plan, Query

__all__ = ["looked"]


def looked(
    plan: Plan, query: Query, ids: list[str], askers: Askers, picture: Callable[[Any], Image], notes: list[str]
) -> tuple[list[str], dict[str, list[bool]], dict[str, list[str]]]:
    """Reorder the best by a verifier and an evaluator.

    Args:
        plan: says how many are looked at.
        query: has the reference.
        ids: best first.
        askers: the models `verifier` and `evaluator`.
        picture: of a candidate or of the query.
        notes: what is worth saying is added.

    Returns:
        `(ids, verdicts by id, ids after each stage)`; a stage that fails leaves the order as it was.
    """
    verdicts: dict[str, list[bool]] = {}
    stages = {"search": list(ids)}
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
                    models, lambda m: verify(stages["search"], plan.propositions, m["verifier"], picture, plan.verify)
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
