"""The environment for TFLite: exact versions, and nothing left where it cannot be made."""

import re
from pathlib import Path

import pytest

from fl.errors import RequestError, RunError
from fl.export import tflite_environment
from fl.export.tflite_environment import LOCK_FILE, environment_folder, environment_python, prepare


def test_every_version_is_exact_and_torch_is_one_that_litert_takes() -> None:
    lines = [line for line in LOCK_FILE.read_text().splitlines() if not line.startswith("#")]
    assert all(re.match(r"[a-z0-9-]+==[\w.]+( ;.*)?$", line) for line in lines)
    versions = dict(line.split(" ;")[0].split("==") for line in lines)
    assert {"litert-torch", "timm", "safetensors", "numpy", "torchvision"} <= set(versions)
    assert tuple(map(int, versions["torch"].split(".")[:2])) < (2, 15)
    assert not any(name.startswith("nvidia") for name in versions)


def test_other_versions_are_another_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = environment_folder(tmp_path)
    assert folder.parent == tmp_path / "tools"
    assert environment_python(tmp_path) is None
    other = tmp_path / "other.lock"
    other.write_text("litert-torch==0.9.4\n")
    monkeypatch.setattr(tflite_environment, "LOCK_FILE", other)
    assert environment_folder(tmp_path) != folder


def test_too_little_space_is_told_before_anything_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tflite_environment, "NEEDED_BYTES", 10**18)
    with pytest.raises(RequestError, match=r"needs 1e\+09 GB of free space, .* has [\d.]+ GB: name another"):
        prepare(tmp_path)
    assert not environment_folder(tmp_path).exists()


def test_packages_that_cannot_be_had_leave_a_log_and_no_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "some.lock"
    lock.write_text("litert-torch==99.0\n")
    monkeypatch.setattr(tflite_environment, "LOCK_FILE", lock)
    monkeypatch.setattr(tflite_environment, "NEEDED_BYTES", 0)
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    with pytest.raises(RunError, match=r"^preparing the TFLite environment failed: "):
        prepare(tmp_path)
    folder = environment_folder(tmp_path)
    assert sorted(path.name for path in folder.parent.iterdir()) == [
        f"{folder.name}.lock",
        f"{folder.name}.log",
    ]
    assert "litert-torch" in folder.with_suffix(".log").read_text()
