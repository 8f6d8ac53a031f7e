"""`label`: the names of what a classifier sees, in every language that has them."""

from __future__ import annotations

from typing import Annotated

from panoglot.asking import Models
from panoglot.identity import Named
from panoglot.languages import matches
from panoglot.languages._tags import canonical_language
from panoglot.pictures import Image
from panoglot.providers.embedded._labels import translations
from panoglot.running import TaggerName, method
from panoglot.table import Caption

__all__ = ["label"]


@method(verb="caption")
async def label(
    image: Image,
    m: Models,
    *,
    tagger: TaggerName = "embedded:efficientnet-lite2",
    lang: Annotated[tuple[str, ...], Named("languages")] = (),
    min_probability: float = 0.5,
    links: tuple[str, ...] = ("synset", "word"),
) -> list[Caption]:
    """Label a picture with the names of its classes.

    Each name says in `model` where it comes from and how it was linked to the class: `synset` (the wordnet's own
    identity of meaning) or `word` (the same unambiguous English name); see `panoglot.providers.embedded._labels`.

    Args:
        image: the picture.
        m: the models.
        tagger: a `Tagger` whose keys are WordNet 3.0 synsets; of others only the English name is written.
        lang: only these languages; empty: all that have a name. English is always given.
        min_probability: classes below are left out, 0..1.
        links: which links to trust.

    Returns:
        Captions of kind `label`; none when no class is likely enough. Those of other languages have the English one as
        parent.
    """
    wanted = [canonical_language(tag) for tag in lang]
    captions = []
    for tag in await m[tagger].tag(image):
        if tag.score < min_probability:
            continue
        model, scores = m[tagger].name, {"probability": tag.score}
        english = Caption(tag.name, "en", kind="label", model=model, scores=dict(scores))
        captions.append(english)
        for has, name in translations(tag.key).items():
            if has == "en" or name.link not in links:
                continue
            if wanted and not any(matches(one, has) for one in wanted):
                continue
            captions.append(
                Caption(name.text, has, "label", f"{model} + {name.source}/{name.link}", [english], scores=dict(scores))
            )
    return captions
