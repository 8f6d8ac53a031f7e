"""Reads what it is told to, a line of JSON in and out; `test_zoo.py` starts it, watches it and ends it."""

import json
import pickle
import sys

import pytest

from panoglot.errors import RowError, UserError
from panoglot.formats import Sample, Unused, find_format, read_part
from panoglot.pictures import Image, read_header

patch = pytest.MonkeyPatch()  # smaller limits, so that the files that reach them can be small
patch.setattr("panoglot.pictures._guard.SECONDS", 2.0)
patch.setattr("panoglot.formats._parquet_limits._PAGE", 64 * 2**20)
patch.setattr("panoglot.formats._parquet_rows._MOST_DECODED", 256 * 2**20)


def read(path):
    """Names of good pictures, their captions, and reasons of the others."""
    good, reasons = {}, []
    _, parts = find_format(path)
    for part in parts():
        pickle.dumps(part)
        for found in read_part(part):
            if isinstance(found, Unused):
                continue
            if not isinstance(found, Sample):
                reasons.append(found.reason)
                json.dumps([found.item, found.message], ensure_ascii=False).encode()
                continue
            try:
                read_header(found.data)
                Image(found.data).pil(min_side=224)
            except RowError as error:
                reasons.append(error.reason)
                continue
            stored = json.dumps([found.uri, found.context, [c.text for c in found.captions]], ensure_ascii=False)
            name = json.loads(stored.encode())[0].rpartition("/")[2]
            good[name] = [caption.text[:100] for caption in found.captions]
    return {"good": good, "reasons": reasons}


for line in sys.stdin:
    try:
        answer = read(json.loads(line))
    except UserError as error:
        answer = {"mistake": str(error)}
    print(json.dumps(answer), flush=True)
