"""Language tags; they live in `panoglot.languages`, under the tables."""

from panoglot.languages._meeting import matches
from panoglot.languages._tags import UNKNOWN_LANGUAGE, canonical_language, language_name, parse_language

__all__ = ["UNKNOWN_LANGUAGE", "canonical_language", "language_matches", "language_name", "parse_language"]

language_matches = matches
