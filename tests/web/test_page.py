"""The page in a browser: what people do on it, by the keyboard, in both directions; that nothing is asked of others."""

import os
import re
from pathlib import Path
from urllib.parse import quote

import pytest

import panoglot.web
from panoglot.retrieval import Searcher
from panoglot.web import Answer, Server
from tests.devtools import open_tab
from tests.retrieval.test_hybrid import scenes  # noqa: F401
from tests.web.test_review import write

TOKEN = "a-token-of-twenty-letters"
PAGE = Path(panoglot.web.__file__).parent / "page"
CELLS = "document.querySelectorAll('[role=gridcell] img[src]').length"
SAID = "document.getElementById('status').textContent"
EVIL = '<img src=x onerror="document.title=1"> \u202eRoter Kater\u202c </script><b>'

browser = pytest.mark.browser


@pytest.fixture
def world(scenes):  # noqa: F811
    """The scenes, with two models' captions, some dropped, and one that is markup."""
    for n, image in enumerate(scenes.ids):
        write(scenes, image, f"Ein Bild mit einer {n}.", "vlm:a", alignment=0.5 + n / 100)
        dropped = "low_alignment" if n < 3 else None
        write(scenes, image, f"Bild, {n}, ganz anders.", "vlm:b", dropped=dropped, alignment=0.2)
    scenes.caption(scenes.ids[0], EVIL, "de", "human")
    return scenes


@pytest.fixture
def page(world):
    """A tab, and where the page is."""
    with Server(Searcher(world.data, world.encoder, files=False), port=0) as server, open_tab() as tab:
        tab.look_as(1280, 800)
        tab.world, tab.server, tab.url = world, server, server.url + "?ui=en"
        yield tab
        assert tab.said == []
        assert {url.split("/")[2] for url in tab.asked if url.startswith("http")} == {f"127.0.0.1:{server.port}"}


@browser
def test_search_why_picture_back(page):
    page.go(f"{page.url}&q={quote('roter Kater')}", f"{CELLS} > 3")
    assert page.js("location.hash").startswith("#/search?q=roter")  # the address is the question
    page.js(
        "(lang => { lang.value = 'de'; lang.dispatchEvent(new Event('change')); })(document.getElementById('lang'))"
    )
    page.wait("document.querySelector('[role=gridcell]')?.innerText.includes('onerror')")
    assert "<img src=x onerror" in page.js("document.querySelector('[role=gridcell]').innerText")
    assert page.js("document.querySelectorAll('[onerror], #main script, #main b b').length") == 0
    assert page.js("document.title").endswith("Panoglot")
    why = page.wait("document.getElementById('why').innerText")
    assert "words of captions" in why
    assert "roter" in why
    # a chip is turned round, and the plan is searched as it stands
    page.js("document.querySelector('#plan .chip').focus()")
    page.press("-")
    page.wait(f"{SAID}.includes('Something must be left')")
    page.js("document.getElementById('word').value = 'blue'; document.querySelector('#plan form').requestSubmit()")
    page.wait("document.querySelectorAll('#plan .chip b').length === 2")
    page.wait("document.querySelector('#plan pre').textContent.includes('\"blue\"')")
    # the first picture by keyboard, and back to the search; cells come with the frame after the plan
    page.wait("document.querySelector('[role=gridcell]')")
    page.js("document.querySelector('[role=gridcell]').focus()")
    page.press("Enter")
    page.wait("document.querySelectorAll('.says li').length")
    picture = page.js("location.hash")
    page.press("j")
    page.wait(f"location.hash !== {picture!r}")
    page.wait("location.hash.startsWith('#/picture/') && document.querySelectorAll('.says li').length")
    page.press("Escape")
    page.wait(f"location.hash === {picture!r}")
    page.press("Escape")
    page.wait(f"location.hash.startsWith('#/search') && {CELLS} > 3")
    # nothing found says so, with ways out
    page.go(f"{page.url}#/search?q=red&min=0.999&lang=de&kind=dense", "document.querySelector('.nothing button')")
    assert "Nothing found" in page.js(SAID)
    page.js("document.querySelector('.nothing button').click()")
    page.wait("!location.hash.includes('min=')")


