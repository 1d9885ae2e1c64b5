"""Seeds as one group: who belongs together, means and ranges, and which test is given."""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded_runs import a_round, write_run

from sim.report.comparison import compared
from sim.report.page import Note, PageFigure, PageTable, Section
from sim.report.recorded_run import RecordedRun, read_run
from sim.report.round_curves import draw_rounds, values_of
from sim.report.run_rows import model_rows
from sim.report.seed_groups import group_by_seed
from sim.report.seed_tables import sign_flip_p, with_range


@pytest.fixture
def run_of(tmp_path: Path) -> Callable[..., RecordedRun]:
    def make(name: str, seed: int, weight: float = 0.5, **changes: Any) -> RecordedRun:
        settings = f"seed: {seed}\nname: {name}\ncache_dir: /c/{name}\ndistill: {{soft_weight: {weight}}}\n"
        return read_run(write_run(tmp_path / name, seed, settings=settings, **changes))

    return make


def table_of(section: Section, name: str) -> list[dict[str, str]]:
    (table,) = (block for block in section.blocks if isinstance(block, PageTable) and block.name == name)
    texts = [[cell if isinstance(cell, str) else cell[0] for cell in row] for row in table.rows]
    return [dict(zip(table.headings, row, strict=True)) for row in texts]


def test_runs_that_differ_in_their_seed_alone_are_one_group(run_of: Callable[..., RecordedRun]) -> None:
    runs = [run_of("b2", 2, 0.3), run_of("a2", 2), run_of("a1", 1), run_of("b1", 1, 0.3), run_of("c", 1, 0.1)]
    groups = group_by_seed(runs)
    assert [[run.name for run in group.runs] for group in groups] == [["b1", "b2"], ["a1", "a2"], ["c"]]
    assert [group.seeds for group in groups] == [[1, 2], [1, 2], [1]]
    assert [group.label for group in groups] == ["group 1 (2 seeds)", "group 2 (2 seeds)", "group 3 (seed 1)"]


def test_repeats_of_one_seed_are_no_seeds(run_of: Callable[..., RecordedRun]) -> None:
    groups = group_by_seed([run_of("once", 1), run_of("again", 1), run_of("other", 2)])
    assert [[run.name for run in group.runs] for group in groups] == [["once"], ["again"], ["other"]]


def test_the_closing_table_has_means_and_ranges(run_of: Callable[..., RecordedRun]) -> None:
    runs = [run_of(f"s{seed}", seed) for seed in (1, 2, 3)]
    section = compared(runs)
    assert section.title == "3 runs compared: 1 configuration, seeds as error bars"
    (student,) = (
        row for row in table_of(section, "closing_by_seed") if row["group: network"] == "1: dense student"
    )
    found = [row.auc for run in runs for row in model_rows(run) if row.name == "dense student"]
    aucs = [auc for auc in found if auc is not None]
    assert len(set(aucs)) == 3
    assert student["AUC"] == f"{np.mean(aucs):.3f} ({min(aucs):.3f} to {max(aucs):.3f})"
    assert (student["size MB"], student["seeds"]) == ("4.00", "3")
    names = {block.name for block in section.blocks if isinstance(block, PageFigure)}
    assert {"seeds_accuracy", "seeds_auc", "seeds_eps", "seeds_loss", "seeds_latency"} <= names
    assert not any(
        block.name.startswith("comparison") for block in section.blocks if isinstance(block, PageTable)
    )


def test_groups_are_paired_by_seed_and_few_seeds_give_no_p(run_of: Callable[..., RecordedRun]) -> None:
    runs = [run_of(f"a{seed}", seed) for seed in (1, 2)] + [
        run_of(f"b{seed}", seed + 5, 0.3) for seed in (1, 2)
    ]
    apart = compared(runs)
    assert any(
        "share no seed: nothing is paired" in block.text for block in apart.blocks if isinstance(block, Note)
    )
    assert {row["by seed"] for row in table_of(apart, "comparison_by_seed")} == {"-"}
    runs = [*runs[:2], run_of("c1", 1, 0.3), run_of("c2", 2, 0.3, rows=runs[0].predictions)]
    section = compared(runs)
    (row,) = (
        row
        for row in table_of(section, "comparison_by_seed")
        if (row["against the first group"], row["metric"]) == ("2: dense student", "AUC")
    )
    by_run = [next(one.auc or 0 for one in model_rows(run) if one.name == "dense student") for run in runs]
    gains = [by_run[2] - by_run[0], by_run[3] - by_run[1]]
    assert row["by seed"] == f"{min(gains):+.3f} to {max(gains):+.3f}"
    assert row["difference of means"] == f"{np.mean(gains):+.3f}"
    assert (row["higher in"], row["p over seeds"]) == (f"{sum(gain > 0 for gain in gains)} of 2", "-")
    notes = [block.text for block in section.blocks if isinstance(block, Note)]
    assert any("no paired test over seeds can give a p below 0.5" in text for text in notes)


