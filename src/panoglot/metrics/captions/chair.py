"""CHAIR: which objects a caption names that are not in the picture.

Source: Rohrbach et al., EMNLP 2018. CHAIR_i = hallucinated mentions / all mentions; CHAIR_s = captions with a
hallucination / captions. The objects of a picture are its labels and what its reference captions name.
The default vocabulary is the 80 COCO classes with our own everyday synonyms, and a mention is the longest match, so
"hot dog" is no dog. Published figures stand for the paper's list of words (`data/synonyms.txt` of
github.com/LisaAnne/Hallucination, which is not shipped) and its protocol: `read_vocabulary` reads that file, and
`protocol="paper"` matches single words in the singular, after the paper's two-word names were joined.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from panoglot.checks import check_option, offenders
from panoglot.errors import UserError
from panoglot.metrics._declare import Metric
from panoglot.metrics._inputs import OnEmpty, Predictions, References, prepare
from panoglot.metrics._result import MetricResult

__all__ = ["CHAIR", "COCO_OBJECTS", "Vocabulary", "chair", "find_objects", "paper_objects", "read_vocabulary"]

#: Class: everyday synonyms.
_COCO = """person: man, woman, boy, girl, child, kid, baby, toddler, people, men, women, children, guy, lady, player,
skier, surfer, rider, worker, skateboarder, snowboarder
bicycle: bike
car: sedan, taxi, automobile, suv
motorcycle: motorbike, moped, motor scooter
airplane: plane, jet, aircraft, aeroplane, airliner
bus: minibus
train: locomotive, subway
truck: lorry, pickup
boat: ship, sailboat, canoe, kayak, ferry, yacht
traffic light: stoplight, traffic signal
fire hydrant: hydrant
stop sign
parking meter
bench
bird: duck, seagull, pigeon, gull, goose, geese, swan, parrot, owl, penguin
cat: kitten, kitty
dog: puppy, doggy
horse: pony, foal
sheep: lamb, ram
cow: calf, bull, cattle, ox, oxen
elephant
bear: panda, polar bear
zebra
giraffe
backpack: rucksack
umbrella: parasol
handbag: purse
tie: necktie
suitcase: luggage
frisbee
skis: ski
snowboard
sports ball: ball, baseball, basketball, football, soccer ball, tennis ball
kite
baseball bat: bat
baseball glove: mitt
skateboard
surfboard
tennis racket: racket, racquet, tennis racquet
bottle
wine glass
cup: mug
fork
knife: knives
spoon
bowl
banana
apple
sandwich: burger, hamburger
orange
broccoli
carrot
hot dog: hotdog
pizza
donut: doughnut
cake: cupcake
chair: stool, armchair
couch: sofa, loveseat
potted plant: houseplant, house plant
bed
dining table: table, desk
toilet: urinal
tv: television, telly, monitor
laptop: laptop computer
mouse: computer mouse, mice
remote: remote control
keyboard
cell phone: cellphone, phone, smartphone, mobile phone
microwave
oven: stove
toaster
sink: washbasin
refrigerator: fridge
book
clock
vase
scissors
teddy bear: teddy
hair drier: blow dryer, hair dryer, hairdryer
toothbrush""".replace(",\n", ", ")

#: Phrases in which an object word does not mean the object.
_OTHERS = frozenset(
    """orange juice, tennis court, train station, train track, train tracks, bus stop, car seat, toilet paper, horse
    shoe, fire truck, sea horse, bow tie, dog house, bird house, bird cage, book shelf, baseball game, baseball
    player, baseball field, baseball uniform, baseball cap, tennis player, tennis match, football game, football
    field, basketball court, soccer field, cake stand, boat house""".replace("\n    ", " ").split(", ")
)
#: Word or phrase to COCO class.
COCO_OBJECTS: dict[str, str] = {
    word: name.strip()
    for name, _, others in (line.partition(":") for line in _COCO.splitlines())
    for word in [name.strip(), *filter(None, (other.strip() for other in others.split(",")))]
}


def find_objects(tokens: Sequence[str], vocabulary: Mapping[str, str]) -> list[tuple[str, str]]:
    """Mentions of a tokenised caption as (words, class), longest match first, singular or plural.

    >>> find_objects("two men eat hot dogs on a couch".split(), COCO_OBJECTS)
    [('men', 'person'), ('hot dogs', 'hot dog'), ('couch', 'couch')]
    """
    longest = max((name.count(" ") for name in vocabulary), default=0) + 1
    found = []
    at = 0
    while at < len(tokens):
        for size in range(min(longest, len(tokens) - at), 0, -1):
            words = " ".join(tokens[at : at + size])
            if size > 1 and words in _OTHERS:
                at += size
                break
            name = next((vocabulary[form] for form in _singulars(words) if form in vocabulary), None)
            if name is not None and not (size == 1 and " ".join(tokens[at : at + 2]) in _OTHERS):
                found.append((words, name))
                at += size
                break
        else:
            at += 1
    return found


#: The paper's two-word names, and words before an animal or a vehicle that are part of its name.
_DOUBLE = """motor bike, motor cycle, air plane, traffic light, street light, traffic signal, stop light, fire hydrant,
stop sign, parking meter, suit case, sports ball, baseball bat, baseball glove, tennis racket, wine glass, hot dog,
cell phone, mobile phone, teddy bear, hair drier, potted plant, laptop computer, home plate, train track""".replace(
    "\n", " "
).split(", ")
_YOUNG = "bird cat dog horse sheep cow elephant bear zebra giraffe animal cub".split()
_JOINED: dict[str, str] = {
    **{name: name for name in _DOUBLE},
    **{f"{age} {animal}": animal for age in ("baby", "adult") for animal in _YOUNG},
    **{f"passenger {vehicle}": vehicle for vehicle in ("jet", "train")},
    "bow tie": "tie", "toilet seat": "toilet",
}  # fmt: skip


def paper_objects(tokens: Sequence[str], vocabulary: Mapping[str, str]) -> list[tuple[str, str]]:
    """Mentions by the paper's protocol: words in the singular, two-word names joined, then looked up one by one.

    >>> paper_objects("two hot dogs beside a train track and a baby elephant".split(), COCO_OBJECTS)
    [('hot dogs', 'hot dog'), ('baby elephant', 'elephant')]
    """
    words: list[tuple[str, str]] = []
    at = 0
    while at < len(tokens):
        pair = " ".join(tokens[at : at + 2])
        joined = next((_JOINED[form] for form in _singulars(pair) if form in _JOINED), None)
        words.append((pair, joined) if joined is not None else (tokens[at], tokens[at]))
        at += 1 if joined is None else 2
    found = []
    for said, name in words:
        known = next((vocabulary[form] for form in _singulars(name) if form in vocabulary), None)
        if known is not None:
            found.append((said, known))
    return found


class Vocabulary(dict[str, str]):
    """Word or phrase to class, with the name it is recorded under."""

    name = ""


def read_vocabulary(path: str | os.PathLike[str]) -> Vocabulary:
    """Read a list of words: the paper's `synonyms.txt` (a class a line, its words after it, with commas), or JSON of
    word to class, or of class to words.

    Raises:
        UserError: no such file, or another form; a word of two classes.
    """
    from panoglot.formats._json import read_json, read_text

    source = Path(path)
    rows: dict[str, list[str]] = {}
    if source.suffix == ".json":
        data = read_json(source)
        if not isinstance(data, dict):
            raise UserError(f"{source} must be a JSON object of word to class, or of class to its words.")
        for key, value in data.items():
            if isinstance(value, str):
                rows.setdefault(value, []).append(key)
            elif isinstance(value, list) and all(isinstance(word, str) for word in value):
                rows.setdefault(key, []).extend(value)
            else:
                raise UserError(f"{source}: '{key}' has neither a class nor a list of words.")
    else:
        for line in read_text(source).splitlines():
            words = [word.strip().lower() for word in line.replace(":", ",").split(",") if word.strip()]
            if words:
                rows.setdefault(words[0], []).extend(words[1:])
    found = Vocabulary()
    twice = []
    for name, words in rows.items():
        for word in dict.fromkeys([name, *words]):
            if found.setdefault(word, name) != name:
                twice.append(f"{word} ({found[word]}, {name})")
    if twice or not found:
        raise UserError(f"{source}: {len(twice)} words belong to several classes: {offenders(twice) or 'no words'}.")
    mark = hashlib.sha256(json.dumps(sorted(found.items())).encode()).hexdigest()[:8]
    found.name = f"{source.name} ({len(found)} words, {len(rows)} classes, {mark})"
    return found


def _singulars(words: str) -> list[str]:
    found = [words]
    for ending, base in (("s", ""), ("es", ""), ("ies", "y"), ("ves", "fe"), ("ves", "f")):
        if words.endswith(ending) and len(words) > len(ending) + 1:
            found.append(words[: -len(ending)] + base)
    return found


def chair(
    preds: Predictions,
    objects: Sequence[Collection[str]],
    refs: References | None = None,
    *,
    lang: str | Sequence[str] = "en",
    tokenizer: Any = None,
    ids: Sequence[Any] | None = None,
    vocabulary: Mapping[str, str] | None = None,
    protocol: str | None = None,
    on_error: OnEmpty = "raise",
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> MetricResult:
    """Share of captions with a hallucinated object (CHAIR_s); `parts` hold `chair_i`, `recall` and the mentions.

    Args:
        preds: a caption for each item.
        objects: names of what is in each picture (labels), in the order of `preds`.
        refs: reference captions, whose objects count as present, too.
        lang: language of all captions; other languages than English need their own `vocabulary`.
        tokenizer: name, function, or None for the language's default.
        ids: item ids.
        vocabulary: word or phrase to class; None is `COCO_OBJECTS`.
        protocol: `longest` match, or the `paper`'s; None: the paper's with a vocabulary of `read_vocabulary`.
        on_error: what empty captions do: `raise`, `null`, `score`.
        confidence: level of a bootstrap interval.
        resamples: of the interval.
        seed: of the interval.

    Returns:
        Item value 1 with a hallucination, else 0; `details`: the mentions of each item, hallucinated and not.

    Raises:
        UserError: bad input; another language without a vocabulary.

    >>> result = chair(["a cat and two dogs on a couch"], [["cat", "couch"]])
    >>> result.value, round(result.parts["chair_i"], 4), result.details[0]["hallucinated"]
    (1.0, 0.3333, ['dogs'])
    """
    import numpy as np

    given = prepare(
        preds, refs, lang=lang, tokenizer=tokenizer, ids=ids, on_error=on_error, confidence=confidence,
        resamples=resamples, seed=seed,
    )  # fmt: skip
    if vocabulary is None and given.language.split("-")[0] != "en":
        raise UserError(f"CHAIR's own vocabulary is English: give vocabulary={{word: class}} for '{given.language}'.")
    if len(objects) != len(given.ids):
        raise UserError(f"{len(given.ids)} captions but objects for {len(objects)} items.")
    words = COCO_OBJECTS if vocabulary is None else vocabulary
    protocol = protocol or ("paper" if isinstance(vocabulary, Vocabulary) else "longest")
    find = {"longest": find_objects, "paper": paper_objects}[check_option("protocol", protocol, ("longest", "paper"))]
    rows, details = [], [None] * len(given.ids)
    for n, tokens, others in zip(given.kept, given.preds, given.refs):
        there = {words.get(name.lower(), name.lower()) for name in objects[n]}
        there |= {name for other in others for _, name in find(other, words)}
        said = find(tokens, words)
        wrong = [text for text, name in said if name not in there]
        rows.append([bool(wrong), len(wrong), len(said), len({name for _, name in said} & there), len(there)])
        details[n] = {"hallucinated": wrong, "present": [text for text, name in said if name in there]}  # type: ignore[call-overload]
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    total = table.sum(axis=0)
    return given.mean(
        "chair-s",
        table[:, 0],
        {
            "vocabulary": "coco-80/panoglot-1"
            if vocabulary is None
            else getattr(vocabulary, "name", "") or f"custom ({len(words)})",
            "protocol": protocol,
            "references": refs is not None,
        },
        parts={
            "chair_i": float(total[1] / total[2]) if total[2] else None,
            "recall": float(total[3] / total[4]) if total[4] else None,
            "mentions_per_caption": float(total[2] / len(table)) if len(table) else None,
        },
        details=tuple(details),
        notes=_remarks(vocabulary, protocol, refs is not None),
        version="2",
    )


def _remarks(vocabulary: Any, protocol: str, references: bool) -> tuple[str, ...]:
    found = []
    if vocabulary is None:
        found.append(
            "objects by our own words for the 80 classes: published CHAIR stands for the paper's list, "
            "--vocabulary synonyms.txt (github.com/LisaAnne/Hallucination)"
        )
    elif protocol != "paper":
        found.append("longest match, not the paper's protocol")
    if not references:
        found.append("what is there by labels alone: the paper adds what the reference captions name (--refs)")
    return tuple(found)


CHAIR = Metric(
    "chair", chair,
    "share of captions that name a thing that is not in the picture (CHAIR-s), and CHAIR-i",
    needs="objects", may="refs vocabulary", languages="English; others with --vocabulary",
    source="Rohrbach et al., EMNLP 2018",
    parity="definition; our own synonyms of the 80 classes, or the paper's protocol with its list as --vocabulary",
)  # fmt: skip
