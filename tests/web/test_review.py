"""Looking through a dataset: windows of pictures, captions that wait for a decision, writers side by side, undo."""

import pytest

from panoglot.errors import UserError
from panoglot.retrieval import edit, judge, undo, vote
from panoglot.table import Caption, caption_to_row, given_caption_id
from tests.retrieval.test_hybrid import scenes  # noqa: F401
from tests.web.test_server import served  # noqa: F401


def write(world, image, text, model="", lang="de", dropped=None, **scores):
    key = given_caption_id(image, model or "human", lang, None, text)
    row = Caption(
        text,
        lang,
        "short",
        model=model,
        recipe="describe/1",
        dropped=dropped,
        scores=scores,
        image_id=image,
        caption_id=key,
    )
    world.data.captions.insert([caption_to_row(row)])
    return key


def of(world, key):
    return world.data.captions.get([key]).to_pylist()[0]


# -- windows of pictures ---------------------------------------------------------------------------


def test_layout_and_windows(served):  # noqa: F811
    ids = sorted(served.world.ids)
    status, shapes = served("GET", "/api/v1/layout")
    version = served.headers["ETag"].strip('"')
    assert (status, len(shapes), shapes[:2]) == (200, 30, b"\xe8\x03")  # 1000: as wide as high
    assert served("GET", "/api/v1/layout", If_None_Match=f'"{version}"')[0] == 304
    status, window = served("GET", f"/api/v1/items?from=4&n=3&show=ar,en&version={version}")
    assert status == 200
    assert [one["id"] for one in window["items"]] == ids[4:7]
    assert {one["lang"] for one in window["items"]} == {"ar"}
    assert (window["total"], window["from"]) == (15, 4)
    assert served("GET", "/api/v1/items?from=900")[1]["items"] == []
    # an edit changes no window; a picture that goes does
    served("POST", f"/api/v1/images/{ids[0]}/captions", {"text": "A thing.", "lang": "en"})
    assert served("GET", f"/api/v1/items?version={version}")[0] == 200
    served("POST", "/api/v1/forget", {"ids": [ids[0]]})
    assert served("GET", f"/api/v1/items?version={version}")[0] == 409
    assert len(served("GET", "/api/v1/layout")[1]) == 28


def test_windows_by_filters(served):  # noqa: F811
    key = served.world.ids[2]
    served("POST", f"/api/v1/images/{key}/captions", {"text": "Paka mwekundu.", "lang": "sw"})
    assert [one["id"] for one in served("GET", "/api/v1/items?lang=sw")[1]["items"]] == [key]
    assert served("GET", "/api/v1/items?kinds=dense")[1]["total"] == 0
    assert served("GET", "/api/v1/items?where=width%3E100")[1]["total"] == 0
    assert served("GET", "/api/v1/items?where=width%3C100%20and%20lang='sw'")[1]["total"] == 1
    for bad in (
        "where=1=1;drop%20table",
        "n=0",
        "n=201",
        "n=-1",
        "from=%D9%A3",
        "n=1&n=2",
        "sort=x",
        "lang=??",
        "kinds=no",
    ):
        status, answer = served("GET", f"/api/v1/items?{bad}")
        assert status == 422, bad
        assert answer["detail"]
    assert served("GET", "/api/v1/layout?from=1")[0] == 422


# -- decisions -------------------------------------------------------------------------------------


def test_the_queue_is_gone_through(served):  # noqa: F811
    world = served.world
    wrong = write(world, world.ids[0], "Ein Auto.", "vlm:a", dropped="low_alignment", alignment=0.11)
    drafted = write(world, world.ids[0], "Entwurf.", "vlm:a", dropped="draft")
    _, queue = served("GET", "/api/v1/queue?why=dropped&lang=de")
    assert [c["caption_id"] for c in queue["captions"]] == [wrong]
    assert queue["captions"][0]["scores"] == {"alignment": pytest.approx(0.11)}
    assert served("GET", "/api/v1/queue?why=dropped:low_alignment")[1]["total"] == 1
    assert served("GET", "/api/v1/queue?why=dropped:nothing")[1]["total"] == 0
    # windows follow one another, in an order that stays
    seen, after = [], ""
    while after is not None:
        _, window = served("GET", f"/api/v1/queue?why=kept&lang=ar&n=4&after={after}")
        seen += [c["caption_id"] for c in window["captions"]]
        after = window["next"]
    assert len(seen) == len(set(seen)) == 15
    assert seen == sorted(seen)
    # approved: it is kept, a rating and an edit say so, and nobody is asked again
    status, done = served(
        "POST", f"/api/v1/images/{world.ids[0]}/judge", {"caption": wrong, "keep": True, "author": "Ada"}
    )
    assert (status, of(world, wrong)["dropped"]) == (200, None)
    assert served("GET", "/api/v1/queue?why=dropped&lang=de")[1]["total"] == 0
    rating = world.data.ratings.rows()[0]
    assert (rating["item"], rating["value"], rating["criterion"], rating["rater"]) == (wrong, 1.0, "approved", "Ada")
    # and taken back
    assert served("POST", "/api/v1/undo", {"edit_id": done["edit_id"]})[0] == 200
    assert of(world, wrong)["dropped"] == "low_alignment"
    assert world.data.ratings.count() == 0
    assert served("POST", "/api/v1/undo", {"edit_id": done["edit_id"]})[0] == 422
    assert [row["action"] for row in sorted(world.data.edits.rows(), key=lambda r: r["time"])] == ["approve", "undo"]
    assert of(world, drafted)["dropped"] == "draft"


