"""Sentences, words and characters of any language; tokenisers; WordNet."""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.text._ptb import PTBTable, ptb_tokens
    from panoglot.text._tokenize import TOKENIZERS, Tokenizer, one_language, other_script, tokenizer_for
    from panoglot.text._wordnet import Synonyms, WordNet, find_wordnet, synonyms_for
    from panoglot.text._words import grams, is_spaceless, letters, same_text, tokens, word_count

__all__ = [
    "TOKENIZERS",
    "PTBTable",
    "Synonyms",
    "Tokenizer",
    "WordNet",
    "find_wordnet",
    "grams",
    "is_spaceless",
    "letters",
    "one_language",
    "other_script",
    "ptb_tokens",
    "same_text",
    "synonyms_for",
    "tokenizer_for",
    "tokens",
    "word_count",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "TOKENIZERS": "_tokenize",
        "PTBTable": "_ptb",
        "Synonyms": "_wordnet",
        "Tokenizer": "_tokenize",
        "WordNet": "_wordnet",
        "other_script": "_tokenize",
        "find_wordnet": "_wordnet",
        "grams": "_words",
        "is_spaceless": "_words",
        "letters": "_words",
        "one_language": "_tokenize",
        "ptb_tokens": "_ptb",
        "same_text": "_words",
        "synonyms_for": "_wordnet",
        "tokenizer_for": "_tokenize",
        "tokens": "_words",
        "word_count": "_words",
    },
)
