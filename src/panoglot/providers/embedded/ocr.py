"""`embedded:ocr`: the writing in pictures, by `rapidocr` (PP-OCRv6 small) and the program `tesseract`.

`rapidocr` reads Latin letters, Chinese and Japanese well, and nothing else: of Cyrillic it returns the commas, of
Arabic or Devanagari nothing. So `tesseract` is asked as well, where it is installed, when the first reading looks like
that (a box without letters, a low score) or when `lang` names a language that needs it.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from panoglot.errors import MissingPackage, RowError, UserError, did_you_mean, require
from panoglot.geometry import Region
from panoglot.identity import extended, later
from panoglot.languages import RIGHT_TO_LEFT, script_of, scripts_of
from panoglot.languages._tags import canonical_language
from panoglot.providers.roles import Line

if TYPE_CHECKING:
    import PIL.Image

    from panoglot.pictures import Image

__all__ = ["TextReader", "in_reading_order"]

_ENGINES = ("auto", "rapidocr", "tesseract")
_RAPID_SCRIPTS = ("Latn", "Hani", "Jpan")
_NO_SPACES = ("Hani", "Jpan", "Thai", "Laoo", "Khmr", "Mymr")
_TESSERACT = {
    "zh": "chi_sim",
    "zh-Hans": "chi_sim",
    "zh-Hant": "chi_tra",
    "sr-Latn": "srp_latn",
    "ku": "kmr",
    "nb": "nor",
}


class TextReader:
    """Reader of lines in reading order.

    Args:
        engine: `auto`, `rapidocr` or `tesseract`.
        lang: BCP-47 tags, comma separated, that `tesseract` shall look for; empty: all that are installed.
        min_score: lines that are less sure (0..1) are left out.
        threads: threads of one picture.
        timeout: seconds for one picture in `tesseract`; after that the row fails.
    """

    def __init__(
        self, engine: str = "auto", lang: str = "", min_score: float = 0.7, threads: int = 1, timeout: float = 60.0
    ) -> None:
        if engine not in _ENGINES:
            raise UserError(f"embedded:ocr has no engine '{engine}'.{did_you_mean(engine, _ENGINES)}")
        self._min_score, self._threads, self._timeout = min_score, threads, timeout
        self._tesseract = shutil.which("tesseract") if engine != "rapidocr" else None
        if engine == "tesseract" and not self._tesseract:
            raise MissingPackage("embedded:ocr?engine=tesseract needs the program: apt-get install tesseract-ocr")
        self._rapid: Any = None if engine == "tesseract" else self._load_rapid(engine)
        if self._rapid is None and self._tesseract is None:
            raise MissingPackage("embedded:ocr needs: pip install 'panoglot[ocr]', or apt-get install tesseract-ocr")
        tags = [canonical_language(tag) for tag in lang.split(",") if tag.strip()]
        self._codes = self._installed(tags) if self._tesseract else []
        self._always = self._rapid is None or any(not _rapid_reads(tag) for tag in tags)
        parts = [f"rapidocr-{_version('rapidocr')}"] if self._rapid else []
        parts += ["tesseract-" + "+".join(self._codes)] if self._codes else []
        self.name = "embedded:ocr@" + ",".join(parts)
        self.fingerprint = extended(f"{self.name}-{min_score}-{self._always}-1", later(TextReader, locals()))
        self.batch_size = 4
        self.per_core = True

    def _load_rapid(self, engine: str) -> Any:
        try:
            package = require("rapidocr", "panoglot[ocr]", "embedded:ocr")
        except MissingPackage:
            if engine == "rapidocr":
                raise
            return None
        options = {
            "Global.log_level": "critical",
            "EngineConfig.onnxruntime.intra_op_num_threads": self._threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
        return package.RapidOCR(params=options)

    def _installed(self, tags: Sequence[str]) -> list[str]:
        out = self._run(["--list-langs"]).decode("utf-8", "replace").splitlines()[1:]
        have = [code for code in map(str.strip, out) if code and code not in ("osd", "equ") and "_vert" not in code]
        wanted = [_tesseract_code(tag) for tag in tags]
        for tag, code in zip(tags, wanted, strict=True):
            if code not in have and not (self._rapid and _rapid_reads(tag)):
                raise UserError(
                    f"tesseract has no data for '{tag}': apt-get install tesseract-ocr-{code.replace('_', '-')}"
                )
        return [code for code in wanted if code in have] if tags else sorted(have)

    def _run(self, arguments: list[str], data: bytes = b"") -> bytes:
        environment = {**os.environ, "OMP_THREAD_LIMIT": str(self._threads)}
        command = [self._tesseract or "tesseract", *arguments]
        done = subprocess.run(
            command, input=data, capture_output=True, timeout=self._timeout, check=False, env=environment
        )
        if done.returncode:
            raise subprocess.SubprocessError(done.stderr.decode("utf-8", "replace").strip()[-200:])
        return done.stdout

    def read(self, images: Sequence[Image]) -> list[list[Line] | RowError]:
        """Read every picture."""
        return [self._one(image) for image in images]

    def _one(self, image: Image) -> list[Line] | RowError:
        try:
            picture = image.pil()
        except RowError as error:
            return error
        first = self._read_rapid(picture) if self._rapid else []
        good = [line for line in first if line.score >= self._min_score and script_of(line.text)[0]]
        good += [line for line in first if line.score >= 0.9 and line.text.strip(" .,").isdigit()]
        doubtful = len(good) < len(first) or any(line.score < 0.8 for line in good)
        if self._codes and (self._always or doubtful):
            try:
                second = self._read_tesseract(picture)
            except subprocess.TimeoutExpired:
                return RowError("ocr_timeout", f"tesseract took more than {self._timeout:g} s")
            except (subprocess.SubprocessError, OSError) as error:
                return RowError("ocr_failed", str(error)[-200:])
            good = _merge(good, second)
        return in_reading_order(good)

    def _read_rapid(self, picture: PIL.Image.Image) -> list[Line]:
        found = self._rapid(picture)
        if found.txts is None:
            return []
        lines = []
        for text, score, corners in zip(found.txts, found.scores, found.boxes, strict=True):
            xs, ys = corners[:, 0] / picture.width, corners[:, 1] / picture.height
            x0, y0, x1, y1 = (min(1.0, max(0.0, float(v))) for v in (xs.min(), ys.min(), xs.max(), ys.max()))
            lines.append(Line(text.strip(), float(score), Region(x0, y0, x1, y1)))
        return lines

    def _read_tesseract(self, picture: PIL.Image.Image) -> list[Line]:
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", compress_level=1)
        # page segmentation 11: find as much writing as there is, in no order, as photographs have it
        table = self._run(["stdin", "stdout", "-l", "+".join(self._codes), "--psm", "11", "tsv"], buffer.getvalue())
        rows = csv.DictReader(io.StringIO(table.decode("utf-8", "replace")), delimiter="\t", quoting=csv.QUOTE_NONE)
        words: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
        for row in rows:
            if row["level"] == "5" and (row["text"] or "").strip():
                words[row["block_num"], row["par_num"], row["line_num"]].append(row)
        lines = [_line_of(line, picture.size) for line in words.values()]
        known = _RAPID_SCRIPTS if self._rapid else ()
        return [line for line in lines if self._plausible(line) and script_of(line.text)[0] not in known]

    def _plausible(self, line: Line) -> bool:
        """In patterns and edges `tesseract` sees single letters, and words of any script with scores around 0.6."""
        return line.score >= max(0.8, self._min_score) and sum(map(str.isalnum, line.text)) >= 2


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def _tesseract_code(tag: str) -> str:
    import langcodes

    return _TESSERACT.get(tag) or langcodes.Language.get(tag).to_alpha3(variant="T")


def _rapid_reads(tag: str) -> bool:
    return scripts_of(tag) <= {"Latn", "Hani", "Hira", "Kana"}


def _line_of(words: list[dict[str, str]], size: tuple[int, int]) -> Line:
    text = words[0]["text"]
    for word in words[1:]:
        both = script_of(text[-1:])[0] in _NO_SPACES and script_of(word["text"][:1])[0] in _NO_SPACES
        text += word["text"] if both else " " + word["text"]
    boxes = [[int(word[key]) for key in ("left", "top", "width", "height")] for word in words]
    x0, y0 = min(b[0] for b in boxes), min(b[1] for b in boxes)
    x1, y1 = max(b[0] + b[2] for b in boxes), max(b[1] + b[3] for b in boxes)
    score = sum(float(word["conf"]) for word in words) / len(words) / 100
    return Line(text.strip(), max(0.0, score), Region(x0 / size[0], y0 / size[1], x1 / size[0], y1 / size[1]))


def _merge(first: list[Line], second: list[Line]) -> list[Line]:
    """Both readings; where both see writing, the surer one stays."""
    over = [(a, b) for a in first for b in second if _share(a.region, b.region) > 0.3]
    lost = {id(a if a.score < b.score else b) for a, b in over}
    return [line for line in (*first, *second) if id(line) not in lost]


def _share(a: Region, b: Region) -> float:
    """The shared part of two boxes, of the smaller one."""
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    smaller = min((a.x1 - a.x0) * (a.y1 - a.y0), (b.x1 - b.x0) * (b.y1 - b.y0))
    return width * height / smaller if width > 0 and height > 0 and smaller > 0 else 0.0


def in_reading_order(lines: Iterable[Line]) -> list[Line]:
    """Rows from top to bottom; in a row along its script, and neighbours joined to one line."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: (line.region.y0 + line.region.y1, line.region.x0)):
        middle = (line.region.y0 + line.region.y1) / 2
        if rows and rows[-1][0].region.y0 <= middle <= rows[-1][0].region.y1:
            rows[-1].append(line)
        else:
            rows.append([line])
    ordered: list[Line] = []
    for row in rows:
        leftward = script_of("".join(line.text for line in row))[0] in RIGHT_TO_LEFT
        row.sort(key=lambda line: -line.region.x1 if leftward else line.region.x0)
        joined = [row[0]]
        for line in row[1:]:
            joined[-1:] = _joined(joined[-1], line)
        ordered += joined
    return ordered


def _joined(a: Line, b: Line) -> list[Line]:
    gap = max(b.region.x0 - a.region.x1, a.region.x0 - b.region.x1)
    if gap > a.region.y1 - a.region.y0:  # wider than the line is high: another column
        return [a, b]
    space = "" if script_of(a.text[-1:])[0] in _NO_SPACES and script_of(b.text[:1])[0] in _NO_SPACES else " "
    box = Region(
        min(a.region.x0, b.region.x0),
        min(a.region.y0, b.region.y0),
        max(a.region.x1, b.region.x1),
        max(a.region.y1, b.region.y1),
    )
    return [Line(a.text + space + b.text, min(a.score, b.score), box)]
