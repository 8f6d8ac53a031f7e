"""What an answer must not be before it becomes a caption: leaked, copied, cut off, looping, too long, without style.

A refusal, an announcement and reasoning never come here: `panoglot.text.read_answer` sees to them for every generator.
The language is checked by `captioning._answers.check_answer`; `sound` there is the one gate of all methods.
Alternative texts that say nothing, of which no answer should be made, are told here too.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from panoglot.captioning._claims import join_sentences
from panoglot.text import grams, is_spaceless, split_sentences, word_count

__all__ = [
    "HEDGES",
    "OPENINGS",
    "check_text",
    "copies",
    "first_sentences",
    "is_finished",
    "is_junk",
    "leaks",
    "lint",
    "says_nothing",
    "unwrapped",
    "without_boxes",
    "without_coordinates",
    "without_loops",
]

#: Words of instructions that no caption has: those that CapsFusion's model repeats (369 of its 10,000 published
#: outputs), and those of other fusing prompts.
_LEAK = re.compile(
    r"real-world (?:knowledge|information|details|scenario)|sentence structure|\bsentence [12]\b"
    r"|\bcaption [12]\b|(?:the|both) (?:given|provided|input) (?:captions|sentences|texts)"
    r"|alt[- ]text (?:says|mentions)",
    re.I,
)
#: Words in a row that an answer and its prompt share when the answer repeats the prompt.
_RUN = 10
#: Of a sentence that says a sentence of its prompt again in other words: how many different words (pairs of letters in
#: scripts without spaces) they share, and what share of its letters is in those.
_SHARED, _SHARED_PAIRS, _AGAIN = 6, 10, 0.75
#: What stands before a value in a prompt: "Found beside it: {alt}".
_LABEL = re.compile(r"^[ \t]*([^\n:：{}]{1,40}?)[ \t]*[:：]\s*\{\w+\}", re.M)
_ENDINGS = (*'.!?"', *"。！？।॥؟۔።”」』")
_COORDINATES = re.compile(
    r"\s*(?:\b(?:at|in|within|from)\s+)?(?:\b(?:position|coordinates|box|bounding box)\s+)?"
    r"[\[(]\s*\d*\.?\d+(?:\s*[,，、]\s*\d*\.?\d+){1,3}\s*[\])]"
)
#: Openings that speak of the picture instead of what is in it (DenseFusion's style).
OPENINGS = (
    "the image shows", "the image showcases", "the image displays", "the image depicts", "the image features",
    "the image presents", "the image captures", "the picture shows", "the photo shows", "this image shows",
    "this is an image",
    "das bild zeigt", "l'image montre", "la imagen muestra", "这张图片", "图片中", "この画像", "الصورة تظهر",
    "चित्र में", "ภาพนี้",
)  # fmt: skip
#: Words of somebody who guesses.
HEDGES = (
    "probably", "perhaps", "possibly", "maybe", "likely", "seems", "appears to", "appear to", "might", "suggesting",
    "suggests", "presumably", "as if", "vielleicht", "wahrscheinlich", "peut-être", "quizás",
    "可能", "おそらく", "ربما", "शायद",
)  # fmt: skip
#: Names that cameras, telephones and programs give; words joined by underscores; addresses; nothing at all.
_JUNK = re.compile(
    r"(?:(?:fb_)?img|dsc[fn]?|pict?|pxl|mvi|gopr|dji|image|photo|bild|foto|scan|screen ?shot|screenshot|bildschirmfoto"
    r"|capture d['’]écran|whatsapp image|signal)[\s_-]*\d[\d\s_.:-]*(?:at [\d.:]+)?(?:\.\w{3,4})?|p\d{5,}"
    r"|[^\s.]+\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg|avif|heic|pdf)|\S+\.(?:jpe?g|png|gif|webp|bmp|tiff?)"
    r"|[\w-]*[^\W_]_[^\W_][\w-]*\.?|[^\W_]+(?:-[^\W_]+){4,}"
    r"|(?:https?://|www\.)\S+|[\W\d_]*",
    re.I,
)
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+|\b[\w-]+\.(?:com|net|org|shop|store|example)\b", re.I)
#: What software or nobody writes where a text should be: "image", "untitled", "N/A", with a number or without.
_EMPTY = re.compile(
    r"(?:(?:an?|the|das|ein|une?|la|el) )?(?:image|images|img|photo|photograph|photos|picture|pic|thumbnail|thumb"
    r"|banner"
    r"|placeholder|alt|alt text|untitled|no title|no caption|no description|unnamed|undefined|null|none|nil|nan|n/a"
    r"|bild|foto|fotografie|abbildung|ohne titel|unbenannt|kein titel|keine angabe|sans titre|aucun|imagen|fotografía"
    r"|sin título|ninguno|imagem|fotografia|sem título|immagine|senza titolo|nessuno|afbeelding|zonder titel|bilde"
    r"|billede"
    r"|kuva|obraz|zdjęcie|bez tytułu|obrázek|imagine|kép|εικόνα|φωτογραφία|изображение|фото|фотография|картинка"
    r"|без названия|зображення|resim|fotoğraf|görsel|adsız|gambar|tanpa judul|hình ảnh|không có|picha|haina jina"
    r"|صورة|بدون عنوان|تصویر|عکس|תמונה|ללא כותרת|चित्र|तस्वीर|शीर्षकहीन|ছবি|ภาพ|รูปภาพ|ไม่มีชื่อ|图片|圖片|照片|无标题|無標題"
    r"|无|無|画像|写真|無題|なし|사진|이미지|제목 없음)[\s_#-]*\d*[\W_]*",
    re.I,
)
#: Phrases of advertisements; one of them may stand in an honest text, an address or a second one beside it does not.
_SELLS = re.compile(
    r"\b(?:for sale|buy (?:now|online|here)|best (?:price|buy|deal)s?|free (?:shipping|delivery)|click here"
    r"|order (?:now|today)"
    r"|add to cart|shop (?:now|online)|\d+ ?% off|in stock|jetzt (?:kaufen|bestellen)|zu verkaufen|günstig kaufen"
    r"|sonderangebot|versandkostenfrei|à vendre|acheter|achetez|livraison gratuite|meilleur prix|en venta|compra ahora"
    r"|comprar online|envío gratis|mejor precio|à venda|compre agora|frete grátis|in vendita|acquista ora"
    r"|spedizione gratuita|te koop|gratis verzending|купить|скидк\w*|бесплатная доставка|satılık|ücretsiz kargo"
    r"|beli sekarang|gratis ongkir|mua ngay|nunua sasa|inauzwa)(?!\w)"
    r"|立即购买|立即購買|包邮|特价|今すぐ購入"
    r"|送料無料|지금 구매|무료 배송|اشتر الآن|للبيع|شحن مجاني|अभी खरीदें|मुफ़्त शिपिंग|ซื้อเลย|ส่งฟรี",
    re.I,
)
#: A turn of the user and one of the model: a conversation, no caption.
_TURNS = re.compile(
    r"(?:^|\n)\s*(?:user|human|nutzer|benutzer)\s*[:：].*?\n?\s*\b(?:assistant|ai|bot|model)\s*[:：]", re.I | re.S
)
#: How instructions begin, and captions never.
_ASKS = re.compile(
    r"[\s\"'“„«*_]*(?:(?:please )?describe (?:this|the|what) (?:picture|image|photo|is)|(?:please )?write a caption"
    r"|beschreibe? (?:dieses|das) (?:bild|foto)|beschreiben sie (?:dieses|das) (?:bild|foto)"
    r"|(?:décris|décrivez) (?:cette|l['’])|describ[ae] (?:esta|la) (?:imagen|foto)|descreva (?:esta|a) (?:imagem|foto)"
    r"|descrivi (?:questa|l['’])|beschrijf (?:deze|de) (?:afbeelding|foto)|опиши(?:те)? (?:эт[оу]|изображение|картинку)"
    r"|eleza picha|صف (?:هذه )?الصورة|इस (?:तस्वीर|चित्र) का वर्णन (?:करें|कीजिए|करो)"
    r"|请?描述(?:一下)?(?:这张|这幅|图片|此图)"
    r"|請描述|(?:この|画像を).{0,12}(?:説明してください|説明して。)|อธิบาย(?:ภาพ|รูป)นี้)",
    re.I,
)
#: Boxes as models that ground their words write them, and four numbers in brackets.
_BOXES = re.compile(
    r"\s*<\|?(?:box|bbox|loc|point|quad|box_start|object_ref_start)\|?>.*?<(?:/|\|)?(?:box|bbox|loc|point|quad|box_end"
    r"|object_ref_end)\|?>|\s*(?:<loc_?\d+>)+|</?(?:ref|box|bbox|phrase|p)>"
    r"|\s*(?:\b(?:at|in|within|from)\s+)?[\[(]{1,2}\s*\d*\.?\d+(?:[\s,，、()]+\d*\.?\d+){3}\s*[\])]{1,2}",
    re.I | re.S,
)
_LOOP = re.compile(r"(.{2,60}?)\1{9,}", re.S)
#: Keys under which a model wraps the text that it was asked for.
_WRAPPED = ("caption", "description", "text", "answer", "response", "output", "content", "result", "sentence")


def leaks(text: str, prompt: str = "") -> bool:
    """Whether an answer speaks of its instruction, repeats ten words of it in a row, says one of its sentences in other
    words, or has the form in which values were given to it.

    Args:
        text: the answer.
        prompt: the question, in any language, with `{placeholders}` where values stood: those may be repeated.

    >>> leaks("Sentence 1 has the real-world details."), leaks("A sentence on a sign in a real-world street.")
    (True, False)
    >>> asked = "Rewrite a text that was found beside a picture as one short, factual sentence.\\nA: {alt}\\nB: {seen}"
    >>> leaks("Rewrite the text found beside the picture as a short sentence.", asked), leaks("A: Rex B: dog", asked)
    (True, True)
    """
    if _LEAK.search(text) or _TURNS.search(text) or _ASKS.match(text):
        return True
    if prompt and (_echoes(text, prompt) or _says_again(text, prompt) or _has_labels(text, prompt)):
        return True
    asked, said = grams(prompt), grams(text)
    if len(asked) < _RUN:
        return False
    runs = {tuple(asked[n : n + _RUN]) for n in range(len(asked) - _RUN + 1)}
    return any(tuple(said[n : n + _RUN]) in runs for n in range(len(said) - _RUN + 1))


def _echoes(text: str, prompt: str) -> bool:
    """Whether a text is its prompt or a sentence of it, however short, or holds all of it."""
    bare = re.sub(r"\{\w+\}", " ", prompt)
    said, asked = grams(text), grams(bare)
    parts = [grams(sentence) for sentence in split_sentences(bare) if not sentence.rstrip().endswith(("?", "？", "؟"))]
    if said and said in [asked, *(part for part in parts if len(part) > 2)]:
        return True
    if len(asked) < (_SHARED if not is_spaceless(bare) else _SHARED_PAIRS) - 1:
        return False
    return any(said[n : n + len(asked)] == asked for n in range(len(said) - len(asked) + 1))


def _says_again(text: str, prompt: str) -> bool:
    """Whether a sentence says one of its prompt again; questions are left out, as answers repeat them rightly."""
    instructions = [
        _weights(re.sub(r"\{\w+\}", " ", sentence))
        for sentence in split_sentences(prompt)
        if not sentence.rstrip().endswith(("?", "？", "؟"))
    ]
    for sentence in split_sentences(text):
        said, least = _weights(sentence), _SHARED_PAIRS if is_spaceless(sentence) else _SHARED
        for asked in instructions:
            shared = said.keys() & asked.keys()
            if len(shared) >= least and sum(said[one] for one in shared) >= _AGAIN * sum(said.values()):
                return True
    return False


def _weights(sentence: str) -> dict[str, int]:
    """Words of a sentence, each with its letters, so that small words count little; pairs of letters without spaces."""
    words = grams(sentence)
    if is_spaceless(sentence):
        return dict.fromkeys((one + other for one, other in pairwise(words)), 1)
    return {word: len(word) for word in words}


def _has_labels(text: str, prompt: str) -> bool:
    """Whether an answer begins with a label of the prompt's values, or has two of them ("A: … B: …")."""
    labels = dict.fromkeys(_LABEL.findall(prompt))
    found = [
        match.start()
        for label in labels
        if (match := re.search(rf"(?<!\w){re.escape(label)}\s*[:：]", text, re.I)) is not None
    ]
    return len(found) > 1 or any(not text[:start].strip(' \t\n*_#"“„«「-') for start in found)


