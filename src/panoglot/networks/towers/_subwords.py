"""Tokenisers of parts of words: CLIP's byte-pair encoding, one that is learnt of the captions, any of transformers."""

from __future__ import annotations

import gzip
import html
import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from panoglot.errors import MissingPackage, UserError, require
from panoglot.networks.towers._pretrained import load_pretrained
from panoglot.networks.towers._tokens import ByteTokens, pad_tokens

__all__ = [
    "ClipTokens",
    "FileTokens",
    "LearntTokens",
    "NamedTokens",
    "Subwords",
    "byte_order",
    "bytes_kit",
    "clip_kit",
    "learnt_kit",
    "tokens_of",
]

#: The vocabulary of CLIP: 256 bytes, each alone and at a word's end, 48,894 merges, start and end.
CLIP_MERGES, CLIP_SIZE = 49152 - 256 - 2, 49408
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


class Subwords(ABC):
    """Ids of parts of words between a start and an end token; what does not fit is cut, and the end token stays.

    Attributes:
        size: of the vocabulary.
        length: most tokens of a text.
        cut: how many texts were cut so far.
        start, end: the tokens around every text.
    """

    size: int
    start: int
    end: int

    def __init__(self, length: int) -> None:
        if length < 3:
            raise UserError(f"A text of {length} tokens holds no text.")
        self.length, self.cut = length, 0

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without start and end."""

    @abstractmethod
    def words(self, ids: Sequence[int]) -> str:
        """Return the text of ids without start and end."""

    def decode(self, ids: Tensor | Sequence[int]) -> str:
        """Return the text of ids up to the end token."""
        values: list[int] = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        values = values[: values.index(self.end)] if self.end in values else values
        return self.words([one for one in values if one != self.start]).strip()

    def whole(self, text: str) -> int:
        """Return how many tokens the whole text has, start and end among them."""
        return len(self.encode(text)) + 2

    def ids(self, text: str) -> list[int]:
        """Return the ids of one text."""
        inner = self.encode(text)
        self.cut += len(inner) > self.length - 2
        return [self.start, *inner[: self.length - 2], self.end]

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids and mask [M, L], padded to the longest."""
        return pad_tokens([self.ids(text) for text in texts])


class ClipTokens(Subwords):
    """CLIP's own: lower case, byte-pair encoding with 49,408 ids; the merges lie in open_clip's package.

    The release also repairs wrong encodings by `ftfy`, which is not done here: text that was read right is the same.
    The file is read when a text is first encoded.

    Source: CLIP arXiv 2103.00020, section 2.4.
    """

    size, start, end = CLIP_SIZE, CLIP_SIZE - 2, CLIP_SIZE - 1

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without start and end."""
        found: list[int] = _encoding().encode(html.unescape(html.unescape(text)).strip()).ids
        return found

    def words(self, ids: Sequence[int]) -> str:
        """Return the text of ids, in lower case, a space after every word."""
        byte, out = dict(zip(_letters(), byte_order(), strict=True)), bytearray()
        for one in ids:
            word = _encoding().id_to_token(one) or ""
            out += bytes(byte[letter] for letter in word.removesuffix("</w>"))
            out += b" " * word.endswith("</w>")
        return out.decode("utf-8", "replace")


@cache
def _encoding() -> Any:
    return clip_kit()


def clip_kit() -> Any:
    """Return CLIP's encoding as the library tokenizers has it, of the file in open_clip's package (not imported)."""
    package = find_spec("open_clip")
    if package is None or package.origin is None:
        raise MissingPackage("CLIP's tokeniser lies in the package of open_clip: pip install --no-deps open-clip-torch")
    kit = require("tokenizers", "panoglot[train]", "CLIP's tokeniser")
    raw = gzip.decompress(Path(package.origin).with_name("bpe_simple_vocab_16e6.txt.gz").read_bytes())
    merges = [tuple(line.split()) for line in raw.decode("utf-8").split("\n")[1 : CLIP_MERGES + 1]]
    letters = _letters()
    words = [*letters, *(letter + "</w>" for letter in letters), *("".join(merge) for merge in merges)]
    ids = {word: n for n, word in enumerate([*words, "<start_of_text>", "<end_of_text>"])}
    out = kit.Tokenizer(kit.models.BPE(ids, merges, end_of_word_suffix="</w>"))
    out.normalizer = kit.normalizers.Sequence([kit.normalizers.NFC(), kit.normalizers.Lowercase()])
    split = kit.pre_tokenizers.Split(kit.Regex(_WORDS), "removed", invert=True)
    out.pre_tokenizer = kit.pre_tokenizers.Sequence(
        [split, kit.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    return out


def byte_order() -> list[int]:
    """Return the 256 bytes as byte-level encodings order them: the printable ones first."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [*shown, *(byte for byte in range(256) if byte not in shown)]