def test_lowest_scores_and_doubtful_languages(served):  # noqa: F811
    world = served.world
    keys = [write(world, image, f"Bild {n}.", "m", alignment=n / 10) for n, image in enumerate(world.ids[:3])]
    odd = write(world, world.ids[4], "???", "m", lang="und")
    assert [c["caption_id"] for c in served("GET", "/api/v1/queue?why=low:alignment")[1]["captions"]] == keys
    # a cursor stands, also when what it names is judged meanwhile; what was put off does not come again
    _, one = served("GET", "/api/v1/queue?why=low:alignment&n=2")
    served("POST", f"/api/v1/images/{world.ids[1]}/judge", {"caption": keys[1], "keep": True})
    _, rest = served("GET", f"/api/v1/queue?why=low:alignment&n=2&after={one['next']}")
    assert [c["caption_id"] for c in rest["captions"]] == keys[2:]
    assert served("GET", "/api/v1/queue?after=nonsense")[0] == 422
    assert served("GET", "/api/v1/queue?after=1:'%20or%201=1")[0] == 200
    assert [c["caption_id"] for c in served("GET", "/api/v1/queue?why=language")[1]["captions"]] == [odd]
    for why in ("low", "nothing", "kept:x"):
        assert served("GET", f"/api/v1/queue?why={why}")[0] == 422
    quote = served("GET", "/api/v1/queue?why=dropped:x'%20or%20'1'='1")
    assert (quote[0], quote[1]["total"]) == (200, 0)


def test_two_people_at_one_picture(served):  # noqa: F811
    key = served.world.ids[0]
    _, seen = served("GET", f"/api/v1/images/{key}")
    first = {"text": "A crimson cat.", "lang": "en"}
    assert served("POST", f"/api/v1/images/{key}/captions", first, If_Match=seen["state"])[0] == 201
    status, answer = served(
        "POST", f"/api/v1/images/{key}/captions", {"text": "Other.", "lang": "en"}, If_Match=seen["state"]
    )
    assert (status, len(answer["state"])) == (412, 16)
    caption = seen["captions"][0]["caption_id"]
    assert served("POST", f"/api/v1/images/{key}/judge", {"caption": caption, "keep": False}, If_Match="x")[0] == 412
    assert served("POST", f"/api/v1/images/{key}/drop", {"caption": caption}, If_Match="x")[0] == 412
    _, now = served("GET", f"/api/v1/images/{key}")
    assert (
        served("POST", f"/api/v1/images/{key}/judge", {"caption": caption, "keep": False}, If_Match=now["state"])[0]
        == 200
    )
    said = {c["caption_id"]: c for c in served("GET", f"/api/v1/images/{key}")[1]["captions"]}
    assert said[caption]["dropped"] == "wrong"
    assert [e["action"] for e in said[caption]["edits"]][-1] == "reject"
    # a caption of another picture is none of this one
    _, other = served("GET", f"/api/v1/images/{served.world.ids[1]}")
    body = {"caption": other["captions"][0]["caption_id"], "keep": False}
    assert served("POST", f"/api/v1/images/{key}/judge", body)[0] == 404


def test_every_decision_can_be_taken_back(scenes):  # noqa: F811
    data, key = scenes.data, scenes.ids[0]

    def now():
        return {c.caption_id: c.dropped for c in data.captions_of([key], None)[key]}

    german = next(c.caption_id for c in data.captions_of([key])[key] if c.lang == "de")
    hidden = write(scenes, key, "Ein Auto.", "vlm:a", dropped="low_alignment")
    before = now()
    for work in (
        lambda: edit(data, key, lang="de", caption=german, text="Ein Kater."),
        lambda: edit(data, key, lang="sw", text="Paka."),
        lambda: edit(data, key, caption=hidden, text="Ein Wagen."),
        lambda: edit(data, key, caption=german, drop="rude"),
        lambda: judge(data, german, keep=False), lambda: judge(data, german, keep=True),
        lambda: judge(data, hidden, keep=True), lambda: judge(data, hidden, keep=False),
    ):  # fmt: skip
        made = work()
        assert now() != before or made.text in ("Ein Auto.", "rot Katze.")
        undo(data, made.edit_id, author="Ada")
        assert {one: why for one, why in now().items() if one in before} == before
        assert all(why == "undone" for one, why in now().items() if one not in before)
    done = judge(data, german, keep=False, reason="wrong animal")
    assert now()[german] == "wrong_animal"
    judge(data, german, keep=True)
    with pytest.raises(UserError, match="changed by somebody since"):
        undo(data, done.edit_id)
    for call in (
        lambda: judge(data, "0" * 32, keep=True), lambda: judge(data, "' or 1=1", keep=True),
        lambda: judge(data, german, keep=False, reason="!?"), lambda: undo(data, "x' or '1'='1"),
    ):  # fmt: skip
        with pytest.raises(UserError):
            call()


