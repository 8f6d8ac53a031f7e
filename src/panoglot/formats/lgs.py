"""Let's Go Shopping (LGS, 2024, arXiv 2401.04575): products of shop pages, their pictures and three styles of captions.

A page of a product says so itself (JSON-LD or microdata of schema.org, Open Graph); others are counted and left. Every
variant is a record of its own, and all of one product are one group, so that a split keeps them together. The records
are checked by `product_fault`; the taxonomy is the page's own path of breadcrumbs or category, not a model's.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlsplit

from panoglot.errors import RowError, UserError
from panoglot.formats._checked import check_json
from panoglot.formats._files import join_uri, part_key, reject, states_of
from panoglot.formats._pages import Page, Pictures, batches_of, check_source, files_of, things_of, words
from panoglot.formats._sample import Address, Part, Sample, Unused
from panoglot.formats._texts import clean_context, given
from panoglot.identity import Added, counted
from panoglot.pictures import read_header
from panoglot.table import Caption, Reject
from panoglot.text import split_sentences

__all__ = ["Product", "captions_of", "detect", "parts", "price_of", "product_fault", "products", "read"]

STYLES = ("title", "taxonomy", "description")
_POWER = re.compile(r"(?<![\w.,])[0-9]{1,20}(?:\.[0-9]{1,20})?[eE][+-]?[0-9]{1,9}(?!\w)")
_NUMBER = re.compile(r"\d[\d.,'\u00a0\u202f\u066b\u066c ]*")
_MOST_VARIANTS = 1000
_LONGEST = 20_000


@dataclass
class Product:
    """A product or a variant of one, as its page says it.

    Attributes:
        title: its name.
        brand: who makes it.
        description: a text about it.
        bullets: short texts about it.
        image: address of its first picture.
        price: as it is written.
        path: categories from the root to the leaf.
        group: what all variants of a product share.
        variant: what tells this one from the others.
    """

    title: str = ""
    brand: str = ""
    description: str = ""
    bullets: list[str] = field(default_factory=list)
    image: str = ""
    price: str = ""
    path: list[str] = field(default_factory=list)
    group: str = ""
    variant: str = ""


def price_of(text: str) -> float | None:
    """The number of a price; None where there is none, or it is not above zero.

    >>> [price_of(one) for one in ("12.50", "1.299,00 €", "from $5", "1,299", "Call", "N/A", "0", "١٢٫٥")]
    [12.5, 1299.0, 5.0, 1299.0, None, None, None, 12.5]
    >>> price_of("1e999"), price_of("1.5E2 EUR")
    (None, 150.0)
    """
    if power := _POWER.search(text):
        value = float(power[0])
        return value if 0 < value < 1e9 else None
    found = _NUMBER.search(text)
    if found is None:
        return None
    plain = "".join(str(unicodedata.digit(c)) if c.isdigit() else c for c in found[0].strip(" .,'"))
    plain = re.sub(r"['\u00a0\u202f\u066c ]", "", plain.replace("\u066b", "."))
    last = max(plain.rfind("."), plain.rfind(","))
    # the last mark parts the cents, unless three digits follow it and it stands alone of its kind
    if last >= 0 and (len(plain) - last - 1 != 3 or len({c for c in plain if c in ".,"}) == 2):
        plain = re.sub(r"[.,]", "", plain[:last]) + "." + plain[last + 1 :]
    else:
        plain = re.sub(r"[.,]", "", plain)
    try:
        value = float(plain)
    except ValueError:
        return None
    return value if 0 < value < 1e9 else None


def product_fault(
    product: Product, *, readable: bool = True, checks: Sequence[str] = ("title", "price", "image")
) -> str | None:
    """The first of some checks that a record fails, or None: `title`, `price`, `image`.

    A title has a letter, and no control character, no replacement character and no HTML; a price is a number above
    zero; the picture is there and can be read.
    """
    title = product.title.strip()
    odd = any(unicodedata.category(c) in ("Cc", "Co", "Cs") or c == "\ufffd" for c in title)
    html = re.search(r"</?[a-z]+[^>]*>|&[a-z]+;", title, re.IGNORECASE)
    passed = {
        "title": any(c.isalpha() for c in title) and not odd and not html,
        "price": price_of(product.price) is not None,
        "image": bool(product.image) and readable,
    }
    return next((name for name in ("title", "price", "image") if name in checks and not passed[name]), None)


def captions_of(product: Product, styles: Sequence[str] = STYLES) -> dict[str, str]:
    """The captions of a product by their style; one that the page has nothing for is left out.

    Title: name and brand. Taxonomy: the path. Description: the bullets, joined.

    >>> captions_of(Product("Apatite ring", "Acme", bullets=["silver", "blue stone"], path=["Jewellery", "Rings"]))
    {'title': 'Apatite ring Acme', 'taxonomy': 'Jewellery > Rings', 'description': 'silver; blue stone'}
    """
    brand = product.brand if product.brand.lower() not in product.title.lower() else ""
    every = {
        "title": f"{product.title} {brand}".strip(),
        "taxonomy": " > ".join(product.path),
        "description": "; ".join(product.bullets),
    }
    return {style: every[style] for style in styles if every[style]}


def products(page: Page, left: list[int] | None = None) -> list[Product]:
    """The products of a page, a record for each variant; none where it is no page of a product.

    Args:
        page: the page.
        left: is given how many are beyond what is taken of a page, a number for every list that is too long.
    """
    data = list(_json_ld(page, left))
    found = [one for value in data if _is(value, "Product", "ProductGroup") for one in _of_json(value, page, left)]
    if not found:
        found = [_of_microdata(one, page) for one in page.tree.iter() if _item_type(one) == "product"]
    if not found and _meta(page, "og:type").lower() in ("product", "og:product", "product.item"):
        found = [_of_open_graph(page)]
    path = _breadcrumbs(page, data)
    leaf = _text(found[0].title) if found else ""
    while path and leaf and path[-1] == leaf:  # the trail often ends in the product itself
        path = path[:-1]
    bullets = _bullets(page)
    for one in found:
        one.path = one.path or path
        one.bullets = one.bullets or bullets or split_sentences(one.description, lower_case=False)[:20]
        one.group = one.group or f"{urlsplit(page.url).hostname or ''}/{_text(one.title)}"
    _count(left, found)
    return found[:_MOST_VARIANTS]


def _count(left: list[int] | None, rows: Sequence[Any]) -> None:
    """Note how many of some rows are beyond those that are taken."""
    if left is not None and len(rows) > _MOST_VARIANTS:
        left.append(len(rows) - _MOST_VARIANTS)


def _json_ld(page: Page, left: list[int] | None = None) -> Iterator[dict[str, Any]]:
    """Objects of the page's JSON-LD, those of lists and graphs too."""
    for script in page.tree.iter("script"):
        if (script.get("type") or "").partition(";")[0].strip().lower() != "application/ld+json":
            continue
        text = (script.text or "")[: 4 * 2**20]
        try:
            check_json(text)
            waiting = [json.loads(text, strict=False)]
        except (ValueError, RecursionError, RowError):
            continue
        while waiting:
            value = waiting.pop(0)
            if isinstance(value, list):
                _count(left, value)
                waiting = [*value[:_MOST_VARIANTS], *waiting]
            elif isinstance(value, dict):
                yield value
                graph = value.get("@graph")
                _count(left, graph if isinstance(graph, list) else [])
                waiting = [*(graph[:_MOST_VARIANTS] if isinstance(graph, list) else []), *waiting]


