"""The published tables: as printed, and every contradiction in them found again by arithmetic."""

import math
import subprocess
import sys

import pytest

from sim.studies.published import PRESETS, PUBLISHED, tables_of
from sim.studies.rows import ACCURACY_BY_CATEGORY, CONTRADICTS, UNITS, PublishedRow, PublishedTable
from sim.studies.thesis import CATEGORIES

NUM_TEST = {key: 1500 if key == "real" else 450 for key in CATEGORIES}
"""Test pictures of each category, thesis, table 5.1.3.3.1."""


def _contradictions(table: PublishedTable) -> list[str]:
    return [note for note in table.notes if note.startswith(CONTRADICTS)]


def _attainable(percent: float, num_samples: int, places: int) -> bool:
    """Whether some count of ``num_samples`` prints as this percentage."""
    nearest = round(percent / 100 * num_samples)
    return any(
        round(100 * correct / num_samples, places) == percent for correct in range(nearest - 1, nearest + 2)
    )


def _from_categories(row: PublishedRow) -> float:
    total = sum(row.values[f"{ACCURACY_BY_CATEGORY}{name}"] * number for name, number in NUM_TEST.items())
    return total / sum(NUM_TEST.values())


def test_every_value_has_a_unit_and_is_finite() -> None:
    for table in PUBLISHED.values():
        for row in table.rows:
            for key, value in row.values.items():
                assert key in UNITS or key.removeprefix(ACCURACY_BY_CATEGORY) in CATEGORIES, (table.key, key)
                assert math.isfinite(value)


def test_every_unit_is_used() -> None:
    used = {key for table in PUBLISHED.values() for key in table.columns}
    assert {key for key in UNITS if not key.endswith("/")} <= used


def test_keys_say_whose_table_it_is() -> None:
    assert PRESETS == ("pin_lite", "thesis_kd_pruning", "patch_audit", "mobilenet_study")
    assert sum(len(tables_of(preset)) for preset in PRESETS) == len(PUBLISHED)
    assert tables_of("nobody") == ()


def test_labels_of_a_table_differ() -> None:
    for table in PUBLISHED.values():
        assert len({row.label for row in table.rows}) == len(table.rows), table.key


def test_an_absent_row_is_named() -> None:
    with pytest.raises(KeyError, match="has the rows Training, Validation, Testing, Total, not Trainin"):
        PUBLISHED["mobilenet_study/table_1"].row("Trainin")


def test_rows_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        PUBLISHED["pin_lite/table_2"].rows[0].values["eps"] = 0.0  # type: ignore[index]


def test_the_thesis_averages_hold_where_no_note_denies_it() -> None:
    """Overall accuracy from the categories, in hundredths; B1 and B3 are printed as whole per cent, cut."""
    checked = 0
    for table in tables_of("thesis_kd_pruning"):
        rows = [row for row in table.rows if len(row.values) == 1 + len(CATEGORIES)]
        for row in rows:
            printed, averaged = row.values["accuracy"], _from_categories(row)
            if printed.is_integer() and table.key.endswith("table_6_2_2_1"):
                assert math.floor(averaged) == printed
            elif any("the categories" in note for note in _contradictions(table)):
                assert abs(averaged - printed) > 0.1
                assert f"give {averaged:.2f} %, not {printed:.2f} %" in table.notes[0]
            else:
                assert averaged == pytest.approx(printed, abs=0.011), (table.key, row.label)
            checked += 1
    assert checked == 19


def test_the_blocks_that_contradict_themselves_are_of_another_test_set() -> None:
    """Their categories are no counts of 450 and 1,500 pictures either; those of all other blocks are."""
    for table in tables_of("thesis_kd_pruning"):
        for row in table.rows if table.key.partition("/")[2].startswith("figure") else ():
            parts = {name: row.values.get(f"{ACCURACY_BY_CATEGORY}{name}") for name in CATEGORIES}
            attainable = [
                _attainable(value, NUM_TEST[name], 2) for name, value in parts.items() if value is not None
            ]
            denied = any("the categories" in note for note in _contradictions(table))
            assert all(attainable) is not denied, table.key


