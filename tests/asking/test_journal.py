"""The response journal: real processes, real kills, real damage."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from panoglot.asking import MAGIC, Journal, Sealed, journal_key, pack, scan
from panoglot.errors import UserError
from panoglot.pictures import Image
from panoglot.providers.roles import Prompt
from panoglot.storage import open_store

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and POSIX locks")


def key(n):
    return hashlib.sha256(str(n).encode()).hexdigest()[:32]


def value(n):
    return json.dumps({"text": f"réponse {n} 答 {n}", "n": n}, ensure_ascii=False).encode()


def start(code, *arguments, **options):
    """Run Python code in a process of its own, with `key`, `value` and `Journal` at hand."""
    head = f"""
    import asyncio, os, sys, time
    sys.path.insert(0, {str(Path(__file__).parent)!r})
    from test_journal import Journal, key, value
    """
    program = textwrap.dedent(head) + textwrap.dedent(code)
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], text=True, **options)


def run(code, *arguments):
    process = start(code, *arguments, stdout=subprocess.PIPE)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out


def segments(folder):
    return sorted(Path(folder).glob("*.seg"))


# -- keys --------------------------------------------------------------------------------------------------------------


def test_keys_follow_everything_that_changes_an_answer():
    one = Image.from_pil(PIL.Image.new("RGB", (4, 4), "red"))
    same = Image(one.data, uri="elsewhere.png")
    two = Image.from_pil(PIL.Image.new("RGB", (4, 4), "blue"))
    base = Prompt("Was ist das?", images=(one,))
    assert journal_key("m", "generate", base) == journal_key("m", "generate", Prompt("Was ist das?", images=(same,)))
    others = [
        ("m2", "generate", base),
        ("m", "score", base),
        ("m", "generate", Prompt("Was ist das", images=(one,))),
        ("m", "generate", Prompt("Was ist das?", images=(two,))),
        ("m", "generate", Prompt("Was ist das?", images=(one, two))),
        ("m", "generate", Prompt("Was ist das?", images=(two, one))),
        ("m", "generate", Prompt("Was ist das?")),
        *(
            ("m", "generate", Prompt("Was ist das?", images=(one,), **change))
            for change in (
                {"system": ""},
                {"max_tokens": 255},
                {"temperature": 0.1},
                {"seed": 1},
                {"stop": ("\n",)},
                {"schema": {"type": "object"}},
                {"chat": False},
                {"logprobs": True},
            )
        ),
    ]
    assert len({journal_key("m", "generate", base), *(journal_key(*o) for o in others)}) == len(others) + 1


def test_keys_of_other_questions_are_stable_across_processes():
    question = [("a", 1, None, 2.5), {"b": {3, 4}, 1: b"x"}, np.arange(3, dtype=np.float32)]
    here = journal_key("m", "translate", question)
    code = """
    import numpy as np
    from panoglot.asking import journal_key
    q = [("a", 1, None, 2.5), {1: b"x", "b": {4, 3}}, np.arange(3, dtype=np.float32)]
    print(journal_key("m", "translate", q))
    """
    assert run(code).strip() == here
    assert journal_key("m", "translate", {"a": 1}) != journal_key("m", "translate", {"a": "1"})
    with pytest.raises(TypeError, match="no stable form"):
        journal_key("m", "generate", object())


# -- storing and finding -----------------------------------------------------------------------------------------------


def test_answers_are_found_by_this_and_later_journals(tmp_path):
    with Journal(tmp_path / "deep" / "journal") as journal:
        journal.put_many({key(n): value(n) for n in range(10)})
        assert [journal.get(key(n)) for n in range(10)] == [value(n) for n in range(10)]
        assert journal.get(key(99)) is None
        journal.put_many({})
        assert journal.count() == 10
    again = Journal(journal.place)
    assert [again.get(key(n)) for n in range(10)] == [value(n) for n in range(10)]
    assert again.count() == 10
    again.put_many({key(10): b""})
    assert again.get(key(10)) == b""


def test_two_journals_see_each_others_answers_at_once(tmp_path):
    one, two = Journal(tmp_path), Journal(tmp_path)
    one.put_many({key(1): value(1)})
    assert two.get(key(1)) == value(1)
    two.put_many({key(2): value(2)})
    assert one.get(key(2)) == value(2)
    one.put_many({key(3): value(3)})
    assert two.get(key(3)) == value(3)
    one.close()
    assert two.get(key(1)) == value(1)
    one.put_many({key(4): value(4)})  # a closed journal begins a new segment
    assert two.get(key(4)) == value(4)


def test_a_living_process_writes_and_is_seen(tmp_path):
    code = """
    journal = Journal(sys.argv[1])
    for n in range(3):
        journal.put_many({key(n): value(n)})
        print(n, flush=True)
        sys.stdin.readline()
    """
    journal = Journal(tmp_path)
    writer = start(code, tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for n in range(3):
        writer.stdout.readline()
        assert journal.get(key(n)) == value(n)
        Journal(tmp_path)  # opening another one must not seal the living one's segment
        assert not list(tmp_path.glob("*.idx"))
        writer.stdin.write("\n")
        writer.stdin.flush()
    writer.wait(timeout=30)
    assert Journal(tmp_path).get(key(1)) == value(1)
    assert len(list(tmp_path.glob("*.idx"))) == 1  # its writer is gone now: indexed
    writer.stdin.close()
    writer.stdout.close()


def test_segments_roll_merge_and_stay_readable(tmp_path, monkeypatch):
    monkeypatch.setattr("panoglot.asking._journal.SEGMENT_RECORDS", 10)
    monkeypatch.setattr("panoglot.asking._journal.MERGE_ABOVE", 4)
    reader = Journal(tmp_path)
    with Journal(tmp_path) as journal:
        for n in range(100):
            journal.put_many({key(n): value(n)})
        journal.put_many({key(5): value(5)})  # twice: as good as once
    assert reader.get(key(0)) == value(0)
    before = len(segments(tmp_path))
    assert before >= 10
    merged = Journal(tmp_path)
    assert len(segments(tmp_path)) == 1
    assert merged.count() == 101
    assert [reader.get(key(n)) for n in range(100)] == [
        value(n) for n in range(100)
    ]  # its files are gone: it looks again
    assert [merged.get(key(n)) for n in range(100)] == [value(n) for n in range(100)]
    assert len(list(tmp_path.glob("*.idx"))) == 1


def test_large_indexes_are_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr("panoglot.asking._segments._LOAD_BELOW", 5)
    with Journal(tmp_path) as journal:
        journal.put_many({key(n): value(n) for n in range(50)})
    again = Journal(tmp_path)
    (sealed,) = again._sealed.values()
    assert isinstance(sealed._keys.base, np.memmap)
    assert [again.get(key(n)) for n in range(50)] == [value(n) for n in range(50)]


def test_keys_with_the_same_first_half_are_told_apart(tmp_path):
    same = ["ab" * 8 + f"{n:016x}" for n in range(20)]
    with Journal(tmp_path) as journal:
        journal.put_many({k: value(n) for n, k in enumerate(same)})
    again = Journal(tmp_path)
    assert [again.get(k) for k in same] == [value(n) for n in range(20)]
    assert again.get("ab" * 8 + "f" * 16) is None


def test_leftovers_of_a_crash_are_swept_after_a_day(tmp_path):
    old = time.time() - 2 * 86400
    for name in (".panoglot-00000001", "b.idx", ".panoglot-00000002"):
        (tmp_path / name).write_bytes(b"half")
    os.utime(tmp_path / ".panoglot-00000001", (old, old))
    os.utime(tmp_path / "b.idx", (old, old))
    Journal(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".panoglot-00000002", "claims.lock"]


# -- damage ------------------------------------------------------------------------------------------------------------


def one_segment(folder, count=30):
    with Journal(folder) as journal:
        for n in range(count):
            journal.put_many({key(n): value(n)})
    return segments(folder)[0]


@pytest.mark.parametrize("indexed", [True, False])
def test_one_bad_byte_costs_one_answer_wherever_it_is(tmp_path, indexed):
    path = one_segment(tmp_path)
    whole, index = path.read_bytes(), path.with_suffix(".idx").read_bytes()
    found = []
    with open(path, "rb") as file:
        scan(file, 0, len(whole), found)
    starts = [at for _, at in found]
    at = starts[11]
    head = len(pack(bytes(16), b""))
    for place in [*range(at, at + head), at + head + 3, starts[12] - 1]:
        for bad in (0x00, 0xFF, whole[place] ^ 0x01):
            if bad == whole[place]:
                continue
            path.write_bytes(whole[:place] + bytes([bad]) + whole[place + 1 :])
            path.with_suffix(".idx").write_bytes(index if indexed else b"")
            journal = Journal(tmp_path)
            lost = [n for n in range(30) if journal.get(key(n)) != value(n)]
            assert lost == [11], (place - at, bad)


def test_a_torn_tail_is_ignored_and_later_segments_are_seen(tmp_path):
    path = one_segment(tmp_path, 5)
    whole = path.read_bytes()
    later = Journal(tmp_path)
    later.put_many({key(100): value(100)})
    for cut in range(len(whole) - 60, len(whole)):
        path.write_bytes(whole[:cut])
        journal = Journal(tmp_path)
        assert [journal.get(key(n)) for n in range(4)] == [value(n) for n in range(4)]
        assert journal.get(key(4)) is None
        assert journal.get(key(100)) == value(100)


def test_zeros_and_noise_between_records_are_skipped(tmp_path):
    noise = random.Random(0).randbytes(3_000_000)
    one, two, three = (pack(bytes.fromhex(key(n)), value(n)) for n in (1, 2, 3))
    raw = b"".join([one, b"\0" * 5000, two, noise, MAGIC, three, MAGIC * 10, b"\0" * 100])
    (tmp_path / f"{'0' * 32}.seg").write_bytes(raw)
    journal = Journal(tmp_path)
    assert [journal.get(key(n)) for n in (1, 2, 3)] == [value(n) for n in (1, 2, 3)]
    assert journal.count() == 3


def test_a_damaged_index_is_built_again(tmp_path):
    path = one_segment(tmp_path)
    index = path.with_suffix(".idx")
    good = index.read_bytes()
    for bad in (b"", b"x" * 200, good[:-16], good[:40] + b"\xff" * 8 + good[48:], good[:8] + b"\0" * 8 + good[16:]):
        index.write_bytes(bad)
        journal = Journal(tmp_path)
        assert [journal.get(key(n)) for n in range(30)] == [value(n) for n in range(30)]
        assert index.read_bytes() == good


def test_a_full_disk_loses_nothing_that_was_stored(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    journal.put_many({key(1): value(1)})
    real = os.write

    def full(fd, data):
        monkeypatch.setattr(os, "write", no_space)
        return real(fd, data[:20])

    def no_space(fd, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(UserError, match="No space left"):
        journal.put_many({key(2): value(2)})
    monkeypatch.setattr(os, "write", real)
    assert journal.get(key(2)) is None
    journal.put_many({key(3): value(3)})
    for reader in (journal, Journal(tmp_path)):
        assert [reader.get(key(n)) for n in (1, 2, 3)] == [value(1), None, value(3)]


@needs_fork
def test_kill_9_of_writers_loses_nothing_that_was_acknowledged(tmp_path):
    code = """
    journal = Journal(sys.argv[1])
    who, n = sys.argv[2], 0
    print("ready", flush=True); sys.stdin.readline()
    while True:
        batch = {key(f"{who}-{n + i}"): value(n + i) * 40 for i in range(1 + n % 7)}
        journal.put_many(batch)
        n += len(batch)
        os.write(1, f"{n}\\n".encode())
    """
    rng = random.Random(3)
    acknowledged = {}
    for round_ in range(5):
        names = [f"{round_}.{w}" for w in range(3)]
        writers = {who: start(code, tmp_path, who, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for who in names}
        for writer in writers.values():
            writer.stdout.readline()
        for writer in writers.values():  # all loaded: now at once
            writer.stdin.write("\n")
            writer.stdin.flush()
        for who, writer in writers.items():
            time.sleep(rng.uniform(0, 0.06))
            writer.kill()
            said = writer.stdout.read().split()
            writer.wait()
            writer.stdout.close()
            writer.stdin.close()
            acknowledged[who] = int(said[-1]) if said else 0
            journal = Journal(tmp_path)  # in the middle of the others' writing
            assert all(journal.get(key(f"{who}-{n}")) == value(n) * 40 for n in range(acknowledged[who]))
    journal = Journal(tmp_path)
    for who, count in acknowledged.items():
        assert all(journal.get(key(f"{who}-{n}"), fresh=False) == value(n) * 40 for n in range(count))
    assert sum(acknowledged.values()) > 20


# -- claims ------------------------------------------------------------------------------------------------------------


def test_a_claim_excludes_this_process_too(tmp_path):
    one, two = Journal(tmp_path), Journal(os.path.join(tmp_path, ".", ""))
    assert one.claim(key(1))
    assert not one.claim(key(1))
    assert not two.claim(key(1))
    assert two.claim(key(2))
    one.release(key(1))
    assert two.claim(key(1))
    two.release(key(99))  # never claimed: nothing happens


@needs_fork
def test_a_claim_excludes_other_processes_and_ends_with_kill_9(tmp_path):
    code = """
    journal = Journal(sys.argv[1])
    assert journal.claim(key(1))
    print("claimed", flush=True)
    time.sleep(60)
    """
    journal = Journal(tmp_path)
    assert journal.claim(key(7))  # opening more journals here must not drop it
    other = start(code, tmp_path, stdout=subprocess.PIPE)
    other.stdout.readline()
    Journal(tmp_path)
    assert not journal.claim(key(1))
    assert (
        run("journal = Journal(sys.argv[1]); print(journal.claim(key(7)), journal.claim(key(8)))", tmp_path)
        == "False True\n"
    )
    other.kill()
    other.wait()
    other.stdout.close()
    assert journal.claim(key(1))


@needs_fork
def test_a_fork_has_its_own_segment_and_no_claims(tmp_path):
    code = """
    journal = Journal(sys.argv[1])
    assert journal.claim(key(1))
    journal.put_many({key(10): value(10)})
    pid = os.fork()
    if pid == 0:
        ok = not journal.claim(key(1)) and journal.claim(key(2)) and journal.get(key(10)) == value(10)
        journal.put_many({key(11): value(11)})
        os._exit(0 if ok else 5)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    journal.put_many({key(12): value(12)})
    assert [journal.get(key(n)) for n in (10, 11, 12)] == [value(n) for n in (10, 11, 12)]
    assert Journal(sys.argv[1]).claim(key(1)) is False
    """
    run(code, tmp_path)
    assert len(segments(tmp_path)) == 2
    journal = Journal(tmp_path)
    assert [journal.get(key(n)) for n in (10, 11, 12)] == [value(n) for n in (10, 11, 12)]


def test_without_fcntl_claims_hold_in_the_process_and_answers_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("panoglot.storage._claims.fcntl", None)
    with pytest.warns(UserWarning, match="may pay twice"):
        journal = Journal(tmp_path)
    assert journal.claim(key(1))
    assert not journal.claim(key(1))
    journal.put_many({key(1): value(1)})
    again = Journal(tmp_path)
    assert again.get(key(1)) == value(1)
    assert not list(tmp_path.glob("*.idx"))  # who lives is not known: nobody's segment is sealed
    journal.close()
    assert again.get(key(1)) == value(1)


# -- asking ------------------------------------------------------------------------------------------------------------


async def test_answer_asks_once_and_stores_before_it_returns(tmp_path):
    journal, asked = Journal(tmp_path), []

    async def ask():
        asked.append(1)
        await asyncio.sleep(0.05)
        return value(1)

    found = await asyncio.gather(*(journal.answer(key(1), ask) for _ in range(20)))
    assert sorted(hit for _, hit in found) == [False] + [True] * 19
    assert {raw for raw, _ in found} == {value(1)}
    assert len(asked) == 1
    assert Journal(tmp_path).get(key(1)) == value(1)
    assert await Journal(tmp_path).answer(key(1), ask) == (value(1), True)


async def test_failures_are_not_kept_and_the_next_asks(tmp_path):
    journal, asked = Journal(tmp_path), []

    async def ask():
        asked.append(1)
        await asyncio.sleep(0.02)
        if len(asked) < 3:
            raise ValueError("no")
        return value(1)

    found = await asyncio.gather(*(journal.answer(key(1), ask) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(f, ValueError) for f in found) == 2
    assert [f[0] for f in found if not isinstance(f, ValueError)] == [value(1)] * 2
    assert len(asked) == 3
    assert journal.claim(key(1))


async def test_cancelled_asking_releases_and_cancelled_storing_keeps(tmp_path, monkeypatch):
    journal = Journal(tmp_path)

    async def slow():
        await asyncio.sleep(60)

    task = asyncio.create_task(journal.answer(key(1), slow))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert journal.claim(key(1))

    real, writing = journal.put_many, asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow_put(answers):
        loop.call_soon_threadsafe(writing.set)
        time.sleep(0.2)
        real(answers)

    monkeypatch.setattr(journal, "put_many", slow_put)

    async def ask():
        return value(2)

    task = asyncio.create_task(journal.answer(key(2), ask))
    await writing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not journal.claim(key(2))  # paid for and on its way to the disk: nobody may ask again
    await asyncio.sleep(0.4)
    assert journal.get(key(2)) == value(2)
    assert journal.claim(key(2))


def test_answers_survive_the_end_of_the_event_loop(tmp_path):
    journal = Journal(tmp_path)

    async def main():
        async def ask(n):
            return value(n)

        tasks = [asyncio.create_task(journal.answer(key(n), lambda n=n: ask(n))) for n in range(50)]
        while not any(task.done() for task in tasks):
            await asyncio.sleep(0)
        journal._turns().store({key(1000): value(1000)}, [])  # paid for; then the loop ends

    asyncio.run(main())
    assert Journal(tmp_path).get(key(1000)) == value(1000)


def test_a_claim_ends_only_when_the_answer_is_on_disk_even_at_the_end_of_the_loop(tmp_path, monkeypatch):
    journal, stored = Journal(tmp_path), []
    real_put, real_release = journal.put_many, journal.release
    monkeypatch.setattr(journal, "put_many", lambda answers: (time.sleep(0.2), real_put(answers)))
    monkeypatch.setattr(
        journal, "release", lambda k: (stored.append(Journal(tmp_path).get(k) == value(1)), real_release(k))
    )

    async def main():
        journal._turns().store({key(1): value(1)}, [key(1)])
        await asyncio.sleep(0.05)

    asyncio.run(main())
    assert stored == [True]


async def test_one_fsync_serves_many_answers(tmp_path, monkeypatch):
    journal, syncs = Journal(tmp_path), []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (syncs.append(fd), time.sleep(0.02), real(fd)))

    async def ask(n):
        return value(n)

    await asyncio.gather(*(journal.answer(key(n), lambda n=n: ask(n)) for n in range(200)))
    assert len(syncs) < 20
    assert Journal(tmp_path).count() == 200


async def test_answer_many_asks_what_is_missing(tmp_path):
    journal, asked = Journal(tmp_path), []
    journal.put_many({key(n): value(n) for n in range(0, 10, 2)})

    async def ask_many(keys):
        asked.append(keys)
        return {k: value(n) for n in range(10) if (k := key(n)) in keys and n != 5}

    found = await journal.answer_many([key(n) for n in [*range(10), 1, 1]], ask_many)
    assert asked == [[key(n) for n in (1, 3, 5, 7, 9)]]
    assert found == {key(n): (value(n), n % 2 == 0) for n in range(10) if n != 5}
    assert all(journal.claim(key(n)) for n in range(10))  # nothing stays claimed


async def test_overlapping_batches_do_not_wait_for_each_other_in_a_circle(tmp_path):
    journals, asked = [Journal(tmp_path), Journal(tmp_path)], []

    def asker():
        async def ask_many(keys):
            asked.extend(keys)
            await asyncio.sleep(0.03)
            return {k: value(0) for k in keys}

        return ask_many

    keys = [key(n) for n in range(30)]
    batches = [keys[:20], keys[10:], keys[::-1], keys[5:25]]
    found = await asyncio.wait_for(
        asyncio.gather(*(journals[n % 2].answer_many(batch, asker()) for n, batch in enumerate(batches))), 20
    )
    assert [set(f) for f in found] == [set(b) for b in batches]
    assert sorted(asked) == sorted(keys)


ASKER = """
log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
async def main():
    journal = Journal(sys.argv[1])
    async def ask(n):
        os.write(log, f"{n}\\n".encode())
        await asyncio.sleep(0.002 * (n % 5))
        return value(n)
    order = range(200) if sys.argv[3] == "0" else range(199, -1, -1)
    limit = asyncio.Semaphore(16)
    async def one(n):
        async with limit:
            raw, hit = await journal.answer(key(n), lambda: ask(n))
            assert raw == value(n)
            return hit
    hits = await asyncio.gather(*(one(n) for n in order))
    print(200 - sum(hits))
