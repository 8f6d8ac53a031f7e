"""Which captions a method over captions takes."""

import pytest

from panoglot.asking import Models
from panoglot.running import METHODS, get_method, method, method_stage, run_stage
from panoglot.table import Caption, caption_to_row, given_caption_id


@pytest.fixture
def captions(dataset):
    """Five given captions, one of them dropped."""
    images = dataset.images.read(["image_id"])["image_id"].to_pylist()[:5]
    rows = []
    for n, image in enumerate(images):
        caption = Caption(f"text {n}", "en", kind="human", recipe="human", image_id=image)
        caption.caption_id = given_caption_id(image, "human", "en", None, caption.text)
        caption.dropped = "too_short" if n == 4 else None
        rows.append(caption_to_row(caption))
    dataset.captions.insert(rows)
    return dataset


@pytest.fixture
def methods():
    """`one` and `two` write a caption of every caption; `drafting` writes a draft and a caption of the draft."""

    @method(verb="caption", unit="caption")
    async def one(caption: Caption, m: Models) -> Caption:
        """Says one."""
        return Caption(f"one({caption.text})", "en")

    @method(verb="caption", unit="caption", where="kind = 'human'")
    async def two(caption: Caption, m: Models) -> Caption:
        """Says two."""
        return Caption(f"two({caption.text})", "en")

    @method(verb="caption", unit="caption")
    async def drafting(caption: Caption, m: Models) -> Caption:
        """Drafts."""
        return Caption(f"final({caption.text})", "en", parents=(Caption(f"draft({caption.text})", "en"),))

    yield
    for name in ("one", "two", "drafting"):
        METHODS.pop(name)


def texts(dataset) -> list[str]:
    return sorted(row["text"] for row in dataset.captions.rows(["text"], "recipe != 'human'"))


def test_a_method_does_not_take_its_own_output(captions, run_id, methods):
    first = run_stage(captions, method_stage("one"), run_id)
    assert (first.done, texts(captions)) == (4, [f"one(text {n})" for n in range(4)])
    for _ in range(3):
        assert run_stage(captions, method_stage("one"), run_id).done == 0
    assert len(texts(captions)) == 4


def test_nor_what_another_made_from_it(captions, run_id, methods):
    run_stage(captions, method_stage("one"), run_id)
    second = run_stage(captions, method_stage("two", where="starts_with(recipe, 'one/')"), run_id)
    assert second.done == 4
    before = texts(captions)
    assert before == sorted([f"one(text {n})" for n in range(4)] + [f"two(one(text {n}))" for n in range(4)])
    assert run_stage(captions, method_stage("one"), run_id).done == 0
    # through any number of steps: drafts of `drafting` are made of what `two` made of what `one` made
    assert run_stage(captions, method_stage("drafting", where="starts_with(recipe, 'two/')"), run_id).done == 4
    assert run_stage(captions, method_stage("one"), run_id).done == 0
    assert len(texts(captions)) == len(before) + 8


def test_what_others_made_is_taken_once(captions, run_id, methods):
    run_stage(captions, method_stage("two"), run_id)
    result = run_stage(captions, method_stage("one"), run_id)
    assert result.done == 8  # the given ones and what `two` made of them
    assert run_stage(captions, method_stage("two"), run_id).done == 0
    assert run_stage(captions, method_stage("one"), run_id).done == 0
    assert [t for t in texts(captions) if t.count("one(") > 1 or t.count("two(") > 1] == []


def test_rows_that_are_named_are_taken_as_they_are(captions, run_id, methods):
    run_stage(captions, method_stage("one"), run_id)
    assert run_stage(captions, method_stage("one", where="starts_with(recipe, 'one/')"), run_id).done == 4
    assert "one(one(text 0))" in texts(captions)


def test_other_options_do_not_take_it_either(captions, run_id):
    @method(verb="caption", unit="caption")
    async def louder(caption: Caption, m: Models, *, mark: str = "!") -> Caption:
        """Shouts."""
        return Caption(caption.text + mark, "en")

    try:
        run_stage(captions, method_stage("louder"), run_id)
        run_stage(captions, method_stage("louder", {"mark": "?"}), run_id)
    finally:
        METHODS.pop("louder")
    assert texts(captions) == sorted([f"text {n}{mark}" for n in range(4) for mark in "!?"])


def test_rows_are_declared_on_the_method(captions):
    where = {name: get_method(name).where for name in ("append", "translate")}
    assert where == {
        "append": "kind in ('alt', 'human')",
        "translate": "kind in ('short', 'dense', 'human', 'alt')",
    }
