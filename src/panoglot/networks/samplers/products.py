"""Queries of several products, and the products that answer them (MERIT)."""

from __future__ import annotations

from dataclasses import dataclass

from panoglot.networks._records import Record, Text, Turn
from panoglot.networks.samplers._draw import Draw
from panoglot.networks.samplers._sample import Sample

__all__ = ["PICTURE", "Products"]

#: Where a picture stands in the text of a query.
PICTURE = "{picture}"


@dataclass(frozen=True)
class Products:
    """A query of texts and products in their order; the product that answers it, and `negatives` that do not.

    In a document the query is its parts without a role (or with another one), the answer its parts of role `answer`:
    a picture and its title. Parts of role `negative` are products that do not answer: each a picture, then its title.

    Attributes:
        negatives: products a step that do not answer; 0: those of the other queries alone.

    Source: MERIT arXiv 2506.03144 (query instruction with product tags, positive and hard negatives).
    """

    takes = ("document",)

    negatives: int = 0

    def items(self, record: Record) -> int:
        """1 when there are a query and a picture that answers it."""
        query, answer, _ = _split(record)
        return int(bool(query) and bool(answer))

    def __call__(self, record: Record, seed: int, epoch: int, item: int = 0) -> Sample:
        """Return the query's pictures as pieces, its text with their places, and the products."""
        query, answer, worse = _split(record)
        drawn = Draw(seed, epoch, record.id, "products").sample(worse, min(self.negatives, len(worse)))
        pieces, said = list[tuple[str | int, bool]](), ""
        for turn in query:
            if turn.picture is not None:
                pieces.append((turn.picture, False))
                said += PICTURE
            said += turn.text.replace(PICTURE, "")
        titles = [_title(product) for product in (answer, *drawn)]
        texts = (Text(said, "question"), *(Text(title, "answer") if title else None for title in titles))
        others = tuple(turn.picture for product in (answer, *drawn) for turn in product if turn.picture is not None)
        return Sample(texts, others=others, pieces=tuple(pieces), task="products")


def _title(product: list[Turn]) -> str:
    return " ".join(turn.text.replace(PICTURE, "").strip() for turn in product if turn.text.strip())


def _split(record: Record) -> tuple[list[Turn], list[Turn], list[list[Turn]]]:
    """The turns of the query, of its answer, and of each product that does not answer."""
    query, answer, worse = list[Turn](), list[Turn](), list[list[Turn]]()
    for turn in record.turns:
        if turn.role == "answer":
            answer.append(turn)
        elif turn.role == "negative":
            if turn.picture is not None:
                worse.append([])
            if worse:
                worse[-1].append(turn)
        else:
            query.append(turn)
    shown = any(turn.picture is not None for turn in query)
    return query if shown else [], answer if sum(t.picture is not None for t in answer) == 1 else [], worse
