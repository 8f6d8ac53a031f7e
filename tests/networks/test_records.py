"""Records, batches, terms; and that importing the room does not load torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from panoglot.errors import RowError, UserError
from panoglot.geometry import Region
from panoglot.networks import Batch, Record, RegionText, Text, record_from_captions
from panoglot.table import Caption


def test_importing_the_room_does_not_load_torch():
    code = (
        "import sys, panoglot.networks as t, panoglot.training; t.Record\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_exports_are_sorted_and_there():
    import panoglot.networks as room

    order = [(not n.isupper(), n[0].islower(), n) for n in room.__all__]  # constants, classes, functions
    assert order == sorted(order)
    pytest.importorskip("torch")
    assert all(getattr(room, name) is not None for name in room.__all__)
    with pytest.raises(AttributeError):
        room.nothing


@pytest.mark.parametrize("text", ["", "  ", "\n\t"])
def test_empty_text_is_a_bad_row(text):
    with pytest.raises(RowError, match="empty_text"):
        Text(text)


def test_kind_is_checked():
    with pytest.raises(UserError, match="'translation'"):
        Text("x", kind="translatoin")


def test_captions_of_the_table_become_a_record():
    captions = [
        Caption("قطة على سرير", "ar", kind="human", caption_id="a"),
        Caption("a cat on a bed", "en", parents=["a"], caption_id="b"),
        Caption("A long story about a cat.", "en", kind="dense", parents=["b"], caption_id="c"),
        Caption("its ear", "en", kind="region", region=Region(0, 0, 0.5, 0.25), scores={"detector": 0.7}),
        Caption("gone", "en", dropped="too_short"),
    ]
    r = record_from_captions("1", captions, pair_id="p")
    assert [(t.kind, t.lang, t.of) for t in r.texts] == [
        ("raw", "ar", None),
        ("translation", "en", 0),
        ("long", "en", None),
    ]
    assert r.regions[0].centred() == (0.25, 0.125, 0.5, 0.25)
    assert r.regions[0].score == 0.7
    assert (r.pair_id, r.langs()) == ("p", {"ar", "en"})


@pytest.mark.parametrize(
    ("box", "want"),
    [
        ((-10, 0, 480, 2000), (0.25, 0.5, 0.5, 1.0)),  # clipped to the frame
        ((480, 0, 100, 960), None),  # turned round
        ((1000, 0, 1200, 960), None),  # outside
        ((float("nan"), 0, 480, 960), None),
    ],
)
def test_boxes_are_clipped_and_degenerate_ones_dropped(box, want):
    assert RegionText(box, "x", (960, 960)).centred() == want


def test_batch_shapes_and_owner():
    torch = pytest.importorskip("torch")
    mask = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    batch = Batch(ids=["a", "b", "c"], slot_mask=mask, image_vec=torch.zeros(3, 4)).check()
    assert batch.owner.tolist() == [0, 0, 2, 2, 2]
    assert batch.slot.tolist() == [0, 2, 0, 1, 2]
    assert len(batch.to("cpu")) == 3
    with pytest.raises(UserError, match="image_vec has 2 rows"):
        Batch(ids=["a"], image_vec=torch.zeros(2, 4)).check()
    with pytest.raises(UserError, match="token_mask"):
        Batch(ids=["a"], tokens=torch.zeros(1, 2, 3)).check()
    with pytest.raises(UserError, match="no texts"):
        Batch(ids=["a"]).owner


def test_terms_add_up():
    torch = pytest.importorskip("torch")
    from panoglot.networks import Term, sum_terms

    terms = {"contrast": Term(torch.tensor(2.0), 8), "lm": Term(torch.tensor(3.0), 5)}
    total, figures = sum_terms(terms, {"contrast": 1.0, "lm": 0.5})
    assert float(total) == 3.5
    assert figures == {"contrast": 2.0, "lm": 3.0}
    with pytest.raises(UserError, match="'contrast'"):
        sum_terms(terms, {"contrst": 1.0})
    with pytest.raises(UserError, match="anything to learn"):
        sum_terms({"lm": Term(torch.tensor(0.0), 0)}, {})


def test_a_record_without_texts_is_allowed():
    assert Record("x").langs() == set()