@browser
@pytest.mark.parametrize("ui", ["de", "ar", "en"])
def test_what_the_server_says_is_said_in_the_language_of_the_page(page, ui, tmp_path):
    page.url = page.url.replace("ui=en", f"ui={ui}")
    line = "document.querySelector('#notes li')?.innerText"
    for question, said in {
        "zzyzx": {
            "de": "Schwach: In keinem Text steht „zzyzx“",
            "ar": "لا يرد «zzyzx» في أي نص",
            "en": "weak: no caption",
        },
        "dog +zzyzx": {"de": "und es muss in einem stehen", "ar": "ويجب أن يرد في واحد", "en": "must stand in one"},
        '"dog red"': {
            "de": "In keinem Text steht „dog red“ zusammen",
            "ar": "«dog red» معًا",
            "en": "these words together",
        },
    }.items():
        page.go(f"{page.url}#/search?q={quote(question)}", f"{line}")
        page.wait(f"{line}.replace(/[\u2068\u2069]/g, '').includes({said[ui]!r})")
    page.go(f"{page.url}#/search?q=dog&kind=ocr", f"{line}")
    assert ("no kept caption" in page.js(line)) == (ui == "en")
    assert page.screenshot(tmp_path / f"notes-{ui}.png").stat().st_size > 1000


@browser
def test_words_with_a_sign_are_chips_and_a_page_is_no_result(page):
    chips = "[...document.querySelectorAll('#plan .pair > button:first-child')].map((b) => b.innerText)"
    page.go(f"{page.url}#/search?q={quote('bild -roter +Kater')}", f"{chips}.length >= 3")
    assert [text.replace("\n", " ") for text in page.js(chips)][1:] == ["+ with Kater", "− without roter"]
    page.js("[...document.querySelectorAll('#plan .chip.minus')].at(-1).click()")  # turned round
    page.wait("decodeURIComponent(location.hash).replaceAll('+', ' ').includes('bild  roter')")
    page.wait(f"{chips}.filter((one) => one.includes('with roter')).length === 1")
    page.js("[...document.querySelectorAll('#plan [aria-label=\"take out roter\"]')][0].click()")
    page.wait("!decodeURIComponent(location.hash).includes('roter')")
    # what is shown is a page of the result: its number is not the result's
    page.go(f"{page.url}#/search?q=bild", f"{CELLS} > 3")
    assert page.js("document.querySelector('#sum strong').innerText") == f"{len(page.world.ids)} pictures"
    page.js("""(fetch_ => { window.fetch = async (url, options) => {
        const found = await fetch_(url, options);
        if (!String(url).endsWith('/search')) return found;
        const data = await found.json();
        data.hits = Array.from({ length: 120 }, (_, n) => data.hits[n % data.hits.length]);
        return new Response(JSON.stringify(data), { headers: { 'Content-Type': 'application/json' } });
    }; })(window.fetch)""")
    page.js("location.hash = '#/search?q=roter'")
    page.wait("document.querySelector('#sum strong')?.innerText === 'the first 120 pictures'")


@browser
def test_a_cell_keeps_the_focus_when_the_grid_is_laid_out_anew(page):
    page.go(f"{page.url}&q={quote('roter Kater')}", f"{CELLS} > 3")
    page.js("document.querySelectorAll('[role=gridcell]')[2].focus()")
    for width in (900, 1280):
        box = page.js("document.querySelector('[role=grid]').clientWidth")
        page.look_as(width, 800)
        page.wait(f"document.querySelector('[role=grid]').clientWidth !== {box}")
        page.wait("document.activeElement.dataset.n === '2'", seconds=2)
    page.press("Enter")
    page.wait("location.hash.startsWith('#/picture/')")


