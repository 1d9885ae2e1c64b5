"""What one line of ``rounds.jsonl`` holds: the public interface of a run's records.

Keys marked ``NotRequired`` are extras that not every run has; all others are always there, null where the
round has no such thing. A key that is not documented here is refused, so a slip of the pen cannot get lost.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, NotRequired, TypedDict, get_args, get_type_hints, is_typeddict

import numpy as np

from fl.errors import RunError
from sim.round_parts import Adversary, Aggregation, Privacy, Prune


class Seconds(TypedDict):
    """Measured time of a round in s: the clients' part, the server's evaluation, all of it."""

    train: float | None
    evaluate: float | None
    wall: float | None


class Failure(TypedDict):
    """A client whose work does not count, the stage that failed, and why."""

    client_id: int
    stage: str
    reason: str


class Clients(TypedDict):
    """Who took part, as client ids; ``stragglers`` (simulated) did fewer steps, and are in ``replied``.

    Each of ``sampled`` is in one of ``replied``, ``failed``, ``missing`` and ``unused``; ``spares`` were
    asked beyond the plan. Not ``aggregated``: too few valid replies; the student is that of before.
    """

    sampled: list[int]
    replied: list[int]
    failed: list[Failure]
    missing: list[int]
    stragglers: NotRequired[list[int]]
    spares: NotRequired[list[int]]
    unused: NotRequired[list[int]]
    aggregated: NotRequired[bool]


class Train(TypedDict):
    """Mean losses of the clients' last local epoch, weighted by examples; ``loss`` is their weighted sum."""

    loss: float | None
    loss_hard: float | None
    loss_soft: float | None
    loss_attention: float | None
    loss_proximal: float | None


class Student(TypedDict):
    """The global student after the round; ``size_bytes`` is that of its float weights."""

    architecture_sha256: str | None
    weights_sha256: str | None
    num_parameters: int | None
    macs: int | None
    size_bytes: int | None


class Detection(TypedDict):
    """Float student on the test split, as `fl.metrics.detection.DetectionMetrics`."""

    accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    auc: float | None
    eer: float | None
    by_category: dict[str, Any] | None


class Eps(TypedDict):
    """EPS on the test split, as `fl.metrics.explanation.EpsSummary`."""

    mean: float | None
    rho: float | None
    iou: float | None
    p10: float | None
    ci95: list[float] | None
    shuffled: float | None
    num_constant: int | None
    above_shuffled: NotRequired[float | None]


class OnnxFloat(TypedDict):
    """The float student in ONNX Runtime: file size, latency at batch 1, metrics on the test split."""

    size_bytes: int | None
    latency_ms_p50: float | None
    latency_ms_p95: float | None
    accuracy: float | None
    auc: float | None
    f1: NotRequired[float | None]


class OnnxInt8(OnnxFloat):
    """The INT8 student; ``eps`` is its mean EPS, ``flips`` the number of verdicts that differ from float."""

    eps: float | None
    eps_shuffled: NotRequired[float | None]
    flips: int | None


class Onnx(TypedDict):
    """Both files, and the teacher's latency in the same session.

    Attributes:
        speedup_int8: the teacher's p50 over that of the INT8 student.
        max_difference: largest |logit| difference between PyTorch and the float file.
        client_agreement: share of clips on which the clients' own INT8 copies agree with float (last round).
        int8_recipe: how the INT8 file was made, "dynamic" or "static".
    """

    fp32: OnnxFloat | None
    int8: OnnxInt8 | None
    speedup_int8: float | None
    teacher_latency_ms_p50: float | None
    teacher_latency_ms_p95: NotRequired[float | None]
    max_difference: NotRequired[float | None]
    client_agreement: NotRequired[float | None]
    int8_recipe: NotRequired[str | None]


class Bytes(TypedDict):
    """Payload from the server to all clients, and back."""

    down: int | None
    up: int | None