def _letters() -> list[str]:
    """Return a letter for each byte, in that order: printable ones are themselves."""
    shown = 188
    return [*map(chr, byte_order()[:shown]), *(chr(256 + n) for n in range(256 - shown))]


def bytes_kit(special: Sequence[str]) -> Any:
    """Return UTF-8 bytes as the library tokenizers has them, the special tokens behind them."""
    kit = require("tokenizers", "panoglot[train]", "a tokeniser of bytes")
    out = kit.Tokenizer(kit.models.BPE({word: n for n, word in enumerate([*_letters(), *special])}, []))
    out.pre_tokenizer = kit.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return out


def learnt_kit(model: bytes, special: Sequence[str]) -> tuple[Any, list[int]]:
    """Return SentencePiece's unigram model as the library tokenizers has it, the special tokens behind the pieces.

    Returns:
        The tokeniser without special tokens around a text, and SentencePiece's id of each of its ids.
    """
    kit = require("tokenizers", "panoglot[train]", "a tokeniser of the captions")
    pb = require("sentencepiece.sentencepiece_model_pb2", "panoglot[onnx]", "the tokeniser of the captions elsewhere")
    proto = pb.ModelProto()
    proto.ParseFromString(model)
    words = [(piece.piece, piece.score) for piece in proto.pieces[3:]]  # after padding, start and end: unknown first
    raw = kit.Tokenizer(kit.models.Unigram([*words, *((one, 0.0) for one in special)], 0, byte_fallback=True))
    steps = kit.normalizers
    clean = [steps.Precompiled(proto.normalizer_spec.precompiled_charsmap), steps.Strip()]
    raw.normalizer = steps.Sequence([*clean, steps.Replace(kit.Regex(" {2,}"), " ")])
    raw.pre_tokenizer = kit.pre_tokenizers.Metaspace("▁", prepend_scheme="always", split=False)
    raw.add_special_tokens(list(special))
    return raw, [*range(3, len(words) + 3), 1, 2, 0]