@browser
def test_an_answer_that_comes_late_takes_no_focus(page):
    page.go(f"{page.url}&q={quote('roter Kater')}", f"{CELLS} > 3")
    page.js(
        "window.late = 0; window.fetch = (fetch => (...asked) => new Promise(go => setTimeout(go, 700))"
        ".then(() => fetch(...asked)).finally(() => { window.late += 1; }))(window.fetch)"
    )
    page.js("document.getElementById('lang').focus()")
    page.js("(lang => { lang.value = 'de'; lang.dispatchEvent(new Event('change')); })(document.activeElement)")
    page.wait("location.hash.includes('lang=de') && document.activeElement.id === 'lang'")  # at once, where it was
    assert page.js("window.late") == 0
    page.js("document.getElementById('q').focus()")
    page.wait("window.late && document.querySelector('[role=gridcell]')?.innerText.includes('onerror')")
    assert page.js("document.activeElement.id") == "q"


@browser
def test_search_in_every_script_and_with_a_picture(page):
    for text in ("أحمر", "लाल", "赤い猫", "สีแดง", "红色"):
        page.go(f"{page.url}#/search?q={quote(text)}", f"{CELLS} > 3")
        assert page.js("document.getElementById('q').value") == text
        assert text.strip() in page.js("document.querySelector('#plan .chip bdi').textContent")
    # letters that are still being composed search nothing
    page.js("document.getElementById('q').focus()")
    page.call("Input.imeSetComposition", text="ね", selectionStart=1, selectionEnd=1)
    page.js("document.getElementById('ask').requestSubmit()")
    assert quote("红色") in page.js("location.hash")
    # a picture that is dropped on the page
    page.js("""(async () => {
        const canvas = document.createElement('canvas'); canvas.width = canvas.height = 30;
        const blob = await new Promise(done => canvas.toBlob(done, 'image/png'));
        window.made = blob;
    })()""")
    page.world.encoder.encode_images = lambda images: page.world.encoder.encode_texts(["red cat"] * len(images))
    page.js("""(() => {
        const data = new DataTransfer(); data.items.add(new File([window.made], 'x.png', {type: 'image/png'}));
        window.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
    })()""")
    page.wait(f"location.hash.includes('image=') && {CELLS} > 3 && document.querySelector('.given')")
    assert page.wait("document.querySelector('.given img')?.naturalWidth") > 0  # it is shown beside the field


@browser
def test_review_by_the_keyboard(page):
    data = page.world.data
    page.go(f"{page.url}#/review?why=dropped&lang=de", "document.querySelector('#others li')")
    queue = page.server.api.review.queue("dropped", "de")["captions"]
    first, second, third = (one["caption_id"] for one in queue)

    def dropped(key):
        return data.captions.get([key]).to_pylist()[0]["dropped"]

    page.js("document.getElementById('card').focus()")
    page.press("a")
    page.wait(f"{SAID} === 'Approved.'")
    assert dropped(first) is None
    page.wait(f"document.getElementById('text').value === {queue[1]['text']!r} && document.querySelector('#others li')")
    page.press("z")
    page.wait(f"{SAID} === 'Taken back.'")
    assert dropped(first) == "low_alignment"
    page.wait("document.querySelector('#others li')")
    page.press("ArrowRight")
    page.wait(f"document.getElementById('text').value === {queue[1]['text']!r} && document.querySelector('#others li')")
    page.press("e")  # to write; letters are letters there
    page.write(" Ein Affe, dazu.")
    page.press("a")
    assert page.js("document.getElementById('text').value").endswith("dazu.a")
    page.press("Enter", ctrl=True)
    page.wait(f"{SAID} === 'Saved.'")
    mine = [c for c in data.captions_of([queue[1]["image_id"]])[queue[1]["image_id"]] if c.recipe == "human"]
    assert any(c.text.endswith("Ein Affe, dazu.a") and list(c.parents) == [second] for c in mine)
    page.wait("document.querySelector('#others li')")
    page.press("d")
    page.wait(f"{SAID}.startsWith('Dropped')")
    assert dropped(third) == "low_alignment"  # the reason that it had stays
    page.wait("document.querySelector('.nothing')")
    assert {row["action"] for row in data.edits.rows()} == {"approve", "undo", "correct", "reject"}


