"""Language tags: one canonical BCP-47 form everywhere."""

from __future__ import annotations

from functools import lru_cache

from panoglot.errors import UserError

__all__ = ["UNKNOWN_LANGUAGE", "canonical_language", "language_matches", "parse_language"]

#: BCP-47's own tag for "undetermined".
UNKNOWN_LANGUAGE = "und"


@lru_cache(maxsize=4096)
def parse_language(tag: str | None) -> str | None:
    """Return the canonical tag, or None when `tag` is not one (for data, where a bad tag is not the user's mistake).

    POSIX forms are understood: `pt_BR.utf8`, `zh_TW`, `sr@latin`.

    >>> parse_language("pt_BR.utf8"), parse_language("zh_TW"), parse_language("sr@latin"), parse_language("klingonish")
    ('pt-BR', 'zh-Hant', 'sr-Latn', None)
    """
    import langcodes

    if not tag:
        return None
    raw = tag.strip().split(".")[0]
    raw, _, modifier = raw.partition("@")
    raw = raw.replace("_", "-")
    if modifier.lower() in ("latin", "latn"):
        raw += "-Latn"
    elif modifier.lower() in ("cyrillic", "cyrl"):
        raw += "-Cyrl"
    elif modifier:
        raw += f"-{modifier}"
    # where the territory only says which script: keep the script, as the tables promise (`zh-Hant`)
    script = {"zh-tw": "zh-Hant", "zh-hk": "zh-Hant-HK", "zh-cn": "zh-Hans", "zh-sg": "zh-Hans-SG"}.get(raw.lower())
    try:
        parsed = langcodes.Language.get(langcodes.standardize_tag(script or raw))
        valid = parsed.is_valid()
    except (ValueError, LookupError):
        return None
    return str(parsed) if valid and parsed.language else (UNKNOWN_LANGUAGE if raw.lower() == "und" else None)


def canonical_language(tag: str) -> str:
    """Return the canonical tag of a language that a user named.

    Raises:
        UserError: `tag` is not a valid BCP-47 tag.

    >>> canonical_language("DE"), canonical_language("iw"), canonical_language("zh-hant")
    ('de', 'he', 'zh-Hant')
    """
    found = parse_language(tag)
    if found is None:
        raise UserError(f"'{tag}' is not a language tag; use BCP-47, for example de, pt-BR, zh-Hant, sr-Latn.")
    return found


def language_matches(wanted: str, have: str) -> bool:
    """Say whether a text in `have` serves somebody who asked for `wanted`: `zh` takes `zh-Hant`, not the reverse.

    >>> language_matches("zh", "zh-Hant"), language_matches("zh-Hant", "zh"), language_matches("pt-BR", "pt-BR")
    (True, False, True)
    """
    return have == wanted or have.startswith(wanted + "-")
