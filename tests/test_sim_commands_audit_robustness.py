"""The robustness audit: degraded views of real stores, thresholds, table and plots."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clip_files import draw_face, tone, write_clip
from PIL import Image

from fl.data import readers
from fl.data.clips import Clip
from fl.data.degrade import LEVELS
from fl.data.shards import Shard, ShardView, build_shard
from fl.errors import DataError, RequestError
from fl.metrics.threshold import OperatingPoint, Retuned
from fl.settings import ClipSettings, Experiment
from models.architecture import Architecture
from sim.audits import robustness
from sim.audits.degraded import degraded_view
from sim.audits.robustness import Measurement, Robustness, audit_robustness
from sim.commands.audit_robustness import main
from sim.finished import FinishedRun
from sim.report.robustness import print_robustness
from sim.report.robustness_figures import draw_robustness

ARRAYS = ("mfcc", "valid_steps", "has_audio", "boxes", "times")
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
    view, notes = degraded_view(
        run, store, rows, kind, LEVELS[kind][-1], lambda step, note: told.append(step)
    )
    assert notes == []
    assert [clip.path for clip in view.clips] == [store.clips[0].path, store.clips[2].path]
    batch = view.batch([0, 1])
    np.testing.assert_array_equal(batch.mfcc, store.mfcc[rows].astype(np.float32))
    np.testing.assert_array_equal(batch.labels, store.labels[rows])
    change = np.abs(batch.frames.astype(int) - store.frames[rows]).mean(axis=(1, 2, 3, 4))
    assert (change > 0.3).all()
    assert (change < 40).all()  # of the same face in the same place
    assert sum(told) == 2


def test_noise_is_the_same_each_time(store: Shard, run: FinishedRun) -> None:
    views = [degraded_view(run, store, np.array([1]), "noise", 8, lambda *_: None)[0] for _ in range(2)]
    np.testing.assert_array_equal(views[0].batch([0]).frames, views[1].batch([0]).frames)


def test_a_file_that_cannot_be_encoded_costs_itself(store: Shard, run: FinishedRun, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(store.clips[1].path.read_bytes()[:900])
    clips = (store.clips[0], replace(store.clips[1], path=tmp_path / "broken.mp4"), store.clips[2])
    broken = replace(store, clips=clips)
    view, notes = degraded_view(run, broken, np.arange(3), "h264", 23, lambda *_: None)
    assert [clip.path for clip in view.clips] == [clips[0].path, clips[2].path]
    np.testing.assert_array_equal(view.labels, store.labels[[0, 2]])
    assert view.batch([0, 1]).frames.any(axis=(1, 2, 3, 4)).all()
    (note,) = notes
    assert note.startswith("h264 23: left out, 1 of 3 clips cannot be encoded anew: ")
    assert note.endswith("e.g. broken.mp4")
    with pytest.raises(DataError, match="leave h264 out of --kinds"):
        degraded_view(run, broken, np.array([1]), "h264", 23, lambda *_: None)


@pytest.mark.slow
def test_a_file_at_which_the_encoder_hangs_is_cut_off(
    store: Shard, run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The reader's own code, and one file at which it hangs as a decoder does: without giving way.
    hang = (
        "import sys; sys.path[:] = sys.argv[1:]\n"
        "from fl.data import degrade\n"
        "opened = degrade.opened\n"
        "def hang(path, *args):\n"
        "    while path.name == '1.mp4': pass\n"
        "    return opened(path, *args)\n"
        "degrade.opened = hang\n"
        "from fl.data.reader import main; main()\n"
    )
    monkeypatch.setattr(readers, "_CODE", hang)
    media = replace(run.experiment.data.media, timeout_s=1.0)
    hasty = replace(run.experiment, data=replace(run.experiment.data, media=media))
    view, notes = degraded_view(
        replace(run, experiment=hasty), store, np.arange(3), "h264", 23, lambda *_: None
    )
    assert len(view) == 2
    assert "cut off: not read within 5 s" in notes[0]


def test_thresholds_are_tuned_on_validation_clips_and_not_on_the_test_clips(
    store: Shard, run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that answers the brightness, with the test split's labels turned round."""
    labels = np.tile([0, 1], 20).astype(np.uint8)
    light = np.where(labels == 1, 200, 100).astype(np.uint8)
    frames = np.broadcast_to(light[:, None, None, None, None], (40, 4, 48, 48, 3)).copy()
    arrays = {name: np.resize(getattr(store, name), (40, *getattr(store, name).shape[1:])) for name in ARRAYS}
    many = replace(store, clips=store.clips[:1] * 40, headers=store.headers[:1] * 40, frames=frames, **arrays)
    stores = {"validation": replace(many, labels=labels), "test": replace(many, labels=1 - labels)}

    def brightness(view: ShardView) -> np.ndarray:
        return (view.batch(slice(None)).frames.mean(axis=(1, 2, 3, 4)) - 100).astype(np.float32) / 25

    monkeypatch.setattr(FinishedRun, "stores", lambda self, splits: stores)
    monkeypatch.setattr(robustness, "open_networks", lambda run: ({"teacher": brightness}, []))
    asked = Namespace(num_clips=400, kinds=["resize"], rule="youden", fpr=0.05)
    audit = audit_robustness(run, asked)
    assert (audit.num_clips, audit.num_fake, audit.num_validation_clips) == (40, 20, 40)
    clean, *worse = audit.measurements
    assert [m.level for m in worse] == list(LEVELS["resize"])
    middle = (1 / (1 + np.exp(-4)) + 0.5) / 2
    for measured in audit.measurements:  # even pictures stay as they are
        found = measured.threshold
        assert found.before is not None
        assert found.after is not None
        assert found.before.threshold == found.after.threshold == pytest.approx(middle)
        assert found.after.accuracy == 0  # tuned on the test clips it would be one half
        assert found.after.false_positive_rate == 1
        assert measured.auc == 0
        assert measured.mean_score_change == pytest.approx(0, abs=1e-9)
    assert clean.mean_score == pytest.approx(middle)


