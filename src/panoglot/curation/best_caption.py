"""Filter `best_caption`: of the texts of an image the one with the best score."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from panoglot.curation import _select
from panoglot.curation._contract import SENTENCES, Facts, Verdict, text_group_filter
from panoglot.curation._count import key64
from panoglot.curation._measure import measured
from panoglot.curation._scores import has_score, run_scorer
from panoglot.curation._spill import Spill
from panoglot.curation._texts import Texts
from panoglot.curation.top_score import ranked_rows
from panoglot.table import KINDS, Caption, Dataset

__all__ = ["best_caption"]


def _prepare(dataset: Dataset, options: Mapping[str, Any], run: Any) -> None:
    if options["scorer"]:
        run_scorer(dataset, options["scorer"], options["name"], options["kinds"] or KINDS, run)
    else:
        has_score(dataset, options["name"], options["kinds"] or KINDS)


@text_group_filter("no_score", "not_best", kinds=SENTENCES, prepare=_prepare, models={"scorer": None})
def best_caption(
    texts: Texts, *, name: str = "alignment", per_language: bool = False, scorer: str = ""
) -> Callable[[Caption, Facts], Verdict]:
    """Drop all texts of an image but the one with the best score, of equals the one with the smallest id.

    Judged among the texts that earlier steps keep. Memory: 8 bytes an image; a temporary file takes 28 bytes a text.

    Args:
        texts: the texts.
        name: the score. Texts without it, or with one that is no number, are dropped as `no_score`.
        per_language: one of each language.
        scorer: a model that writes the score before it is read.

    Source: Compress & Align (arXiv 2312.06726), step 6.
    """
    import numpy as np

    def group(caption: Caption) -> int:
        return key64(caption.image_id, caption.lang) if per_language else key64(caption.image_id)

    spill = Spill(_select.RANKED)
    for batch in texts(kept=True, any_image=True, scores=True):
        scored = [c for c in batch if (s := c.scores.get(name)) is not None and math.isfinite(s)]
        spill.add(ranked_rows(scored, [group(c) for c in scored], name))
    best = [np.empty(0, np.uint64)]
    passes = max(1, -(-len(spill) // _select.PART))
    for turn in range(passes):
        rows = np.concatenate([some[some["group"] % np.uint64(passes) == turn] for some in spill] or [best[0][:0]])
        if len(rows):
            rows = rows[np.lexsort((rows["low"], rows["high"], rows["score"], rows["group"]))]
            best.append(rows["high"][np.unique(rows["group"], return_index=True)[1]])
    chosen = np.sort(np.concatenate(best))
    texts.statistics |= {"texts": len(spill), "best": len(chosen)}

    def decide(caption: Caption, facts: Facts) -> Verdict:
        value = measured(f"score {name}", caption.scores.get(name))
        if value is None or not math.isfinite(value):
            return "no_score"
        mine = np.uint64(int(caption.caption_id[:16], 16))
        at = int(np.searchsorted(chosen, mine))
        return None if at < len(chosen) and chosen[at] == mine else "not_best"

    return decide
