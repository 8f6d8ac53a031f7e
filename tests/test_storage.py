"""Where a dataset lies: the folder, and a place that is none, from which nobody can tell how the folder is laid out."""

import ast
import inspect
import multiprocessing
import os
import pickle
import re
import threading
import time
from pathlib import Path

import pytest

import panoglot
from panoglot.asking import Account, Journal, paid_by_stage
from panoglot.errors import UserError
from panoglot.recipes import load_recipe
from panoglot.retrieval import index
from panoglot.running import close_gone_runs, is_running, running
from panoglot.storage import LocalStore, ObjectStore, open_store
from panoglot.table import create_dataset, is_dataset, open_dataset
from panoglot.training import read_records
from panoglot.vectors import Vectors
from tests.asking import test_journal
from tests.memory_store import MemoryStore
from tests.retrieval import test_search
from tests.retrieval.conftest import World
from tests.table import test_dataset

SOURCE = Path(panoglot.__file__).parent
WRITER, FITS = "python:tests.running.toy:Writer", "python:tests.running.toy:Fits"


@pytest.fixture
def memory(monkeypatch, request):
    """The scheme `memory://` is supported while a test runs; gives an address that nobody else has."""
    monkeypatch.setitem(open_store.__globals__["_SCHEMES"], "memory", _of_memory)
    return f"memory://{abs(hash(request.node.nodeid))}"


def _of_memory(uri):
    name, _, below = uri.partition("://")[2].partition("/")
    return MemoryStore(name, below)


@pytest.fixture(params=["folder", "memory", "objects"])
def store(request, tmp_path):
    if request.param == "folder":
        return LocalStore(tmp_path / "x.pano")
    if request.param == "objects":
        request.getfixturevalue("s3")
        return open_store(f"s3://bucket/{tmp_path.name} ü#1/x.pano")
    return MemoryStore(f"{request.node.name}-{tmp_path.name}")


# -- addresses ---------------------------------------------------------------------------------------------------------


def test_a_path_and_its_uri_are_one_dataset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = create_dataset("my photos #1.pano")
    assert (data.address, data.path, data.name) == ("my photos #1.pano", Path("my photos #1.pano"), "my photos #1.pano")
    assert data.uri == f"file://{tmp_path}/my%20photos%20%231.pano"
    data.change_settings(encoder="x")
    for uri in (data.uri, data.uri.replace("%20", " ").replace("%23", "#"), data.uri.replace("file:", "FILE:")):
        again = panoglot.open(uri)
        assert again.path == tmp_path / "my photos #1.pano"
        assert again.settings() == {"encoder": "x"}
        assert is_dataset(uri)
    moved = pickle.loads(pickle.dumps(data))
    monkeypatch.chdir("/")
    assert moved.settings() == {"encoder": "x"}  # a worker elsewhere finds it


@pytest.mark.parametrize("address", ["ftp://host/photos.pano", "hdfs://b/photos.pano", "oss://photos.pano"])
def test_other_places_are_refused_on_one_line_before_anything_is_made(address, tmp_path, monkeypatch, pictures):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    for use in (
        panoglot.open,
        create_dataset,
        lambda at: panoglot.build(str(pictures), at, quiet=True),
        lambda at: panoglot.search(at, "a"),
        panoglot.report,
    ):
        with pytest.raises(
            UserError, match=r"no dataset lies on .*: give a folder.*for example photos\.pano, or"
        ) as caught:
            use(address)
        assert "\n" not in str(caught.value)
        assert address in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before  # no folder `s3:`
    assert not is_dataset(address)


@pytest.mark.parametrize("address", ["file://host/x.pano", "file://x.pano"])
def test_a_file_uri_names_this_machine(address):
    with pytest.raises(UserError, match="three slashes"):
        open_store(address)


def test_a_recipe_may_name_a_uri(tmp_path, pictures):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"source: photos\noutput: file://{tmp_path}/u.pano\nsteps: []\n")
    assert load_recipe(recipe).output == f"file://{tmp_path}/u.pano"
    result = panoglot.build(str(recipe), quiet=True)
    assert len(panoglot.open(tmp_path / "u.pano").images) == 12
    copied = panoglot.ingest(result.dataset.uri, str(tmp_path / "copy.pano"))
    assert len(copied.dataset.images) == 12
    with pytest.raises(UserError, match="source and output are both"):
        panoglot.ingest(result.dataset.uri, str(tmp_path / "u.pano"))