@browser
def test_a_caption_is_added_in_the_language_of_the_page_and_corrects_none(page):
    key, other = page.world.ids[1], page.world.ids[2]
    page.go(f"{page.url}#/picture/{other}".replace("?ui=en", "?ui=de"), "document.querySelector('.says li')")
    page.press("e")  # begun on one picture, and left
    page.js(f"location.hash = '#/picture/{key}'")
    page.wait("document.getElementById('said').innerText.includes('A blue cat.')")
    before = {c.text for c in page.world.data.captions_of([key])[key]}
    assert page.js("document.getElementById('write-lang').value") == "de"
    page.js("document.getElementById('write-text').focus()")
    page.write("Noch ein Satz.")
    page.press("Enter", ctrl=True)
    page.wait(f"{SAID} === 'Gespeichert.'")
    after = page.world.data.captions_of([key])[key]
    assert {c.text for c in after} == before | {"Noch ein Satz."}
    assert next(c.lang for c in after if c.text == "Noch ein Satz.") == "de"


@browser
def test_a_picture_is_corrected_and_forgotten(page):
    key = page.world.ids[1]
    page.go(f"{page.url}#/picture/{key}", "document.querySelector('.says li')")
    page.press("e")
    page.js("document.getElementById('write-text').value = ''")
    page.write("A navy cat.")
    page.press("Enter", ctrl=True)
    page.wait(f"{SAID} === 'Saved.'")
    assert "A navy cat." in {c.text for c in page.world.data.captions_of([key])[key]}
    page.wait("document.querySelector('.says').innerText.includes('correct')")  # its history stands beside it
    page.js("document.activeElement.blur()")
    page.press("z")
    page.wait(f"{SAID} === 'Taken back.'")
    assert "A navy cat." not in {c.text for c in page.world.data.captions_of([key])[key]}
    page.press("e")
    page.js("document.getElementById('write-text').value = 'A navy cat.'")
    page.press("Enter", ctrl=True)
    page.wait(f"{SAID} === 'Saved.'")
    # somebody else writes meanwhile: what was typed stays, what is new is shown
    page.press("e")
    page.world.caption(key, "Somebody else's.", "en")
    page.js("document.getElementById('write-text').value = 'Mine.'; document.getElementById('write').requestSubmit()")
    page.wait(f"{SAID}.startsWith('Somebody changed')")
    assert page.js("document.getElementById('write-text').value") == "Mine."
    page.said[:] = [line for line in page.said if "412" not in line]
    # forgetting asks first; the safe answer has the focus
    page.js("[...document.querySelectorAll('button')].find(b => b.textContent.startsWith('Forget this')).click()")
    page.wait("document.getElementById('sure').open")
    assert page.js("document.activeElement.textContent") == "Cancel"
    page.press("Enter")
    assert page.js(f"fetch('/api/v1/images/{key}').then(a => a.status)") == 200
    page.js("[...document.querySelectorAll('button')].find(b => b.textContent.startsWith('Forget this')).click()")
    page.wait("document.getElementById('sure').open")
    page.js("document.querySelector('#sure .lost').click()")
    page.wait(f"location.hash.startsWith('#/search') && {CELLS} === 14")
    assert page.server.api.searcher._allowed.is_forgotten(key)


@browser
def test_compare_and_a_blind_vote(page):
    page.go(f"{page.url}#/compare?lang=de&writers={quote('vlm:a,vlm:b')}", "document.querySelector('#side mark')")
    assert "lower, shown" in page.js("document.querySelector('.scores').innerText")
    page.js("document.querySelector('#side tbody tr').focus()")
    page.press("h")
    page.wait("!document.getElementById('side').innerText.includes('vlm')")
    page.press("1")
    page.wait(f"{SAID} === '1 is best'")
    page.press("0")
    page.wait(f"{SAID} === 'No difference.'")
    rows = page.world.data.ratings.rows()
    assert sorted(row["value"] for row in rows) == [0.5, 1.0]
    page.wait("document.getElementById('votes').innerText.includes('no difference 1')")


