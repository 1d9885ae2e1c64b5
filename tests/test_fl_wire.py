"""Tasks and reports survive the wire; malformed replies are refused by key."""

from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from reports import REPORT

from fl.errors import ReplyError
from fl.task import RoundTask
from fl.wire import client_record, read_report, read_task, report_records, task_records
from models.architecture import Architecture


def test_a_task_survives_the_wire() -> None:
    architecture = Architecture("pin_lite", {"num_frames": 4}, {"video.projection.weight": (128, 64)})
    task = RoundTask(3, architecture, np.linspace(0, 1, 5, dtype=np.float32), "s", 1e-3, 0.5, True, False)
    arrays, config = task_records(task)
    got = read_task(RecordDict({"arrays": arrays, "config": config, "client": client_record(0.5)}))
    assert np.array_equal(got.state, task.state)
    assert got.architecture == architecture
    assert (got.step_share, got.measure_importance, got.quantize) == (0.5, True, False)
    assert got.learning_rate == 1e-3


@pytest.mark.parametrize("agreement", [None, 0.0, 0.75])
@pytest.mark.parametrize("num_importances", [0, 4])
def test_a_report_survives_the_wire(agreement: float | None, num_importances: int) -> None:
    importance = np.ones(num_importances, np.float32)
    got = read_report(report_records(replace(REPORT, int8_agreement=agreement, importance=importance)))
    assert np.array_equal(got.state, REPORT.state)
    assert np.array_equal(got.importance, importance)
    assert got.losses == REPORT.losses
    assert got.int8_agreement == agreement


def test_a_missing_record_key_or_array_is_refused() -> None:
    content = report_records(REPORT)
    del content["metrics"]
    with pytest.raises(ReplyError, match="metrics"):
        read_report(content)
    content = report_records(REPORT)
    del content.metric_records["metrics"]["loss_soft"]
    with pytest.raises(ReplyError, match="loss_soft"):
        read_report(content)
    content = report_records(REPORT)
    del content.array_records["arrays"]["state"]
    with pytest.raises(ReplyError, match="'state' is missing"):
        read_report(content)


@pytest.mark.parametrize(
    "array",
    [
        Array("float64", (6,), "fedpin.raw", np.zeros(6).tobytes()),
        Array("float32", (6,), "numpy.ndarray", np.zeros(6, np.float32).tobytes()),
        Array("float32", (7,), "fedpin.raw", np.zeros(6, np.float32).tobytes()),
        Array("float32", (2, 3), "fedpin.raw", np.zeros(6, np.float32).tobytes()),
    ],
)
def test_an_array_of_another_type_or_size_is_refused(array: Array) -> None:
    content = report_records(REPORT)
    content["arrays"] = ArrayRecord({"state": array, "importance": array})
    with pytest.raises(ReplyError, match="state"):
        read_report(content)


def test_a_count_that_is_no_integer_is_refused() -> None:
    content = report_records(REPORT)
    content["metrics"] = MetricRecord({**content.metric_records["metrics"], "num-examples": 2.5})
    with pytest.raises(ReplyError, match="num-examples must be an integer"):
        read_report(content)
