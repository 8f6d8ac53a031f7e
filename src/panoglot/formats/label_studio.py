"""Label Studio's JSON export: tasks with texts, choices and boxes that people gave."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from panoglot.errors import RowError
from panoglot.formats._annotations import elements, head_of, parts_beside
from panoglot.formats._files import IMAGE_DIR, find_named, join_uri, part_key, read_named, reject, states_of
from panoglot.formats._regions import label, region_of
from panoglot.formats._sample import Part, Sample, Unused
from panoglot.formats._texts import LANG_NAMES, clean_context, given
from panoglot.identity import counted
from panoglot.pictures import SUFFIXES
from panoglot.table import Caption, Reject

__all__ = ["detect", "parts", "read"]

_ROWS = 256
_TASK = re.compile(rb'"(annotations|completions|predictions)"\s*:\s*\[')


def detect(source: str) -> bool:
    """A JSON array of tasks with `data` and `annotations`, or a folder with such a file."""
    return bool(_files(source))


def _files(source: str) -> list[str]:
    if not os.path.isdir(source):
        return [source] if _is_export(source) else []
    names = sorted(name for name in os.listdir(source) if name.lower().endswith(".json"))[:100]
    return [path for name in names if _is_export(path := os.path.join(source, name))]


def _is_export(path: str) -> bool:
    if not path.lower().endswith(".json") or not os.path.isfile(path):
        return False
    head = head_of(path)
    return head[:1] == b"[" and re.search(rb'"data"\s*:\s*\{', head) is not None and _TASK.search(head) is not None


def parts(
    source: str, *, image_dir: str | None = None, lang: str | None = None, kind: str | None = None
) -> Iterator[Part]:
    """List tasks in parts of 256; of a folder also the pictures that no task names.

    Args:
        source: the JSON export, or a folder with it.
        image_dir: folder of the pictures; looked for beside the file unless given.
        lang: language of texts that do not say theirs; None to identify it.
        kind: kind of the captions; `human` unless given.
    """
    given(lang, kind)
    options = {"lang": lang, "kind": kind}
    seen: set[str] = set()
    for path in _files(source):
        tasks = list(elements(path))
        names = [_picture(task)[0] for task in tasks]
        folder = os.path.abspath(image_dir or find_named(os.path.dirname(path) or ".", names))
        seen |= {os.path.realpath(os.path.join(folder, name)) for name in names if name and "\0" not in name}
        for start in range(0, len(tasks), _ROWS):
            states = states_of(os.path.join(folder, name) for name in names[start : start + _ROWS])
            key = part_key("label_studio", path, start, folder, states, counted(parts, options))
            some = tasks[start : start + _ROWS]
            items = {"tasks": some, "folder": folder, "first": start, **options}
            yield Part("label_studio", join_uri(path), key, items, len(some))
    yield from parts_beside(source, _files(source), lambda: seen, lang, kind)


def _picture(task: Any) -> tuple[str, str]:
    """The picture of a task as a path, and the key of `data` that holds it; empty where there is none."""
    data = task.get("data") if isinstance(task, dict) else None
    for name, value in data.items() if isinstance(data, dict) else ():
        if not isinstance(value, str):
            continue
        local = parse_qs(urlsplit(value).query).get("d") if "/local-files/" in value[:200] else None
        path = local[0] if local else value
        if os.path.splitext(urlsplit(path).path)[1].lower() in SUFFIXES:
            plain = path if "://" in path else unquote(path)
            return re.sub(r"^/?data/upload/", "", plain), name
    return "", ""


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """Read the pictures of a part and give them what people wrote, chose and drew."""
    items = part.items
    unread: list[str] = []
    for number, task in enumerate(items["tasks"], items["first"]):
        place = f"{part.uri}#{number}"
        if not isinstance(task, dict):
            yield reject(place, "bad_json", str(task))
            continue
        name, column = _picture(task)
        if not name:
            yield reject(place, "no_image", "nothing in 'data' names a picture")
            continue
        if "://" in name:
            yield reject(place, "remote_url", f"{name[:200]} is not here; export with the files, or name image_dir")
            continue
        try:
            data = read_named(items["folder"], name, hint=IMAGE_DIR)
        except RowError as error:
            yield reject(place, error.reason, error.message)
            continue
        facts = task["data"]
        said = next((facts[key] for key in facts if key.lower() in LANG_NAMES and isinstance(facts[key], str)), None)
        captions = list(_captions(task, given(items["lang"], items["kind"]).said(said), unread))
        context = clean_context({k: v for k, v in facts.items() if k != column and k.lower() not in LANG_NAMES})
        yield Sample(data, join_uri(items["folder"], name), captions, context=context, place=place)
    if unread:
        yield Unused.of(part.uri, "result{s} of a kind that is not read", unread)


def _captions(task: dict[str, Any], texts: Any, unread: list[str]) -> Iterator[Caption]:
    answers = task.get("annotations") or task.get("completions") or []
    for answer in answers if isinstance(answers, list) else ():
        results = answer.get("result") if isinstance(answer, dict) and not answer.get("was_cancelled") else None
        for result in results if isinstance(results, list) else ():
            value = result.get("value") if isinstance(result, dict) else None
            if not isinstance(value, dict):
                continue
            region = _region(value)
            written = value.get("text")
            found: list[Caption | None] = []
            for one in written if isinstance(written, list) else [written] if isinstance(written, str) else ():
                if isinstance(one, str) and one.strip():
                    caption = texts.caption(one)
                    caption.region, caption.kind = region, "region" if region else caption.kind
                    found.append(caption)
            names = next((v for k, v in value.items() if k == "choices" or k.endswith("labels")), None)
            for one in names if isinstance(names, list) else ():
                found.append(label(one, region, texts.lang))
            if not found and written is None and names is None:
                unread.append(f"{task.get('id')}: {result.get('type')}"[:80])
            yield from (one for one in found if one is not None)


def _region(value: dict[str, Any]) -> Any:
    """A box in percent of the picture."""
    box = [value.get(name) for name in ("x", "y", "width", "height")]
    return region_of(box, (100, 100)) if None not in box else None
