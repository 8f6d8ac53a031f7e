"""CHAIR: which objects a caption names that are not in the picture.

Source: Rohrbach et al., EMNLP 2018. CHAIR_i = hallucinated mentions / all mentions; CHAIR_s = captions with a
hallucination / captions. The objects of a picture are its labels and what its reference captions name.
The default vocabulary is the 80 COCO classes with our own everyday synonyms; give the paper's list as `vocabulary=` to
compare with published figures. A mention is the longest match, so "hot dog" is no dog.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from panoglot.errors import UserError
from panoglot.metrics._inputs import OnEmpty, Predictions, References, prepare
from panoglot.metrics._result import MetricResult

__all__ = ["COCO_OBJECTS", "chair", "find_objects"]

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
    rows, details = [], [None] * len(given.ids)
    for n, tokens, others in zip(given.kept, given.preds, given.refs):
        there = {words.get(name.lower(), name.lower()) for name in objects[n]}
        there |= {name for other in others for _, name in find_objects(other, words)}
        said = find_objects(tokens, words)
        wrong = [text for text, name in said if name not in there]
        rows.append([bool(wrong), len(wrong), len(said), len({name for _, name in said} & there), len(there)])
        details[n] = {"hallucinated": wrong, "present": [text for text, name in said if name in there]}  # type: ignore[call-overload]
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    total = table.sum(axis=0)
    return given.mean(
        "chair-s",
        table[:, 0],
        {"vocabulary": "coco-80/panoglot-1" if vocabulary is None else f"custom ({len(words)})"},
        parts={
            "chair_i": float(total[1] / total[2]) if total[2] else None,
            "recall": float(total[3] / total[4]) if total[4] else None,
            "mentions_per_caption": float(total[2] / len(table)) if len(table) else None,
        },
        details=tuple(details),
    )
