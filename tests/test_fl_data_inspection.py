import shutil
from pathlib import Path

import numpy as np
import pytest
from clip_files import flat_frames, tone, write_clip
from corpus_trees import TREES, rendered_corpus
from PIL import Image

from fl.data.inspection import inspect_file, inspect_files
from fl.settings import MediaSettings

LIMITS = MediaSettings()


def noise(num_frames: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


def test_a_video_says_what_it_is(tmp_path):
    path = tmp_path / "a.mp4"
    write_clip(path, noise(30, 64, 96), tone(1.2))
    found = inspect_file(path, LIMITS, look=False)
    header = found.header
    assert header is not None
    assert (found.reason, found.missing, found.size_bytes) == ("", False, path.stat().st_size)
    assert (header.codec, header.width, header.height, header.num_frames) == ("h264", 96, 64, 30)
    assert (header.fps, header.has_audio) == (25, True)
    assert header.duration_s == pytest.approx(1.2)
    assert found.fingerprint == b""
    assert len(inspect_file(path, LIMITS, look=True).fingerprint) == 96


def test_an_image_is_a_clip_of_one_frame(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(noise(1, 40, 50)[0]).save(path)
    found = inspect_file(path, LIMITS, look=True)
    assert found.header is not None
    assert (found.header.codec, found.header.num_frames, found.header.has_audio) == ("png", 1, False)
    assert len(found.fingerprint) == 96


def test_what_cannot_be_used_has_a_reason(tmp_path):
    assert inspect_file(tmp_path / "gone.mp4", LIMITS, look=True).missing
    for name, contents in (("empty.mp4", b""), ("text.mp4", b"#EXTM3U\nother.mp4\n")):
        (tmp_path / name).write_bytes(contents)
        found = inspect_file(tmp_path / name, LIMITS, look=True)
        assert found.reason
        assert found.header is None
        assert not found.missing


def test_damage_behind_the_header_is_found_by_looking(tmp_path):
    path = tmp_path / "a.mp4"
    write_clip(path, flat_frames(range(50), (64, 64)), tone(2.0), faststart=True)
    contents = path.read_bytes()
    start = contents.index(b"mdat")
    path.write_bytes(contents[: start + 4] + bytes(len(contents) - start - 4))
    assert not inspect_file(path, LIMITS, look=False).reason
    assert inspect_file(path, LIMITS, look=True).reason


def test_processes_inspect_every_file_once(tmp_path):
    TREES["faceforensics"](tmp_path, rendered_corpus())
    paths = sorted(tmp_path.rglob("*.mp4"))
    found = list(inspect_files(paths, LIMITS, look=False, num_workers=2))
    assert sorted(facts.path for facts in found) == paths
    by_path = {facts.path: facts for facts in found}
    assert by_path[paths[5]] == inspect_file(paths[5], LIMITS, look=False)


def test_a_file_that_is_not_read_in_time_costs_only_itself(tmp_path):
    source = next(Path(rendered_corpus()).rglob("*.mp4"))
    quick, slow, gone = (tmp_path / name for name in ("a.mp4", "b.png", "gone.mp4"))
    shutil.copy(source, quick)
    Image.new("RGB", (4096, 4096)).save(slow, compress_level=1)
    found = list(inspect_files([quick, slow, gone], MediaSettings(timeout_s=0.2), look=True, num_workers=2))
    reasons = {facts.path: facts.reason for facts in found}
    assert reasons[quick] == ""
    assert reasons[gone] == "no such file"
    assert "did not end within 0.2 s (data.media.timeout_s)" in reasons[slow]