def copies(text: str, raw: str, caption: str) -> bool:
    """Whether a fused text holds both of its inputs word for word, but for the caption's full stop: it was joined.

    >>> copies("A dog on grass and Rex 2", "Rex 2", "A dog on grass."), copies("Rex on grass", "Rex", "A dog.")
    (True, False)
    """
    said = text.lower()
    return raw.strip().lower() in said and caption.strip().lower().rstrip(".") in said


def is_finished(text: str) -> bool:
    """Whether a text ends as sentences do; those of scripts that have no sentence marks always do.

    >>> is_finished("A dog."), is_finished("A dog and a"), is_finished("一只狗。"), is_finished("สุนัขวิ่ง")
    (True, False, True, True)
    """
    said = text.rstrip()
    return said.endswith(_ENDINGS) or bool(re.search(r"[\u0e00-\u0eff\u1780-\u17ff\u1000-\u109f]$", said))


def is_junk(text: str) -> bool:
    """Whether a text is a file name, words joined by underscores, an address or nothing.

    >>> is_junk("IMG_2043.JPG"), is_junk("motorcycle_left"), is_junk("  "), is_junk("A cat"), is_junk("猫")
    (True, True, True, False, False)
    """
    return _JUNK.fullmatch(text.strip()) is not None


def says_nothing(text: str) -> bool:
    """Whether an alternative text is no evidence of what is in a picture: junk, a word for "image", an advertisement.

    >>> [says_nothing(text) for text in ("untitled", "Bild 3", "图片", "Cat for sale, best price!", "A cat for sale.")]
    [True, True, True, True, False]
    """
    said = text.strip()
    if is_junk(said) or _EMPTY.fullmatch(said):
        return True
    sells = len(_SELLS.findall(said))
    return sells > 1 or (_ADDRESS.search(said) is not None and (sells > 0 or "!!" in said))


