"""`--protocol paper`: a paper's settings by one name, compared with the paper as it is typed here."""

from __future__ import annotations

import json

import pytest

from panoglot.errors import UserError
from panoglot.evaluate import benchmark_names, commands, find_benchmark
from panoglot.providers import register
from panoglot.providers.roles import Answer
from tests.conftest import picture_bytes
from tests.evaluate.test_whole_capture import CAPTION, OTHER, Halves, Reads


def save(path, data):
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return str(path)


def test_every_protocol_sets_options_that_there_are_and_says_what_is_unconfirmed():
    found = [find_benchmark(*one) for one in benchmark_names()]
    with_one = {benchmark.name for benchmark in found if benchmark.protocols}
    assert with_one >= {"caparena-auto", "decapbench", "detailcaps", "mvl-sib"}
    for benchmark in found:
        for protocol in benchmark.protocols.values():
            named = {*protocol.options, *protocol.models, *protocol.files}
            assert named <= set(benchmark.options()), benchmark.name
            assert protocol.unverified or protocol.published


@pytest.mark.paper(
    "capture",
    shows="P",
    case="detailcaps --protocol paper: weights .5 .5 .2, FACTUAL's T5 with 5 beams and 128 tokens, MPNet, the mean of "
    "references, the paper's words by file; scores of models and agreement with experts are unconfirmed",
)
def test_capture_s_protocol(tmp_path):
    protocol = find_benchmark("captions", "detailcaps").protocols["paper"]
    assert protocol.options == {"lang": "en", "aggregate": "mean", "matching": "greedy"}
    assert protocol.models == {
        "parser": "hf:lizhuang144/flan-t5-base-VG-factual-sg?beams=5&max_tokens=128",
        "encoder": "st:sentence-transformers/all-mpnet-base-v2",
    }
    assert list(protocol.files) == ["stop_words"]
    assert ["51.05" in protocol.unverified[0], ".5091" in protocol.unverified[0]] == [True, True]
    for model in (Reads, Halves):
        register(model.name, model)
    row = {"image": "a.jpg", "GT_Caption_GPT4O": OTHER, "GT_Caption_GPT4V": CAPTION, "CogVLM": CAPTION}
    data = save(tmp_path / "d.jsonl", json.dumps(row))
    run = {"benchmark": "detailcaps", "data": data, "model": "CogVLM", "protocol": "paper", "cache": "off"}
    run |= {"parser": "toy:reads", "encoder": "toy:halves"}
    bare = commands.captions(data, **run)
    assert [note.partition(":")[0] for note in bare.notes] == [
        "protocol 'paper' with --parser toy", "protocol 'paper' with --encoder toy",
        "protocol 'paper' without --stop-words (capture/capture_metric/stop_words.py of github.com/"
        "foundation-multimodal-models/CAPTURE)",
    ]  # fmt: skip
    listed = commands.captions(data, stop_words=save(tmp_path / "w.txt", "background\ntruck\n"), **run)
    assert len(listed.notes) == 2
    settings = listed["capture"].options
    assert (settings["weights"], settings["aggregate"], settings["matching"]) == ([0.5, 0.5, 0.2], "mean", "greedy")
    assert settings["noun_gate"] is True
    assert listed["capture"].details[0]["object"] == ["car", "dog", "traffic light"]


class Facts:
    """Splits, matches and verifies; the second caption's first two tries have no list."""

    name, fingerprint, batch_size, sees = "toy:facts", "facts-1", 8, True
    asked = []  # noqa: RUF012

    def generate(self, prompts):
        Facts.asked += prompts
        return [Answer(self.one(prompt)) for prompt in prompts]

    def one(self, prompt):
        rows = ["a dog runs", "the dog is red", "it is sad"]
        if prompt.images:
            # the second fact holds in one of three samples
            return json.dumps([{"fact": f, "verification": int(f != rows[1] or prompt.seed % 10 == 0)} for f in rows])
        if "Second person" in prompt.text:
            return json.dumps([{"fact": f, "matched_oracle_id": 0 if f == rows[0] else None} for f in rows])
        if "late" in prompt.text.rpartition("Caption: ")[2] and prompt.seed < 200:
            return "I cannot."
        return json.dumps([{"fact": f, "identifier": "dog_0", "relevance": int(f != rows[2])} for f in rows])


