"""How large a message may be."""

import numpy as np
import pytest
from flwr.app import ConfigRecord, MetricRecord, RecordDict

from fl.errors import ReplyError
from fl.message_size import BESIDES_ARRAYS, check_size, content_bytes
from fl.wire import array_record


def content(**extra: str | bytes | list[int]) -> RecordDict:
    return RecordDict(
        {
            "arrays": array_record(state=np.zeros(10, np.float32)),
            "metrics": MetricRecord({"loss": 1.0, "each": [1, 2, 3]}),
            "config": ConfigRecord(extra),
        }
    )


def test_everything_counts() -> None:
    arrays, metrics = len("arraysstate") + 40, len("metricslosseach") + 4 * 8
    assert content_bytes(content()) == arrays + metrics + len("config")
    assert content_bytes(content(key="text")) == content_bytes(content()) + len("keytext")
    assert content_bytes(content(key=[1, 2])) == content_bytes(content()) + len("key") + 16


def test_what_is_asked_for_passes_and_a_byte_more_does_not() -> None:
    free = 4 * 10 + BESIDES_ARRAYS - content_bytes(content(key=b""))
    check_size(content(key=bytes(free)), 10)
    with pytest.raises(ReplyError, match=f"may have {BESIDES_ARRAYS + 40} bytes here, got"):
        check_size(content(key=bytes(free + 1)), 10)