def test_six_shared_seeds_are_tested(run_of: Callable[..., RecordedRun]) -> None:
    seeds = range(1, 7)
    runs = [
        run_of(f"{name}{seed}", seed, weight) for name, weight in (("a", 0.5), ("b", 0.3)) for seed in seeds
    ]
    rows = table_of(compared(runs), "comparison_by_seed")
    assert all(0 < float(row["p over seeds"]) <= 1 for row in rows)


def test_a_single_run_is_not_tested_clip_by_clip_against_seeds(run_of: Callable[..., RecordedRun]) -> None:
    section = compared([run_of("a1", 1), run_of("a2", 2), run_of("b", 1, 0.3)])
    tables = {block.name for block in section.blocks if isinstance(block, PageTable)}
    assert tables == {"groups", "closing_by_seed", "comparison_by_seed"}
    assert any("share one seed" in block.text for block in section.blocks if isinstance(block, Note))
    (first, second) = table_of(section, "groups")
    assert (first["distill.soft_weight"], second["distill.soft_weight"]) == ("0.5", "0.3")


def test_the_sign_flip_test_counts_every_exchange() -> None:
    gains = [0.3, 0.1, -0.05, 0.2, 0.4, 0.15, 0.07]
    means = [np.mean(np.array(signs) * gains) for signs in product((1, -1), repeat=len(gains))]
    expected = np.mean(np.abs(means) >= abs(np.mean(gains)) - 1e-12)
    assert sign_flip_p(gains) == pytest.approx(expected)
    assert sign_flip_p([0.1] * 6) == pytest.approx(2 / 2**6)


def test_a_missing_value_leaves_no_mean() -> None:
    assert with_range([0.5, 0.7], 100, ".1f") == "60.0 (50.0 to 70.0)"
    assert with_range([0.5, 0.5], 1, ".2f") == "0.50"
    assert with_range([0.5, None], 1, ".2f") == "-"


def test_curves_are_means_and_bands_reach_from_the_smallest_to_the_largest(
    run_of: Callable[..., RecordedRun],
) -> None:
    rounds = [
        [a_round(index, **{"global": {"accuracy": value}}) for index, value in enumerate(values, start=1)]
        for values in ((0.5, 0.7), (0.6, 0.9))
    ]
    runs = [run_of(f"s{seed}", seed, rounds=rounds[seed - 1]).rounds for seed in (1, 2)]
    values = values_of(runs, ("global", "accuracy"), [1, 2, 3])
    np.testing.assert_array_equal(values, [[0.5, 0.7, np.nan], [0.6, 0.9, np.nan]])
    figure = next(figure for name, _, figure in draw_rounds(runs) if name == "accuracy")
    (line,) = (line for line in figure.axes[0].lines if line.get_label() == "student")
    np.testing.assert_allclose(np.asarray(line.get_ydata(), dtype=float), [55, 80])
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert {tuple(np.round(point, 6)) for point in np.asarray(band)} >= {(1, 50), (1, 60), (2, 70), (2, 90)}


def test_the_weak_students_curves_are_drawn_where_there_is_one(run_of: Callable[..., RecordedRun]) -> None:
    weak = {key: a_round(1)[key] for key in ("global", "eps", "onnx")} | {"student": None}
    weak |= {"replied": [0], "ratio": 0.5, "since_round": 0, "ranked_by": "server"}
    run = run_of("mixed", 1, rounds=[a_round(index, weak=weak) for index in (1, 2)])
    for name, _, figure in draw_rounds([run.rounds]):
        labels = {str(line.get_label()) for line in figure.axes[0].lines}
        assert ("weak student" in labels) == (name != "loss")
    without = run_of("uniform", 1)
    assert not any(
        "weak" in str(line.get_label())
        for _, _, figure in draw_rounds([without.rounds])
        for line in figure.axes[0].lines
    )
