"""The routes over one dataset: each a function of a request."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from panoglot._version import __version__
from panoglot.checks import several
from panoglot.errors import PanoglotError, RowError, UserError
from panoglot.languages import language_name
from panoglot.pictures import Image
from panoglot.retrieval import (
    Hit,
    Plan,
    Query,
    QueryPart,
    Searcher,
    Term,
    coded,
    edit,
    forget,
    judge,
    typed,
    undo,
    vote,
)
from panoglot.vectors import stamp
from panoglot.web._http import Answer, Problem, Request, other_method
from panoglot.web._review import Review, captions_of
from panoglot.web._routes import ROUTES, SIZES, fields, is_id, query
from panoglot.web._shelf import Shelf, readers, shown, told_rows
from panoglot.web._thumbs import Thumbs

__all__ = ["Api", "problem_of"]

#: Pictures that clients sent to search with.
_UPLOADS = 32
_PATTERNS = tuple((route, route.pattern) for route in ROUTES)


class Api:
    """The routes over one dataset. New commits are seen by the next request."""

    def __init__(self, searcher: Searcher, *, read_only: bool = False) -> None:
        self.searcher, self.data, self.read_only = searcher, searcher.dataset, read_only
        self.shelf, self.review = Shelf(searcher), Review(searcher)
        self._lock = threading.Lock()
        self._thumbs = Thumbs(self.data, searcher._allowed.is_forgotten, read_only=read_only)
        self._uploads: OrderedDict[str, Image] = OrderedDict()
        #: the datasets of the server and their pictures
        self.beside: Callable[[], dict[str, int]] = dict

    def find(self, request: Request, path: str) -> tuple[str, Callable[[], Answer]]:
        """The route of a request: its name, and what answers.

        Raises:
            Problem: none, or another method.
        """
        methods = []
        for route, pattern in _PATTERNS:
            if found := pattern.fullmatch(path):
                methods.append(route.method)
                if route.method == request.method or (route.method, request.method) == ("GET", "HEAD"):
                    if route.writes and self.read_only:
                        raise Problem(403, "this server was started to be read only.")
                    return route.name, partial(getattr(self, f"_{route.name}"), request, *found.groups())
        if methods:
            raise other_method(*methods)
        raise Problem(404, "there is nothing here.")

    def _id(self, given: str) -> str:
        if not is_id(given):
            raise Problem(404, "an image is named by its id, 32 hexadecimal digits.")
        if self.searcher._allowed.is_forgotten(given):
            raise Problem(410, "this picture is forgotten.")
        return given

    def _info(self, request: Request) -> Answer:
        counts = dict(self.searcher._allowed.languages().most_common(200))
        return Answer.of(
            {
                "name": self.data.name, "images": len(self.data.images), "languages": counts,
                "names": {tag: language_name(tag) for tag in counts}, "vectors": self.searcher.name,
                "read_only": self.read_only, "version": __version__,
                "datasets": [{"id": name, "images": n} for name, n in self.beside().items()],
            }
        )  # fmt: skip

    # -- search --------------------------------------------------------------------------------------------------------

    def _search(self, request: Request) -> Answer:
        body = fields(request.json(), "search")
        k, most = body.get("k", 60), body.get("captions", 10)
        options: dict[str, Any] = {
            key: body[key] for key in ("lang", "kinds", "where", "preset", "plan", "min_score") if key in body
        }
        if "by" in body:
            options["parts"] = body["by"]
        if "plan" in options:
            options["plan"] = self._plan(options["plan"])
        with self._lock:
            began = time.perf_counter()
            if "parts" in body:
                hits = self.searcher.search(query=self._query(body["parts"], k), **options)
            else:
                image = self._asked_picture(body["image"]) if body.get("image") else None
                hits = self.searcher.search(body.get("text") or None, image=image, k=k, **options)
            took = (time.perf_counter() - began) * 1000
        shapes = self.shelf.of([hit.image_id for hit in hits])
        show, said = readers(hits, several(body["show"])) if "show" in body else None, typed(body.get("text") or "")
        return Answer.of(
            {
                "hits": [self._hit(hit, shape, show, most) for hit, shape in zip(hits, shapes)],
                "notes": hits.notes, "note_codes": [*map(coded, hits.notes)],
                "typed": {"must": said.must, "must_not": said.must_not},
                "plan": hits.plan.plain() if hits.plan else None,
                "version": stamp(self.data.captions),
            },
            headers={"Server-Timing": f"scorer;dur={took:.3f}"},
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
        if not isinstance(given, str) or not is_id(given):
            raise Problem(422, "an image is an id of the dataset, or what query-picture gave.", field="image")
        return self._uploads.get(given, given)

    def _hit(self, hit: Hit, shape: float, show: Sequence[str] | None, most: int) -> dict[str, Any]:
        made = {"id": hit.image_id, "score": hit.score, "parts": hit.parts, "shape": shape}
        if show is not None:
            return {**made, **shown(hit.captions, show)}
        rows, kept = told_rows(hit.captions)
        said = rows.plain(kept[:most])
        for row in said:
            row["id"] = row.pop("caption_id")
        return {**made, "captions": said, "more_captions": len(kept) - len(said)}

    def _query_picture(self, request: Request) -> Answer:
        try:
            image = Image(request.picture())
            small = Image.from_pil(image.pil(min_side=512))  # re-encoded: nothing of what came is kept as it came
        except RowError as error:
            raise Problem(422, f"this picture cannot be read: {error}.") from None
        with self._lock:
            self._uploads[small.id] = small
            while len(self._uploads) > _UPLOADS:
                self._uploads.popitem(last=False)
        return Answer.of({"id": small.id}, 201)

    # -- pictures ------------------------------------------------------------------------------------------------------

    def _layout(self, request: Request) -> Answer:
        ids, version = self.shelf.order(**query(request.query(), "layout"))
        tag = f'"{version}"'
        if request.headers.get("If-None-Match") == tag:
            return Answer(status=304, headers={"ETag": tag})
        headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
        return Answer(self.shelf.layout(ids), "application/octet-stream", headers=headers)

    def _items(self, request: Request) -> Answer:
        given = query(request.query(), "items")
        start, n = given.pop("from", 0), given.pop("n")
        show, wanted = several(given.pop("show", "")), given.pop("version", None)
        ids, version = self.shelf.order(**given)
        if wanted not in (None, version):
            raise Problem(409, "pictures came or went meanwhile; ask for the layout again.", version=version)
        some = [key.decode() for key in ids[start : start + n].tolist()]
        items = self.shelf.items(some, show)
        return Answer.of({"items": items, "from": start, "total": len(ids), "version": version})

    def _image(self, request: Request, given: str) -> Answer:
        key = self._id(given)
        columns = "width height format size group time author licence split recipe model".split()
        rows = self.data.images.get([key], columns).to_pylist()
        if not rows:
            raise Problem(404, "there is no such picture.")
        captions = captions_of(self.data, key)
        mark = self.data.marks.get([key], ["dropped"])["dropped"].to_pylist()
        tag = _state(captions)
        made = {**rows[0], "id": key, "dropped": mark[0] if mark else None, "captions": captions, "state": tag}
        return Answer.of(made, headers={"ETag": f'"{tag}"'})

    def _thumb(self, request: Request, given: str, size: str) -> Answer:
        key, height = self._id(given), int(size)
        if height not in SIZES:
            raise Problem(404, f"pictures come {', '.join(map(str, SIZES))} high.")
        tag = f'"{key}-{height}"'
        headers = {"ETag": tag, "Cache-Control": "private, max-age=31536000, immutable"}
        if request.headers.get("If-None-Match") == tag:
            return Answer(status=304, headers=headers)
        found = self._thumbs.get(key, height)
        if found is None:
            sent = self._uploads.get(key)  # who sent it may see it
            rows = [sent.data] if sent else self.data.images.get([key], ["data"])["data"].to_pylist()
            if not rows:
                raise Problem(404, "there is no such picture.")
            found = _webp(rows[0], height)
            self._thumbs.put(key, height, found, keep=sent is None)
        return Answer(found, "image/webp", headers=headers)

    # -- looking through -----------------------------------------------------------------------------------------------

    def _overview(self, request: Request) -> Answer:
        query(request.query(), "overview")
        return Answer.of(self.review.overview())

    def _queue(self, request: Request) -> Answer:
        return Answer.of(self.review.queue(**query(request.query(), "queue")))

    def _compare(self, request: Request) -> Answer:
        given = query(request.query(), "compare")
        given["start"] = given.pop("from", 0)
        # names of writers may have spaces in them
        given["writers"] = [one.strip() for one in given.pop("writers", "").split(",") if one.strip()]
        return Answer.of(self.review.compare(**given))

    # -- writing -------------------------------------------------------------------------------------------------------

    def _unchanged(self, request: Request, key: str) -> str:
        """The picture, if it is there and its captions are still those that the client saw."""
        key, seen = self._id(key), request.headers.get("If-Match")
        if not len(self.data.images.get([key], ["width"])):
            raise Problem(404, "there is no such picture.")
        if seen is not None and seen.strip('" ') != (now := _state(captions_of(self.data, key))):
            raise Problem(412, "somebody changed this picture's captions meanwhile; look again.", state=now)
        return key

    def _caption(self, request: Request, given: str) -> Answer:
        body = fields(request.json(), "caption")
        return Answer.of(asdict(edit(self.data, self._unchanged(request, given), **body)), 201)

    def _drop(self, request: Request, given: str) -> Answer:
        body = fields(request.json(), "drop")
        reason = str(body.pop("reason", None) or "dropped by a person")
        return Answer.of(asdict(edit(self.data, self._unchanged(request, given), drop=reason, **body)))

    def _judge(self, request: Request, given: str) -> Answer:
        body = fields(request.json(), "judge")
        key = self._unchanged(request, given)
        if body["caption"] not in {c.caption_id for c in self.data.captions_of([key], None)[key]}:
            raise Problem(404, "this picture has no such caption.")
        return Answer.of(asdict(judge(self.data, body.pop("caption"), **body)))

    def _undo(self, request: Request) -> Answer:
        return Answer.of(asdict(undo(self.data, **fields(request.json(), "undo"))))

    def _vote(self, request: Request) -> Answer:
        body = fields(request.json(), "vote")
        ratings = vote(self.data, body["captions"], body.get("best"), author=body.get("author", ""))
        return Answer.of({"ratings": ratings})

    def _forget(self, request: Request) -> Answer:
        body = fields(request.json(), "forget")
        keys = [self._id(one) for one in body["ids"]]
        with self._lock:
            done = forget(self.data, *keys, dry_run=bool(body.get("dry_run")))
            if not body.get("dry_run"):
                self._thumbs.forget(keys)
        return Answer.of(asdict(done), headers={"Clear-Site-Data": '"cache"'})


def _state(captions: list[dict[str, Any]]) -> str:
    """What a picture's captions are now."""
    said = sorted(f"{c['caption_id']} {c['dropped'] or ''}" for c in captions)
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


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
    if isinstance(error, UserError | RowError):  # a command is of no use to a client
        said, command, _ = str(error).partition(": panoglot ")
        return Problem(422, f"{said}." if command else said)
    number = hashlib.sha256(repr(error).encode()).hexdigest()[:6]
    kind = "the dataset" if isinstance(error, PanoglotError | OSError) else "the server"
    return Problem(500, f"{kind} failed; the log has it under {number}.", log=number)
