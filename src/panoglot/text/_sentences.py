"""Where sentences end, in any script."""

from __future__ import annotations

import re

__all__ = ["split_sentences"]

#: Marks that end a sentence wherever they stand (Chinese, Japanese, Hindi, Arabic, Urdu, Ethiopic, Khmer, Armenian).
_ALWAYS = "。！？．…।॥؟۔።፧។៕։"
_BREAK = re.compile(rf"</s>|[\r\n]+|(?<=[{_ALWAYS}])(?![{_ALWAYS}])|(?<=[.!?])\s+|(?<=[.!?][\"'”’»)\]])\s+")
#: What ends in a dot and ends nothing, by language; of these with a space in them it may be missing. Words that are
#: often the last ones, as `etc.` in some languages, are among them only where they were before.
_ABBREVIATIONS = r"""
    e\.\s?g i\.\s?e etc vs cf approx no nr st mr mrs ms dr prof messrs viz
    z\.\s?b d\.\s?h u\.\s?a usw bzw ca et\s+al vgl ggf evtl inkl exkl sog bspw zzgl hrsg dipl ing
    p\.\s?ex mme mlle mgr env  p\.\s?ej sr sra srta ud uds  cfr sig dott  exmo  bijv dhr mevr bv
    bl\.\s?a f\.\s?eks t\.\s?ex s\.\s?k jf dvs  np tj tzn tzw  např tzv  esim ks ns  ld ún kb  örn bkz  pvz plg
    см ср напр т\.\s?е т\.\s?н проф  див  вж  βλ π\.\s?χ  डॉ श्री  ดร  د  k\.\s?m
"""
#: The same before a number: parts of a work.
_NUMBERED = r"""
    figs? fig[gs] abb afb taf tab kap chap cap eqs? eqn secs? vols? bde? pp? págs? pags? s seq art ill pl blz
    rys obr kuv şek gbr hlm рис мал гл стр табл фиг εικ σελ πίν ст
"""
_ABBREVIATION, _BEFORE_NUMBER = (
    re.compile(rf"(?:^|[\s(\[„“«‘'\"])(?:[^\W\d_]|{'|'.join(words.split())})\.$", re.I)
    for words in (_ABBREVIATIONS, _NUMBERED)
)
_NUMBER = re.compile(r"[\W_]?(?:[A-Z][.-]?)?\d")


def split_sentences(text: str, *, lower_case: bool = True) -> list[str]:
    """Split at line ends, `</s>` and sentence marks of many scripts; not within `3.5 cm` nor after `e.g.` or `см.`.

    Thai and other scripts without sentence marks stay whole between line ends. What holds no letter or digit is none.

    Args:
        text: one caption.
        lower_case: a lower-case letter may begin a sentence after a full stop, as in captions that have no capitals;
            False for texts that are written with care, whose `sq. and` is one sentence.

    >>> split_sentences("A cat, e.g. a tabby, 3.5 kg. It sleeps!\\nQuiet.")
    ['A cat, e.g. a tabby, 3.5 kg.', 'It sleeps!', 'Quiet.']
    >>> split_sentences("一只猫。它在睡觉。"), split_sentences("एक बिल्ली। वह सोती है।")
    (['一只猫。', '它在睡觉。'], ['एक बिल्ली।', 'वह सोती है।'])
    >>> split_sentences("It sits on St. Mark's sq. and sleeps. So.", lower_case=False)
    ["It sits on St. Mark's sq. and sleeps.", 'So.']
    >>> split_sentences("Vgl. Abb. 3 und Kap. A.2. Katzen, z. B. Tiger, schlafen. См. рис. 4. Кот спит.")
    ['Vgl. Abb. 3 und Kap. A.2.', 'Katzen, z. B. Tiger, schlafen.', 'См. рис. 4.', 'Кот спит.']
    """
    out: list[str] = []
    lines = False  # whether what stands before the piece was a line end, which no abbreviation bridges
    at = 0
    for match in [*_BREAK.finditer(text), None]:
        piece = text[at : match.start() if match else len(text)].strip()
        if any(character.isalnum() for character in piece):
            goes_on = out and not lines and out[-1].endswith(".")
            if goes_on and (
                _ABBREVIATION.search(out[-1])
                or (not lower_case and piece[0].islower())
                or (_NUMBER.match(piece) and _BEFORE_NUMBER.search(out[-1]))
            ):
                out[-1] += " " + piece
            else:
                out.append(piece)
            lines = False
        if match:
            lines, at = lines or "\n" in match[0] or match[0] == "</s>", match.end()
    return out
