"""Method `append`: a caption that a model writes, after what the picture came with."""

from __future__ import annotations

from panoglot.asking import Models
from panoglot.errors import UserError
from panoglot.languages._tags import UNKNOWN_LANGUAGE, canonical_language, language_name
from panoglot.pictures import Image
from panoglot.running import GeneratorName, method
from panoglot.table import Caption

__all__ = ["append"]

PROMPT = "Describe this picture in one short sentence in {language}. Answer with the sentence alone."


@method(verb="curate", unit="caption", images=True, where="kind in ('alt', 'human')")
async def append(
    caption: Caption,
    image: Image,
    m: Models,
    *,
    captioner: GeneratorName = "captioner",
    prompt: str = PROMPT,
    lang: str = "",
    mode: str = "append",
    separator: str = "; ",
) -> Caption:
    """Write a caption and put it after what the picture came with: `original; generated`.

    A new caption of kind `short` with both as parents; the original stays as it is. A generated caption that says the
    same as the original is not said twice. Several texts of one image share one question to the captioner.

    Args:
        caption: what the picture came with, kept.
        image: the picture.
        m: the models.
        captioner: who writes.
        prompt: the question; `{language}` stands for the name of the language asked for.
        lang: the language that the captioner writes; empty asks for that of the original.
        mode: `append`, or `replace`: the generated caption alone.
        separator: what stands between the two. It may stand in the texts as well: the parents tell them apart.

    Returns:
        The new caption; a text in two languages is tagged `mul`.

    Raises:
        RowError: `empty_answer`: the captioner wrote nothing; the original is kept.

    Source: TL;DR (arXiv 2305.20087), step 6: the unique words of the original are kept.
    """
    if mode not in ("append", "replace"):
        raise UserError(f"method append: mode='{mode}': use append or replace.")
    wanted = canonical_language(lang) if lang else caption.lang if caption.lang != UNKNOWN_LANGUAGE else "en"
    answer = await m[captioner].generate(prompt.replace("{language}", language_name(wanted)), image)
    said = " ".join(answer.text.split())
    draft = Caption(said, lang=wanted, kind="short", model=m[captioner].name)
    original = caption.text.strip()
    if mode == "replace":
        text, tag = said, wanted
    elif said.casefold().strip(" .") == original.casefold().strip(" ."):
        text, tag = original, caption.lang
    else:
        text, tag = original + separator + said, caption.lang if caption.lang in (wanted, UNKNOWN_LANGUAGE) else "mul"
    return Caption(text, lang=tag, kind="short", model=m[captioner].name, parents=(caption, draft))
