"""`--protocol paper`: a paper's settings by one name, compared with the paper as it is typed here."""

from __future__ import annotations

import json

import pytest

from panoglot.errors import UserError
from panoglot.evaluate import benchmark_names, commands, find_benchmark
from panoglot.providers import register
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