@browser
def test_keys_go_everywhere_and_read_only_hides_what_writes(page):
    page.go(f"{page.url}#/overview", "document.querySelector('.bars li')")
    assert "15 pictures, described" in page.js("document.querySelector('.big').textContent")
    for key, screen in (("r", "review"), ("c", "compare"), ("o", "overview"), ("s", "search")):
        page.press("g")
        page.press(key)
        page.wait(f"document.querySelector('[aria-current=page]').dataset.screen === '{screen}'")
        assert page.js("location.hash") == f"#/{screen}"
    page.wait(f"{CELLS} > 3")
    page.press("?", shift=True)
    page.wait("document.getElementById('help').open")
    page.press("Escape")
    page.press("/")
    assert page.js("document.activeElement.id") == "q"
    with Server(
        Searcher(page.world.data, page.world.encoder, files=False), port=0, read_only=True, token=TOKEN
    ) as server:
        page.go(server.url.replace("#", "?ui=en#"), f"{CELLS} > 3")
        assert TOKEN not in page.js("location.href")
        assert "Review" not in page.js("document.getElementById('nav').innerText")
        for screen in (f"picture/{page.world.ids[0]}", "compare?lang=de", "overview"):
            page.js(f"location.hash = '#/{screen}'")
            page.wait("document.querySelector('.says li, #side td, .bars li')")
            words = page.js("[...document.querySelectorAll('main button')].map(b => b.textContent).join(' ')")
            assert not re.search(r"\b(Edit|Approve|Drop|Save|Forget|best)\b", words), screen
        page.asked[:] = [url for url in page.asked if f":{server.port}/" not in url]


