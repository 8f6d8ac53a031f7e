"""Figures: every value is in them, labels of any script too, and nothing a label says is markup."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from panoglot.errors import UserError
from panoglot.evaluate import Interval, MetricResult, arena, compare, standings
from panoglot.metrics import ResultSet, draw, mean_result, plot

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return [node.text or "" for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def result(value, lang="de", metric="accuracy", **more):
    return MetricResult(metric, "1", value, 10, language=lang, **more)


def test_bars_with_intervals_nulls_and_chance():
    found = ResultSet({
        "de": result(0.5, interval=Interval(0.4, 0.7), parts={"chance": 0.1}),
        "ja": result(None, "ja", unscored=10),
        "sw": result(0.25, "sw", unscored=2, interval=Interval(0.2, 0.3)),
    })  # fmt: skip
    svg = draw(found)
    said = texts(svg)
    assert {"German · de", "Japanese · ja", "Swahili · sw", "null", "0.500", "10 of 10 unscored"} <= set(said)
    assert any("95 % intervals" in text and "chance" in text for text in said)
    bars = list(ElementTree.fromstring(svg).iter(f"{SVG}rect"))[1:]
    # a bar's length is its value on the scale 0 … 0.8
    assert [round(float(bar.get("width")) / 360 * 0.8, 3) for bar in bars] == [0.5, 0.25]
    ends = re.findall(r'd="M([\d.]+),[\d.]+L([\d.]+),[\d.]+" stroke="#222" stroke-width="1.5"', svg)
    left = float(bars[0].get("x"))
    assert [round((float(x) - left) / 360 * 0.8, 3) for x in ends[0]] == [0.4, 0.7]


def test_what_cannot_share_a_scale_has_its_own():
    found = ResultSet({"cider": result(1.2, metric="cider-d"), "length": result(11.0, metric="length")})
    said = texts(draw(found))
    assert {"CIDEr-D", "Length in tokens", "1.25", "12.5"} <= set(said)
    ways = ResultSet({f"{lang}/{way}": result(0.5, lang) for lang in ("de", "ja") for way in ("there", "back")})
    said = texts(draw(ways))
    assert {"accuracy, there", "accuracy, back"} <= set(said)
    assert said.count("German · de") == 2


def test_both_directions_share_one_scale_name_the_system_and_show_chance():
    def way(name, value):
        return result(value, "de", f"{name}/recall@1", parts={"chance": 0.1})

    ways = {"de/text_to_image": way("text_to_image", 0.9), "de/image_to_text": way("image_to_text", 0.3)}
    made = {"models": {"encoder": {"name": "hf:owner/encoder", "fingerprint": "abc"}}}
    svg = draw(ResultSet(ways, made=made))
    said = texts(svg)
    assert {"Text to image R@1; orange: chance", "Image to text R@1; orange: chance"} <= set(said)
    assert "encoder: hf:owner/encoder (abc)" in said
    bars = [float(bar.get("width")) for bar in list(ElementTree.fromstring(svg).iter(f"{SVG}rect"))[1:]]
    assert bars[0] / bars[1] == pytest.approx(3, abs=0.01)  # 0.9 and 0.3 on one scale
    assert said.count("1") == 2  # and both end at 1
    assert svg.count('stroke="#e08214"') == 2


def test_differences_are_called_by_their_files(tmp_path):
    one, two = (mean_result("cider-d", [n, n + 1.0, n + 3.0], version="1", ids="abc") for n in (1.0, 2.0))
    for name, side in (("old", one), ("new", two)):
        (tmp_path / f"{name}.json").write_text(side.to_json(per_item=True))
    found = compare(tmp_path / "old.json", tmp_path / "new.json")
    assert "A: old   B: new" in found.table()
    assert any(text.startswith("CIDEr-D: new minus old") for text in texts(draw(found)))


def test_a_figure_is_a_pdf_too(tmp_path):
    plot(ResultSet({"de": result(0.5)}), tmp_path / "one.pdf")
    assert (tmp_path / "one.pdf").read_bytes().startswith(b"%PDF")


def test_three_hundred_languages_flow_into_columns():
    found = ResultSet({f"lang {n}": result(n / 300, "und") for n in range(298)})
    svg = draw(found)
    root = ElementTree.fromstring(svg)
    assert len([text for text in texts(svg) if text.startswith("lang ")]) == 298
    assert float(root.get("height")) < 1100
    assert texts(svg).index("lang 297") < texts(svg).index("lang 3")  # largest first


MODELS = ("نموذج عربي", "日本語モデル", "מודל", 'GPT <4> & "o"', "evil\u202e\x07model", "x" * 80)


def test_arena_draws_intervals_and_wins():
    votes = [(a, b, a) for n, a in enumerate(MODELS) for b in MODELS[n + 1 :]] * 3 + [(MODELS[0], MODELS[1], "tie")]
    found = arena(votes, rating="bradley-terry", resamples=20)
    svg = draw(found)
    said = texts(svg)
    assert {"نموذج عربي", "日本語モデル", "מודל", 'GPT <4> & "o"', "evilmodel"} <= set(said)
    assert "88" in said  # three wins and a tie of four
    assert "100" in said
    assert not any(len(text) > 60 for text in said if text.startswith("x"))
    assert found.pairs[MODELS[0]][MODELS[1]] == (3, 0, 1)
    assert found.pairs[MODELS[1]][MODELS[0]] == (0, 3, 1)


def test_differences_are_coloured_where_they_are_clear():
    ids = tuple(map(str, range(40)))

    def one(shift):
        values = tuple(n % 7 / 7 + shift * (n % 5 > 0) for n in range(40))
        return MetricResult("m", "1", sum(values) / 40, 40, per_item=values, ids=ids, language="de")

    svg = draw(compare(one(0), one(0.2), resamples=200))
    assert "#2a8f57" in svg
    assert "#c0504d" in draw(compare(one(0.2), one(0), resamples=200))
    assert "+0.1600" in " ".join(texts(svg))


def test_ranks_of_models_by_task():
    found = standings({"de": {"A": 0.9, "B": 0.8, "C": None}, "日本": {"A": 0.1, "B": 0.2, "C": 0.2}})
    said = texts(draw(found))
    assert {"German · de", "日本"} <= set(said)
    assert said.count("1.5") == 2
    assert said.count("1") == 1
    assert said.count("3") == 1


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_files(tmp_path, suffix):
    path = tmp_path / f"figure{suffix}"
    plot(result(0.5, parts={"recall": 0.25, "mentions": 7.0}), path)
    assert path.read_bytes()[:4] == (b"<svg" if suffix == ".svg" else b"\x89PNG")
    if suffix == ".svg":
        assert {"recall", "0.250"} <= set(texts(path.read_text("utf-8")))
        assert "mentions" not in path.read_text("utf-8")  # on another scale
    with pytest.raises(UserError, match=r"\.svg, a \.png or a \.pdf"):
        plot(result(0.5), tmp_path / "figure.bmp")
    with pytest.raises(UserError, match="cannot be written"):
        plot(result(0.5), tmp_path / "none" / f"figure{suffix}")
    with pytest.raises(UserError, match="no results"):
        draw(ResultSet())


def test_every_kind_of_result_on_the_command_line(tmp_path, monkeypatch, capsys):
    import json

    from panoglot.cli import main

    monkeypatch.chdir(tmp_path)
    for name, text in (("A", "a cat sits"), ("B", "a dog runs")):
        (tmp_path / f"{name}.jsonl").write_text(
            "\n".join(json.dumps({"id": n, "caption": f"{text} {n}", "references": [f"a cat {n}"]}) for n in range(5))
        )
        (tmp_path / "votes.jsonl").write_text('{"source1": "a", "source2": "b", "winner": "a"}\n' * 3)
    lines = (
        ["evaluate", "captions", "A.jsonl", "--metrics", "cider,bleu", "--per-item", "-o", "A.json", "--plot", "1.svg"],
        ["evaluate", "captions", "B.jsonl", "--metrics", "cider,bleu", "--per-item", "-o", "B.json", "--plot", "2.png"],
        ["compare", "A.json", "B.json", "--plot", "3.svg"],
        ["evaluate", "standings", "A.json", "B.json", "--plot", "4.svg"],
        ["evaluate", "arena", "votes.jsonl", "--plot", "5.svg"],
        ["evaluate", "agreement", "A.json", "B.json", "--plot", "6.svg"],
    )
    for line in lines[:5]:
        with pytest.raises(SystemExit) as ended:
            main(line)
        assert ended.value.code == 0, capsys.readouterr().err
        assert (tmp_path / line[-1]).stat().st_size > 500
    assert "1. A" in texts((tmp_path / "4.svg").read_text("utf-8"))
    with pytest.raises(SystemExit) as ended:  # people's scores come from a file with one result
        main(lines[5])
    assert ended.value.code == 2
    assert "B.json holds several results" in capsys.readouterr().err
