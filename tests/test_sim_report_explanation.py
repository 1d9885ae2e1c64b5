"""Which clips are shown with their maps, and what is drawn of them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from recorded_runs import write_run
from small_shards import FACE, REAL, shard

from fl.data.shards import take
from fl.distill.batches import TeacherOutputs
from fl.distill.predict import predict
from fl.metrics.explanation import eps_per_sample
from models.architecture import Architecture
from sim.finished import FinishedRun
from sim.report import explained_clips
from sim.report.explained_clips import ExplainedClip, choose, explain_clips
from sim.report.explanation_grid import draw_grid, overlay, profile
from sim.report.explanation_sections import explanation_blocks
from sim.report.page import Note

LITE = Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13})


def a_run(num_clips: int = 12) -> tuple[FinishedRun, Any, np.ndarray, np.ndarray]:
    """Two untrained networks in the places of teacher and student, and their maps of a small store."""
    store = shard([replace(REAL, path=Path(f"{i}.mp4")) if i % 2 else FACE for i in range(num_clips)])
    teacher, student = LITE.build(1).eval(), LITE.build(2).eval()
    logits, maps = predict(teacher, take(store))
    _, own = predict(student, take(store))
    names = SimpleNamespace(seed=0, system=SimpleNamespace(student="pin_lite"))
    run = SimpleNamespace(
        experiment=names,
        network=student,
        stores=lambda splits: dict.fromkeys(splits, store),
        teacher_outputs=lambda of: TeacherOutputs(logits, maps),
    )
    return cast(FinishedRun, run), store, maps, own


def test_a_clip_of_each_class_comes_with_the_maps_and_eps_of_both_networks() -> None:
    run, store, maps, own = a_run()
    clips = explain_clips(run)
    assert [clip.label for clip in clips] == [0, 1]
    everyone = eps_per_sample(maps, own, np.asarray(store.valid_steps)).eps
    for clip in clips:
        of_class = everyone[store.labels == clip.label]
        assert clip.median_eps == pytest.approx(np.median(of_class))
        assert clip.num_clips == len(of_class) == 6
        (row,) = (i for i in range(len(store)) if np.array_equal(store.frames[i], clip.frames))
        assert clip.eps == pytest.approx(everyone[row])
        assert abs(clip.eps - clip.median_eps) == pytest.approx(np.abs(of_class - np.median(of_class)).min())
        np.testing.assert_allclose(clip.teacher_map, maps[row], rtol=1e-6)
        np.testing.assert_allclose(clip.student_map, own[row], rtol=1e-4)
        np.testing.assert_allclose(profile(clip.teacher_map).sum(), 1, rtol=1e-5)
        assert not clip.confident


def test_a_large_split_is_sampled_by_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explained_clips, "MAX_CLIPS", 4)
    assert [clip.num_clips for clip in explain_clips(a_run()[0])] == [2, 2]


def test_the_rule_takes_the_median_of_the_confident() -> None:
    labels = np.array([0, 1, 1, 1, 1], np.uint8)
    scores = np.array([[0.1, 0.9, 0.9, 0.6, 0.9], [0.1, 0.9, 0.5, 0.99, 0.95]])
    eps = np.array([0.0, 0.2, 0.5, 0.55, 0.9])  # the median of the fakes is 0.525
    assert choose(labels, scores, eps, 1) == (1, True)  # 2 and 3 are nearer, but one network doubts
    assert choose(labels, scores, eps, 0) == (0, True)
    assert choose(labels, np.full((2, 5), 0.5), eps, 1) == (2, False)


def test_the_grid_shows_where_each_looks_and_the_eps_below() -> None:
    clips = explain_clips(a_run()[0])
    figure = draw_grid(clips)
    texts = {text.get_text() for part in figure.subfigs for text in part.texts}
    for clip in clips:
        assert any(clip.name in text for text in texts)
        assert any(text.startswith(f"EPS {clip.eps:.2f}, median") for text in texts)
    (first, _) = figure.subfigs
    _, teacher, student, times, below_teacher, below_student = first.axes
    for axes, below, values in (
        (teacher, below_teacher, clips[0].teacher_map),
        (student, below_student, clips[0].student_map),
    ):
        most = int(profile(values).argmax())
        np.testing.assert_array_equal(axes.images[0].get_array(), clips[0].frames[most])
        np.testing.assert_allclose(below.images[0].get_array(), values.T)
        assert f"{clips[0].times_s[most]:.2f} s" in axes.get_title()
    np.testing.assert_allclose(times.lines[1].get_ydata(), 100 * profile(clips[0].student_map))


def a_picture_clip(values: np.ndarray) -> ExplainedClip:
    frames = np.full((3, 32, 32, 3), 120, np.uint8)
    other = np.eye(4)
    times = np.arange(3.0)
    return ExplainedClip("a.png", 1, "F", 0.3, 0.3, 4, True, 0.9, 0.9, frames, times, 0.0, 0.0, values, other)


def test_maps_over_the_picture_are_laid_over_it() -> None:
    values = np.zeros((4, 4))
    values[0, 0] = 1.0
    figure = draw_grid([a_picture_clip(values)])
    (part,) = figure.subfigs
    assert [axes.get_title() for axes in part.axes] == ["frame", "teacher", "student"]
    shown = np.asarray(part.axes[1].images[0].get_array()).astype(int)
    assert shown[2, 2, 0] > shown[2, 2, 2] + 50  # red where the map is high
    assert shown[-2, -2, 2] > shown[-2, -2, 0]  # blue below its mean
    grey = overlay(np.full((8, 8, 3), 77, np.uint8), np.full((2, 2), -3.0))
    np.testing.assert_array_equal(grey, 77)  # a constant map says nothing


def test_without_cache_or_checkpoint_a_sentence_says_so(tmp_path: Path) -> None:
    (block,) = explanation_blocks(write_run(tmp_path / "run"))
    assert isinstance(block, Note)
    assert block.warning
    assert block.text.startswith("No maps: ")
    assert "All else is complete" in block.text