class LearntTokens(Subwords):
    """SentencePiece's unigram model, learnt of the captions that are trained on: any language, nothing is downloaded.

    Bytes stand for characters that were never seen. It is part of the model and is stored with its weights.

    Args:
        length: most tokens of a text.
        size: ids, at most: fewer where the captions are few.

    Source: Kudo 2018, arXiv 1804.10959; SentencePiece, arXiv 1808.06226.
    """

    def __init__(self, length: int, size: int) -> None:
        super().__init__(length)
        if size < 300:
            raise UserError(f"text: vocabulary={size} must be at least 300: 256 bytes, and pieces.")
        self.size, self.start, self.end = size, 1, 2
        self.model = b""
        self._kit: Any = None

    def learn(self, texts: Sequence[str]) -> None:
        """Learn the pieces of texts; the same texts in the same order give the same pieces."""
        kit = require("sentencepiece", "panoglot[train]", "a tokeniser of the captions")
        out = io.BytesIO()
        lines = [" ".join(text.split()) for text in texts if text.strip()]
        special = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3, "byte_fallback": True, "num_threads": 1}
        how = {"model_type": "unigram", "hard_vocab_limit": False, "character_coverage": 0.9995, "minloglevel": 2}
        more = {"input_sentence_size": 1_000_000, "shuffle_input_sentence": False, "max_sentence_length": 65_536}
        kit.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=out, vocab_size=self.size, **special, **how, **more
        )
        self.load(out.getvalue())

    def load(self, model: bytes) -> None:
        """Take up pieces that were learnt."""
        kit = require("sentencepiece", "panoglot[train]", "a tokeniser of the captions")
        self._punctuation = None  # of the pieces before
        self.model, self._kit = model, kit.SentencePieceProcessor(model_proto=model)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without start and end."""
        if self._kit is None:
            raise UserError("the tokeniser has not learnt its pieces: train with it, or load a run that did.")
        return list(self._kit.encode(text))

    def pieces(self) -> dict[str, int]:
        """Return piece → id of what was learnt, without bytes and special tokens."""
        kit = self._kit
        found = range(kit.get_piece_size()) if kit is not None else ()
        return {kit.id_to_piece(n): n for n in found if not (kit.is_control(n) or kit.is_byte(n) or kit.is_unknown(n))}

    def words(self, ids: Sequence[int]) -> str:
        """Return the text of ids; those that stand for nothing are left out."""
        return str(self._kit.decode([one for one in ids if 3 < one < self._kit.get_piece_size()]))


class NamedTokens(Subwords):
    """A tokeniser of transformers by name, or in a folder."""

    tokenizer: Any

    def __init__(self, name: str, length: int) -> None:
        super().__init__(length)
        hf = require("transformers", "panoglot[train]", f"the tokeniser {name}")
        self.tokenizer = load_pretrained(hf.AutoTokenizer, name)
        ends = (self.tokenizer.eos_token_id, self.tokenizer.sep_token_id)
        starts = (self.tokenizer.bos_token_id, self.tokenizer.cls_token_id)
        end, start = (next((i for i in some if i is not None), None) for some in (ends, starts))
        if end is None:
            raise UserError(f"the tokeniser {name} has no token that ends a text.")
        self.size, self.end, self.start = len(self.tokenizer), int(end), int(end if start is None else start)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without start and end."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

    def words(self, ids: Sequence[int]) -> str:
        """Return the text of ids."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))


class FileTokens(Subwords):
    """SentencePiece's pieces of a file (`….model`), as its owner learnt them: M2-Encoder's, GLM's, XLM-R's.

    A text begins with the piece [CLS] (or the file's own start, else the end) and ends with the file's end.

    Source: SentencePiece, arXiv 1808.06226.
    """

    def __init__(self, path: str, length: int) -> None:
        super().__init__(length)
        kit = require("sentencepiece", "panoglot[train]", f"the tokeniser {path}")
        try:
            self._kit: Any = kit.SentencePieceProcessor(model_proto=Path(path).expanduser().read_bytes())
        except (OSError, RuntimeError) as error:
            raise UserError(f"text: tokenizer='{path}' is no file of SentencePiece that can be read.") from error
        named = [self._kit.piece_to_id(one) for one in ("[CLS]", "<|endoftext|>", "[SEP]")]
        first, *last = [one if one != self._kit.unk_id() else -1 for one in named]
        ends, starts = (self._kit.eos_id(), *last), (first, self._kit.bos_id())
        end = next((one for one in ends if one >= 0), -1)
        if end < 0:
            raise UserError(f"the tokeniser {path} has no piece that ends a text.")
        self.size, self.end = self._kit.get_piece_size(), end
        self.start = next((one for one in starts if one >= 0), end)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without start and end."""
        return list(self._kit.encode(text))

    def words(self, ids: Sequence[int]) -> str:
        """Return the text of ids."""
        return str(self._kit.decode([one for one in ids if not self._kit.is_control(one)]))


def tokens_of(name: str, length: int, vocabulary: int) -> ByteTokens | Subwords:
    """Return the tokeniser that a row names: '' bytes, `clip`, `captions`, a SentencePiece file, or transformers'."""
    if name.endswith(".model"):
        return FileTokens(name, length)
    if name == "captions":
        return LearntTokens(length, vocabulary)
    if name == "clip":
        return ClipTokens(length)
    return NamedTokens(name, length) if name else ByteTokens(length)