def test_the_thesis_repeats_its_numbers() -> None:
    best = PUBLISHED["thesis_kd_pruning/table_6_2_6_1"]
    plain = PUBLISHED["thesis_kd_pruning/figure_6_2_4_3_1"]
    taught = PUBLISHED["thesis_kd_pruning/figure_6_2_5_2_1"]
    assert best.row("Lite0, 30 %").values == plain.row("30 %").values
    assert best.row("Lite0 + KD, 30 %").values == taught.row("30 %").values
    assert best.row("Lite0 + KD, 35 %").values == taught.row("35 %").values
    for row in (*best.rows, *plain.rows, *taught.rows):
        bytes_per_parameter = row.values["size_mb"] * 1e6 / row.values["num_parameters"]
        assert 4.0 < bytes_per_parameter < 4.15  # float32, BatchNorm's buffers and a header


def test_the_mobilenet_study_contradicts_itself() -> None:
    matrix = PUBLISHED["mobilenet_study/confusion"]
    counts = matrix.rows[0].values
    num_samples = sum(counts.values())
    accuracy = 100 * (counts["true_negatives"] + counts["true_positives"]) / num_samples
    printed = PUBLISHED["mobilenet_study/table_2"].rows[0].values["accuracy"]
    split = PUBLISHED["mobilenet_study/table_1"]
    assert num_samples == 2024
    assert f"{accuracy:.2f}" == "76.48"
    assert printed == 75.13
    samples_note, accuracy_note = _contradictions(matrix)
    assert "2,024" in samples_note
    assert "76.48 %" in accuracy_note
    assert "75.13 %" in accuracy_note

    found = counts["true_positives"] / (counts["true_positives"] + counts["false_negatives"])
    alarms = counts["false_positives"] / (counts["false_positives"] + counts["true_negatives"])
    enclosed = found * (1 - alarms)  # any ROC through the point encloses at least this rectangle
    roc = PUBLISHED["mobilenet_study/roc"]
    assert roc.rows[0].values["auc"] == 0.52 < enclosed
    assert f"{enclosed:.3f}".removeprefix("0") in _contradictions(roc)[0]

    num_test = int(split.row("Testing").values["num_test"])
    assert sum(row.values.get("percent_of_total", 0) for row in split.rows[:3]) == 100
    assert not _attainable(printed, num_test, 2)
    assert not _attainable(97.3, int(split.row("Training").values["num_train"]), 1)
    compared = PUBLISHED["mobilenet_study/table_3"]
    assert not any(_attainable(row.values["accuracy"], num_test, 1) for row in compared.rows)


def test_pin_lites_gains_follow_from_its_table_but_for_the_size() -> None:
    table = PUBLISHED["pin_lite/table_2"]
    teacher, student = table.row("Base (Teacher)").values, table.row("Distilled").values
    gains = PUBLISHED["pin_lite/findings"].rows[0].values
    assert round(teacher["latency_ms"] / student["latency_ms"], 1) == gains["speedup"]
    assert round(teacher["size_mib"] / student["size_mib"], 1) == 8.7 != gains["times_smaller"]
    chosen = PUBLISHED["pin_lite/table_3"].row("alpha 0.5, beta 0.3").values
    assert round(student["accuracy"], 1) == chosen["accuracy"]
    assert student["eps"] == chosen["eps"]


def test_pruning_that_removes_nothing_is_noted() -> None:
    table = PUBLISHED["pin_lite/table_2"]
    pruned, distilled = table.row("Pruned").values, table.row("Distilled").values
    assert all(pruned[key] == distilled[key] for key in ("size_mib", "num_parameters", "macs_g"))
    assert any("nothing was removed" in note for note in _contradictions(table))


def test_reading_them_needs_no_torch() -> None:
    code = "import sys, sim.studies.published; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
