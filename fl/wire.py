"""RoundTask and ClientReport as Flower records and back; raw little-endian bytes, never pickle.

A task is three records: ``arrays`` (the flat state, one object for all clients of a round),
``config`` (the same for all) and ``client`` (what differs). A report is ``arrays``, ``metrics`` and
``config``. What comes from a client has the fields of `fl.privacy.data_flow`, and no others.
"""

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from fl.errors import ReplyError
from fl.privacy.data_flow import check_incoming, outgoing
from fl.task import LOSS_KEYS, ClientReport, Enrolment, RoundTask
from models.architecture import Architecture

STYPE = "fedpin.raw"
_NONE = -1.0

Fields = dict[str, np.ndarray | int | float | str | None]
"""Key -> what a message holds under it; None: nothing."""


def array_record(**arrays: np.ndarray) -> ArrayRecord:
    """One-dimensional float32 arrays as raw bytes."""
    return ArrayRecord(
        {
            key: Array("float32", tuple(value.shape), STYPE, np.ascontiguousarray(value, "<f4").tobytes())
            for key, value in arrays.items()
        }
    )


def read_array(record: ArrayRecord, key: str) -> np.ndarray:
    """A read-only view of one array of a record.

    Raises:
        ReplyError: missing, of another type, or not as long as it says.
    """
    array = record.get(key)
    if array is None:
        raise ReplyError(f"array {key!r} is missing")
    if array.stype != STYPE or array.dtype != "float32":
        raise ReplyError(f"array {key!r} must be float32 in {STYPE}, got {array.dtype} in {array.stype}")
    if len(array.shape) != 1 or len(array.data) != 4 * array.shape[0]:
        raise ReplyError(f"array {key!r} says shape {tuple(array.shape)} but holds {len(array.data)} bytes")
    return np.frombuffer(array.data, dtype="<f4")


def task_records(task: RoundTask) -> tuple[ArrayRecord, ConfigRecord]:
    """The two records that all clients of a round share."""
    config = ConfigRecord(
        {
            "round-index": task.round_index,
            "architecture": task.architecture.to_json(),
            "schema": task.schema,
            "learning-rate": task.learning_rate,
            "measure-importance": task.measure_importance,
            "quantize": task.quantize,
        }
    )
    return array_record(state=task.state), config


def client_record(step_share: float, teacher: str = "", store: str = "") -> ConfigRecord:
    """The record that differs from client to client.

    Args:
        step_share: see `RoundTask`.
        teacher: digest of the run's teacher; only for clients that were sent it.
        store: digest of the store that simulated clients share; see `clients.device.open_device`.
    """
    return ConfigRecord({"step-share": step_share, "teacher": teacher, "store": store})


def read_digests(content: RecordDict) -> tuple[str, str]:
    """Digests of the teacher and of the simulated clients' store: what `client_record` was told."""
    record = content.config_records["client"]
    return str(record["teacher"]), str(record["store"])


def read_task(content: RecordDict) -> RoundTask:
    """The task in a message."""
    config = content.config_records["config"]
    return RoundTask(
        round_index=_whole(config, "round-index"),
        architecture=Architecture.from_json(str(config["architecture"])),
        state=read_array(content.array_records["arrays"], "state"),
        schema=str(config["schema"]),
        learning_rate=_number(config, "learning-rate"),
        step_share=_number(content.config_records["client"], "step-share"),
        measure_importance=bool(config["measure-importance"]),
        quantize=bool(config["quantize"]),
    )


def teacher_records(architecture: Architecture, state: np.ndarray, client: ConfigRecord) -> RecordDict:
    """A whole teacher as the content of a message; ``client`` is a `client_record` with its digest."""
    config = ConfigRecord({"architecture": architecture.to_json()})
    return RecordDict({"arrays": array_record(state=state), "config": config, "client": client})


def read_teacher(content: RecordDict) -> tuple[str, np.ndarray]:
    """Canonical JSON of the architecture, and the flat state, of a message with a teacher."""
    state = read_array(content.array_records["arrays"], "state")
    return str(content.config_records["config"]["architecture"]), state


