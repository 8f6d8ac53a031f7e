"""The routes: what each reads and does, said once, here, for the dispatch and for the OpenAPI page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from panoglot._version import __version__
from panoglot.retrieval import CODES
from panoglot.web._http import Problem

__all__ = [
    "MOST_CAPTIONS",
    "MOST_HITS",
    "MOST_ITEMS",
    "ROUTES",
    "SIZES",
    "Route",
    "fields",
    "is_id",
    "of_dataset",
    "openapi",
    "query",
]

#: Heights of pictures that are given out; most hits of a search; most rows of a window.
SIZES = (240, 480, 1600)
MOST_HITS, MOST_ITEMS, MOST_CAPTIONS = 1000, 200, 200
_ROOT = "/api/v1"
_ID = re.compile(r"[0-9a-f]{32}")

Fields = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Route:
    """A route: method, path with `{id}`, what it does, fields of its body or query, whether it writes, its answer."""

    method: str
    path: str
    name: str
    about: str
    body: Fields = ()
    query: Fields = ()
    writes: bool = False
    gives: Fields = ()

    @property
    def pattern(self) -> re.Pattern[str]:
        """What a path must be."""
        return re.compile(re.escape(self.path).replace(r"\{id\}", "([^/]+)").replace(r"\{size\}", r"(\d{1,5})"))


_AUTHOR = ("author", "string", "who says so")
_FILTERS: Fields = (
    ("lang", "string", "only images with a caption in one of these languages"),
    ("kinds", "string", "only images with a caption of one of these kinds"),
    ("where", "string", "condition on images"),
)
_SHOW = ("show", "string", "languages of the caption that is shown, the first that there is")
_FROM: Fields = (("from", "integer", "first row"), ("n", "integer", f"how many, at most {MOST_ITEMS}"))

ROUTES = (
    Route("GET", "/api/v1", "info", "What is served: datasets, counts, languages, vectors, parts."),
    Route(
        "POST", "/api/v1/search", "search", "Search; the plan comes back, edited it can be sent again.",
        (
            ("text", "string", "what to look for; +word, -word, \"words together\""),
            ("image", "string", "an image of the dataset, or the id that query-picture gave"),
            ("parts", "array", "instead of both: parts of a query {kind, value, role, condition, weight}"),
            *_FILTERS, ("k", "integer", f"how many, at most {MOST_HITS}"),
            ("by", "string", "parts that look: lexical,caption,picture"), ("preset", "string", "how the query is read"),
            ("plan", "object", "search with this plan"), ("min_score", "number", "least cosine"),
            ("captions", "integer", f"captions of each hit, at most {MOST_CAPTIONS}; without it 10"),
            (_SHOW[0], _SHOW[1], "one caption of each hit: the first of these languages; query: of what was found"),
        ),
        gives=(
            ("hits", "array", "pictures with their scores and parts, best first"),
            ("notes", "array", "lines on what was found, in English"),
            ("note_codes", "array", "to each line {code, values}, of which other languages make theirs"),
            ("typed", "object", "words that were typed with a sign: must, must_not"),
            ("plan", "object", "how the query was read"), ("version", "integer", "of the dataset"),
        ),
    ),
    Route("POST", "/api/v1/query-picture", "query_picture", "Send a picture (image/*) to search with; gives its id."),
    Route(
        "GET", "/api/v1/layout", "layout",
        "Shapes of all pictures in order of id: width / height × 1000, uint16, little-endian; the ETag is the version.",
        query=_FILTERS,
    ),
    Route(
        "GET", "/api/v1/items", "items", "A window of the same pictures: ids and one caption each.",
        query=(*_FROM, _SHOW, ("version", "string", "of the layout; 409 when it is another one now"), *_FILTERS),
    ),
    Route("GET", "/api/v1/images/{id}", "image", "A picture's facts and all its captions, dropped ones too."),
    Route("GET", "/api/v1/thumb/{id}/{size}.webp", "thumb", "The picture, re-encoded: 240, 480 or 1600 high."),
    Route("GET", "/api/v1/overview", "overview", "Counts: languages, kinds, writers, drops, gaps, rejects, runs."),
    Route(
        "GET", "/api/v1/queue", "queue", "Captions to review, those that nobody has judged.",
        query=(
            ("why", "string", "kept, dropped, dropped:REASON, language, low:SCORE"), ("lang", "string", "one language"),
            ("after", "string", "cursor of the answer before"), ("n", "integer", f"how many, at most {MOST_ITEMS}"),
        ),
    ),
    Route(
        "GET", "/api/v1/compare", "compare", "Writers of captions side by side, on the pictures that all describe.",
        query=(
            ("writers", "string", "two to nine, with commas; without it those with most captions"),
            ("lang", "string", "language of the captions"), *_FROM,
        ),
    ),
    Route(
        "POST", "/api/v1/images/{id}/captions", "caption", "Correct or add a caption.",
        (("text", "string", "the right text"), ("lang", "string", "its language"),
         ("caption", "string", "the caption that is corrected"), _AUTHOR),
        writes=True,
    ),
    Route(
        "POST", "/api/v1/images/{id}/drop", "drop", "Drop a caption.",
        (("caption", "string", "which"), ("reason", "string", "why"), _AUTHOR), writes=True,
    ),
    Route(
        "POST", "/api/v1/images/{id}/judge", "judge", "Say that a caption is right (then it is kept) or not (dropped).",
        (("caption", "string", "which"), ("keep", "boolean", "whether it is right"), ("reason", "string", "why not"),
         _AUTHOR),
        writes=True,
    ),
    Route(
        "POST", "/api/v1/undo", "undo", "Take back a correction or decision.",
        (("edit_id", "string", "of its answer"), _AUTHOR), writes=True,
    ),
    Route(
        "POST", "/api/v1/vote", "vote", "Say which of several captions of a picture is best.",
        (("captions", "array", "ids"), ("best", "string", "the best one; none: no difference"), _AUTHOR), writes=True,
    ),
    Route(
        "POST", "/api/v1/forget", "forget", "Forget pictures; see `panoglot forget`.",
        (("ids", "array", "ids of images"), ("dry_run", "boolean", "only say what would go")), writes=True,
    ),
)  # fmt: skip


def is_id(text: str) -> bool:
    """Whether a text may be the id of an image."""
    return bool(_ID.fullmatch(text))


def of_dataset(path: str) -> tuple[str | None, str]:
    """The dataset that a path names, and the path without it.

    >>> of_dataset("/api/v1/d/a.pano/search"), of_dataset("/api/v1/search"), of_dataset("/api/v1/d/a.pano")
    (('a.pano', '/api/v1/search'), (None, '/api/v1/search'), ('a.pano', '/api/v1'))
    """
    start = f"{_ROOT}/d/"
    if not path.startswith(start):
        return None, path
    name, slash, rest = path[len(start) :].partition("/")
    return name, f"{_ROOT}{slash}{rest}"


def openapi(read_only: bool) -> dict[str, Any]:
    """The description of the API."""
    paths: dict[str, Any] = {}
    for route in ROUTES:
        if route.writes and read_only:
            continue
        one: dict[str, Any] = {
            "operationId": route.name, "summary": route.about,
            "responses": {"200": {"description": "done"}, "default": {"description": "application/problem+json"}},
        }  # fmt: skip
        if route.gives:
            one["responses"]["200"]["content"] = {"application/json": {"schema": _given(route.gives)}}
        given = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"\{(\w+)\}", route.path)
        ]
        given += [
            {"name": name, "in": "query", "description": text, "schema": {"type": kind}}
            for name, kind, text in route.query
        ]
        if given:
            one["parameters"] = given
        if route.body:
            known = {name: {"type": kind, "description": text} for name, kind, text in route.body}
            schema = {"type": "object", "properties": known, "additionalProperties": False}
            one["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
        paths.setdefault(route.path, {})[route.method.lower()] = one
    about = "Of several datasets: /api/v1/d/{dataset}/… has the same routes for each; without it the first is meant."
    return {
        "openapi": "3.1.0", "info": {"title": "Panoglot", "version": __version__, "description": about},
        "paths": paths, "security": [{"token": []}],
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }  # fmt: skip


def _given(fields: Fields) -> dict[str, Any]:
    """What an answer holds; lines have codes, and these their values."""
    known: dict[str, Any] = {name: {"type": kind, "description": text} for name, kind, text in fields}
    codes = "\n".join(f"{code}: {text}" for code, text in CODES.items())
    known["notes"]["items"] = {"type": "string"}
    known["note_codes"]["items"] = {
        "type": "object", "required": ["code", "values"],
        "properties": {
            "code": {"type": "string", "enum": ["", *CODES], "description": codes}, "values": {"type": "object"},
        },
    }  # fmt: skip
    return {"type": "object", "properties": known}


def fields(body: dict[str, Any], name: str) -> dict[str, Any]:
    """The body with no other fields than the route's, each of its type.

    Raises:
        Problem: another field, another type.
    """
    types: dict[str, Any] = {"string": str, "array": list, "integer": int, "object": dict, "boolean": bool}
    known = {field: kind for field, kind, _ in _named(name).body}
    found = {}
    for field, value in body.items():
        if field not in known:
            raise Problem(422, f"there is no field '{field}': {', '.join(known)}.", field=field)
        if value is None:
            continue
        wanted = types.get(known[field], (int, float))
        if not isinstance(value, wanted) or (isinstance(value, bool) and known[field] != "boolean"):
            raise Problem(422, f"{field} must be of type {known[field]}.", field=field)
        found[field] = value
    return found


def query(given: dict[str, str], name: str) -> dict[str, Any]:
    """What follows the `?`, with no other names than the route's; numbers as such, empty ones left out.

    Raises:
        Problem: another name, no number.
    """
    known = {field: kind for field, kind, _ in _named(name).query}
    found: dict[str, Any] = {}
    for field, value in given.items():
        if field not in known:
            raise Problem(422, f"there is no '{field}' here: {', '.join(known) or 'nothing'}.", field=field)
        if known[field] != "integer":
            found |= {field: value} if value else {}
        elif value.isdecimal() and len(value) < 12 and value.isascii():
            found[field] = int(value)
        else:
            raise Problem(422, f"{field} must be a whole number.", field=field)
    if "n" in known and not 1 <= found.setdefault("n", MOST_ITEMS) <= MOST_ITEMS:
        raise Problem(422, f"n must be a whole number, 1 to {MOST_ITEMS}.", field="n")
    return found


def _named(name: str) -> Route:
    return next(route for route in ROUTES if route.name == name)