def test_a_threshold_that_is_kept_is_that_of_clean_validation_clips(
    store: Shard, run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise of the third level moves the answers of a network that counts rough pixels by one."""
    labels = np.array([0, 1, 0], np.uint8)
    both = replace(store, labels=labels)

    def roughness(view: ShardView) -> np.ndarray:
        frames = view.batch(slice(None)).frames.astype(np.float32)
        rough = np.abs(np.diff(frames, axis=3)).mean(axis=(1, 2, 3, 4)) > 10
        return (rough + 2.0 * view.labels - 1.5).astype(np.float32)

    monkeypatch.setattr(FinishedRun, "stores", lambda self, splits: {"validation": both, "test": both})
    monkeypatch.setattr(robustness, "open_networks", lambda run: ({"INT8": roughness}, []))
    audit = audit_robustness(run, Namespace(num_clips=400, kinds=["noise"], rule="youden", fpr=0.05))
    clean, noisy = audit.measurements[0], audit.measurements[-1]
    assert clean.threshold.before == clean.threshold.after
    assert noisy.threshold.before is not None
    assert noisy.threshold.after is not None
    assert noisy.threshold.before.threshold == clean.threshold.before.threshold  # type: ignore[union-attr]
    assert noisy.threshold.after.threshold > noisy.threshold.before.threshold
    assert noisy.threshold.after.accuracy == 1
    assert noisy.mean_score_change > 0.1


def measured(network: str, kind: str, level: float | None) -> Measurement:
    kept = OperatingPoint(0.4, 1.0, 1.0, 0.0, 1.0)
    tuned = None if level == 30 else OperatingPoint(0.123, 0.85, 0.84, 0.1, 0.8)
    return Measurement(network, kind, level, 20, 0.9, 1.0, 0.5, -0.123, Retuned("youden", kept, tuned))


def test_tables_are_within_100_columns_and_each_kind_and_network_has_a_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    networks = ("teacher", "dense", "pruned", "INT8")
    qualities = [("clean", None), *((kind, level) for kind in ("jpeg", "resize") for level in LEVELS[kind])]
    rows = tuple(measured(name, kind, level) for kind, level in qualities for name in networks)
    audit = Robustness("runs/" + "a" * 20, 20, 10, 12, "youden", 0.05, rows, ("a note",))
    print_robustness(audit)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    rows_of_jpeg = [line for line in text.splitlines() if line.strip().startswith("jpeg ")]
    assert len(rows_of_jpeg) == 5 * len(LEVELS["jpeg"])
    assert all(f"\n{name}; threshold kept: 0.400\n" in text for name in networks)
    assert "a note" in text
    few = tuple(m for m in rows if m.network in ("pruned", "INT8") and m.kind != "resize")
    figures = draw_robustness(replace(audit, measurements=few), tmp_path / "figures")
    names = ["jpeg", "pruned", "int8"]
    assert [path.name for path in figures] == [f"robustness_{name}.png" for name in names]
    for path in figures:
        with Image.open(path) as picture:
            colours = picture.convert("RGB").getcolors(1 << 24)
            assert colours is not None
            assert len(colours) > 20


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "RUN must be the folder of a finished run"),
        (["nowhere", "--num-clips", "1"], "--num-clips must be at least 2"),
        (["nowhere", "--fpr", "0"], r"--fpr must be in \(0, 1\), got 0"),
        (["nowhere", "--rule", "auc"], "invalid choice: 'auc'"),
        (["nowhere", "--kinds", "fog"], "invalid choice: 'fog'"),
        ([], "required: RUN"),
    ],
)
def test_a_wrong_request_is_refused(arguments: list[str], complaint: str) -> None:
    with pytest.raises(RequestError, match=complaint):
        main(arguments)
