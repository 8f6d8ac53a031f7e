"""Templates of zero-shot classification: texts with one `{}` for the class name.

Ours are a few plain forms in 18 languages. Others' figures on ImageNet stand for OpenAI's 80 English templates
(github.com/openai/CLIP, `notebooks/Prompt_Engineering_for_ImageNet.ipynb`), and Babel-ImageNet's for machine
translations of them (`nllb_dist13b_prompts.json`): give those files for figures that compare. Every result says which
templates it was made with, and results of other templates are not compared.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from panoglot.checks import offenders
from panoglot.errors import UserError, did_you_mean
from panoglot.formats._json import read_json
from panoglot.languages._tags import parse_language

__all__ = ["TEMPLATES", "Templates", "read_templates"]

#: Ours by language: forms in which a noun stands as it is, without an article that would have to agree with it.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "en": (
        "{}", "a photo of a {}.", "a close-up photo of a {}.", "a photo of one {}, seen from far away.",
        "a dark, blurry photo of a {}.", "a drawing of a {}.", "a toy {}.", "this picture shows a {}.",
    ),
    "de": ("{}", "Foto: {}.", "Nahaufnahme: {}.", "Auf diesem Bild: {}.", "Zeichnung: {}."),
    "fr": ("{}", "photo : {}.", "gros plan : {}.", "sur cette image : {}.", "dessin : {}."),
    "es": ("{}", "foto de {}.", "primer plano de {}.", "en esta imagen: {}.", "dibujo de {}."),
    "pt": ("{}", "foto de {}.", "foto de perto de {}.", "nesta imagem: {}.", "desenho de {}."),
    "it": ("{}", "foto di {}.", "primo piano di {}.", "in questa immagine: {}.", "disegno di {}."),
    "nl": ("{}", "foto van {}.", "close-up van {}.", "op deze afbeelding: {}.", "tekening van {}."),
    "ru": ("{}", "фото: {}.", "крупный план: {}.", "на этой картинке {}.", "рисунок: {}."),
    "pl": ("{}", "zdjęcie: {}.", "zbliżenie: {}.", "na tym zdjęciu: {}.", "rysunek: {}."),
    "tr": ("{}", "{} fotoğrafı.", "yakından {} fotoğrafı.", "bu resimde: {}.", "{} çizimi."),
    "ar": ("{}", "صورة: {}.", "صورة مقربة: {}.", "في هذه الصورة: {}.", "رسم: {}."),
    "hi": ("{}", "{} की तस्वीर।", "पास से ली गई {} की तस्वीर।", "इस तस्वीर में: {}।", "{} का चित्र।"),
    "th": ("{}", "ภาพถ่าย{}", "ภาพถ่ายระยะใกล้ของ{}", "ในภาพนี้มี{}", "ภาพวาด{}"),
    "zh": ("{}", "一张{}的照片。", "{}的特写照片。", "这张图片里有{}。", "{}的图画。"),
    "ja": ("{}", "{}の写真。", "{}のクローズアップ写真。", "この画像には{}が写っています。", "{}の絵。"),
    "ko": ("{}", "{} 사진.", "{} 클로즈업 사진.", "이 이미지에 있는 것: {}.", "{} 그림."),
    "id": ("{}", "foto {}.", "foto {} dari dekat.", "di gambar ini ada {}.", "lukisan {}."),
    "sw": ("{}", "picha ya {}.", "picha ya karibu ya {}.", "katika picha hii: {}.", "mchoro wa {}."),
}  # fmt: skip


class Templates(dict[str, list[str]]):
    """Templates by language, and what they are called in results; `*` is for languages without any of their own.

    Attributes:
        label: `names` (none but the name), `ours`, or files with the first digits of their hashes.
    """

    def __init__(self, found: Mapping[str, Sequence[str]], label: str) -> None:
        super().__init__({lang: list(texts) for lang, texts in found.items()})
        self.label = label

    def of(self, lang: str) -> list[str]:
        """Templates of a language: its own, those of its plain tag, those for all, or the bare name.

        >>> Templates({"zh": ["{}的照片"]}, "x").of("zh-Hant"), Templates({"DE": ["Foto: {}"]}, "x").of("ja")
        (['{}的照片'], ['{}'])
        """
        if lang in self:
            return self[lang]
        tag = parse_language(lang.replace("_", "-")) or lang
        by_tag = {(parse_language(key.replace("_", "-")) or key): texts for key, texts in self.items()}
        return by_tag.get(tag) or by_tag.get(tag.partition("-")[0]) or self.get("*") or ["{}"]


def read_templates(sources: str | os.PathLike[str] | Sequence[str] | None) -> Templates:
    """Templates from files and sets, later ones for languages that earlier ones have none of.

    Args:
        sources: `names`, `ours`, or JSON files: a list (for all languages), `{lang: [text, …]}`, or OpenAI's
            (`imagenet_templates`); `FILE#key` takes a key's list (`imagenet1k` of CLIP_benchmark's files); `en:FILE`
            takes a list for one language. The name's place is `{}` (or `{c}`).

    Raises:
        UserError: no file, another form, templates without exactly one place for the name.
    """
    found: dict[str, list[str]] = {}
    labels = []
    given = [] if sources is None else [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    for source in [os.fspath(one) for one in given]:
        if source == "names":
            labels.append(source)
            found.setdefault("*", ["{}"])
        elif source == "ours":
            labels.append(source)
            for lang, texts in TEMPLATES.items():
                found.setdefault(lang, list(texts))
        else:
            more, label = _file(source)
            labels.append(label)
            for lang, row in more.items():
                found.setdefault(lang, row)
    return Templates(found, " + ".join(labels) or "names")


def _file(source: str) -> tuple[dict[str, list[str]], str]:
    path, hash_mark, key = source.partition("#") if not Path(source).is_file() else (source, "", "")
    lang, colon, rest = path.partition(":")
    if colon and not Path(path).is_file() and parse_language(lang):
        path = rest
    else:
        lang = ""
    if not Path(path).is_file():
        hint = did_you_mean(path, ["ours", "names"])
        raise UserError(f"there are no templates '{source}': give a file, 'ours' or 'names'.{hint}")
    data: Any = read_json(path)
    if hash_mark:
        if not isinstance(data, dict) or key not in data:
            raise UserError(f"{path} has no '{key}'.{did_you_mean(key, data if isinstance(data, dict) else [])}")
        data = data[key]
    elif isinstance(data, dict) and "imagenet_templates" in data:
        data, lang = data["imagenet_templates"], lang or "en"
    if isinstance(data, list):
        data = {lang or "*": data}
    elif lang and isinstance(data, dict):
        if lang not in data:
            raise UserError(f"{path} has no '{lang}'.{did_you_mean(lang, data)}")
        data = {lang: data[lang]}
    if not isinstance(data, dict) or not data:
        raise UserError(f"{path} must be a JSON list of templates, or an object of such lists by language.")
    strange = [name for name in data if name != "*" and parse_language(name.replace("_", "-")) is None]
    if strange and "{c}" in json.dumps(data):
        raise UserError(f"{path} has templates by dataset: say which, {path}#{strange[0]}.")
    found: dict[str, list[str]] = {}
    for name, row in data.items():
        texts = [text.replace("{c}", "{}") for text in row if isinstance(text, str)] if isinstance(row, list) else []
        if texts and len(texts) == len(row) and all(text.count("{}") == 1 for text in texts):
            found[name] = texts
    odd = [name for name in data if name not in found]
    if odd:
        raise UserError(f"{path}: the templates of {offenders(odd)} are not texts with exactly one {{}} each.")
    said = json.dumps(found, sort_keys=True, ensure_ascii=False).encode()
    name = Path(path).name + (f"#{key}" if key else "")
    return found, f"{name} ({hashlib.sha256(said).hexdigest()[:8]})"
