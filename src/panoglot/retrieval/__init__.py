"""Search: pictures by a text in any language, by a picture, or by both.

Vectors are those that an encoder left in the dataset. Up to a million of them the search is exact: all are read from
memory, at its speed. Beyond, an index (`index`) finds the nearest and the stored vectors put them in order.
"""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.retrieval._composer import compose, compose_all
    from panoglot.retrieval._editing import Edited, Forgotten, edit, forget
    from panoglot.retrieval._filter import Allowed
    from panoglot.retrieval._folding import folded, matched
    from panoglot.retrieval._forecast import Forecast, forecast
    from panoglot.retrieval._hits import Hit, Hits
    from panoglot.retrieval._indexing import TELLING, VIEWS, view_boxes
    from panoglot.retrieval._lexical import Lexicon
    from panoglot.retrieval._looking import Looks, look_all
    from panoglot.retrieval._notes import CODES, Note, coded
    from panoglot.retrieval._planning import (
        PRESETS,
        Askers,
        make_plan,
        make_plans,
        model_names,
        option_values,
        preset_of,
    )
    from panoglot.retrieval._query import choose, loaded_encoder
    from panoglot.retrieval._records import POOLS, Plan, Proposition, Query, QueryPart, Term, read_plan
    from panoglot.retrieval._reranking import not_reranked
    from panoglot.retrieval._reviewing import judge, undo, vote
    from panoglot.retrieval._scorer import Pack, Ranker, combine, fold, order, pooled, score
    from panoglot.retrieval._search import Indexed, delete, index, search
    from panoglot.retrieval._searcher import Searcher
    from panoglot.retrieval._syntax import Typed, typed
    from panoglot.retrieval._verify import accept_first, verify
    from panoglot.retrieval._where import Condition, images_where, read_where

__all__ = [
    "CODES",
    "POOLS",
    "PRESETS",
    "TELLING",
    "VIEWS",
    "Allowed",
    "Askers",
    "Condition",
    "Edited",
    "Forecast",
    "Forgotten",
    "Hit",
    "Hits",
    "Indexed",
    "Lexicon",
    "Looks",
    "Note",
    "Pack",
    "Plan",
    "Proposition",
    "Query",
    "QueryPart",
    "Ranker",
    "Searcher",
    "Term",
    "Typed",
    "accept_first",
    "choose",
    "coded",
    "combine",
    "compose",
    "compose_all",
    "delete",
    "edit",
    "fold",
    "folded",
    "forecast",
    "forget",
    "images_where",
    "index",
    "judge",
    "loaded_encoder",
    "look_all",
    "make_plan",
    "make_plans",
    "matched",
    "model_names",
    "not_reranked",
    "option_values",
    "order",
    "pooled",
    "preset_of",
    "read_plan",
    "read_where",
    "score",
    "search",
    "typed",
    "undo",
    "verify",
    "view_boxes",
    "vote",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Allowed": "_filter",
        "Lexicon": "_lexical",
        "folded": "_folding",
        "matched": "_folding",
        "order": "_scorer",
        "accept_first": "_verify",
        "verify": "_verify",
        "Condition": "_where",
        "images_where": "_where",
        "read_where": "_where",
        "POOLS": "_records",
        "CODES": "_notes",
        "Note": "_notes",
        "coded": "_notes",
        "Typed": "_syntax",
        "typed": "_syntax",
        "PRESETS": "_planning",
        "TELLING": "_indexing",
        "VIEWS": "_indexing",
        "Askers": "_planning",
        "Edited": "_editing",
        "Forgotten": "_editing",
        "Forecast": "_forecast",
        "forecast": "_forecast",
        "Hit": "_hits",
        "Hits": "_hits",
        "Pack": "_scorer",
        "Plan": "_records",
        "Proposition": "_records",
        "Query": "_records",
        "QueryPart": "_records",
        "Ranker": "_scorer",
        "Searcher": "_searcher",
        "Term": "_records",
        "choose": "_query",
        "combine": "_scorer",
        "compose": "_composer",
        "compose_all": "_composer",
        "delete": "_search",
        "edit": "_editing",
        "forget": "_editing",
        "fold": "_scorer",
        "Indexed": "_search",
        "index": "_search",
        "judge": "_reviewing",
        "loaded_encoder": "_query",
        "Looks": "_looking",
        "look_all": "_looking",
        "not_reranked": "_reranking",
        "make_plan": "_planning",
        "make_plans": "_planning",
        "option_values": "_planning",
        "preset_of": "_planning",
        "model_names": "_planning",
        "pooled": "_scorer",
        "read_plan": "_records",
        "score": "_scorer",
        "search": "_search",
        "undo": "_reviewing",
        "view_boxes": "_indexing",
        "vote": "_reviewing",
    },
)