@browser
def test_the_grid_reaches_the_last_of_100000(page, monkeypatch):
    """Elements and memory stay bounded, every picture can be reached, keys work in both directions."""
    many, shelf = 100_000, page.server.api.shelf

    class Many(list):
        def __getitem__(self, at):
            some = range(*at.indices(many))
            return type("Ids", (), {"tolist": lambda self: [f"{n:032x}".encode() for n in some]})()

        def __len__(self):
            return many

    shapes = b"".join(int(1000 * (0.6 + n % 9 / 6)).to_bytes(2, "little") for n in range(90)) * (many // 90 + 1)
    monkeypatch.setattr(shelf, "order", lambda **_: (Many(), "v1"))
    monkeypatch.setattr(shelf, "layout", lambda ids: shapes[: 2 * many])
    monkeypatch.setattr(
        shelf,
        "items",
        lambda ids, langs: [{"id": k, "text": f"Bild {int(k, 16)}", "lang": "de", "captions": 1} for k in ids],
    )
    picture = page.server.api._thumb(type("R", (), {"headers": {}})(), page.world.ids[0], "240").body
    monkeypatch.setattr(page.server.api, "_thumb", lambda *_: Answer(picture, "image/webp"))
    page.go(f"{page.url}#/search", f"{CELLS} > 5")
    most = page.js("""(async () => {
        const view = document.getElementById('view'), end = view.scrollHeight - view.clientHeight;
        let most = 0;
        const move = async (by) => {
            view.scrollTop += by;
            await new Promise(requestAnimationFrame);
            most = Math.max(most, view.querySelectorAll('*').length);
        };
        for (let n = 0; n < 60; n++) await move(100);
        for (let n = 0; n < 150; n++) await move(end / 140);
        return most;
    })()""")
    assert most <= 500
    page.wait("[...document.querySelectorAll('[role=gridcell]')].some(c => c.textContent === 'Bild 99999')")
    assert page.js("document.querySelectorAll('*').length") <= 700
    page.call("HeapProfiler.enable")
    page.call("HeapProfiler.collectGarbage")
    assert page.call("Runtime.getHeapUsage")["usedSize"] <= 20e6
    assert page.call("Memory.getDOMCounters")["nodes"] <= 3000  # tiles are used again
    # rows stand in their order, one stop of Tab, rows and columns are counted
    rows = page.js("[...document.querySelectorAll('[role=row]')].map(r => Number(r.getAttribute('aria-rowindex')))")
    assert rows == sorted(rows)
    assert page.js("Number(document.querySelector('[role=grid]').getAttribute('aria-rowcount'))") >= rows[-1]
    assert page.js("document.querySelectorAll('[role=gridcell][tabindex=\"0\"]').length") == 1
    # by the keyboard: to the first, on, and to the last again
    focus = "Number(document.activeElement.dataset.n)"
    page.js("document.querySelector('[role=gridcell][tabindex=\"0\"]').focus()")
    for key, ctrl, wanted in (
        ("Home", True, 0), ("ArrowRight", False, 1), ("ArrowLeft", False, 0), ("End", True, 99_999),
        ("ArrowLeft", False, 99_998),
    ):  # fmt: skip
        page.press(key, ctrl=ctrl)
        page.wait(f"{focus} === {wanted}")
    page.press("ArrowUp")
    assert 99_980 < page.js(focus) < 99_998
    # who has the focus is not taken away by scrolling
    page.js("document.getElementById('view').scrollTop = 0")
    page.wait("[...document.querySelectorAll('[role=gridcell]')].some(c => c.textContent === 'Bild 0')")
    assert page.js(focus) > 99_000
    page.go(page.url.replace("ui=en", "ui=ar") + "#/search", f"{CELLS} > 5 && document.documentElement.dir === 'rtl'")
    page.js("document.querySelector('[role=gridcell][tabindex=\"0\"]').focus()")
    page.press("ArrowLeft")  # mirrored: what is beside it on the left is the next one
    assert page.js(focus) == 1


AXE = Path(os.environ.get("PANOGLOT_TEST_AXE") or "axe.min.js")


@browser
@pytest.mark.skipif(
    not AXE.is_file(), reason="no axe-core (npm pack axe-core; set PANOGLOT_TEST_AXE to its axe.min.js)"
)
def test_accessibility_of_every_screen(page):
    """axe-core finds nothing, in every screen, size, direction and theme; and nothing is wider than the window."""
    axe, found = AXE.read_text(encoding="utf-8"), []
    views = {
        "search": f"{CELLS} > 5", "search?q=roter+Kater&lang=de": f"{CELLS} > 0",
        "search?q=red&min=0.99&kind=dense": "document.querySelector('.nothing')",
        f"picture/{page.world.ids[0]}": "document.querySelector('.says li')",
        "review?why=dropped": "document.querySelector('#others li')",
        "compare?lang=de": "document.querySelector('#side td')", "overview": "document.querySelector('.bars li')",
    }  # fmt: skip
    for at, (address, ready) in enumerate(views.items()):
        for ui in ("en", "ar"):
            for width, dark in ((1280, False), (390, True)) if at % 2 else ((1280, True), (390, False)):
                page.look_as(width, 800, dark=dark)
                page.go(f"{page.url.replace('ui=en', f'ui={ui}')}#/{address}", ready)
                page.js(f"{axe}; 0")
                wrong = page.js("axe.run().then(r => r.violations.map(v => v.id + ' ' + v.nodes[0].html))")
                found += [f"{address} {ui} {width} {'dark' if dark else 'light'}: {one[:300]}" for one in wrong]
                assert page.js("document.documentElement.scrollWidth") <= width, (address, ui, width)
    assert found == []


# -- the files -------------------------------------------------------------------------------------


def _files():
    return {path.name: path.read_text("utf-8") for path in PAGE.iterdir()}


def test_the_page_asks_nobody_else_and_runs_no_markup():
    files = _files()
    scripts = "".join(text for name, text in files.items() if name.endswith(".js"))
    assert not re.search(r"https?://", "".join(files.values()))
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function|srcdoc|javascript:", scripts
    )
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|style=", files["index.html"])
    assert sum(len(text.encode()) for text in files.values()) <= 120_000
    # what is preloaded is what there is
    assert set(re.findall(r'"/a/([\w.]+)"', files["index.html"])) == set(files) - {"index.html"}


def test_every_word_of_the_page_is_in_its_languages():
    files = _files()
    asked = set()
    for name, text in files.items():
        if name.endswith(".js") and name != "words.js":
            asked |= set(re.findall(r'\bt\("((?:[^"\\]|\\.)*)"', text))
    assert len(asked) > 150
    for lang in ("de", "ar"):
        block = re.search(rf"^  {lang}: \{{$(.*?)^  \}},$", files["words.js"], re.M | re.S).group(1)
        said = dict(re.findall(r'"((?:[^"\\]|\\.)*)": "((?:[^"\\]|\\.)*)"', block))
        assert asked - set(said) == set(), lang
        for key, text in said.items():  # nothing that is put in is lost
            assert set(re.findall(r"\{\d\}", key)) == set(re.findall(r"\{\d\}", text)), key