def unwrapped(text: str) -> str:
    """The text that a model wrapped in JSON: the only text under a key such as `caption`; else the text as it is.

    >>> unwrapped('{"caption": "A dog.", "sure": 0.9}'), unwrapped('["a", "b"]')
    ('A dog.', '["a", "b"]')
    """
    said = text.strip()
    if not said.startswith("{"):
        return text
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        return text
    named = {str(key).casefold(): value for key, value in found.items() if isinstance(value, str) and value.strip()}
    texts = [named[key] for key in _WRAPPED if key in named]
    return texts[0].strip() if len(texts) == 1 else text


def without_boxes(text: str) -> str:
    """Return a text without the boxes that models write in prose; two numbers in brackets may be years.

    >>> without_boxes("A cup <box>(12,33),(55,71)</box> on a table [0.1, 0.2, 0.5, 0.6] (1939, 1945).")
    'A cup on a table (1939, 1945).'
    """
    return _BOXES.sub("", text).strip()


def without_loops(text: str) -> tuple[str, bool]:
    """Return a text without the sentences that it says again and again, and whether there were any.

    >>> without_loops("A dog. It runs. A dog. A dog.")
    ('A dog. It runs.', True)
    """
    sentences = split_sentences(text)
    counts = Counter(sentence.casefold() for sentence in sentences)
    if all(count < 3 for count in counts.values()):
        return text, False
    return join_sentences(list({sentence.casefold(): sentence for sentence in sentences}.values())), True