if sys.argv[4:]:
    print("ready", flush=True); sys.stdin.readline()
asyncio.run(main())
"""


@needs_fork
def test_processes_with_the_same_questions_pay_once(tmp_path):
    folder, log = tmp_path / "journal", tmp_path / "paid"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [start(ASKER, folder, log, n % 2, "wait", **pipes) for n in range(3)]
    for process in processes:
        process.stdout.readline()
    for process in processes:  # all loaded: now at once
        process.stdin.write("\n")
        process.stdin.flush()
    paid = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(map(int, log.read_text().split())) == list(range(200))  # each asked exactly once
    assert sum(paid) == 200
    assert sum(p > 0 for p in paid) > 1  # and they did share the work


@needs_fork
def test_kill_9_while_asking_costs_only_what_was_in_flight(tmp_path):
    folder, log = tmp_path / "journal", tmp_path / "paid"
    rng, kills = random.Random(11), 4
    for n in range(kills):
        process = start(ASKER, folder, log, n % 2, stdout=subprocess.PIPE)
        limit = time.monotonic() + 30
        target = 25 * (n + 1)
        while time.monotonic() < limit and (not log.exists() or len(log.read_text().split()) < target):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.01))
        process.kill()
        process.wait()
        process.stdout.close()
    process = start(ASKER, folder, log, 0, stdout=subprocess.PIPE)
    process.communicate(timeout=60)
    assert process.returncode == 0
    asked = list(map(int, log.read_text().split()))
    assert set(asked) == set(range(200))
    assert len(asked) <= 200 + kills * 16  # at most the 16 in flight at each kill are asked again
    journal = Journal(folder)
    assert all(journal.get(key(n)) == value(n) for n in range(200))


# -- size --------------------------------------------------------------------------------------------------------------


def test_a_hundred_thousand_answers(tmp_path, capsys):
    with Journal(tmp_path) as journal:
        start_ = time.perf_counter()
        for at in range(0, 100_000, 1000):
            journal.put_many({key(n): value(n) for n in range(at, at + 1000)})
        wrote = time.perf_counter() - start_
    code = """
    import numpy
    def memory():
        try:
            return int(next(line for line in open("/proc/self/status") if "VmRSS" in line).split()[1]) / 1024
        except OSError:
            return float("nan")
    before = memory()
    t = time.perf_counter()
    journal = Journal(sys.argv[1])
    opened = time.perf_counter() - t
    t = time.perf_counter()
    assert all(journal.get(key(n), fresh=False) == value(n) for n in range(0, 100_000, 10))
    hit = (time.perf_counter() - t) / 10_000
    t = time.perf_counter()
    assert all(journal.get(key(n), fresh=False) is None for n in range(100_000, 110_000))
    miss = (time.perf_counter() - t) / 10_000
    grew = memory() - before
    print(f"open {opened * 1e3:.1f} ms, hit {hit * 1e6:.0f} us, miss {miss * 1e6:.0f} us, memory +{grew:.1f} MiB")
    """
    said = run(code, tmp_path)
    sealed = [Sealed(open_store(tmp_path), path.stem) for path in segments(tmp_path)]
    assert sum(map(len, sealed)) == 100_000
    with capsys.disabled():
        print(f"\njournal of 100k answers: wrote in {wrote:.2f} s; {said.strip()}", end=" ")