def _is(value: Any, *names: str) -> bool:
    said = value.get("@type") if isinstance(value, dict) else None
    kinds = said if isinstance(said, list) else [said]
    return any(isinstance(kind, str) and kind.rpartition("/")[2] in names for kind in kinds)


def _text(value: Any) -> str:
    """A value of JSON-LD as a text: a text, a thing's name, the first of several."""
    if isinstance(value, list):
        return next((text for one in value[:20] if (text := _text(one))), "")
    if isinstance(value, dict):
        value = value.get("@value") or value.get("name") or value.get("url") or value.get("contentUrl") or ""
        return _text(value) if isinstance(value, list) else words(str(value))[:_LONGEST]
    return words(str(value))[:_LONGEST] if isinstance(value, str | int | float) else ""


def _plain(text: str) -> str:
    """A text without the tags that shops leave in their descriptions."""
    return words(re.sub(r"<[^<>]{0,1000}>", " ", text))


def _price(value: Any) -> str:
    offers = value.get("offers") if isinstance(value, dict) else None
    for one in offers if isinstance(offers, list) else [offers]:
        if isinstance(one, dict):
            rows = [one, *([one["priceSpecification"]] if isinstance(one.get("priceSpecification"), dict) else [])]
            for row in rows:
                if text := _text(row.get("price") or row.get("lowPrice")):
                    return text
    return ""