# -- the contract ------------------------------------------------------------------------------------------------------


def test_files_are_whole_and_the_first_of_several_stands(store):
    store.make()
    assert store.names() == []
    assert store.write("vectors/a.json", b"1", new=True)
    assert not store.write("vectors/a.json", b"2", new=True)
    assert store.read("vectors/a.json") == b"1"
    assert store.write("vectors/a.json", b"3")
    assert (store.read("vectors/a.json"), store.local("vectors/a.json").read_bytes()) == (b"3", b"3")
    with pytest.raises(TypeError), store.writing("b") as file:
        file.write(b"half" + None)
    assert store.names() == ["vectors"]
    with store.writing("vectors/b") as file:
        file.write(b"long")
        assert not store.has("vectors/b")
    below = store.at("vectors")
    assert below.names() == store.names("vectors") == ["a.json", "b"]
    assert below.facts("b").size == 4
    assert abs(time.time() - below.facts("b").changed / 1e9) < 60
    below.remove("b")
    below.remove("b")
    assert not store.has("vectors/b")
    for read in (store.read, store.open, store.facts):
        with pytest.raises(FileNotFoundError):
            read("vectors/b")
    assert store.names("nowhere") == []


def test_of_many_writers_one_is_the_first(store):
    store.make()
    won = []
    threads = [
        threading.Thread(target=lambda n=n: won.append(store.write("x", b"%d" % n, new=True))) for n in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 15 + [True]


def _at_once(count, work):
    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_an_appended_file_is_read_while_it_grows(store):
    store.make()
    file = store.append("a.seg")
    with pytest.raises(FileExistsError):
        store.append("a.seg")
    file.write(b"one")
    with store.open("a.seg") as reader:
        assert reader.read() == b"one"
    file.write(b"two")
    with store.open("a.seg", 1 << 18) as reader:
        assert reader.seek(0, 2) == 6
        reader.seek(2)
        assert reader.read() == b"etwo"
    file.close()


def test_locks_are_shared_or_alone(store):
    store.make()
    with store.lock("w", shared=True), store.lock("w", shared=True):
        with pytest.raises(BlockingIOError), store.lock("w"):
            pass
        with store.lock("other"):
            pass
    with store.lock("w"):
        waited = []
        thread = threading.Thread(target=lambda: waited.append(_held(store)))
        thread.start()
        time.sleep(0.1)
        assert waited == []
    thread.join()
    assert waited == [True]
    claims = store.claims("claims")
    assert claims.take(b"12345678")
    assert not store.claims("claims").take(b"12345678more")
    assert claims.held(b"12345678")
    claims.drop(b"12345678")
    assert not claims.held(b"12345678")


def test_a_table_is_held_by_many_or_by_one(store):
    if isinstance(store, ObjectStore):
        pytest.skip("versions are kept for a while there: tests/test_object_stores.py")
    assert store.hold("captions") is None or isinstance(store, MemoryStore)  # there is none
    create_dataset(store).captions.insert([test_dataset.row(1)])
    alone = store.hold("captions", alone=True)
    assert store.hold("captions", alone=True) is None
    alone()
    one, two = store.hold("captions"), store.hold("captions")
    one()
    assert store.hold("captions", alone=True) is None
    two()
    store.hold("captions", alone=True)()


def _held(store):
    with store.lock("w", wait=True):
        return True


def test_a_stamp_changes_with_every_commit(store):
    data = create_dataset(store)
    stamps = [data.captions.store.stamp("captions")]
    for n in range(3):
        data.captions.insert([test_dataset.row(n)])
        stamps.append(store.stamp("captions"))
    assert len(set(stamps)) == 4


def test_half_written_things_are_neither_seen_nor_kept(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    old = time.time() - 2 * 86400
    (data.path / ".panoglot-0123abcd" / "_versions").mkdir(parents=True)
    (data.path / ".panoglot-0123abce").write_bytes(b"half")
    (data.path / ".panoglot-mine").write_bytes(b"somebody's")
    for name in (".panoglot-0123abcd", ".panoglot-mine"):
        os.utime(data.path / name, (old, old))
    assert data.store.names() == [".panoglot-mine", "panoglot.json"]
    data.store.sweep(86400)
    assert sorted(os.listdir(data.path)) == [".panoglot-0123abce", ".panoglot-mine", "panoglot.json"]


def test_without_links_the_first_still_stands(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    store = LocalStore(tmp_path)
    assert store.write("x", b"1", new=True)
    assert not store.write("x", b"2", new=True)
    assert (store.read("x"), os.listdir(tmp_path)) == (b"1", ["x"])


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done, store = [], LocalStore(tmp_path)
    for name in ("fsync", "replace", "link"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, real=real, name=name: (done.append(name), real(*a))[1])
    store.write("x", b"1")
    store.write("y", b"1", new=True)
    assert done == ["fsync", "replace", "fsync", "fsync", "link", "fsync"]


# -- the same tests in a place that is no folder -----------------------------------------------------------------------


class Anywhere:
    """What the tests of a folder take for their temporary folder."""

    def __init__(self, name):
        self._name = name

    def __truediv__(self, name):
        return MemoryStore(f"{self._name}-{name}")


def _tests(module, takes, without):
    found = {
        name: function
        for name, function in vars(module).items()
        if name.startswith("test_") and set(inspect.signature(function).parameters) == takes
    }
    assert without <= found.keys()
    return [pytest.param(function, id=name) for name, function in found.items() if name not in without]


#: These look at the folder itself, or start processes.
_FOLDERS = {
    "test_racing_processes_lose_nothing_and_double_nothing",
    "test_a_newer_schema_is_refused",
    "test_an_older_schema_is_refused_with_the_line_that_rebuilds_it",
    "test_what_is_no_dataset_is_left_alone",
    "test_a_missing_dataset_says_what_is_near",
    "test_creating_a_table_at_once_loses_nobodys_rows",
    "test_settings_stand_in_the_manifest_and_an_older_reader_still_opens_it",
}


@pytest.mark.parametrize("test", _tests(test_dataset, {"tmp_path"}, _FOLDERS))
def test_datasets_work_anywhere(test, tmp_path, request):
    test(Anywhere(request.node.name + tmp_path.name))


_SEARCHES = _tests(
    test_search,
    {"filled"},
    {
        name
        for name, function in vars(test_search).items()
        if name.startswith("test_")
        and set(inspect.signature(function).parameters) == {"filled"}
        and ("data.path" in inspect.getsource(function) or "state(" in inspect.getsource(function))
    },
)


@pytest.mark.parametrize("test", _SEARCHES)
def test_search_works_anywhere(test, tmp_path, request):
    import numpy as np

    place = MemoryStore(request.node.name + tmp_path.name)
    world = World(place)
    rng = np.random.default_rng(0)
    world.ids = world.images(300)
    world.embed(world.ids, test_search.unit(rng, 300))
    for n in range(20):
        world.encoder.texts[f"query {n}"] = test_search.unit(rng, 1)[0]
    hits = panoglot.search(world.data, "query 0", encoder=world.encoder, k=9)
    assert [hit.image_id for hit in hits] == world.naive(world.encoder.texts["query 0"], 9)
    test(world)
    assert world.data.store is place
    assert {"images", f"vectors/{world.vectors}"} <= {*place.tables(), *place.tables("vectors")}
    assert not list(tmp_path.iterdir())  # nothing went to a folder instead


def test_tables_made_at_once_lose_nobodys_rows(store):
    create_dataset(store)
    threads = [
        threading.Thread(target=lambda n=n: open_dataset(store).captions.insert([test_dataset.row(n)]))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(open_dataset(store).captions) == 8


def test_the_journal_works_anywhere(store, monkeypatch):
    monkeypatch.setattr("panoglot.asking._journal.SEGMENT_RECORDS", 10)
    monkeypatch.setattr("panoglot.asking._journal.MERGE_ABOVE", 4)
    monkeypatch.setattr("panoglot.asking._segments._LOAD_BELOW", 5)  # the index is mapped
    key, value = test_journal.key, test_journal.value
    reader = Journal(store.at("journal"))
    with Journal(store.at("journal")) as journal:
        for n in range(75):
            paid = Account("run", "caption.x-1").entry(10, 1, 0.5)
            journal.put_many({key(n): value(n), **paid})
    assert [reader.get(key(n)) for n in range(75)] == [value(n) for n in range(75)]
    merged = Journal(store.at("journal"))
    assert merged.count() == 150
    assert len([name for name in store.names("journal") if name.endswith(".seg")]) == 1
    assert [reader.get(key(n)) for n in range(75)] == [value(n) for n in range(75)]  # finds where they went
    total = paid_by_stage(store.at("journal"), "run")["caption.x-1"]
    assert (total.asked, total.price, total.tokens_in) == (75, 37.5, 750)
    assert paid_by_stage(store.at("nothing"), "run") == {}


@pytest.mark.parametrize("elsewhere", ["memory", "objects"])
def test_a_whole_run_leaves_the_same_in_both(elsewhere, memory, tmp_path, pictures, monkeypatch, request):
    if elsewhere == "objects":
        request.getfixturevalue("s3")
        memory = "s3://bucket/x.pano"
    monkeypatch.setattr("panoglot.vectors._stored.KEEP", 5)
    (pictures / "00.txt").write_text("A disc.\nde.utf8=Eine Scheibe.\n", encoding="utf-8")
    (pictures / "bad.jpg").write_bytes(b"no picture")
    options = {"captioner": WRITER, "encoder": FITS, "quiet": True}
    found, logs = {}, {}
    for place in (str(tmp_path / "x.pano"), memory):
        result = panoglot.build(str(pictures), place, **options)
        data = panoglot.open(place)
        assert (result.status, len(data.images)) == ("done", 12), result.problem
        again = panoglot.build(str(pictures), place, **options)  # all is there: nothing is asked or written
        assert sum(stage.rows for stage in again.stages) == 0
        assert sum(stage.spent.asked for stage in again.stages) == 0
        assert panoglot.retry(place, quiet=True) is not None
        curated = panoglot.curate(place, quiet=True)
        hits = [(hit.image_id, hit.score) for hit in panoglot.search(place, "a red bird", k=5)]
        index(place)
        page = panoglot.report(place)
        assert "Eine Scheibe" in page.read_text()
        facts = panoglot.export(place, tmp_path / f"out-{len(found)}", to="jsonl")
        records = read_records(data, held_out=0.2)
        shown = panoglot.show(place, hits[0][0])
        assert panoglot.settings(place)["encoder"] == data.vector_names()[0]
        copied = panoglot.ingest(data.uri, str(tmp_path / f"copy-{len(found)}.pano"))
        found[place] = [
            {name: sorted(map(str, _rows(data, name))) for name in ("images", "captions", "marks", "hashes", "work")},
            hits,
            {**facts, "entries": None},
            (curated.images_kept, len(records.records), shown.image["uri"], len(copied.dataset.captions)),
        ]
        logs[place] = sorted(name for name in data.store.names() if name != "cache")
        assert close_gone_runs(data) == []
        with running(data, "r"):
            assert is_running(data, "r")
        vectors = Vectors(data.vectors(data.vector_names()[0]))
        assert vectors.refresh()
        assert len(vectors) == 12
        kept = [path.name for path in data.store.scratch("cache").iterdir()]
        others = ("words", "words.lock", "shown-380.json", "shown-640.json")  # of search, and of the report
        assert len(set(kept).difference(others)) == 1, kept  # the copy that is mapped
    one, two = found.values()
    for left, right in zip(one, two, strict=True):
        assert left == right
    assert "panoglot.json" in logs[memory]
    with pytest.raises(UserError, match=rf"no folder of this machine.*panoglot build {memory}"):
        _ = data.path


def _rows(data, name):
    if name == "work":
        return [(t.name, row["item"]) for t in data._tables() if t.name.startswith("work/") for row in t.rows(["item"])]
    hidden = {"run_id", "data", "time"}
    return [{k: v for k, v in row.items() if k not in hidden} for row in getattr(data, name).rows()]


# -- several processes -------------------------------------------------------------------------------------------------


def _take_and_die(store, ready):
    lock = store.lock("w")
    lock.__enter__()
    assert store.claims("claims").take(b"12345678")
    ready.set()
    time.sleep(60)


@pytest.mark.parametrize("place", ["folder", "objects"])
def test_locks_and_claims_end_with_a_killed_process(place, tmp_path, request):
    context = multiprocessing.get_context("spawn")
    ready, store = context.Event(), LocalStore(tmp_path)
    if place == "objects":
        request.getfixturevalue("s3")
        store = open_store("s3://bucket/x.pano")
    process = context.Process(target=_take_and_die, args=(store, ready))
    process.start()
    assert ready.wait(120)
    with pytest.raises(BlockingIOError), store.lock("w"):
        pass
    assert store.claims("claims").held(b"12345678")
    process.kill()
    process.join()
    with store.lock("w"):
        assert store.claims("claims").take(b"12345678")


# -- nobody else knows -------------------------------------------------------------------------------------------------

#: Rooms and files that are about a dataset's inside: they open nothing by themselves.
_INSIDE = ("table/", "running/", "asking/_journal", "asking/_segments", "asking/_spend", "vectors/", "curation/_memory")
#: What they may do all the same.
_ALLOWED = {
    "table/_dataset.py": {"Path"},  # the type of `Dataset.path`
    "table/_forget.py": {"shutil.rmtree"},  # copies in this machine's scratch folder
    "vectors/_coarse.py": {"Path"},  # beside that copy
    "vectors/_flat.py": {"open", "Path"},  # files that Lance's own metadata name, where they lie on this machine
    "vectors/_sums.py": {"open", "Path"},  # its files
    # the copy in this machine's scratch folder
    "vectors/_stored.py": {"open", "Path", "shutil.rmtree", "shutil.disk_usage"},
    "curation/_memory.py": {"Path", "os.path.isfile", "os.path.isdir"},  # the code of filters, files that they name
    "running/_signals.py": {"Path", "os.path.join", "os.path.exists", "os.unlink", "tempfile.gettempdir"},  # a flag
    "running/_runs.py": {"Path", "os.makedirs", "shutil.rmtree"},  # answers that processes share, in the scratch folder
}
_OPENS = re.compile(
    r"(open|io\.open|Path|pathlib\.\w+|shutil\.(?!copyfileobj)\w+|glob\.\w+|tempfile\.\w+|fcntl\.\w+|os\.path\.\w+|"
    r"os\.(open|stat|listdir|scandir|replace|rename|link|unlink|remove|mkdir|makedirs|fsync|access|walk))"
)


def test_nothing_but_storage_knows_how_a_dataset_is_laid_out():
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name.startswith("storage/"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "path" and _is_dataset(node.value):
                wrong.append(f"{name}:{node.lineno} {ast.unparse(node)}: an address, or the store")
            if isinstance(node, ast.Constant) and node.value in _FILES and name not in _NAMES:
                wrong.append(f"{name}:{node.lineno} {node.value!r}: is_dataset, or the store")
            if name.startswith(_INSIDE):
                said = ast.unparse(node) if isinstance(node, ast.Attribute | ast.Name) else ""
                if _OPENS.fullmatch(said) and said not in _ALLOWED.get(name, ()):
                    wrong.append(f"{name}:{node.lineno} {said}: goes through the store")
    assert wrong == []


_FILES = ("panoglot.json", "images.lance", ".lance", "_versions")
#: Who may say how a file of a dataset is called: its home, a walk over a folder of pictures, a folder of a model.
_NAMES = (
    "table/_dataset.py",
    "formats/folder.py",
    "formats/lance.py",
    "networks/_export_onnx.py",
    "providers/onnx/__init__.py",
    "providers/onnx/_feed.py",
)


def _is_dataset(node):
    last = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return last.strip("_") in ("data", "dataset", "table", "images", "captions", "marks", "journal")


@pytest.mark.parametrize("address", ["s3:/bucket/x.pano", "S3:bucket/x.pano", "gs:/bucket/x.pano"])
def test_an_address_that_lost_a_slash_is_no_folder(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"two slashes follow the colon. Did you mean (s3|gs)://bucket/x\.pano\?"):
        open_store(address)
    assert list(tmp_path.iterdir()) == []
