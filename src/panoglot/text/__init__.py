"""Sentences, words and characters of any language; tokenisers; WordNet."""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.text._answers import read_answer, read_json_answer, read_json_object, sound_text
    from panoglot.text._masking import mask_emails, mask_names, mask_phones
    from panoglot.text._ptb import PTBTable, ptb_tokens
    from panoglot.text._sentences import split_sentences
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
    "mask_emails",
    "mask_names",
    "mask_phones",
    "one_language",
    "other_script",
    "ptb_tokens",
    "read_answer",
    "read_json_answer",
    "read_json_object",
    "same_text",
    "sound_text",
    "split_sentences",
    "synonyms_for",
    "tokenizer_for",
    "tokens",
    "word_count",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "read_json_object": "_answers",
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
        "mask_emails": "_masking",
        "mask_names": "_masking",
        "mask_phones": "_masking",
        "one_language": "_tokenize",
        "ptb_tokens": "_ptb",
        "read_answer": "_answers",
        "read_json_answer": "_answers",
        "sound_text": "_answers",
        "split_sentences": "_sentences",
        "same_text": "_words",
        "synonyms_for": "_wordnet",
        "tokenizer_for": "_tokenize",
        "tokens": "_words",
        "word_count": "_words",
    },
)