def _of_json(value: dict[str, Any], page: Page, left: list[int] | None = None) -> Iterator[Product]:
    """A product and its variants; a variant that does not say something has it of its product."""
    about = value.get("additionalProperty")
    bullets = [
        f"{_text(one.get('name'))}: {_text(one.get('value'))}"
        for one in (about if isinstance(about, list) else [])[:100]
        if isinstance(one, dict) and _text(one.get("name")) and _text(one.get("value"))
    ]
    whole = Product(
        title=_text(value.get("name")),
        brand=_text(value.get("brand") or value.get("manufacturer")),
        description=_plain(_text(value.get("description"))),
        bullets=bullets,
        image=_text(value.get("image")),
        price=_price(value),
        path=[piece for piece in re.split(r"\s*[>›/]\s*", _text(value.get("category"))) if piece],
        group=_text(value.get("productGroupID") or value.get("inProductGroupWithID") or value.get("@id")),
        variant=_text(value.get("sku") or value.get("color")),
    )
    variants = value.get("hasVariant") or value.get("model")
    rows = [one for one in variants if isinstance(one, dict)] if isinstance(variants, list) else []
    if not rows:
        yield replace(whole, image=page.link(whole.image) if whole.image else "")
    _count(left, rows)
    for row in rows[:_MOST_VARIANTS]:
        for one in _of_json({k: v for k, v in row.items() if k not in ("hasVariant", "model")}, page):
            known = {name: getattr(one, name) or getattr(whole, name) for name in Product.__dataclass_fields__}
            known["image"] = one.image or (page.link(whole.image) if whole.image else "")
            yield replace(one, **{**known, "group": whole.group or whole.title})


def _item_type(element: Any) -> str:
    return (
        (element.get("itemtype") or "").rstrip("/").rpartition("/")[2].lower() if isinstance(element.tag, str) else ""
    )


def _of_microdata(item: Any, page: Page) -> Product:
    said: dict[str, str] = {}
    for element in item.iter():
        name = element.get("itemprop") if isinstance(element.tag, str) else None
        if name and name not in said:
            said[name] = element.get("content") or element.get("src") or element.get("href") or words(element)
    image = said.get("image", "")
    return Product(
        title=words(said.get("name", ""))[:_LONGEST],
        brand=words(said.get("brand", said.get("manufacturer", "")))[:_LONGEST],
        description=words(said.get("description", ""))[:_LONGEST],
        image=page.link(image) if image else "",
        price=said.get("price", said.get("lowPrice", ""))[:200],
        group=said.get("productID", ""),
        variant=said.get("sku", said.get("color", "")),
    )


def _meta(page: Page, name: str) -> str:
    for meta in page.tree.iter("meta"):
        if name in (meta.get("property"), meta.get("name")):
            return words(meta.get("content") or "")[:_LONGEST]
    return ""


def _of_open_graph(page: Page) -> Product:
    image = _meta(page, "og:image")
    return Product(
        title=_meta(page, "og:title"),
        brand=_meta(page, "product:brand") or _meta(page, "og:brand"),
        description=_meta(page, "og:description"),
        image=page.link(image) if image else "",
        price=_meta(page, "product:price:amount") or _meta(page, "og:price:amount"),
        group=_meta(page, "product:item_group_id"),
        variant=_meta(page, "product:retailer_item_id"),
    )


def _breadcrumbs(page: Page, data: list[dict[str, Any]]) -> list[str]:
    """The categories of a page, as its trail has them, without the first if that is the start page."""
    found: list[str] = []
    for value in data:
        items = value.get("itemListElement") if _is(value, "BreadcrumbList") else None
        rows = [one for one in items if isinstance(one, dict)] if isinstance(items, list) else []
        rows.sort(key=lambda one: one["position"] if isinstance(one.get("position"), int) else 0)
        found = found or [text for one in rows[:50] if (text := _text(one.get("name") or one.get("item")))]
    if not found:
        for element in page.tree.iter():
            if isinstance(element.tag, str) and "breadcrumb" in (element.get("class") or "").lower():
                links = [words(link) for link in element.iter("a")]
                found = [text for text in links if text]
                break
    start = found[:1] and found[0].lower() in ("home", "start", "startseite", "accueil", "inicio", "ホーム", "首页")
    return found[1:] if start else found


def _bullets(page: Page) -> list[str]:
    """The short lines of a list that stands in the page's description of the product."""
    for element in page.tree.iter():
        name = (
            " ".join((element.get(key) or "") for key in ("class", "id", "itemprop"))
            if isinstance(element.tag, str)
            else ""
        )
        if re.search(r"bullet|feature|highlight|description", name, re.IGNORECASE):
            lines = [words(line) for line in element.iter("li")]
            if lines := [line[:1000] for line in lines if line][:50]:
                return lines
    return []


def detect(source: str) -> bool:
    """Never by itself: `--extract lgs`."""
    del source
    return False


