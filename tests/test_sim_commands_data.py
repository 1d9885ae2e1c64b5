import json
import shutil
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
from clip_files import write_clip
from corpus_trees import TREES, rendered_corpus
from PIL import Image

from fl.data.corpora import lavdf
from sim.__main__ import main

LEAKS = {"leak_file", "leak_source", "leak_identity", "leak_donor", "leak_near_duplicate"}


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict]:
    code = main(["data", "check", "--json", *arguments])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def lavdf_tree(tmp_path: Path) -> Path:
    TREES["lavdf"](tmp_path, rendered_corpus())
    return tmp_path


def add_to_training(root: Path, path: Path) -> None:
    """Name one more real recording in the training part."""
    entries = json.loads((root / "metadata.json").read_text())
    like = next(entry for entry in entries if entry["split"] == "train" and not entry["n_fakes"])
    entries.append({**like, "file": path.relative_to(root).as_posix()})
    (root / "metadata.json").write_text(json.dumps(entries))


def remove(root: Path, keep) -> None:
    entries = json.loads((root / "metadata.json").read_text())
    (root / "metadata.json").write_text(json.dumps([entry for entry in entries if keep(entry)]))


def real_test_clip(root: Path) -> Path:
    return next(clip.path for clip in lavdf.read(root) if clip.split == "test" and not clip.label)


@pytest.mark.parametrize("corpus", TREES)
def test_every_layout_is_counted_and_does_not_leak(corpus, tmp_path, capsys):
    TREES[corpus](tmp_path, rendered_corpus())
    code, found = check(capsys, f"data={corpus}", f"data.root={tmp_path}")
    kinds = Counter(problem["kind"] for problem in found["problems"])
    assert not LEAKS & set(kinds)
    assert (code, found["ok"]) == (0, True), kinds
    assert list(found["splits"]) == ["public", "clients", "validation", "test"]
    assert all(set(split) == {"num_real", "num_fake", "num_identities"} for split in found["splits"].values())
    num_clips = sum(split["num_real"] + split["num_fake"] for split in found["splits"].values())
    assert num_clips == sum(found["categories"].values()) == sum(found["identities"].values())
    num_files = sum(path.suffix in (".mp4", ".png") for path in tmp_path.rglob("*"))
    assert found["files"]["num_usable"] == num_files == num_clips
    assert found["files"]["resolutions"] == {"128x128": num_files}
    assert found["files"]["codecs"] == {"png" if corpus == "images" else "h264": num_files}
    assert found["files"]["num_with_audio"] == (0 if corpus == "images" else num_files)


