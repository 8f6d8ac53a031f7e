"""Where checkpoints are found, what is refused, and what their fingerprints depend on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'panoglot[hf]'")
pytest.importorskip("transformers", reason="needs transformers: pip install 'panoglot[hf]'")

from safetensors.torch import load_file, save_file

from panoglot.errors import MissingPackage, UserError
from panoglot.providers import list_models, load_model
from panoglot.providers.hf import find_checkpoint
from panoglot.providers.roles import Prompt
from tests.providers import checkpoints

pytestmark = pytest.mark.hf


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.llm(tmp_path_factory.mktemp("files") / "llm")


@pytest.fixture
def copy(llm: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(llm, tmp_path / "copy"))


def test_the_fingerprint_is_of_the_content(llm: Path, copy: Path) -> None:
    first = find_checkpoint(str(llm)).fingerprint
    assert find_checkpoint(str(copy)).fingerprint == first
    os.utime(copy / "model.safetensors", (1, 1))
    assert find_checkpoint(str(copy)).fingerprint == first
    tensors = load_file(copy / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"] *= 1.001  # same shapes, one tensor trained on
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    second = find_checkpoint(str(copy)).fingerprint
    assert second != first
    (copy / "chat_template.jinja").write_text("{{ messages }}")
    assert find_checkpoint(str(copy)).fingerprint not in (first, second)


def test_the_fingerprint_is_the_same_in_another_process(llm: Path) -> None:
    code = f"from panoglot.providers.hf import find_checkpoint as f; print(f({str(llm)!r}).fingerprint)"
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert said.stdout.strip() == find_checkpoint(str(llm)).fingerprint


def test_options_that_change_answers_change_the_fingerprint(llm: Path) -> None:
    marks = {
        query: load_model(f"hf:{llm}?{query}").fingerprint
        for query in ("", "batch_size=2", "dtype=bfloat16", "repetition_penalty=1.1", "thinking=true")
    }
    assert marks[""] == marks["batch_size=2"]
    assert len(set(marks.values())) == 4


def test_pickles_are_refused(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"only as pickles.*save_pretrained"):
        load_model(f"hf:{copy}")


def test_damage_is_told(copy: Path) -> None:
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(UserError, match="cut short"):
        load_model(f"hf:{copy}")
    (copy / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match="no safetensors file"):
        load_model(f"hf:{copy}")
    (copy / "model.safetensors").unlink()
    with pytest.raises(UserError, match="has no weights"):
        load_model(f"hf:{copy}")
    (copy / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}})
    )
    with pytest.raises(UserError, match=r"lacks model-00001-of-00002\.safetensors"):
        load_model(f"hf:{copy}")
    (copy / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        load_model(f"hf:{copy}")
    (copy / "config.json").unlink()
    with pytest.raises(UserError, match=r"has no config\.json"):
        load_model(f"hf:{copy}")


def test_missing_weights_are_not_made_up(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="lacks 1 weights"):
        load_model(f"hf:{copy}")


def test_sharded_weights(llm: Path, copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for shard, keys in shards.items():
        save_file({key: tensors[key] for key in keys}, copy / shard, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: shard for shard, keys in shards.items() for key in keys}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    ask = [Prompt("What?", max_tokens=4, logprobs=True)]
    assert load_model(f"hf:{copy}").generate(ask) == load_model(f"hf:{llm}").generate(ask)


def test_code_of_a_checkpoint_is_not_run_unasked(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["model_type"] = "mine"
    config["auto_map"] = {"AutoConfig": "mine.MineConfig", "AutoModelForCausalLM": "mine.Mine"}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "mine.py").write_text("raise SystemExit('ran')")
    with pytest.raises(UserError, match="trust_remote_code=true"):
        load_model(f"hf:{copy}")


def test_an_unknown_architecture(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text()) | {"model_type": "llama-99"}
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="does not know the architecture 'llama-99'"):
        load_model(f"hf:{copy}")


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/nowhere", "a/b/c"])
def test_a_folder_that_is_not_there(name: str) -> None:
    with pytest.raises(UserError, match="is no folder"):
        load_model(f"hf:{name}")


def _offline(code: str, cache: Path, **more: str) -> str:
    """Run in a fresh process whose hub is a closed port."""
    env = {
        **os.environ,
        "HF_HOME": str(cache),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        **more,
    }
    env.pop("HF_HUB_OFFLINE", None) if "HF_HUB_OFFLINE" not in more else None
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120)
    return done.stdout + done.stderr


@pytest.mark.parametrize("offline", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_no_network(tmp_path: Path, offline: dict[str, str]) -> None:
    code = (
        "from panoglot.providers import load_model\nfrom panoglot.errors import UserError\n"
        "try:\n    load_model('hf:nobody/nothing')\nexcept UserError as error:\n    print('SAID', error)"
    )
    said = _offline(code, tmp_path, **offline)
    assert "SAID model 'nobody/nothing' is not on this machine" in said
    assert ("HF_HUB_OFFLINE is set" if offline else "the hub cannot be reached") in said
    assert "hf download nobody/nothing" in said


def test_a_cached_hub_model_needs_no_network(llm: Path, tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "hub" / "models--some--llm"
    shutil.copytree(llm, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    code = (
        "from panoglot.providers import load_model; m = load_model('hf:some/llm'); print('NAME', m.name, m.fingerprint)"
    )
    said = _offline(code, tmp_path, HF_HUB_OFFLINE="1")
    assert f"NAME hf:some/llm@{commit[:12]} {load_model(f'hf:{llm}').fingerprint}" in said


def test_a_missing_package_gives_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingPackage, match=r"pip install 'panoglot\[hf\]'"):
        load_model("hf:some/model")


def test_the_catalog_needs_no_torch() -> None:
    code = (
        "import sys, panoglot.providers.hf as h, panoglot.providers.st as s, panoglot.providers.onnx as o\n"
        "import panoglot.providers.open_clip as c, panoglot.providers.vllm as v\n"
        "names = [i.name for m in (h, s, o, c, v) for i in m.catalog()]\n"
        "print(len(names), {'torch', 'transformers', 'numpy', 'onnxruntime'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, heavy = said.stdout.strip().split(" ", 1)
    assert int(count) >= 6
    assert heavy == "set()"
    shown: list[Any] = [info for info in list_models() if info.name.startswith("hf:")]
    assert {role for info in shown for role in info.roles} == {"generator", "encoder", "parser"}
    assert all(info.ready for info in shown)