def parts(
    source: str,
    *,
    styles: str = "title,taxonomy,description",
    checks: str = "title,price,image",
    variants: str = "all",
    lang: Annotated[str | None, Added(None)] = None,
    kind: Annotated[str | None, Added(None)] = None,
    download: bool = False,
    allow_private: bool = False,
    per_host: int = 4,
) -> Iterator[Part]:
    """List files: a part each.

    Args:
        source: an HTML page, a WARC file, or a folder of them.
        styles: captions of a product: some of `title`, `taxonomy`, `description`, with commas.
        checks: what a record must pass: some of `title`, `price`, `image`, with commas; empty for none.
        variants: `all`, or `one` of each product.
        lang: language of texts whose page does not say it; None to identify it.
        kind: kind of the captions; `alt`, and `label` of the taxonomy, unless given.
        download: fetch pictures that are not beside the pages.
        allow_private: hosts of private networks and of this machine may be asked.
        per_host: requests to one host at once.
    """
    given(lang, kind)
    options: dict[str, Any] = {"styles": _some(styles, STYLES, "styles"), "variants": variants}
    options |= {"lang": lang, "kind": kind}
    options["checks"] = _some(checks, ("title", "price", "image"), "checks") if checks.strip() else []
    if variants not in ("all", "one"):
        raise UserError(f"variants='{variants}': all, or one of each product.")
    files = files_of(source)
    check_source(source, files)
    root = os.path.abspath(source if os.path.isdir(source) else os.path.dirname(source) or ".")
    web = {"download": download, "allow_private": allow_private, "per_host": per_host}
    for batch in batches_of(files):
        items = {"paths": [os.path.abspath(path) for path in batch], "root": root, **options, **web}
        key = part_key("lgs", batch[0], batch, states_of(batch), counted(parts, options), download)
        yield Part("lgs", join_uri(source), key, items)


def _some(text: str, known: Sequence[str], option: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or not set(names) <= set(known):
        raise UserError(f"{option}='{text}': name some of {', '.join(known)}, with commas.")
    return names


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """Read the products of a file; what is no product, and what fails a check, is counted by its reason."""
    beyond: list[int] = []
    for one in things_of(part, partial(products, left=beyond), "page{s} of no product"):
        if isinstance(one, Reject | Unused):
            yield one
            continue
        page, pictures, found = one
        if beyond:
            what = f"product{{s}} beyond the first {_MOST_VARIANTS:,} of a page"
            yield Unused(part.uri, what, (page.uri,), sum(beyond))
            beyond.clear()
        if part.items["variants"] == "one" and len(found) > 1:
            first = list({one.group: one for one in reversed(found)}.values())[::-1]
            left = [one.variant or one.title for one in found if not any(one is kept for kept in first)]
            if left:
                yield Unused.of(part.uri, "variant{s} beside the first of a product", left)
            found = first
        for n, product in enumerate(found):
            yield from _sample(product, page, pictures, f"{page.uri}#{n}", part)


def _sample(
    product: Product, page: Page, pictures: Pictures, place: str, part: Part
) -> Iterator[Sample | Reject | Unused]:
    items = part.items
    data, missing, readable = None, "", bool(product.image)
    try:
        data = pictures.find(product.image, page.url) if product.image else None
        if data is not None:
            read_header(data)
    except RowError as error:
        missing, readable = f"{error.reason}: {error.message}", False
    # what has no picture is no record, whatever is checked
    fault = product_fault(product, readable=readable, checks=[*items["checks"], "image"])
    if fault is not None:
        yield reject(place, f"bad_{fault}", _why(product, fault, missing))
        return
    if data is None and not items["download"]:
        yield reject(
            place, "remote_url", f"{product.image[:200]} is not beside the page; --option download=true fetches it"
        )
        return
    texts = given(items["lang"], items["kind"], web=True).said(page.lang)
    captions: list[Caption] = []
    for style, text in captions_of(product, items["styles"]).items():
        caption = texts.caption(text)
        caption.kind = items["kind"] or ("label" if style == "taxonomy" else "alt")
        caption.licence = page.licence()
        captions.append(caption)
    facts = {name: getattr(product, name) for name in Product.__dataclass_fields__ if name != "image"}
    about = clean_context({"url": product.image, "page_url": page.url, **facts})
    address = None if data is not None else Address(product.image, items["allow_private"], items["per_host"])
    yield Sample(data or b"", place, captions, group=product.group or None, context=about, address=address)


def _why(product: Product, fault: str, missing: str) -> str:
    said = {"title": f"the title is {product.title[:80]!r}", "price": f"the price is {product.price[:80]!r}"}
    return said.get(fault) or missing or "no picture"