def first_sentences(text: str, most: int) -> str:
    """Return as many whole sentences from the beginning as `most` words allow; never part of one.

    >>> first_sentences("A dog runs. It is very fast. So.", 6), first_sentences("A dog runs.", 2)
    ('A dog runs.', '')
    """
    if word_count(text) <= most:
        return text
    kept: list[str] = []
    for sentence in split_sentences(text):
        if word_count(" ".join([*kept, sentence])) > most:
            break
        kept.append(sentence)
    return join_sentences(kept)


def lint(text: str, openings: Sequence[str] = OPENINGS, hedges: Sequence[str] = HEDGES) -> list[str]:
    """Name what offends the style of factual descriptions: `opening`, `hedge`, `coordinates`.

    >>> lint("The image showcases a cat, probably asleep at [0.1, 0.2, 0.5, 0.6].")
    ['opening', 'hedge', 'coordinates']
    >>> lint("A cat sleeps.")
    []
    """
    said = text.casefold().strip()
    found = ["opening"] if said.startswith(tuple(openings)) else []
    words = re.compile("|".join(rf"\b{re.escape(h)}\b" if h.isascii() else re.escape(h) for h in hedges) or r"(?!)")
    found += ["hedge"] if words.search(said) else []
    return found + (["coordinates"] if _COORDINATES.search(text) else [])


