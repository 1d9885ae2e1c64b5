"""Checkpoints are there whole or not at all, and a damaged one is never used."""

import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fl.errors import RunError
from fl.state import flatten
from models.architecture import Architecture
from server.checkpoint import FILES, SUMS_FILE, checkpoint_folders, newest_checkpoint, save_checkpoint

TINY = Architecture("tiny_ladeda")


def save(run_dir: Path, *rounds: int) -> list[Path]:
    """Checkpoints of students that differ."""
    return [
        save_checkpoint(
            run_dir, index, TINY, TINY.build(index), {"a": index}, {"student": np.array([0.1, 1 / 3])}
        )
        for index in rounds
    ]


def no_line(text: str) -> None:
    pytest.fail(f"nothing is damaged, but: {text}")


def test_a_checkpoint_comes_back_as_it_was_written(tmp_path: Path) -> None:
    _, folder = save(tmp_path, 1, 2)
    found = newest_checkpoint(tmp_path, no_line)
    assert found is not None
    assert (found.folder, found.round_index, found.state["a"]) == (folder, 2, 2)
    assert (flatten(found.network) == flatten(TINY.build(2))).all()
    assert found.scores["student"].tolist() == [0.1, 1 / 3]
    checked = subprocess.run(["sha256sum", "--check", SUMS_FILE], cwd=folder, capture_output=True, text=True)
    assert checked.stdout.splitlines() == [f"{name}: OK" for name in FILES]


def test_the_newest_is_the_one_of_the_highest_round(tmp_path: Path) -> None:
    save(tmp_path, 2, 1000, 999)
    assert [path.name for path in checkpoint_folders(tmp_path)] == ["round-002", "round-999", "round-1000"]
    found = newest_checkpoint(tmp_path, no_line)
    assert found is not None
    assert found.round_index == 1000


def test_a_run_without_checkpoints_has_no_newest(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path, no_line) is None


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("name", [*FILES, SUMS_FILE])
def test_a_damaged_one_is_named_and_the_one_before_is_used(
    name: str, damage: Callable[[Path], object], tmp_path: Path
) -> None:
    *_, folder = save(tmp_path, 1, 2, 3)
    damage(folder / name)
    lines: list[str] = []
    found = newest_checkpoint(tmp_path, lines.append)
    assert found is not None
    assert found.round_index == 2
    (line,) = lines
    assert "round-003 is damaged" in line
    assert name in line or SUMS_FILE in line


def test_where_all_are_damaged_it_says_so_and_removes_nothing(tmp_path: Path) -> None:
    for folder in save(tmp_path, 1, 2):
        cut(folder / "weights.safetensors")
    lines: list[str] = []
    with pytest.raises(RunError, match=r"no checkpoint of .* can be used; remove"):
        newest_checkpoint(tmp_path, lines.append)
    assert [line.split()[1] for line in lines] == ["round-002", "round-001"]
    assert len(checkpoint_folders(tmp_path)) == 2


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    save(tmp_path, 1)
    torn = tmp_path / "checkpoints" / ".building-abc"
    torn.mkdir()
    (torn / "weights.safetensors").write_bytes(b"1")
    assert newest_checkpoint(tmp_path, no_line) is not None
    assert not torn.exists()


def test_a_round_done_again_replaces_its_checkpoint(tmp_path: Path) -> None:
    (folder,) = save(tmp_path, 1)
    cut(folder / "weights.safetensors")
    save(tmp_path, 1)
    assert newest_checkpoint(tmp_path, no_line) is not None


@pytest.mark.parametrize("limit_bytes", [10, 2000])  # not even the architecture fits; the weights do not
def test_one_that_cannot_be_written_leaves_the_others_and_names_the_remedy(
    limit_bytes: int, tmp_path: Path
) -> None:
    save(tmp_path, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        with pytest.raises(RunError, match=r"round 2 cannot be written .*resume="):
            save(tmp_path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    found = newest_checkpoint(tmp_path, no_line)
    assert found is not None
    assert found.round_index == 1
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["round-001"]