class Simulated(TypedDict):
    """Time the round would take on the fleet's devices, s; not measured."""

    round_s: float | None
    by_device: dict[str, Any] | None


Measured = TypedDict(
    "Measured",
    {"student": Student | None, "global": Detection | None, "eps": Eps | None, "onnx": Onnx | None},
)
"""A student on the test split, in the keys of a round."""


class Weak(Measured):
    """The narrow student of the weak devices, cut from the global one after the round's aggregation.

    Its BatchNorm statistics are estimated on public clips, each round anew. The other keys are as in a round.

    Attributes:
        replied: ids of those in ``clients.replied`` that trained it.
        ratio: share of the global student's channels that it does without.
        since_round: the round after whose pruning its channels were chosen; 0: before the first.
        ranked_by: "clients", their votes of that round, or "server", the size of the weights.
    """

    replied: list[int]
    ratio: float
    since_round: int
    ranked_by: str


RoundRecord = TypedDict(
    "RoundRecord",
    {
        "round_index": int,
        "seconds": Seconds | None,
        "clients": Clients | None,
        "train": Train | None,
        "student": Student | None,
        "global": Detection | None,
        "eps": Eps | None,
        "onnx": Onnx | None,
        "bytes": Bytes | None,
        "simulated": Simulated | None,
        "privacy": Privacy | None,
        "prune": NotRequired[Prune | None],
        "weak": NotRequired[Weak | None],
        "aggregation": NotRequired[Aggregation | None],
        "adversary": NotRequired[Adversary | None],
    },
)
"""One line of ``rounds.jsonl``, a public interface; rounds count from 1; null: there is no such thing."""


def complete_round(record: Mapping[str, Any]) -> RoundRecord:
    """The record with every key of `RoundRecord`, null where it is missing, in plain JSON types.

    Dataclasses and numpy scalars are turned into plain values.

    Raises:
        RunError: a key is not documented in this module, or a number is not finite.
    """
    index = plain(record.get("round_index"), "round_index")
    if not isinstance(index, int):
        raise RunError(f"round_index must be a whole number, got {index!r}")
    completed: RoundRecord = _complete(record, RoundRecord, "")
    return completed


def plain(value: object, path: str) -> Any:
    """``value`` as JSON holds it: dataclasses become dictionaries, numpy scalars Python numbers.

    Raises:
        RunError: a number is not finite, or JSON has no such type; ``path`` leads to it.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name), f"{path}.{f.name}") for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, (np.generic, np.ndarray)):
        return plain(value.tolist(), path)
    if isinstance(value, float) and not math.isfinite(value):
        raise RunError(f"{path} must be finite, got {value}; record null where it is undefined")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    raise RunError(f"{path} must be a JSON value, got {type(value).__name__}")


def _complete(value: object, kind: Any, path: str) -> Any:
    """``value`` with the keys of the TypedDict ``kind``; anything of another kind is only made plain."""
    if value is None or not is_typeddict(kind):
        return plain(value, path)
    if dataclasses.is_dataclass(value):
        value = plain(value, path)
    if not isinstance(value, Mapping):
        raise RunError(f"{path} must be an object with keys, got {type(value).__name__}")
    hints = get_type_hints(kind)
    for key in value:
        if key not in hints:
            known = ", ".join(hints)
            where = f"{path}.{key}".lstrip(".")
            raise RunError(f"rounds.jsonl has no key {where} (known: {known}); document it in RoundRecord")
    wanted = [key for key in hints if key in value or key in kind.__required_keys__]
    return {key: _complete(value.get(key), _inner(hints[key]), f"{path}.{key}".lstrip(".")) for key in wanted}


def _inner(hint: Any) -> Any:
    """The TypedDict of ``X | None``, else the hint itself."""
    if isinstance(hint, UnionType):
        return next((kind for kind in get_args(hint) if is_typeddict(kind)), hint)
    return hint