def without_coordinates(text: str) -> str:
    """Return a text without boxes in brackets.

    >>> without_coordinates("A cat at [0.1, 0.2, 0.5, 0.6] sleeps.")
    'A cat sleeps.'
    """
    return _COORDINATES.sub("", text)


def check_text(text: str, prompt: str = "", *, most_characters: int = 20_000) -> str | None:
    """Return why an answer cannot be a caption, or None.

    Returns:
        `leaked_prompt`, `endless_answer`, `only_label` ("Positions:"), `no_description` ("N/A", "...", an address, a
        file name), `structured_answer` (JSON of which no text is the caption), or None.

    >>> [check_text(text) for text in ("N/A", "A cup and a spoon" + " and a spoon" * 20, '{"a": 1}', "A cup.")]
    ['no_description', 'endless_answer', 'structured_answer', None]
    """
    said = text.strip()
    if re.fullmatch(r"[^.!?。！？।॥؟۔\n]{0,80}[:：]", said):
        return "only_label"
    if len(text) > most_characters or _loops(said):
        return "endless_answer"
    if _is_structured(said):
        return "structured_answer"
    if leaks(text, prompt):
        return "leaked_prompt"
    return "no_description" if _is_blank(said) else None


def _loops(text: str) -> bool:
    """Whether a text says a few words or letters ten times in a row; whole sentences go by `without_loops`."""
    rest = without_loops(text)[0]
    return any(any(map(str.isalpha, found[1])) for found in _LOOP.finditer(rest))


def _is_structured(text: str) -> bool:
    if not text.startswith(("{", "[{", '["')):
        return False
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _is_blank(text: str) -> bool:
    """Whether an answer describes nothing. Words of a class ("Bild 3") may be right where little is asked for."""
    return is_junk(text) or re.fullmatch(r"n/?a\.?|none|null|nil|nan|undefined|unknown", text, re.I) is not None
