"""`fields`: typed fields instead of a sentence, by a JSON schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO, ask_for
from panoglot.captioning._filled import filled
from panoglot.captioning._schema import Fields, read_fields
from panoglot.errors import RowError
from panoglot.languages import UNKNOWN_LANGUAGE, canonical_language
from panoglot.pictures import Image
from panoglot.running import GeneratorName, LanguageIdentifierName, method
from panoglot.table import Fact

__all__ = ["fields"]

ASK = "Look at this picture and fill in these fields. Say only what can be seen."


@method(verb="caption", captions=True)
async def fields(
    image: Image,
    m: Models,
    *,
    schema: str,
    captioner: GeneratorName = "captioner",
    prompt: str = ASK,
    lang: str = AUTO,
    identifier: LanguageIdentifierName = "embedded:langid",
    max_tokens: int = 500,
    temperature: float = 0.0,
    seed: int = 0,
    repairs: int = 1,
) -> list[Fact]:
    """Ask a captioner for typed fields; each is a fact of the picture, which conditions and `show` read.

    The schema is sent for structured output, and stands in the prompt too, for servers that do not honour it. An answer
    that does not fit is shown to the model again with what is wrong, `repairs` times; then the picture is a reject.

    Args:
        image: the picture.
        m: the models.
        schema: a JSON schema, as text: an object of fields; types, `enum`, limits, lists, nested objects.
        captioner: a `Generator` that sees pictures.
        prompt: what is asked; see `describe` for what may stand in it.
        lang: language of the texts, asked for; `auto` asks for none, and nobody says which it is.
        identifier: names the language of the prompt.
        max_tokens: most tokens of the answer.
        temperature: 0 is greedy.
        seed: for sampling.
        repairs: how often an answer that does not fit is asked for again.

    Returns:
        A fact a value: `kind` is the field (`place.city` of a nested one, once more for every entry of a list), `text`
        the value, `value` the number that it is (1 or 0 for true and false).

    Raises:
        RowError: `not_json`, `not_in_schema`.
        UserError: the schema is none.
    """
    wanted = _read(schema)
    asked, _ = filled(await ask_for(prompt, lang, m, identifier), image, lang="" if lang == AUTO else lang)
    tag = UNKNOWN_LANGUAGE if lang == AUTO else canonical_language(lang)
    shown = json.dumps(wanted.schema, ensure_ascii=False)
    question = first = f"{asked}\nAnswer with a JSON object that fits this JSON schema, and nothing else:\n{shown}"
    for n in range(repairs + 1):
        said = ""
        try:
            answer = await m[captioner].generate(
                question, image, max_tokens=max_tokens, temperature=temperature, seed=seed, schema=wanted.schema
            )
            said = answer.text
            found = wanted.read(said)
            break
        except RowError as error:
            if n == repairs or error.reason not in ("not_json", "not_in_schema"):
                raise
            question = f"{first}\nAn earlier answer did not fit ({error.message}). {said[:2000]}".rstrip()
    facts = []
    for kind, value in _flat("", found):
        number = float(value) if isinstance(value, int | float) else None
        text = value if isinstance(value, str) else json.dumps(value)
        facts.append(Fact("", kind, text, number, lang=tag, model=m[captioner].name))
    return facts


@lru_cache(maxsize=8)
def _read(schema: str) -> Fields:
    return read_fields(schema)


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Pairs of a field's name and a plain value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}" if name else key, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _flat(name, inner)
    elif value is not None:
        yield name, value
