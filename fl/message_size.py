"""How large a message may be: checked before anything in it is read."""

from collections.abc import Iterable

from flwr.app import ConfigRecord, MetricRecord, RecordDict

from fl.errors import ReplyError

BESIDES_ARRAYS = 2**20
"""Of keys, numbers and text of a message together; an architecture's JSON has some 10,000."""


def content_bytes(content: RecordDict) -> int:
    """Bytes of all arrays, keys, texts and numbers of a message, extra ones included."""
    total = 0
    for name, record in content.items():
        total += len(name)
        if isinstance(record, ConfigRecord | MetricRecord):
            total += sum(len(key) + _value_bytes(value) for key, value in record.items())
        else:
            total += sum(len(key) + len(array.data) for key, array in record.items())
    return total


def check_size(content: RecordDict, num_values: int) -> None:
    """Refuse a message that is larger than what was asked for.

    Args:
        content: of the message, from the wire.
        num_values: float32 values that its arrays may have together.

    Raises:
        ReplyError: with the limit and the size, in bytes.
    """
    limit, size = 4 * num_values + BESIDES_ARRAYS, content_bytes(content)
    if size > limit:
        raise ReplyError(f"a message may have {limit} bytes here, got {size}")


def _value_bytes(value: object) -> int:
    """Eight for a number, the length of a text, the sum over a list."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Iterable):
        return sum(map(_value_bytes, value))
    return 8
