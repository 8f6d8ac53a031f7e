"""Where sentences end, in any script."""

from __future__ import annotations

import re

__all__ = ["split_sentences"]

#: Marks that end a sentence wherever they stand (Chinese, Japanese, Hindi, Arabic, Urdu, Ethiopic, Khmer, Armenian).
_ALWAYS = "。！？．…।॥؟۔።፧។៕։"
_BREAK = re.compile(rf"</s>|[\r\n]+|(?<=[{_ALWAYS}])(?![{_ALWAYS}])|(?<=[.!?])\s+|(?<=[.!?][\"'”’»)\]])\s+")
#: What ends in a dot and ends nothing; a single letter is an initial.
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[^\W\d_]|e\.g|i\.e|etc|vs|cf|approx|no|nr|st|mr|mrs|ms|dr|prof|bzw|ca|z\.b|d\.h|usw)\.$", re.I
)


def split_sentences(text: str, *, lower_case: bool = True) -> list[str]:
    """Split at line ends, `</s>` and sentence marks of many scripts; not within `3.5 cm` nor after `e.g.`.

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
    """
    out: list[str] = []
    lines = False  # whether what stands before the piece was a line end, which no abbreviation bridges
    at = 0
    for match in [*_BREAK.finditer(text), None]:
        piece = text[at : match.start() if match else len(text)].strip()
        if any(character.isalnum() for character in piece):
            goes_on = out and not lines and out[-1].endswith(".")
            if goes_on and (_ABBREVIATION.search(out[-1]) or (not lower_case and piece[0].islower())):
                out[-1] += " " + piece
            else:
                out.append(piece)
            lines = False
        if match:
            lines, at = lines or "\n" in match[0] or match[0] == "</s>", match.end()
    return out
