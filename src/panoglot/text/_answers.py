"""What a language model wrote, freed of what is no answer: reasoning, chat tokens, fences, "Here is a caption:".

Every generator's answer goes through `read_answer`, so no method has to. What is left is the text, or the reason why
there is none: `thinking_only`, `refused`, `empty_answer`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from json import loads
from typing import Any

from panoglot.errors import RowError
from panoglot.text._refusals import REFUSAL

__all__ = ["Read", "read_answer", "read_json_answer", "read_json_object", "sound_text"]


#: Most characters of an answer.
LONGEST = 1_000_000


@dataclass(frozen=True, slots=True)
class Read:
    """What an answer came to: `text`, or a `reason` (snake_case) and a `message` when there is none."""

    text: str = ""
    reason: str = ""
    message: str = ""


#: Where reasoning begins and ends; what stands between is not the answer.
_OPENING = re.compile(
    r"<(?:think|thinking|thoughts?|reasoning|reflection|analysis|seed:think)>|\[think\]|◁think▷|<\|begin_of_thought\|>"
    r"|<unused94>(?:thought)?|<\|channel>thought|<\|channel\|>(?:analysis|commentary)[^<]{0,100}<\|message\|>",
    re.I,
)
_CLOSING = re.compile(
    r"</(?:think|thinking|thoughts?|reasoning|reflection|analysis|seed:think)>|\[/think\]|◁/think▷"
    r"|<\|end_of_thought\|>|<unused95>|<channel\|>|<\|channel\|>final[^<]{0,100}<\|message\|>|<\|end\|>(?=<\|start\|>)",
    re.I,
)
#: Marks around the answer proper.
_AROUND = re.compile(
    r"<\|begin_of_(?:solution|box)\|>(.*?)(?:<\|end_of_(?:solution|box)\|>|$)"
    r"|^\s*<(answer|final|final_answer|response|output|caption|description|translation)>(.*?)(?:</\2>\s*$|$)",
    re.S | re.I,
)
#: Tokens that end a turn: what comes after one is another turn, which nobody asked for.
_END = (
    r"<\|(?:im_end|eot_id|eom_id|end|endoftext|end_of_text|end_of_turn|return|eos|user|system|END_OF_TURN_TOKEN)\|>"
    r"|</s>"
    r"|<end_of_turn>|<turn\|>|<eos>|<end_of_utterance>|<｜end▁of▁sentence｜>|<｜User｜>|\[INST\]|<<SYS>>|\[/?BOS\]|<EOT>"
    r"|\n\s*#{2,3}\s*(?:Human|User|Instruction|Assistant)\s*:"
)
#: Tokens that begin one, or stand for something: they go, the text after them stays.
_BEGIN = (
    r"<\|(?:im_start|start_header_id|start|assistant|begin_of_text|startoftext|message|channel)\|>"
    r"(?:\s*(?:assistant|final|model|user|system)\b)?(?:<\|end_header_id\|>)?"
    r"|<start_of_turn>\s*(?:model|user)?|<\|turn>\s*(?:model|user)?|<bos>|<s>|<pad>|<unk>|<｜Assistant｜>|\[/INST\]"
    r"|<</SYS>>"
    r"|<image>|<\|image\|>|<\|image_pad\|>|<\|[A-Za-z][\w▁ -]{0,40}\|>|<｜[^｜<>]{1,40}｜>"
)
_END_RE, _BEGIN_RE = re.compile(_END, re.I), re.compile(_BEGIN, re.I)
_ROLE = re.compile(r"^\s*(?:#{1,3}\s*)?assistant\s*(?::|\n)\s*", re.I)

#: What is being announced, in the languages of the world's larger models; matched anywhere in an announcement.
_THING = (
    r"captions?|descriptions?|alt[- ]?text|translations?|bildunterschrift|beschreibung|bildbeschreibung|übersetzung"
    r"|légende|description|traduction"
    r"|leyenda|descripción|pie de (?:foto|imagen)|traducción|legenda|descrição|tradução|didascalia|descrizione"
    r"|traduzione"
    r"|bijschrift|beschrijving|vertaling|bildtext|beskrivning|översättning|billedtekst|beskrivelse|oversættelse"
    r"|oversettelse"
    r"|kuvateksti|kuvaus|käännös|podpis|opis|tłumaczenie|popisek|popis|překlad|képaláírás|leírás|fordítás|legendă"
    r"|descriere"
    r"|traducere|подпись|описание|перевод|підпис|опис|переклад|λεζάντα|περιγραφή|μετάφραση|açıklama|altyazı|çeviri"
    r"|başlık"
    r"|keterangan|deskripsi|terjemahan|kapsyen|chú thích|mô tả|bản dịch|maelezo|tafsiri"
    r"|تعليق|وصف|ترجمة|کپشن|توضیح|توصیف|ترجمه|تفصیل|כיתוב|תיאור|תרגום|कैप्शन|विवरण|वर्णन|अनुवाद|ক্যাপশন|বিবরণ"
    r"|বর্ণনা|অনুবাদ"
    r"|คำบรรยาย|คำอธิบาย|คำแปล|说明|標題|标题|描述|说明文字|翻译|翻譯|譯文|译文|キャプション|説明文?|翻訳|訳文?|캡션|설명|번역"
)
#: How an announcement begins.
_LEAD = (
    r"here(?:'s|’s| is| are| you go)|below is|this is|the following|sure|certainly|of course|absolutely|okay|ok"
    r"|great|alright"
    r"|hier (?:ist|sind|kommt)|natürlich|gerne?|sicher|selbstverständlich|klar|voici|voilà|bien sûr|certainement"
    r"|d'accord"
    r"|aquí (?:está|tienes|tiene|va)|claro|por supuesto|desde luego|aqui está|com certeza|certamente|ecco|certo"
    r"|certamente"
    r"|hier is|natuurlijk|zeker|här är|självklart|naturligtvis|her er|selvfølgelig|tässä on|totta kai|oto"
    r"|oczywiście|jasne"
    r"|zde je|tady je|samozřejmě|itt van|íme|természetesen|iată|desigur|вот|конечно|ось|звичайно|εδώ είναι|ορίστε"
    r"|φυσικά"
    r"|işte|tabii|elbette|berikut(?: adalah| ini)?|tentu|ini (?:adalah|dia)|đây là|dưới đây là|chắc chắn|hii ni"
    r"|hapa|bila shaka"
    r"|إليك|هذا|بالتأكيد|بالطبع|حسن[اً]{1,2}|این|البته|حتم[اً]{1,2}|یہ|הנה|בטח|כמובן|यह(?:ाँ|ां)?|ज़रूर|बिल्कुल"
    r"|নিশ্চয়ই|এখানে"
    r"|นี่คือ|แน่นอน|ได้เลย|以下是|这是|這是|当然|當然|好的|好|以下は|こちら|もちろん|はい|다음은|여기|물론|네"
)
_MARKS = r"[\s*_#>\"“”„«「『]*"
#: "Sure! Here is a short caption:" up to its colon, at most a line.
_ANNOUNCED = re.compile(rf"^{_MARKS}(?:{_LEAD})(?![^\W\d_])[^\n:：]{{0,160}}[:：][*_]*\s*", re.I)
#: The same in languages whose words are not set apart, and those that say the thing first.
_ANNOUNCED_CLOSE = re.compile(
    rf"^{_MARKS}(?:以下|这是|這是|当然|當然|好的|こちら|もちろん|はい|다음은|물론|네|นี่คือ)[^\n:：]{{0,80}}[:：][*_]*\s*"
)
#: "**Caption:** …"
_LABEL = re.compile(
    rf"^[\s*_#>\"“]*(?:(?:image|picture|photo|short|new|final|suggested|english|rewritten|bild|image|foto)[ -])?"
    rf"(?:{_THING})(?: \d+| in \w+)?[*_]*\s*[:：][*_]*\s*",
    re.I,
)
#: "Sure!", "Of course." before a sentence.
_YES = re.compile(
    r"^[\s*_]*(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok|great|no problem|natürlich|gerne|bien sûr"
    r"|claro|por supuesto"
    r"|com certeza|certo|natuurlijk|självklart|oczywiście|конечно|tabii(?: ki)?|tentu(?: saja)?|بالتأكيد|بالطبع"
    r"|ज़रूर|好的|当然|當然"
    r"|もちろん(?:です)?|물론(?:입니다|이죠)?)[*_]*\s*[!.,，。！]+\s*(?=\S)",
    re.I,
)
_THING_RE = re.compile(rf"{_THING}|summar(?:y|ies)|sentences?|answers?|rewritten|version|paraphrase|phrase", re.I)
_PAIRS = {'"': '"', "“": "”", "„": "“", "«": "»", "「": "」", "『": "』", "‘": "’", "'": "'"}


def read_answer(raw: str) -> Read:
    """Take the answer proper out of what a chat model wrote.

    >>> read_answer("<think>\\nBlobs.\\n</think>\\n\\nSure! Here is a caption:\\n\\n**A red bird.**<|im_end|>").text
    'A red bird.'
    >>> read_answer("<think>First I look at").reason, read_answer("I'm sorry, but I can't help with that.").reason
    ('thinking_only', 'refused')
    """
    thought, text = _without_thoughts(raw)
    text = _without_tokens(text)
    if inner := _AROUND.search(text):
        text = next(part for part in (inner.group(1), inner.group(3)) if part is not None)
    text = _unfenced(text)
    text = _unannounced(text)
    if not _visible(text):
        if thought:
            return Read(reason="thinking_only", message="the answer ends before its reasoning does: raise max_tokens")
        return Read(reason="empty_answer", message="nothing that can be seen")
    if REFUSAL.match(text):
        return Read(reason="refused", message=text[:200])
    return Read(text)


def read_json_answer(raw: str) -> Read:
    """The same where JSON was asked for: reasoning, tokens, fences and words around it go; nothing else is touched.

    >>> read_json_answer('Here it is:\\n```json\\n{"a": 1}\\n```').text
    '{"a": 1}'
    """
    thought, text = _without_thoughts(raw)
    text = _without_tokens(text)
    text = _unfenced(_fenced_json(text))
    if not _visible(text):
        return Read(reason="thinking_only" if thought else "empty_answer", message="no JSON in the answer")
    if not text.startswith(("{", "[")) and REFUSAL.match(text):
        return Read(reason="refused", message=text[:200])
    return Read(text)


def read_json_object(text: str) -> dict[str, Any]:
    """The JSON object of an answer, from its first brace to its last: what is said around it is not read.

    >>> read_json_object('Here it is: {"a": 1}. Anything else?')
    {'a': 1}

    Raises:
        ValueError: there is none.
    """
    try:
        found: dict[str, Any] = loads(text[text.find("{") : text.rfind("}") + 1])
    except RecursionError:
        raise ValueError("nested too deep") from None
    return found


def sound_text(raw: str, *, json: bool = False, chat: bool = True) -> str:
    """Return the answer proper.

    Args:
        raw: what the model wrote.
        json: JSON was asked for.
        chat: it was a chat; a plain continuation is only looked at for text.

    Raises:
        RowError: `thinking_only`, `refused`, `empty_answer` or `answer_too_large`.
    """
    if len(raw) > LONGEST:
        raise RowError("answer_too_large", f"{len(raw):,} characters")
    if chat:
        read = read_json_answer(raw) if json else read_answer(raw)
    else:
        text = _END_RE.split(raw)[0].strip() if _END_RE.search(raw) else raw.strip()
        read = Read(text) if _visible(text) else Read(reason="empty_answer", message="nothing that can be seen")
    if read.reason:
        raise RowError(read.reason, read.message)
    return read.text


def _visible(text: str) -> bool:
    """Whether anything in the text can be seen."""
    return any(unicodedata.category(c)[0] not in "CZ" and c not in "\u115f\u1160\u2800\u3164\uffa0\u034f" for c in text)


def _without_thoughts(text: str) -> tuple[bool, str]:
    """Whether the model thought aloud, and what it said before the first thought and after the last."""
    first = _OPENING.search(text)
    closings = list(_CLOSING.finditer(text))
    if first is None and not closings:
        return False, text
    before = text[: first.start()] if first else ""  # without an opening: the chat template wrote it into the prompt
    after = text[closings[-1].end() :] if closings else ""
    if again := _OPENING.search(after):  # it went on thinking
        after = after[: again.start()]
    return True, f"{before}\n{after}"


def _without_tokens(text: str) -> str:
    """Cut where the turn ends, drop what marks it."""
    text = text.rpartition("[/INST]")[2].strip() or text.strip()
    while True:
        begun = _BEGIN_RE.match(text) or _END_RE.match(text)
        if begun is None or not begun.end():
            break
        text = text[begun.end() :].lstrip()
    if ended := _END_RE.search(text):
        text = text[: ended.start()]
    text = _BEGIN_RE.sub(" ", text) if _BEGIN_RE.search(text) else text
    return _ROLE.sub("", text, count=1).strip()


def _unfenced(text: str) -> str:
    """Take a code fence off that is around all of the text."""
    text = text.strip()
    fence = next((mark for mark in ("```", "~~~") if text.startswith(mark)), None)
    if fence is None:
        return text
    first, newline, rest = text.lstrip(fence[0]).partition("\n")
    if not newline:
        first, rest = "", first
    rest = rest.rstrip()
    if fence in rest.removesuffix(fence) or not re.fullmatch(r"[ \w+.-]*", first):
        return text  # more than one block, or no fence after all
    return re.sub(r"^(?:json|text|markdown)\b", "", rest.rstrip(fence[0]).strip()).strip()


def _fenced_json(text: str) -> str:
    """The JSON of the first fence in a text that does not begin with it, or the text."""
    if text.startswith(("{", "[")) or "```" not in text:
        return text
    inner = text.split("```")[1].strip().removeprefix("json").strip()
    return inner if inner.startswith(("{", "[")) else text


def _unannounced(text: str) -> str:
    """Drop announcements, labels, and the quotation marks and stars around all that is left."""
    for _ in range(3):
        before = text
        for pattern in (_ANNOUNCED, _ANNOUNCED_CLOSE, _LABEL):
            found = pattern.match(text)
            if found and _visible(text[found.end() :]) and (pattern is _LABEL or _announces(found.group(), text)):
                text = _unfenced(text[found.end() :])
        if (found := _YES.match(text)) and _visible(text[found.end() :]):
            text = text[found.end() :].strip()
        if text == before:
            break
    return _unquoted(text)


def _announces(said: str, text: str) -> bool:
    """An announcement names what it brings, or stands on a line of its own."""
    return _THING_RE.search(said) is not None or text[len(said.rstrip()) :].startswith("\n")


def _unquoted(text: str) -> str:
    for stars in ("***", "**"):
        inner = text[len(stars) : -len(stars)]
        if text.startswith(stars) and text.endswith(stars) and inner.strip() and "*" not in inner:
            text = inner.strip()
    closing = _PAIRS.get(text[:1])
    if closing and len(text) > 2 and text.endswith(closing):
        inner = text[1:-1]
        if text[0] not in inner and closing not in inner:
            return inner.strip()
    return text
