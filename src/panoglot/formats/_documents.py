"""What formats of documents share: which files, their options, and a figure with its texts as a sample."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from panoglot.errors import UserError
from panoglot.formats._sample import MOST_NAMES, Sample, Unused
from panoglot.formats._texts import clean_context, given
from panoglot.formats.wit import Row, texts_of
from panoglot.languages._foreign import is_foreign
from panoglot.table import Caption

__all__ = ["Document", "counted", "files_with", "options_of"]

TEXTS = ("caption", "alt", "mention")


def files_with(source: str, suffix: str) -> list[str]:
    """The files of a source with a suffix, sorted.

    Raises:
        UserError: it has none.
    """
    names = [source]
    if os.path.isdir(source):
        names = [os.path.join(source, name) for name in sorted(os.listdir(source)) if not name.startswith(".")]
    found = [name for name in names if name.lower().endswith(suffix)]
    if not found:
        raise UserError(f"'{source}' has no {suffix} files.")
    return found


def options_of(texts: str, context: bool, lang: str | None, kind: str | None) -> dict[str, Any]:
    """The options that documents share, checked.

    Raises:
        UserError: another kind of text, no language tag, no kind of caption.
    """
    wanted = [name.strip() for name in texts.split(",") if name.strip()]
    if not wanted or set(wanted) - set(TEXTS):
        raise UserError(f"texts='{texts}': name some of {', '.join(TEXTS)}, with commas.")
    given(lang, kind)
    return {"texts": wanted, "context": context, "lang": lang, "kind": kind}


@dataclass
class Document:
    """A document whose figures are read.

    Attributes:
        uri: where it is; its figures are one group.
        items: the options, as `options_of` gives them.
        title: what it says that it is called.
        author: who it says that wrote it.
        licence: under which terms it says that it stands.
        lang: the language that it says it is in: taken for texts in letters of that language, where `trusted`.
        trusted: writers of such files say their language on purpose; programs for PDF write that of the computer.
        section: the heading that the next figure stands under.
    """

    uri: str
    items: dict[str, Any]
    title: str = ""
    author: str = ""
    licence: str = ""
    lang: str | None = None
    trusted: bool = False
    section: str = ""

    def sample(
        self,
        data: bytes,
        place: str,
        *,
        captions: Sequence[str] = (),
        alts: Sequence[str] = (),
        mentions: Sequence[tuple[int, str]] = (),
        lang: str | None = None,
        **context: Any,
    ) -> Sample:
        """A figure with its texts.

        Args:
            data: the encoded picture.
            place: where it is, unique.
            captions: what stands under it.
            alts: what is read out instead of it.
            mentions: page or chapter, and a sentence there that names it.
            lang: the language that its texts say they are in.
            **context: what else is known of it.
        """
        said = {
            "caption": [one for text in captions for one in texts_of(Row(caption_reference_description=text)).values()],
            "alt": [one for text in alts for one in texts_of(Row(caption_alt_text_description=text)).values()],
            "mention": [text for _, text in mentions],
        }
        found: list[Caption] = []
        for name in self.items["texts"]:
            for text in said[name]:
                if text not in [caption.text for caption in found]:
                    found.append(self._caption(text, "human" if name == "caption" else "alt", lang))
        if self.items["context"]:
            context |= {"section": self.section, "mentions": [{"at": at, "text": text} for at, text in mentions]}
            context |= {"title": self.title, "language": self.lang or ""}
        context |= {"author": self.author, "licence": self.licence}
        kept = clean_context({name: value for name, value in context.items() if value not in ("", [], None)})
        return Sample(data, place, found, group=self.uri, context=kept)

    def _caption(self, text: str, kind: str, lang: str | None) -> Caption:
        said = lang or (self.lang if self.trusted else None)
        texts = given(self.items["lang"], self.items["kind"])
        if said and not self.items["lang"] and not is_foreign(text, said):
            texts = texts.said(said)
        caption = texts.caption(text)
        caption.kind = self.items["kind"] or kind
        caption.author, caption.licence = self.author, self.licence
        return caption


def counted(uri: str, what: str, pages: dict[str, int], hint: str = "") -> Iterator[Unused]:
    """What was not used of some pages, in one line."""
    if names := [name for name, count in pages.items() if count]:
        yield Unused(uri, what, tuple(names[:MOST_NAMES]), sum(pages.values()), hint)
