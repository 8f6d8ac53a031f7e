"""Where sentences end: after no abbreviation, in any language."""

import pytest

from panoglot.text import split_sentences


@pytest.mark.parametrize(
    "sentence",
    [
        "Vgl. Abb. 3 und z. B. Kap. 2.",
        "See Fig. S1, cf. Miller et al. (2020), vol. 3, pp. 4-7.",
        "Cfr. la fig. 2, pag. 7.",
        "Voir p. ex. Mme. Dupont, chap. 4.",
        "Véase p. ej. la Sra. López, pág. 12, cap. 3.",
        "См. рис. 3, т. е. Москву на стр. 5.",
        "Див. рис. 2, напр. Київ.",
        "Por. rys. 4, np. Kraków, tj. miasto.",
        "Viz obr. 3, např. Praha.",
        "Zie afb. 3, bijv. Amsterdam.",
        "Jf. fig. 3, bl.a. København, f.eks. Tivoli.",
        "Bkz. şek. 4, örn. İstanbul.",
        "Βλ. εικ. 3, π.χ. Αθήνα.",
        "यह डॉ. राव का चित्र है।",
        "Tazama k.m. Nairobi.",
        "Lihat gbr. 3, hlm. 7.",
    ],
)
def test_abbreviations_of_many_languages_end_nothing(sentence):
    assert split_sentences(f"{sentence} {sentence}", lower_case=False) == [sentence, sentence]


def test_words_before_a_number_do_end_sentences():
    said = ["He drew a seq.", "Three dogs sat on the cap.", "It was red art.", "So."]
    assert split_sentences(" ".join(said), lower_case=False) == said
