"""Pictures of a page with their captions, alternative texts, sections, and what stands around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from panoglot.formats._pages import Page, words
from panoglot.languages._tags import parse_language

__all__ = ["Figure", "figures"]

_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
#: Classes of the elements that hold a picture and its caption: MediaWiki, DocBook.
_FRAMES = frozenset("thumb thumbinner gallerybox mediaobject figure informalfigure".split())
_CAPTIONS = frozenset("thumbcaption gallerytext caption infobox-caption wp-caption-text".split())
#: Elements and classes that hold the ways through a site, not its content.
_AROUND = frozenset("nav header footer navheader navfooter navbox sidebar mw-editsection noprint".split())
_LONGEST = 20_000


@dataclass
class Figure:
    """A picture of a page.

    Attributes:
        src: its address as the page writes it.
        caption: the visible text under it.
        alt: what is read out instead of it.
        lang: the language that the caption says it is in, or None for that of the page.
        section: heading that it stands under.
        sections: headings from the page's title down to it.
        page_title: title of the page.
        page_text: first paragraph of the page.
        section_text: first paragraph of the section.
        main: it is the first picture with a text.
        width: pixels of the original, where the page says them.
        height: the same.
    """

    src: str
    caption: str = ""
    alt: str = ""
    lang: str | None = None
    section: str = ""
    sections: list[str] = field(default_factory=list)
    page_title: str = ""
    page_text: str = ""
    section_text: str = ""
    main: bool = False
    width: int | None = None
    height: int | None = None


def figures(page: Page) -> list[Figure]:
    """The pictures of a page that have a caption or an alternative text, in their order."""
    title = _title(page.tree)
    path: list[tuple[int, str]] = []
    found: list[Figure] = []
    texts: dict[str, str] = {}  # first paragraph by heading
    waiting: list[tuple[Figure, str]] = []
    for element in page.tree.iter():
        tag = element.tag if isinstance(element.tag, str) else ""
        if tag in _HEADINGS:
            level = int(tag[1])
            path = [one for one in path if one[0] < level]
            if (name := words(element)) and name != title:
                path.append((level, name[:500]))
        elif tag == "p" and not _inside_frame(element):
            text = words(element)[:_LONGEST]
            if len(text) >= 20:
                texts.setdefault(_key(path), text)
        elif tag == "img" and (figure := _figure(element)):
            figure.page_title, figure.sections = title, [title, *(name for _, name in path)]
            figure.section = path[-1][1] if path else ""
            figure.main = not found
            found.append(figure)
            waiting.append((figure, _key(path)))
    first = next(iter(texts.values()), "")
    for figure, key in waiting:
        figure.page_text = texts.get("", first)
        figure.section_text = texts.get(key, "") if key else ""
    return found


def _key(path: list[tuple[int, str]]) -> str:
    return "\0".join(name for _, name in path)


def _title(tree: Any) -> str:
    for heading in tree.iter("h1"):
        if text := words(heading):
            return text[:500]
    title = tree.find(".//title")
    return words(title)[:500] if title is not None else ""


def _classes(element: Any) -> set[str]:
    return set((element.get("class") or "").split())


def _frame(image: Any) -> Any:
    """The nearest element that holds a picture with its caption; nothing where there is none close by."""
    element = image.getparent()
    for _ in range(6):
        if element is None or (
            element.tag in ("body", "html", "table") and "infobox" not in (element.get("class") or "")
        ):
            return None
        if element.tag == "figure" or _classes(element) & _FRAMES or "infobox" in (element.get("class") or ""):
            return element
        element = element.getparent()
    return None


def _inside_frame(element: Any) -> bool:
    return _frame(element) is not None


def _figure(image: Any) -> Figure | None:
    """A picture with its texts; None where it has none, or is a formula or a drawing of the page itself."""
    source = image.get("src") or ""
    if source.startswith("data:") or not source:
        source = image.get("data-src") or (image.get("srcset") or "").split(" ")[0]
    if not source or source.startswith("data:") or len(source) > 4096 or "mwe-math" in (image.get("class") or ""):
        return None
    if any(above.tag in _AROUND or _classes(above) & _AROUND for above in image.iterancestors()):
        return None
    caption, lang = _caption(image)
    alt = words(image.get("alt") or "")[:_LONGEST]
    if not caption and not alt:
        return None
    width, height = (_whole(image.get(f"data-file-{name}")) for name in ("width", "height"))
    return Figure(source, caption[:_LONGEST], alt, lang, width=width, height=height)


def _caption(image: Any) -> tuple[str, str | None]:
    frame = _frame(image)
    title = ""
    while frame is not None:
        for element in frame.iter():
            named = element.tag == "figcaption" or (element is not frame and _classes(element) & _CAPTIONS)
            if named and (text := words(element)):
                return _joined(title, text), _said_language(element)
            if element.tag == "p" and "title" in _classes(element) and not title:
                title = words(element)
        above = _frame(frame)
        if len(list(frame.iter("img"))) > 1 and frame.tag != "figure" and above is None:
            break
        frame = above
    return title, None


def _joined(title: str, text: str) -> str:
    return f"{title} {text}" if title and title not in text else text


def _said_language(element: Any) -> str | None:
    while element is not None and element.tag not in ("body", "html"):
        if tag := element.get("lang") or element.get("xml:lang"):
            return parse_language(tag)
        element = element.getparent()
    return None


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 7 else None
