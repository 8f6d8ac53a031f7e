"""Search with several example products, each giving one attribute, by phrases: MERIT's task without training."""

from __future__ import annotations

from panoglot.asking import Models
from panoglot.errors import RowError
from panoglot.providers.roles import Prompt
from panoglot.retrieval._pictures import picture_of
from panoglot.retrieval._records import Plan, Proposition, Query, Term
from panoglot.running import GeneratorName, method

__all__ = ["conditions"]

ATTRIBUTE = "Look at this product. Name its {condition} in a few words, nothing else."


@method(verb="search", unit="query", name="conditions", year=2025)
async def conditions(
    query: Query,
    m: Models,
    *,
    captioner: GeneratorName = "",
    pool: str = "mean",
    weight: float = 0.5,
    prompt: str = ATTRIBUTE,
) -> Plan:
    """Give every example product's attribute a score of its own, and pool them (MERIT's task, without training).

    Args:
        query: the query; its products name the attribute that is meant.
        m: the models.
        captioner: says what the attribute of each product is; without one the product's picture stands for it.
        pool: how the conditions become one score: `mean`, `min` or `product`.
        weight: share of the conditions beside the sentence.
        prompt: the captioner's; `{condition}` is filled in.
    """
    groups: list[tuple[Term, ...]] = []
    explain: list[str] = []
    checks: list[Proposition] = []
    failed = False
    for n, part in enumerate(query.products, 1):
        name = part.condition or "look"
        text = ""
        if captioner:
            try:
                asked = Prompt(prompt.replace("{condition}", name), (picture_of(part.value),), max_tokens=32)
                text = (await m[captioner].generate(asked)).text.strip(" .")
            except RowError as error:
                failed = True
                explain.append(f"{error}: product {n} by its picture")
        if text:
            groups.append((Term("text", f"{name}: {text}", part.weight, f"product {n}"),))
            checks.append(Proposition(f"Is the {name} of this product {text}?"))
            explain.append(f"condition {n}: {name} {text}")
        else:
            groups.append((Term("image", part.value, part.weight, f"product {n}"),))
            explain.append(f"condition {n}: {name} as product {n} shows")
    rest = [
        Term("text" if part.kind == "text" else "image", part.value, part.weight, "query")
        for part in query.parts
        if part.kind != "product"
    ]
    return Plan(
        tuple(rest), conditions=tuple(groups), propositions=tuple(checks), explain=tuple(explain), preset="conditions",
        cond_pool=pool, cond_weight=weight, fallback_used=failed,
    )  # fmt: skip