# -- writers side by side, and all in numbers ------------------------------------------------------


@pytest.fixture
def writers(served):  # noqa: F811
    world = served.world
    world.keys = {}
    for n, image in enumerate(world.ids):
        world.keys[image] = [
            write(world, image, f"Ein Bild {n}.", "vlm:a", alignment=0.5 + n / 100),
            write(world, image, f"Ein Bild {n}." if n else "ganz etwas anderes", "vlm:b", alignment=0.2 + n / 100),
        ]
    return served


def test_compare(writers):
    world = writers.world
    status, found = writers("GET", "/api/v1/compare?writers=vlm:a,vlm:b&lang=de&n=3")
    assert (status, found["pictures"], found["total"], len(found["rows"])) == (200, 15, 15, 3)
    assert found["rows"][0]["image"] == world.ids[0]  # where they differ most
    assert found["rows"][0]["differ"] == 1
    assert [c["model"] for c in found["rows"][0]["captions"]] == ["vlm:a", "vlm:b"]
    score = next(one for one in found["scores"] if one["name"] == "alignment")
    assert score["best"] == 0
    assert score["each"][0]["mean"] == pytest.approx(0.57)
    assert score["each"][0]["low"] < 0.57 < score["each"][0]["high"]
    assert score["each"][1]["below_best"] is True
    assert {one["name"] for one in found["writers"]} == {"vlm:a", "vlm:b", "web"}
    # a writer without scores has none, the others have theirs
    _, three = writers("GET", "/api/v1/compare?lang=de")
    assert set(three["chosen"]) == {"vlm:a", "vlm:b", "web"}
    assert [each is None for each in next(s for s in three["scores"] if s["name"] == "alignment")["each"]].count(
        True
    ) == 1
    for bad in ("writers=nobody,vlm:a", "writers=vlm:a", "lang=??"):
        assert writers("GET", f"/api/v1/compare?{bad}")[0] == 422
    assert writers("GET", "/api/v1/compare?lang=th")[1]["rows"] == []  # one writer alone


def test_votes(writers):
    data, (image, other) = writers.world.data, writers.world.ids[:2]
    a, b = writers.world.keys[image]
    assert writers("POST", "/api/v1/vote", {"captions": [a, b], "best": b, "author": "Ada"})[1] == {"ratings": 1}
    row = data.ratings.rows()[0]
    assert (row["item"], row["against"], row["value"], row["criterion"]) == (b, a, 1.0, "best")
    _, found = writers("GET", "/api/v1/compare?writers=vlm:a,vlm:b&lang=de")
    assert found["votes"] == {"better": {"vlm:a": 0, "vlm:b": 1}, "equal": 0}
    writers(
        "POST", "/api/v1/vote", {"captions": [a, b], "best": None, "author": "Ada"}
    )  # who thinks again has one vote
    _, found = writers("GET", "/api/v1/compare?writers=vlm:a,vlm:b&lang=de")
    assert found["votes"] == {"better": {"vlm:a": 0, "vlm:b": 0}, "equal": 1}
    assert vote(data, [a, b], a, author="Bo") == 1
    for bad in ([a], [a, writers.world.keys[other][0]], [a, "x"], [a, b, 3]):
        assert writers("POST", "/api/v1/vote", {"captions": bad, "best": a})[0] == 422
    assert writers("POST", "/api/v1/vote", {"captions": [a, b], "best": "elsewhere"})[0] == 422


def test_overview(writers):
    world = writers.world
    write(world, world.ids[0], "Falsch.", "vlm:a", dropped="low_alignment")
    writers("POST", f"/api/v1/images/{world.ids[0]}/captions", {"text": "Paka.", "lang": "sw"})
    _, o = writers("GET", "/api/v1/overview")
    assert (o["images"], o["kept_images"], o["captioned"]) == (15, 15, 15)
    assert o["captions"]["kept"] == 15 * 7 + 15 * 2 + 1
    assert o["languages"]["ar"]["kept"] == 15
    assert o["gaps"]["sw"] == 14
    assert o["gaps"]["de"] == 0
    assert len(o["gaps"]) == len(o["languages"])  # the rarest have the largest
    fact = caption_to_row(Caption("Portrait format.", "fi", "fact", image_id=world.ids[0]))
    world.data.captions.insert([{**fact, "caption_id": "f" * 32}])
    _, again = writers("GET", "/api/v1/overview")
    assert again["gaps"] == o["gaps"]  # a measurement is no caption
    assert "fi" not in writers("GET", "/api/v1")[1]["languages"]
    assert o["dropped_captions"] == {"low_alignment": 1}
    assert o["writers"]["vlm:a"] == 15
    assert o["edits"] == {"add": 1}
    assert writers("GET", "/api/v1/overview?x=1")[0] == 422