def enrolment_records(enrolment: Enrolment) -> RecordDict:
    """An enrolment as the content of a reply."""
    fields: Fields = {
        "client-id": enrolment.client_id,
        "num-examples": enrolment.num_examples,
        "device": enrolment.device,
        "teacher": enrolment.teacher,
    }
    return _content(outgoing("enrolment", fields, "none"))


def read_enrolment(content: RecordDict) -> Enrolment:
    """The enrolment in a reply, with its types checked and nothing else.

    Raises:
        ReplyError: a record or a key is missing or of the wrong type.
    """
    try:
        metrics, config = content.metric_records["metrics"], content.config_records["config"]
        device, teacher = config["device"], config["teacher"]
    except KeyError as error:
        raise ReplyError(f"the reply lacks {error}") from error
    if not isinstance(device, str) or not isinstance(teacher, str):
        raise ReplyError(f"device and teacher must be text, got {device!r} and {teacher!r}")
    return Enrolment(_whole(metrics, "client-id"), _whole(metrics, "num-examples"), device, teacher)


def report_records(report: ClientReport, mechanism: str = "none") -> RecordDict:
    """A report as the content of a reply: what may leave the client under a ``privacy.mechanism``."""
    fields: Fields = {
        "state": report.state,
        "importance": report.importance,
        "client-id": report.client_id,
        "num-examples": report.num_examples,
        "num-steps": report.num_steps,
        "seconds": report.seconds,
        "int8-agreement": _NONE if report.int8_agreement is None else report.int8_agreement,
        **{key: float(value) for key, value in report.losses.items()},
        "schema": report.schema,
    }
    return _content(outgoing("report", fields, mechanism))


def read_report(content: RecordDict, mechanism: str = "none") -> ClientReport:
    """The report in a reply, with its types checked and nothing else: the gate judges the values.

    Args:
        content: of the reply.
        mechanism: ``privacy.mechanism``; what it withholds is empty, or None.

    Raises:
        ReplyError: a record or a key is missing, of the wrong type, or should not have been sent.
    """
    try:
        arrays = content.array_records["arrays"]
        metrics = content.metric_records["metrics"]
        config = content.config_records["config"]
    except KeyError as error:
        raise ReplyError(f"the reply lacks {error}") from error
    names = frozenset(key for record in content.values() for key in record)
    check_incoming("report", names, mechanism)
    agreement = _number(metrics, "int8-agreement") if "int8-agreement" in names else _NONE
    return ClientReport(
        client_id=_whole(metrics, "client-id"),
        num_examples=_whole(metrics, "num-examples"),
        num_steps=_whole(metrics, "num-steps"),
        state=read_array(arrays, "state"),
        schema=str(config["schema"]),
        losses={key: _number(metrics, key) for key in LOSS_KEYS if key in names},
        seconds=_number(metrics, "seconds") if "seconds" in names else None,
        importance=read_array(arrays, "importance") if "importance" in names else np.empty(0, np.float32),
        int8_agreement=None if agreement == _NONE else agreement,
    )


def _content(fields: Fields) -> RecordDict:
    """Records of a reply: arrays, then numbers, then text."""
    records = RecordDict()
    arrays = {key: value for key, value in fields.items() if isinstance(value, np.ndarray)}
    if arrays:
        records["arrays"] = array_record(**arrays)
    numbers = {key: value for key, value in fields.items() if isinstance(value, int | float)}
    records["metrics"] = MetricRecord(dict(numbers))
    records["config"] = ConfigRecord({key: value for key, value in fields.items() if isinstance(value, str)})
    return records


def size_bytes(content: RecordDict) -> int:
    """Bytes of a message's arrays: what dominates the wire."""
    return sum(len(array.data) for record in content.array_records.values() for array in record.values())


def _whole(record: ConfigRecord | MetricRecord, key: str) -> int:
    value = record.get(key)
    if type(value) is not int:
        raise ReplyError(f"{key} must be an integer, got {value!r}")
    return value


def _number(record: ConfigRecord | MetricRecord, key: str) -> float:
    value = record.get(key)
    if type(value) not in (int, float):
        raise ReplyError(f"{key} must be a number, got {value!r}")
    return float(value)  # type: ignore[arg-type]
