"""MERIT's queries read whole: by a scripted encoder with known ranks, by a checkpoint of Coral through the command."""

from __future__ import annotations

import json

import numpy as np
import PIL.Image
import pytest

from panoglot.errors import UserError
from panoglot.evaluate import commands
from panoglot.evaluate.benchmarks.merit import merit
from panoglot.providers import load_model, register


def put(folder, products, queries, pictures):
    """Files as MERIT's: pictures by name as arrays [H, W, 3] of bytes."""
    (folder / "images").mkdir(parents=True)
    for name, pixels in pictures.items():
        PIL.Image.fromarray(pixels).save(folder / "images" / f"{name}.png")
    for name, rows in (("products", products), ("queries", queries)):
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return folder


class Scripted:
    """A product lies on a circle at its grey's angle; a query lies at the angle that its last text says."""

    name, fingerprint, batch_size, dim, composes = "toy:scripted", "scripted", 8, 2, True

    def __init__(self):
        self.asked = []

    def encode_queries(self, queries):
        self.asked += queries
        rows = []
        for parts in queries:
            texts = [part for part in parts if isinstance(part, str)]
            degrees = float(texts[-1].rsplit("@", 1)[-1]) if "@" in texts[-1] else None
            if degrees is None:
                degrees = next((int(one.pixels()[0, 0, 0]) for one in parts if not isinstance(one, str)), np.nan)
            rows.append([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
        return np.array(rows, np.float32)

    def encode_images(self, images):
        return self.encode_queries([[one] for one in images])

    def encode_texts(self, texts, langs=None):
        return self.encode_queries([[one] for one in texts])


TITLES = ["กระเป๋าสีแดง", "tas merah", "túi đỏ", "red bag", "beg merah"]


@pytest.fixture
def circle(tmp_path):
    """Twenty products at 0, 5, … 95 degrees; positives so placed that ranks are none, none, 2, none, 7."""
    products = [
        {"idx": f"p{n:02}", "title": TITLES[n % 5], "image": f"{n:02}.png", "language": "th"} for n in range(20)
    ]
    queries = []
    for n, (at, positive) in enumerate([(0, 15), (0, 12), (1, 1), (95, 0), (91, 13)]):
        text = f"like <Product 1> <image>\n{TITLES[0]} </Product 1> and <Product 2> <image>\nx </Product 2> @{at}"
        row = {"query instruction": text, "query": {"p00": {"colour": "red"}, "p01": {"shape": "round"}}}
        queries.append({"idx": str(n + 1), **row, "pos_candidate": [f"p{positive:02}"]})
    pictures = {f"{n:02}": np.full((4, 4, 3), 5 * n, np.uint8) for n in range(20)}
    return put(tmp_path / "merit", products, queries, pictures)


@pytest.mark.paper("merit-coral", shows="V", case="ranks -1, -1, 2, -1, 7 of whole queries: R@1 0, R@5 .2, MRR .128571")
def test_the_worked_case_by_whole_queries(circle, tmp_path):
    encoder = Scripted()
    found = merit(encoder, circle, method="learned", output=tmp_path / "out")
    ranks = json.loads((tmp_path / "out" / "merit.json").read_text())
    assert ranks == {"1": -1, "2": -1, "3": 2, "4": -1, "5": 7}
    told = found["positives"]
    assert told.parts["mrr@10"] == pytest.approx(0.128571, abs=1e-6)
    assert (told.parts["recall@1"], told.parts["recall@5"], told.parts["recall@10"]) == pytest.approx((0, 0.2, 0.4))
    query = encoder.asked[20]  # behind the twenty products, each a picture before its title
    assert [part if isinstance(part, str) else int(part.pixels()[0, 0, 0]) for part in query] == [
        "like <Product 1> ", 0, f"\n{TITLES[0]} </Product 1> and <Product 2> ", 5, "\nx </Product 2> @0",
    ]  # fmt: skip
    assert [type(part).__name__ for part in encoder.asked[3]] == ["Image", "str"]
    assert encoder.asked[3][1] == "red bag"


def test_instructions_without_marks_and_pictures_that_are_missing(circle):
    rows = [json.loads(line) for line in (circle / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    rows[0]["query instruction"] = "هذه الألوان"
    (circle / "queries.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    encoder = Scripted()
    found = merit(encoder, circle, method="learned")
    assert "1 of 5 instructions have no mark of every product: they stand behind" in found.notes
    assert [part for part in encoder.asked[20] if isinstance(part, str)] == [
        "هذه الألوان", " <Product 1> ", f"\n{TITLES[0]} </Product 1>", " <Product 2> ", f"\n{TITLES[1]} </Product 2>",
    ]  # fmt: skip
    (circle / "images" / "19.png").unlink()
    with pytest.raises(UserError, match=r"1 products have no picture .*p19; or use on_error='null'"):
        merit(Scripted(), circle, method="learned")

    class Titles(Scripted):
        def encode_queries(self, queries):
            found = super().encode_queries(queries)
            found[[len(parts) == 1 for parts in queries]] = (0, 1)
            return found

    assert (
        "1 of 20 products had no picture: their titles alone"
        in merit(Titles(), circle, method="learned", on_error="null").notes
    )


def test_who_reads_no_whole_query(circle):
    class Plain:
        name, fingerprint, batch_size, dim = "toy:plain", "plain", 8, 2

        def encode_images(self, images):
            return np.ones((len(images), 2), np.float32)

        def encode_texts(self, texts, langs=None):
            return np.ones((len(texts), 2), np.float32)

    with pytest.raises(UserError, match=r"'toy:plain' does not read whole .*: panoglot train merit-coral X\.pano"):
        merit(Plain(), circle, method="learned")

    class Both(Plain):
        composes = True

    assert "this encoder reads whole queries: --method learned" in merit(Both(), circle).notes


def test_a_checkpoint_of_coral_through_the_command(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    from panoglot.networks import load_row
    from panoglot.training import Trainer, catalogue, product_queries
    from tests.networks.test_coral import BYTES

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    row = load_row("merit-coral", "small", **{**BYTES, "text": {**BYTES["text"], "length": 200}})
    trainer = Trainer(row, product_queries(8), tmp_path / "run", augment=False)
    trainer.fit(1, progress=False)
    trainer.save()
    shop = dict(list(catalogue().items())[:12])
    names = {thing: f"p{n:02}" for n, thing in enumerate(shop)}
    products = [
        {"idx": names[thing], "title": title, "image": f"{names[thing]}.png", "attribute": {"shape": thing[0]}}
        for thing, (_, title) in shop.items()
    ]
    things = list(shop)
    text = "shape of <Product 1> <image>\nไทย </Product 1>, colour of <Product 2> <image>\nb </Product 2>"
    queries = [
        {"query instruction": text, "query": {names[a]: {"shape": a[0]}, names[b]: {}}, "pos_candidate": [names[c]]}
        for a, b, c in zip(things, things[1:], things[2:])
    ]
    pictures = {names[thing]: (pixels.transpose(1, 2, 0) * 255).astype(np.uint8) for thing, (pixels, _) in shop.items()}
    folder = put(tmp_path / "merit", products, queries, pictures)
    given = {"data": str(folder), "encoder": f"pano:{tmp_path / 'run'}", "method": "learned"}
    found = commands.retrieval("merit", **given, submission=str(tmp_path / "out"))
    ranks = json.loads((tmp_path / "out" / "merit.json").read_text())
    assert len(ranks) == 10
    assert found["positives"].options["model"] == "learned"
    assert found["conditions"].ids == tuple(ranks)
    # the same by hand, from the model itself
    encoder = load_model(given["encoder"], "encoder")
    images = {name: encoder_image(folder / "images" / f"{name}.png") for name in sorted(names.values())}
    titles = {one["idx"]: one["title"] for one in products}
    gallery = encoder.encode_queries([[images[name], titles[name]] for name in sorted(images)])
    for n, query in enumerate(queries):
        first, second = query["query"]
        pieces = text.split("<image>")
        asked = encoder.encode_queries([[pieces[0], images[first], pieces[1], images[second], pieces[2]]])[0]
        order = [sorted(images)[k] for k in np.argsort(-(gallery @ asked), kind="stable")]
        rank = order.index(query["pos_candidate"][0]) + 1
        assert ranks[str(n)] == (rank if rank <= 10 else -1)
    assert torch.isfinite(torch.tensor(gallery)).all()


def encoder_image(path):
    from panoglot.pictures import Image

    return Image.from_path(str(path))


def test_the_command_says_what_it_takes(circle, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    register("toy:scripted", Scripted)
    found = commands.retrieval("merit", data=str(circle), encoder="toy:scripted", method="learned")
    assert found["positives"].parts["mrr@10"] == pytest.approx(0.128571, abs=1e-6)
    with pytest.raises(UserError, match="weight"):
        commands.retrieval("merit", data=str(circle), encoder="toy:scripted", method="learned", weight=0.2)
