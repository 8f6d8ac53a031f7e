"""The routes: each a function of a request; what they read and write is said once, here, for the OpenAPI page too."""

from __future__ import annotations

import hashlib
import io
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from panoglot._version import __version__
from panoglot.errors import PanoglotError, RowError, UserError
from panoglot.pictures import Image
from panoglot.retrieval import Hit, Plan, Query, QueryPart, Searcher, Term, edit, forget
from panoglot.vectors import stamp
from panoglot.web._http import Answer, Problem, Request

__all__ = ["ROUTES", "Api", "Route", "openapi"]

SIZES = (240, 480, 1600)
#: Thumbnails in memory, and pictures that clients sent to search with.
_THUMBS, _UPLOADS = 64 * 2**20, 32
_ID = re.compile(r"[0-9a-f]{32}")
MOST_HITS = 1000


@dataclass(frozen=True)
class Route:
    """A route: method, path with `{id}`, what it does, the fields of its JSON body, whether it writes."""

    method: str
    path: str
    name: str
    about: str
    body: tuple[tuple[str, str, str], ...] = ()
    writes: bool = False


ROUTES = (
    Route("GET", "/api/v1", "info", "What is served: counts, languages, vectors, parts."),
    Route(
        "POST", "/api/v1/search", "search", "Search; the plan comes back, edited it can be sent again.",
        (
            ("text", "string", "what to look for; +word, -word, \"words together\""),
            ("image", "string", "an image of the dataset, or the id that query-picture gave"),
            ("parts", "array", "instead of both: parts of a query {kind, value, role, condition, weight}"),
            ("lang", "string", "only images with a caption in one of these languages"), 
            ("kinds", "string", "kinds of captions"),
            ("where", "string", "condition on images"), ("k", "integer", f"how many, at most {MOST_HITS}"),
            ("by", "string", "parts that look: lexical,caption,picture"), ("preset", "string", "how the query is read"),
            ("plan", "object", "search with this plan"), ("min_score", "number", "least cosine"),
        ),
    ),
    Route("POST", "/api/v1/query-picture", "query_picture", "Send a picture (image/*) to search with; gives its id."),
    Route("GET", "/api/v1/images/{id}", "image", "A picture's facts and all its captions, dropped ones too."),
    Route("GET", "/api/v1/thumb/{id}/{size}.webp", "thumb", "The picture, re-encoded: 240, 480 or 1600 high."),
    Route(
        "POST", "/api/v1/images/{id}/captions", "caption", "Correct or add a caption.",
        (("text", "string", "the right text"), ("lang", "string", "its language"),
         ("caption", "string", "the caption that is corrected"), ("author", "string", "who says so")),
        writes=True,
    ),
    Route(
        "POST", "/api/v1/images/{id}/drop", "drop", "Drop a caption.",
        (("caption", "string", "which"), ("reason", "string", "why"), ("author", "string", "who says so")),
        writes=True,
    ),
    Route(
        "POST", "/api/v1/forget", "forget", "Forget pictures; see `panoglot forget`.",
        (("ids", "array", "ids of images"), ("dry_run", "boolean", "only say what would go")), writes=True,
    ),
)  # fmt: skip


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
        names = re.findall(r"\{(\w+)\}", route.path)
        if names:
            one["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
            ]
        if route.body:
            fields = {name: {"type": kind, "description": text} for name, kind, text in route.body}
            schema = {"type": "object", "properties": fields, "additionalProperties": False}
            one["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
        paths.setdefault(route.path, {})[route.method.lower()] = one
    return {
        "openapi": "3.1.0", "info": {"title": "Panoglot", "version": __version__}, "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}, "security": [{"token": []}],
    }  # fmt: skip


class Api:
    """The routes over one dataset. New commits are seen by the next request."""

    def __init__(self, searcher: Searcher, *, read_only: bool = False) -> None:
        self.searcher, self.data, self.read_only = searcher, searcher.dataset, read_only
        self._lock = threading.Lock()
        self._thumbs: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._uploads: OrderedDict[str, Image] = OrderedDict()

    def find(self, request: Request) -> Callable[[], Answer]:
        """The route of a request.

        Raises:
            Problem: none, or another method.
        """
        methods = []
        for route in ROUTES:
            pattern = re.escape(route.path).replace(r"\{id\}", "([^/]+)").replace(r"\{size\}", r"(\d+)")
            if found := re.fullmatch(pattern, request.path):
                methods.append(route.method)
                if route.method == request.method or (route.method, request.method) == ("GET", "HEAD"):
                    if route.writes and self.read_only:
                        raise Problem(403, "this server was started to be read only.")
                    run = getattr(self, f"_{route.name}")
                    return lambda: run(request, *found.groups())
        if methods:
            raise Problem(405, f"use {' or '.join(methods)} here.")
        raise Problem(404, "there is nothing here.")

    def _id(self, given: str) -> str:
        if not _ID.fullmatch(given):
            raise Problem(404, "an image is named by its id, 32 hexadecimal digits.")
        if self.searcher._allowed.is_forgotten(given):
            raise Problem(410, "this picture is forgotten.")
        return given

    def _info(self, request: Request) -> Answer:
        searcher = self.searcher
        counts = dict(searcher._allowed.languages().most_common(200))
        return Answer.of(
            {
                "name": self.data.name, "images": len(self.data.images), "languages": counts,
                "vectors": searcher.name, "read_only": self.read_only, "version": __version__,
            }
        )  # fmt: skip

    def _search(self, request: Request) -> Answer:
        body = _fields(request.json(), ROUTES[1])
        k = body.get("k", 60)
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MOST_HITS:
            raise Problem(422, f"k must be a whole number, 1 to {MOST_HITS}.", field="k")
        options: dict[str, Any] = {
            key: body[key] for key in ("lang", "kinds", "where", "preset", "plan", "min_score") if key in body
        }
        if "by" in body:
            options["parts"] = body["by"]
        if "plan" in options:
            options["plan"] = self._plan(options["plan"])
        with self._lock:
            if "parts" in body:
                hits = self.searcher.search(query=self._query(body["parts"], k), **options)
            else:
                image = self._asked_picture(body["image"]) if body.get("image") else None
                hits = self.searcher.search(body.get("text") or None, image=image, k=k, **options)
        return Answer.of(
            {
                "hits": [self._hit(hit) for hit in hits], "notes": hits.notes,
                "plan": hits.plan.plain() if hits.plan else None, "version": stamp(self.data.captions),
            }
        )  # fmt: skip

    def _query(self, parts: Any, k: int) -> Query:
        """A query of parts; pictures are ids, never paths."""
        made = Query.of({"parts": parts, "top": k})
        return Query(
            tuple(
                part if part.kind == "text" else QueryPart(
                    part.kind, self._asked_picture(part.value), part.role, part.condition, part.weight
                )
                for part in made.parts
            ),
            top=k,
        )  # fmt: skip

    def _plan(self, data: Any) -> Plan:
        """A plan whose pictures are of the dataset, or sent before."""
        plan = Plan.of(data)

        def term(one: Term) -> Term:
            return one if one.kind != "image" else replace(one, value=self._asked_picture(one.value))

        return replace(
            plan, positives=tuple(map(term, plan.positives)), negatives=tuple(map(term, plan.negatives)),
            conditions=tuple(tuple(map(term, group)) for group in plan.conditions),
        )  # fmt: skip

    def _asked_picture(self, given: Any) -> Any:
        if not isinstance(given, str) or not _ID.fullmatch(given):
            raise Problem(422, "an image is an id of the dataset, or what query-picture gave.", field="image")
        return self._uploads.get(given, given)

    def _hit(self, hit: Hit) -> dict[str, Any]:
        captions = [
            {"id": c.caption_id, "text": c.text, "lang": c.lang, "kind": c.kind}
            for c in hit.captions
            if c.kind != "fact"
        ]
        return {"id": hit.image_id, "score": hit.score, "parts": hit.parts, "captions": captions[:200]}

    def _query_picture(self, request: Request) -> Answer:
        try:
            image = Image(request.picture())
            small = Image.from_pil(image.pil(min_side=512))  # re-encoded: nothing of what came is kept as it came
        except RowError as error:
            raise Problem(422, f"this picture cannot be read: {error}.") from None
        self._uploads[small.id] = small
        while len(self._uploads) > _UPLOADS:
            self._uploads.popitem(last=False)
        return Answer.of({"id": small.id}, 201)

    def _image(self, request: Request, given: str) -> Answer:
        key = self._id(given)
        rows = self.data.images.get([key], ["width", "height", "format", "size", "group"]).to_pylist()
        if not rows:
            raise Problem(404, "there is no such picture.")
        captions = [
            {**asdict(c), "parents": list(c.parents), "region": None}
            for c in self.data.captions_of([key], None)[key]
            if c.kind != "fact"
        ]
        return Answer.of({**rows[0], "id": key, "captions": captions})

    def _thumb(self, request: Request, given: str, size: str) -> Answer:
        key, height = self._id(given), int(size)
        if height not in SIZES:
            raise Problem(404, f"pictures come {', '.join(map(str, SIZES))} high.")
        tag = f'"{key}-{height}"'
        headers = {"ETag": tag, "Cache-Control": "private, max-age=31536000, immutable"}
        if request.headers.get("If-None-Match") == tag:
            return Answer(status=304, headers=headers)
        found = self._thumbs.get((key, height))
        if found is None:
            rows = self.data.images.get([key], ["data"])["data"].to_pylist()
            if not rows:
                raise Problem(404, "there is no such picture.")
            found = _webp(rows[0], height)
            with self._lock:
                self._thumbs[key, height] = found
                while sum(map(len, self._thumbs.values())) > _THUMBS:
                    self._thumbs.popitem(last=False)
        return Answer(found, "image/webp", headers=headers)

    def _caption(self, request: Request, given: str) -> Answer:
        body = _fields(request.json(), ROUTES[5])
        if not isinstance(body.get("text"), str):
            raise Problem(422, "text is missing.", field="text")
        return Answer.of(asdict(edit(self.data, self._id(given), **body)), 201)

    def _drop(self, request: Request, given: str) -> Answer:
        body = _fields(request.json(), ROUTES[6])
        reason = str(body.pop("reason", None) or "dropped by a person")
        if "caption" not in body:
            raise Problem(422, "caption is missing.", field="caption")
        return Answer.of(asdict(edit(self.data, self._id(given), drop=reason, **body)))

    def _forget(self, request: Request) -> Answer:
        body = _fields(request.json(), ROUTES[7])
        ids = body.get("ids")
        if not isinstance(ids, list) or not ids or not all(isinstance(i, str) for i in ids):
            raise Problem(422, "ids must be a list of ids.", field="ids")
        keys = [self._id(one) for one in ids]
        with self._lock:
            done = forget(self.data, *keys, dry_run=bool(body.get("dry_run")))
            for key in keys:
                for size in SIZES:
                    self._thumbs.pop((key, size), None)
        answer = Answer.of(asdict(done))
        answer.headers["Clear-Site-Data"] = '"cache"'
        return answer


def _fields(body: dict[str, Any], route: Route) -> dict[str, Any]:
    """The body with no other fields than the route's, each of its type."""
    types: dict[str, Any] = {"string": str, "array": list, "integer": int, "object": dict, "boolean": bool}
    known = {name: kind for name, kind, _ in route.body}
    found = {}
    for name, value in body.items():
        if name not in known:
            raise Problem(422, f"there is no field '{name}': {', '.join(known)}.", field=name)
        if value is None:
            continue
        wanted = types.get(known[name], (int, float))
        if not isinstance(value, wanted) or (isinstance(value, bool) and known[name] != "boolean"):
            raise Problem(422, f"{name} must be of type {known[name]}.", field=name)
        found[name] = value
    return found


def _webp(data: bytes, height: int) -> bytes:
    """A picture re-encoded, without what its file says beside the picture (EXIF, GPS)."""
    try:
        picture = Image(data).pil(min_side=height)
    except RowError as error:
        raise Problem(422, f"this picture cannot be read: {error}.") from None
    if picture.height > height:
        picture = picture.resize((max(1, round(picture.width * height / picture.height)), height))
    out = io.BytesIO()
    picture.convert("RGB").save(out, "WEBP", quality=80)
    return out.getvalue()


def problem_of(error: BaseException) -> Problem:
    """An error of ours as an answer; of others only a number that the log has too."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, UserError | RowError):
        return Problem(422, str(error))
    number = hashlib.sha256(repr(error).encode()).hexdigest()[:6]
    kind = "the dataset" if isinstance(error, PanoglotError | OSError) else "the server"
    return Problem(500, f"{kind} failed; the log has it under {number}.", log=number)