@pytest.mark.paper(
    "dcscore",
    shows="P",
    case="decapbench --protocol paper: one split at temperature 1, three matchings at 1, three verifications at .3 "
    "with the picture, nine combinations, five tries; unconfirmed: the prompts' words, figures of models",
)
def test_dcscore_s_protocol(tmp_path):
    register("toy:facts", Facts)
    Facts.asked.clear()
    rows = [
        {"image_name": f"{name}.png", "oracle_caption": "A dog runs on grass.", "oracle_facts": ["a dog runs", "grass"]}
        for name in ("soon", "late")
    ]
    for name in ("soon", "late"):
        (tmp_path / f"{name}.png").write_bytes(picture_bytes(1, format="PNG"))
    found = commands.captions(
        save(tmp_path / "p.json", {"soon": "A soon dog.", "late": "A late dog."}), benchmark="decapbench",
        data=save(tmp_path / "o.jsonl", "\n".join(map(json.dumps, rows))), images=str(tmp_path), judge="toy:facts",
        protocol="paper", cache="off",
    )  # fmt: skip
    assert found.notes[-1] == (
        "protocol 'paper' with --judge toy:facts: published figures stand for openai:gpt-4o-2024-05-13"
    )
    kinds = {"split": [], "match": [], "verify": []}
    for prompt in Facts.asked:
        kind = "verify" if prompt.images else "match" if "Second person" in prompt.text else "split"
        kinds[kind].append(prompt)
    assert [len(some) for some in kinds.values()] == [4, 6, 6]  # the late one was split three times
    assert {(p.temperature, p.max_tokens) for p in kinds["split"]} == {(1.0, 2000)}
    assert ({p.temperature for p in kinds["match"]}, {p.temperature for p in kinds["verify"]}) == ({1.0}, {0.3})
    assert all(p.text.count("Example caption") == 5 for p in kinds["split"])
    assert not any("relevance" in p.text for p in kinds["match"])
    assert all("A dog runs on grass." in p.text for p in kinds["verify"])

    def combination(red):
        """Facts: matched and true; unmatched, true where `red`; unmatched and true, not to be seen."""
        true, extra = 2 + red, 1 + red
        precision, recall = true / 3, (1 + extra) / (2 + extra)
        seen_precision, seen_recall = (1 + red) / 2, (1 + red) / (2 + red)
        return (
            precision * recall / (precision + recall)
            + seen_precision * seen_recall / (seen_precision + seen_recall)
        )  # fmt: skip

    assert found["dcscore"].value == pytest.approx(100 * (combination(1) + 2 * combination(0)) / 3, abs=1e-4)
    assert found["dcscore"].options["samples"] == 3
    assert found["dcscore"].options["attempts"] == 5


def test_what_contradicts_a_protocol_is_refused_and_what_costs_is_named_first(tmp_path):
    data = save(tmp_path / "d.jsonl", json.dumps({"image": "a.jpg", "GT_Caption_A": "A cat.", "M": "A cat."}))
    with pytest.raises(UserError, match=r"^the protocol 'paper' has --aggregate mean: leave out --aggregate max\.$"):
        commands.captions(data, benchmark="detailcaps", data=data, model="M", protocol="paper", aggregate="max")
    with pytest.raises(UserError, match="asks a model that costs: give --judge openai:gpt-4o-2024-08-06, or another"):
        commands.captions(data, benchmark="caparena-auto", data=data, images=str(tmp_path), protocol="paper")
    with pytest.raises(UserError, match=r"^--protocol papers is not known\. Did you mean 'paper'"):
        commands.captions(data, benchmark="detailcaps", data=data, protocol="papers")
    with pytest.raises(UserError, match="'truematch' does not take --protocol: it would change nothing"):
        commands.captions(data, benchmark="truematch", data=data, protocol="paper")
    with pytest.raises(UserError, match="does not take --protocol"):
        commands.captions(data, metrics="length", protocol="paper")


@pytest.mark.parametrize(
    "text", ["", "[]", "[1, 2]", "words = [f(), 'a']", "[" * 3000, '["a", {"b": 1}]', "words = ['a' * 9]"]
)
def test_a_list_of_words_that_is_none_is_refused_in_a_line(text, tmp_path):
    path = save(tmp_path / "w.py", text)
    data = save(tmp_path / "p.json", {"a": "A cat."})
    with pytest.raises(UserError, match=r"is no list of words: write one a line\.$"):
        commands.captions(data, save(tmp_path / "r.json", {"a": ["A cat."]}), metrics="capture", stop_words=path)
    with pytest.raises(UserError, match="cannot be read"):
        commands.captions(data, data, metrics="capture", stop_words=str(tmp_path / "none.txt"))


def test_lists_of_words_in_any_script_are_read_as_they_are_written(tmp_path):
    from panoglot.metrics.captions.capture import read_stop_words

    words = {"صورة", "ภาพ", "背景", "red"}
    assert read_stop_words(save(tmp_path / "a.txt", "\n".join(sorted(words)) + "\n\n")) == words
    assert read_stop_words(save(tmp_path / "b.json", json.dumps(sorted(words)))) == words
    assert read_stop_words(save(tmp_path / "c.py", f"\n# words\nstop_words_list = {sorted(words)!r}\n")) == words
