"""The terms that a PDF states in its XMP packet, which stands in the file as plain text so that it can be found."""

from __future__ import annotations

import mmap
import os
from typing import Any

__all__ = ["stated_terms"]

_LONGEST, _MOST = 2**19, 50
#: Where terms stand, the surest first.
_NAMES = (
    "{http://creativecommons.org/ns#}license",
    "{http://ns.adobe.com/xap/1.0/rights/}WebStatement",
    "{http://ns.adobe.com/xap/1.0/rights/}UsageTerms",
    "{http://purl.org/dc/elements/1.1/}rights",
)
_RESOURCE = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}resource"


def stated_terms(path: str) -> str:
    """The licence of a document, or empty; the packets of pictures in it are passed over."""
    try:
        with open(path, "rb") as file:
            if not os.path.getsize(path):
                return ""
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
                return _terms(whole)
    except (OSError, ValueError):
        return ""


def _terms(whole: mmap.mmap) -> str:
    from defusedxml import ElementTree

    end = 0
    for _ in range(_MOST):
        start = whole.find(b"<x:xmpmeta", end)
        end = whole.find(b"</x:xmpmeta>", start) + 12
        if start < 0 or end < start:
            break
        if end - start > _LONGEST or b"/Metadata" not in whole[max(0, start - 400) : start]:
            continue
        if b"/pdf/1.3/" not in (packet := whole[start:end]):
            continue  # of a picture: a document's names the program that made it a PDF
        try:
            tree = ElementTree.fromstring(packet.decode("utf-8", "replace"))
        except Exception:  # hostile or broken: it says nothing
            continue
        for name in _NAMES:
            if said := _said(tree, name):
                return said
    return ""


def _said(tree: Any, name: str) -> str:
    for element in tree.iter():
        text = element.get(name) or (element.get(_RESOURCE) if element.tag == name else "")
        if not text and element.tag == name:
            text = next((piece for piece in element.itertext() if piece.strip()), "")
        if text and text.strip():
            return " ".join(text.split())[:500]
    return ""