def test_a_copy_in_two_splits_is_found_by_its_bytes_and_a_recoded_one_by_its_pictures(lavdf_tree, capsys):
    source = real_test_clip(lavdf_tree)
    with av.open(str(source)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    write_clip(lavdf_tree / "train/recoded.mp4", np.stack(pictures), None, crf=34)
    add_to_training(lavdf_tree, lavdf_tree / "train/recoded.mp4")
    code, found = check(capsys, "data=lavdf", f"data.root={lavdf_tree}")
    told = {(problem["kind"], problem["file"]) for problem in found["problems"]}
    assert code == 1
    assert {kind for kind, _ in told} == {"leak_near_duplicate"}
    assert source.relative_to(lavdf_tree).as_posix() in {file for _, file in told}

    shutil.copy(source, lavdf_tree / "train/recoded.mp4")
    code, found = check(capsys, "data=lavdf", f"data.root={lavdf_tree}", "--headers-only")
    assert code == 1
    assert [problem["kind"] for problem in found["problems"]] == ["leak_file"]
    assert any("--headers-only" in note for note in found["notes"])


def test_bad_files_are_named_and_spoil_only_above_the_share(lavdf_tree, capsys):
    fakes = [clip.path for clip in lavdf.read(lavdf_tree) if clip.split == "train" and clip.label]
    gone, broken = fakes[:2]
    gone.unlink()
    contents = broken.read_bytes()
    broken.unlink()  # linked to the rendered corpus
    broken.write_bytes(contents[: len(contents) // 3])
    (lavdf_tree / "train/forgotten.mp4").write_bytes(contents)
    arguments = ("data=lavdf", f"data.root={lavdf_tree}")
    code, found = check(capsys, *arguments)
    assert code == 0
    named = {(problem["kind"], problem["file"]) for problem in found["problems"]}
    assert named == {("missing", f"train/{gone.name}"), ("unreadable", f"train/{broken.name}")}
    assert found["files"]["num_unlisted"] == 1
    code, found = check(capsys, *arguments, "data.max_bad_share=0.01")
    assert code == 1
    assert "too_many_bad" in {problem["kind"] for problem in found["problems"]}


def test_a_split_with_one_class_only_spoils_a_result(lavdf_tree, capsys):
    remove(lavdf_tree, lambda entry: entry["split"] != "test" or entry["n_fakes"] == 0)
    code, found = check(capsys, "data=lavdf", f"data.root={lavdf_tree}")
    assert code == 1
    assert [problem["kind"] for problem in found["problems"]] == ["one_class"]
    assert "test" in found["problems"][0]["reason"]


def test_random_crops_always_leak(lavdf_tree, capsys):
    arguments = ("data=lavdf", f"data.root={lavdf_tree}", "split=random_crops_leaky", "--headers-only")
    code, found = check(capsys, *arguments)
    assert code == 1
    assert found["problems"][0]["kind"] == "leak_random_crops"
    assert {"leak_file", "leak_identity"} <= {problem["kind"] for problem in found["problems"]}


def test_a_clip_without_sound_is_noted_and_unusable_where_sound_is_required(lavdf_tree, capsys):
    silent = lavdf_tree / "train/silent.mp4"
    write_clip(silent, np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8), None)
    add_to_training(lavdf_tree, silent)
    arguments = ("data=lavdf", f"data.root={lavdf_tree}", "--headers-only")
    code, found = check(capsys, *arguments)
    assert (code, found["problems"]) == (0, [])
    assert "1 of 49 usable files have no sound: a mask tells the detectors so" in found["notes"]
    code, found = check(capsys, *arguments, "data.clip.require_audio=true")
    assert code == 0
    assert [(problem["kind"], problem["file"]) for problem in found["problems"]] == [
        ("unreadable", "train/silent.mp4")
    ]


def test_the_text_fits_100_columns_and_ends_in_a_verdict(lavdf_tree, capsys):
    add_to_training(lavdf_tree, lavdf_tree / f"train/{'long' * 40}.mp4")
    assert main(["data", "check", "data=lavdf", f"data.root={lavdf_tree}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 100 for line in lines[1:])
    assert lines[-1] == "OK: nothing found that would spoil a result; 1 unusable files will be skipped"
    assert any(line.startswith("test ") and line.split()[1:4] == ["4", "4", "4"] for line in lines)
    assert any(line.startswith("codec") and "h264 (48)" in line for line in lines)


def test_stores_are_built_once(lavdf_tree, capsys):
    arguments = ("data=lavdf", f"data.root={lavdf_tree}", "data.clip.window_s=0.8", "data.clip.num_frames=2")
    assert main(["data", "build", *arguments, f"cache_dir={lavdf_tree}/cache"]) == 0
    first = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in first] == ["public", "clients", "validation", "test"]
    assert all("built: " in line and Path(line.split("built: ")[1]).is_dir() for line in first)
    assert main(["data", "build", *arguments, f"cache_dir={lavdf_tree}/cache", "--json"]) == 0
    stores = json.loads(capsys.readouterr().out)["stores"]
    assert all(store["was_there"] for store in stores.values())
    assert sum(store["num_clips"] + len(store["skipped"]) for store in stores.values()) == 48


def test_show_writes_a_picture(lavdf_tree, capsys):
    out = lavdf_tree / "sheets/test.png"
    arguments = ("data=lavdf", f"data.root={lavdf_tree}", "--split", "test", "--num", "3", "--out", str(out))
    assert main(["data", "show", *arguments]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    with Image.open(out) as picture:
        assert picture.size[1] == pytest.approx((0.62 + 3 * 1.35) * 110, abs=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "data needs an action; choose from check, build, show"),
        (["chekc"], "data has no action 'chekc'; choose from check, build, show; did you mean check?"),
        (["check", "data=lavdf"], "data.root must name the folder of the corpus for data=lavdf, got ''"),
        (["check", "data=lavfd"], "data must be one of "),
        (["check", "data.clip.num_frame=3"], "there is no setting data.clip.num_frame"),
        (["check", "--jsno"], "unrecognized arguments: --jsno"),
        (["show", "--num", "0"], "--num must be in [1, 60], got 0"),
        (["show", "--split", "tset"], "argument --split: invalid choice: 'tset'"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(arguments, message, capsys):
    assert main(["data", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"fedpin: {message}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_help_of_all_and_of_each(capsys):
    assert main(["data", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(len(line) <= 100 for line in text.splitlines())
    for action in ("check", "build", "show"):
        assert f"\n  {action} " in text
        with pytest.raises(SystemExit) as ended:
            main(["data", action, "--help"])
        assert ended.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: python -m sim data {action} ")
