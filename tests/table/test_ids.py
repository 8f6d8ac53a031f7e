import subprocess
import sys
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from panoglot.geometry import Region
from panoglot.identity import fingerprint, normal_text
from panoglot.table import caption_id, given_caption_id, image_id, reject_id, vector_id


def test_image_id_is_the_start_of_sha256():
    # the digest of "abc" is in FIPS 180-2
    assert image_id(b"abc") == "ba7816bf8f01cfea414140de5dae2223"


def test_every_part_of_a_caption_id_counts():
    base = ("a" * 32, "f", "de", Region(0, 0, 0.5, 1), 0)
    ids = {caption_id(*base)}
    for place, other in enumerate(["b" * 32, "g", "en", None, 1]):
        ids.add(caption_id(*base[:place], other, *base[place + 1 :]))
    assert len(ids) == 6
    assert all(len(i) == 32 and set(i) <= set("0123456789abcdef") for i in ids)


def test_parts_do_not_run_into_each_other():
    assert caption_id("ab", "c", "de", None, 0) != caption_id("a", "bc", "de", None, 0)
    assert reject_id("ab", "c") != reject_id("a", "bc")
    assert vector_id("a", "1", 11) != vector_id("a", "11", 1)


def test_equal_given_texts_are_one_row():
    assert given_caption_id("i", "human", "de", None, "x") == given_caption_id("i", "human", "de", None, "x")
    assert given_caption_id("i", "human", "de", None, "x") != given_caption_id("i", "human", "de", None, "y")


def test_ids_are_the_same_in_another_process():
    code = (
        "from panoglot.geometry import Region; from panoglot.identity import fingerprint; "
        "from panoglot.table import *; "
        "print(caption_id('i', 'f', 'zh-Hant', Region(.1, .2, .3, .4, 'rle'), 3), fingerprint({'b': {3, 1}, 'a': 'ä'}))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.integers())))
def test_fingerprint_ignores_key_order_and_nothing_else(data):
    assert fingerprint(data) == fingerprint(dict(reversed(list(data.items()))))
    assert fingerprint(data) != fingerprint({**data, "extra key": 1})


@given(st.text())
def test_normal_text_is_stable_and_clean(text):
    once = normal_text(text)
    assert normal_text(once) == once
    assert "\x00" not in once
    once.encode("utf-8")


@given(st.text(st.characters(categories=("Cc", "Cs", "Cf", "Zl", "Lo", "Mn")) | st.sampled_from("a\n\t \x85")))
def test_normal_text_has_no_controls_but_newline_and_tab(text):
    kept = [
        c
        for c in unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode())
        if c in "\n\t" or unicodedata.category(c) != "Cc"
    ]
    assert normal_text(text) == "".join(kept).strip()


def test_normal_text_keeps_marks_and_joiners():
    # Hindi conjuncts, Persian with a zero-width non-joiner, Thai vowels, an emoji sequence
    for text in ("क्षत्रिय", "می\u200cخواهم", "ที่นี่", "👩\u200d👧"):
        assert normal_text(text) == text
