"""What the tests of this room share."""

import io
import tarfile

from panoglot.errors import RowError
from panoglot.formats import Sample, Unused, read_source
from panoglot.geometry import Region
from panoglot.identity import normal_text
from panoglot.pictures import read_header
from panoglot.table import Caption, Reject, caption_to_row, create_dataset, given_caption_id, image_id
from tests.conftest import picture_bytes


def take(source, format=None, **options):
    """Read a source: (samples, rejects)."""
    found = list(read_source(source, format, **options))
    assert all(isinstance(one, Sample | Reject | Unused) for one in found)
    return [f for f in found if isinstance(f, Sample)], [f for f in found if isinstance(f, Reject)]


def unused(source, format=None, **options):
    """What a source holds that was not used."""
    return [one for one in read_source(source, format, **options) if isinstance(one, Unused)]


def texts(sample):
    return [(caption.lang, caption.text) for caption in sample.captions]


def reasons(rejects):
    return sorted(reject.reason for reject in rejects)


def write_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def store(dataset, source, format=None, **options):
    """Ingest without the runner: straight into the tables; returns the rejects."""
    rows, captions, rejects = [], [], []
    for one in read_source(source, format, **options):
        if isinstance(one, Reject):
            rejects.append(one)
            continue
        if isinstance(one, Unused):
            continue
        try:
            header = read_header(one.data)
        except RowError as error:
            rejects.append(Reject(one.uri, "ingest", error.reason, error.message))
            continue
        key = image_id(one.data)
        rows.append(image_row(key, one.data, header, one))
        for caption in one.captions:
            caption.text, caption.image_id, caption.run_id = normal_text(caption.text), key, "r"
            caption.caption_id = caption.caption_id or given_caption_id(
                key, caption.recipe, caption.lang, caption.region, caption.text
            )
            captions.append(caption_to_row(caption))
    dataset.images.insert(rows)
    dataset.captions.insert(captions)
    return rejects


def image_row(key, data, header, sample):
    import json

    width, height = header.upright
    return {
        "image_id": key,
        "data": data,
        "uri": sample.uri,
        "width": width,
        "height": height,
        "format": header.format,
        "size": len(data),
        "group": sample.group,
        "time": sample.time,
        "context": json.dumps(sample.context, ensure_ascii=False, sort_keys=True),
        "run_id": "r",
    }


def full_dataset(path, count=9):
    """A dataset in which every field of every column occurs: languages, parents, regions, scores, drops, groups."""
    dataset = create_dataset(path)
    formats = ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"]
    rows, captions, dropped = [], [], []
    for n in range(count):
        data = picture_bytes(n, 40 + n, 30, formats[n % len(formats)])
        key = image_id(data)
        context = {"title": f"Seite {n} <b>", "n": n, "nested": {"a": [1, None, "x"]}} if n % 2 else {}
        sample = Sample(data, f"wo/bild {n}.x", group=f"film-{n}" if n % 3 else None, time=n / 3 if n % 3 else None)
        sample.context = context
        rows.append(image_row(key, data, read_header(data), sample))
        region = Region(0.1, 0.2, 0.5 + n / 100, 1.0, "PPYo0", ((0.2, 0.3, True), (0.9, 0.1, False)), 1.5, 3.0)
        made = [
            Caption("A disc\non waves", "en", "human", recipe="human"),
            Caption("Eine Scheibe", "de", "short", model="m:1", recipe="describe@1"),
            Caption("قرص على أمواج", "ar", "dense", model="m:1", recipe="describe@1"),
            Caption("波浪上的圓盤", "zh-Hant", "alt", recipe="web"),
            Caption("diski", "sw", "region", region=region, recipe="r@1"),
            Caption("bad", "und", "short", dropped="too_short", recipe="describe@1"),
        ]
        for m, caption in enumerate(made[: 6 if n else 0]):  # the first picture has none
            caption.image_id, caption.run_id = key, "r"
            caption.caption_id = given_caption_id(key, caption.recipe, caption.lang, caption.region, caption.text)
            caption.scores = {"clip": 0.25 * m, "judge": None} if m % 2 else {}
            captions.append(caption)
        if n:
            made[1].parents = (made[0].caption_id, made[5].caption_id)
        if n == 4:
            dropped.append({"image_id": key, "scores": {}, "dropped": "too_small", "run_id": "r"})
    dataset.images.insert(rows)
    dataset.captions.insert([caption_to_row(caption) for caption in captions])
    dataset.marks.insert(dropped)
    return dataset
