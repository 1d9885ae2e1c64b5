"""The robustness audit: degraded views of real stores, thresholds, table and plots."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clip_files import draw_face, tone, write_clip
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fl.data.clips import Clip
from fl.data.degrade import LEVELS
from fl.data.shards import Shard, build_shard
from fl.errors import RequestError
from fl.settings import ClipSettings, Experiment
from models.architecture import Architecture
from sim.commands.audit_robustness import Measurement, Robustness, best_threshold, degraded_view, main
from sim.finished import FinishedRun
from sim.report.robustness import draw_robustness, print_robustness

CLIP = ClipSettings(num_frames=4, image_size=48, window_s=0.8)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Shard:
    root = tmp_path_factory.mktemp("robustness")
    clips = []
    for index in range(3):
        path = root / f"{index}.mp4"
        write_clip(path, np.stack([draw_face(160, 20 + 10 * index, 30, 80)] * 20), tone(0.8))
        clips.append(Clip(path, index % 2, "real", str(index), path.name, str(index), "test"))
    return build_shard(clips, CLIP, root / "cache")


@pytest.fixture
def run(tmp_path: Path) -> FinishedRun:
    experiment = Experiment()
    experiment = replace(experiment, data=replace(experiment.data, clip=CLIP))
    architecture = Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13})
    return FinishedRun(tmp_path, experiment, tmp_path, architecture, architecture.build(), tmp_path)


@pytest.mark.parametrize("kind", list(LEVELS))
def test_a_degraded_view_has_the_same_clips_with_worse_pictures(
    kind: str, store: Shard, run: FinishedRun
) -> None:
    rows, told = np.array([0, 2]), []
    view = degraded_view(run, store, rows, kind, LEVELS[kind][-1], lambda step, note: told.append(step))
    assert [clip.path for clip in view.clips] == [store.clips[0].path, store.clips[2].path]
    batch = view.batch([0, 1])
    np.testing.assert_array_equal(batch.mfcc, store.mfcc[rows].astype(np.float32))
    np.testing.assert_array_equal(batch.labels, store.labels[rows])
    change = np.abs(batch.frames.astype(int) - store.frames[rows]).mean(axis=(1, 2, 3, 4))
    assert (change > 0.3).all()
    assert (change < 40).all()  # of the same face in the same place
    assert sum(told) == 2


def test_noise_is_the_same_each_time(store: Shard, run: FinishedRun) -> None:
    views = [degraded_view(run, store, np.array([1]), "noise", 8, lambda *_: None) for _ in range(2)]
    np.testing.assert_array_equal(views[0].batch([0]).frames, views[1].batch([0]).frames)


def test_best_threshold_separates_what_can_be_separated() -> None:
    assert best_threshold(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.6, 0.9])) == pytest.approx(0.4)
    assert best_threshold(np.array([0, 1, 1]), np.array([0.7, 0.9, 0.9])) == pytest.approx(0.8)
    assert best_threshold(np.array([1, 1]), np.array([0.1, 0.2])) is None


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9])), min_size=2, max_size=20)
)
def test_no_other_threshold_has_a_higher_youden_index(table: list[tuple[bool, float]]) -> None:
    labels = np.array([int(label) for label, _ in table])
    scores = np.array([score for _, score in table])
    found = best_threshold(labels, scores)
    if found is None:
        assert len(set(labels)) == 1
        return

    def youden(threshold: float) -> float:
        fake = scores > threshold
        return float(fake[labels == 1].mean() - fake[labels == 0].mean())

    assert youden(found) >= max(youden(t) for t in (0.05, 0.2, 0.4, 0.7, 1.0)) - 1e-9


def measured(network: str, kind: str, level: float | None) -> Measurement:
    return Measurement(network, kind, level, 0.9, 0.8, None if level == 30 else 0.4, 0.85, 0.5)


def test_table_is_within_100_columns_and_each_kind_has_a_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    networks = ("teacher", "student", "pruned", "INT8")
    qualities = [("clean", None), *(("jpeg", level) for level in LEVELS["jpeg"]), ("blur", 2.5)]
    rows = tuple(measured(name, kind, level) for kind, level in qualities for name in networks)
    audit = Robustness("runs/" + "a" * 20, 20, 10, rows, ("a note",))
    print_robustness(audit)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.strip().startswith("jpeg") for line in lines) == len(LEVELS["jpeg"])
    assert any("a note" in line for line in lines)
    figures = draw_robustness(audit, tmp_path / "figures")
    assert [path.name for path in figures] == ["robustness_jpeg.png", "robustness_blur.png"]
    for path in figures:
        with Image.open(path) as picture:
            assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 20


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "RUN must be the folder of a finished run"),
        (["nowhere", "--num-clips", "1"], "--num-clips must be at least 2"),
        (["nowhere", "--kinds", "fog"], "invalid choice: 'fog'"),
        ([], "required: RUN"),
    ],
)
def test_a_wrong_request_is_refused(arguments: list[str], complaint: str) -> None:
    with pytest.raises(RequestError, match=complaint):
        main(arguments)
