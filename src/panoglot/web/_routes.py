"""The routes: what each reads and does, said once, here, for the dispatch and for the OpenAPI page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from panoglot._version import __version__
from panoglot.retrieval import CODES
from panoglot.web._http import Problem

__all__ = [
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
_TYPES: dict[str, Any] = {"string": str, "array": list, "integer": int, "object": dict, "boolean": bool}
#: What a path holds.
_IN_PATH: dict[str, dict[str, Any]] = {
    "id": {"type": "string", "pattern": f"^{_ID.pattern}$"}, "size": {"type": "integer", "enum": list(SIZES)},
}  # fmt: skip


@dataclass(frozen=True)
class Field:
    """A field of a JSON body, a query or an answer: what is checked of it, and what the OpenAPI page says of it."""

    name: str
    type: str
    about: str
    needed: bool = False
    #: of a whole number; of a list, how many entries
    least: int | None = None
    most: int | None = None
    #: what a list holds
    items: str = "string"

    def schema(self) -> dict[str, Any]:
        """As JSON schema."""
        made: dict[str, Any] = {"type": self.type, "description": self.about}
        start, end = ("minItems", "maxItems") if self.type == "array" else ("minimum", "maximum")
        made |= {key: value for key, value in ((start, self.least), (end, self.most)) if value is not None}
        return made | ({"items": {"type": self.items}} if self.type == "array" else {})

    def check(self, value: Any) -> None:
        """Refuse what is of another type or beyond the bounds.

        Raises:
            Problem: it is.
        """
        if not _is(self.type, value):
            raise Problem(422, f"{self.name} must be of type {self.type}.", field=self.name)
        size = len(value) if self.type == "array" else value
        low = self.least is not None and size < self.least
        if self.type == "array" and not all(_is(self.items, one) for one in value):
            raise Problem(422, f"{self.name} must be a list of type {self.items}.", field=self.name)
        if low or (self.most is not None and size > self.most):
            ends = f"{self.least}" + (f" to {self.most}" if self.most is not None else " or more")
            what = f"have {ends} entries" if self.type == "array" else f"be a whole number, {ends}"
            raise Problem(422, f"{self.name} must {what}.", field=self.name)


Fields = tuple[Field, ...]


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
    #: its body is a picture
    picture: bool = False
    #: what its answer holds
    gives: Fields = ()

    @property
    def pattern(self) -> re.Pattern[str]:
        """What a path must be."""
        return re.compile(re.escape(self.path).replace(r"\{id\}", "([^/]+)").replace(r"\{size\}", r"(\d{1,5})"))


_AUTHOR = Field("author", "string", "who says so")
_FILTERS: Fields = (
    Field("lang", "string", "only images with a caption in one of these languages"),
    Field("kinds", "string", "only images with a caption of one of these kinds"),
    Field("where", "string", "condition on images"),
)
_SHOW = Field("show", "string", "languages of the caption that is shown, the first that there is")
_N = Field("n", "integer", f"how many, at most {MOST_ITEMS}", least=1, most=MOST_ITEMS)
_FROM: Fields = (Field("from", "integer", "first row", least=0, most=10**11 - 1), _N)
_CAPTION = Field("caption", "string", "which", needed=True)

ROUTES = (
    Route("GET", "/api/v1", "info", "What is served: datasets, counts, languages, vectors, parts."),
    Route(
        "POST", "/api/v1/search", "search", "Search; the plan comes back, edited it can be sent again.",
        (
            Field("text", "string", "what to look for; +word, -word, \"words together\""),
            Field("image", "string", "an image of the dataset, or the id that query-picture gave"),
            Field(
                "parts", "array", "instead of both: parts of a query {kind, value, role, condition, weight}",
                items="object",
            ),
            *_FILTERS,
            Field("k", "integer", f"how many, at most {MOST_HITS}; without it 60", least=1, most=MOST_HITS),
            Field("by", "string", "parts that look: lexical,caption,picture"),
            Field("preset", "string", "how the query is read"),
            Field("plan", "object", "search with this plan"), Field("min_score", "number", "least cosine"),
            Field(
                "captions", "integer", f"captions of each hit, at most {MOST_CAPTIONS}; without it 10",
                least=0, most=MOST_CAPTIONS,
            ),
            Field("show", "string", "one caption of each hit: the first of these languages; query: of what was found"),
        ),
        gives=(
            Field("hits", "array", "pictures with their scores and parts, best first", items="object"),
            Field("notes", "array", "lines on what was found, in English"),
            Field("note_codes", "array", "to each line {code, values}, of which other languages make theirs"),
            Field("typed", "object", "words that were typed with a sign: must, must_not"),
            Field("plan", "object", "how the query was read"), Field("version", "integer", "of the dataset"),
        ),
    ),
    Route(
        "POST", "/api/v1/query-picture", "query_picture", "Send a picture (image/*) to search with; gives its id.",
        picture=True,
    ),
    Route(
        "GET", "/api/v1/layout", "layout",
        "Shapes of all pictures in order of id: width / height × 1000, uint16, little-endian; the ETag is the version.",
        query=_FILTERS,
    ),
    Route(
        "GET", "/api/v1/items", "items", "A window of the same pictures: ids and one caption each.",
        query=(*_FROM, _SHOW, Field("version", "string", "of the layout; 409 when it is another one now"), *_FILTERS),
    ),
    Route("GET", "/api/v1/images/{id}", "image", "A picture's facts and all its captions, dropped ones too."),
    Route("GET", "/api/v1/thumb/{id}/{size}.webp", "thumb", "The picture, re-encoded: 240, 480 or 1600 high."),
    Route("GET", "/api/v1/overview", "overview", "Counts: languages, kinds, writers, drops, gaps, rejects, runs."),
    Route(
        "GET", "/api/v1/queue", "queue", "Captions to review, those that nobody has judged.",
        query=(
            Field("why", "string", "kept, dropped, dropped:REASON, language, low:SCORE"),
            Field("lang", "string", "one language"),
            Field("after", "string", "cursor of the answer before"), _N,
        ),
    ),
    Route(
        "GET", "/api/v1/compare", "compare", "Writers of captions side by side, on the pictures that all describe.",
        query=(
            Field("writers", "string", "two to nine, with commas; without it those with most captions"),
            Field("lang", "string", "language of the captions"), *_FROM,
        ),
    ),
    Route(
        "POST", "/api/v1/images/{id}/captions", "caption", "Correct or add a caption.",
        (Field("text", "string", "the right text", needed=True), Field("lang", "string", "its language"),
         Field("caption", "string", "the caption that is corrected"),
         Field("add", "boolean", "correct none: put it beside what is there"), _AUTHOR),
        writes=True,
    ),
    Route(
        "POST", "/api/v1/images/{id}/drop", "drop", "Drop a caption.",
        (_CAPTION, Field("reason", "string", "why"), _AUTHOR), writes=True,
    ),
    Route(
        "POST", "/api/v1/images/{id}/judge", "judge", "Say that a caption is right (then it is kept) or not (dropped).",
        (_CAPTION, Field("keep", "boolean", "whether it is right", needed=True), Field("reason", "string", "why not"),
         _AUTHOR),
        writes=True,
    ),
    Route(
        "POST", "/api/v1/undo", "undo", "Take back a correction or decision.",
        (Field("edit_id", "string", "of its answer", needed=True), _AUTHOR), writes=True,
    ),
    Route(
        "POST", "/api/v1/vote", "vote", "Say which of several captions of a picture is best.",
        (Field("captions", "array", "ids", needed=True, least=2, most=9),
         Field("best", "string", "the best one; none: no difference"), _AUTHOR),
        writes=True,
    ),
    Route(
        "POST", "/api/v1/forget", "forget", "Forget pictures; see `panoglot forget`.",
        (Field("ids", "array", "ids of images", needed=True, least=1),
         Field("dry_run", "boolean", "only say what would go")),
        writes=True,
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
            {"name": name, "in": "path", "required": True, "schema": _IN_PATH[name]}
            for name in re.findall(r"\{(\w+)\}", route.path)
        ]
        given += [
            {"name": field.name, "in": "query", "description": field.about, "schema": field.schema()}
            for field in route.query
        ]
        if given:
            one["parameters"] = given
        if route.body:
            schema = {
                "type": "object", "properties": {field.name: field.schema() for field in route.body},
                "required": [field.name for field in route.body if field.needed], "additionalProperties": False,
            }  # fmt: skip
            one["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
        if route.picture:
            one["requestBody"] = {"required": True, "content": {"image/*": {}}}
        paths.setdefault(route.path, {})[route.method.lower()] = one
    about = "Of several datasets: /api/v1/d/{dataset}/… has the same routes for each; without it the first is meant."
    return {
        "openapi": "3.1.0", "info": {"title": "Panoglot", "version": __version__, "description": about},
        "paths": paths, "security": [{"token": []}],
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }  # fmt: skip


def _given(fields: Fields) -> dict[str, Any]:
    """What an answer holds; lines have codes, and these their values."""
    known = {field.name: field.schema() for field in fields}
    codes = "\n".join(f"{code}: {text}" for code, text in CODES.items())
    known["note_codes"]["items"] = {
        "type": "object", "required": ["code", "values"],
        "properties": {
            "code": {"type": "string", "enum": ["", *CODES], "description": codes}, "values": {"type": "object"},
        },
    }  # fmt: skip
    return {"type": "object", "properties": known}


def fields(body: dict[str, Any], name: str) -> dict[str, Any]:
    """The body with no other fields than the route's, each of its type and within its bounds.

    Raises:
        Problem: another field, another type, too much or too little of it, one that is needed is missing.
    """
    known = {field.name: field for field in _named(name).body}
    found = {}
    for given, value in body.items():
        if given not in known:
            raise Problem(422, f"there is no field '{given}': {', '.join(known)}.", field=given)
        if value is not None:
            known[given].check(value)
            found[given] = value
    for field in known.values():
        if field.needed and field.name not in found:
            raise Problem(422, f"{field.name} is missing.", field=field.name)
    return found


def query(given: dict[str, str], name: str) -> dict[str, Any]:
    """What follows the `?`, with no other names than the route's; numbers as such, empty ones left out.

    Raises:
        Problem: another name, no number, one beyond its bounds.
    """
    known = {field.name: field for field in _named(name).query}
    found: dict[str, Any] = {"n": MOST_ITEMS} if "n" in known else {}
    for field, value in given.items():
        if field not in known:
            raise Problem(422, f"there is no '{field}' here: {', '.join(known) or 'nothing'}.", field=field)
        if known[field].type != "integer":
            found |= {field: value} if value else {}
        elif value.isdecimal() and len(value) < 12 and value.isascii():
            known[field].check(number := int(value))
            found[field] = number
        else:
            raise Problem(422, f"{field} must be a whole number.", field=field)
    return found


def _is(kind: str, value: Any) -> bool:
    """Whether a value of JSON is of a type of JSON schema."""
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES.get(kind, (int, float)))


def _named(name: str) -> Route:
    return next(route for route in ROUTES if route.name == name)
