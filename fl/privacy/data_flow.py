"""What leaves a client, field by field, under each mechanism; the wire sends nothing that is not listed here.

Whoever adds a field to a message has to say here what it tells of the clips: `fl.wire` refuses to write or
to read any other. Under a mechanism of differential privacy a field that the accountant does not cover and
that is not public is withheld: it is not in the message at all.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

from fl.errors import ReplyError
from fl.task import LOSS_KEYS

Value = TypeVar("Value")


class Treatment(StrEnum):
    """How a field leaves a client.

    Attributes:
        CLEAR: as it is; says something of the clips.
        PUBLIC: as it is; follows from the settings, the task, and the number of clips, which is declared
            before the first round and taken as public.
        TRUSTED: as it is, to a server that is trusted to cut it and to add the noise.
        NOISED: cut and noised by the client, and accounted.
        WITHHELD: not sent.
    """

    CLEAR = "in the clear"
    PUBLIC = "public"
    TRUSTED = "in the clear to the trusted server, which adds noise"
    NOISED = "noised by the client"
    WITHHELD = "not sent"


MECHANISMS = ("none", "central_gaussian", "local_gaussian", "dp_sgd")
"""Of ``privacy.mechanism``, in the order of a row's treatments."""

UNITS: Mapping[str, str] = MappingProxyType(
    {
        "none": "nothing is protected",
        "central_gaussian": "one client, with all its clips",
        "local_gaussian": "all clips of a client: any of them may be exchanged",
        "dp_sgd": "one clip",
    }
)
"""Mechanism -> whom it protects."""

SENSITIVITY: Mapping[str, str] = MappingProxyType(
    {
        "central_gaussian": "clip_norm: the norm of one client's update",
        "local_gaussian": "2 clip_norm: from any update to any other, each of norm clip_norm",
        "dp_sgd": "clip_norm in each step: the norm of one clip's gradient",
    }
)
"""Mechanism -> how far one unit can move what is noised, in the Euclidean norm."""

NOT_COVERED = (
    "whether and when a client answers, and that its work failed",
    "the number of its clips, which it declares before the first round",
    "the seed: who knows it knows the noise, unless privacy.secret_noise is set",
    "that the noise is rounded (Mironov 2012) and its generator not cryptographic",
)
"""What no mechanism here protects."""


@dataclass(frozen=True)
class Field:
    """A field of a message from a client to the server.

    Attributes:
        message: "report", "enrolment" or "error".
        name: its key on the wire.
        content: what it holds.
        treatments: one for each of `MECHANISMS`.
    """

    message: str
    name: str
    content: str
    treatments: tuple[Treatment, Treatment, Treatment, Treatment]


_CLEAR, _PUBLIC, _TRUSTED, _NOISED, _WITHHELD = Treatment
_ONLY_WITHOUT = (_CLEAR, _WITHHELD, _WITHHELD, _WITHHELD)
_ALWAYS_PUBLIC = (_PUBLIC, _PUBLIC, _PUBLIC, _PUBLIC)
_COUNTED = (_CLEAR, _PUBLIC, _PUBLIC, _PUBLIC)

FIELDS = (
    Field("enrolment", "client-id", "its number in the run", _ALWAYS_PUBLIC),
    Field("enrolment", "num-examples", "clips in its shard, declared once", _COUNTED),
    Field("enrolment", "device", "name of its device's profile", _ALWAYS_PUBLIC),
    Field("enrolment", "teacher", "digest of the teacher that it holds", _ALWAYS_PUBLIC),
    Field("report", "state", "its trained student", (_CLEAR, _TRUSTED, _NOISED, _NOISED)),
    Field("report", "importance", "its vote on what to prune", _ONLY_WITHOUT),
    Field("report", "client-id", "its number in the run", _ALWAYS_PUBLIC),
    Field("report", "num-examples", "as declared when it enrolled", _COUNTED),
    Field("report", "num-steps", "optimiser steps: from num-examples and the task", _COUNTED),
    Field("report", "schema", "digest of the task's names and shapes", _ALWAYS_PUBLIC),
    *(Field("report", key, "mean of a loss over its clips", _ONLY_WITHOUT) for key in LOSS_KEYS),
    Field("report", "seconds", "wall time of its work", _ONLY_WITHOUT),
    Field("report", "int8-agreement", "share of its clips on which INT8 decides as float", _ONLY_WITHOUT),
    Field("error", "stage", "at which its work failed", (_CLEAR, _CLEAR, _CLEAR, _CLEAR)),
    Field("error", "reason", "why its work failed, without the names of its folders", _ONLY_WITHOUT),
)
"""All that leaves a client."""


def sent_fields(message: str, mechanism: str) -> frozenset[str]:
    """Names of the fields of a message under a mechanism.

    Args:
        message: "report", "enrolment" or "error".
        mechanism: of `MECHANISMS`.
    """
    index = MECHANISMS.index(mechanism)
    return frozenset(
        field.name
        for field in FIELDS
        if field.message == message and field.treatments[index] is not Treatment.WITHHELD
    )


def outgoing(message: str, values: Mapping[str, Value], mechanism: str) -> dict[str, Value]:
    """The values that may leave a client under a mechanism; the others are dropped.

    Raises:
        KeyError: the message has a field that the table does not list, or lacks one.
    """
    known = sent_fields(message, "none")
    if set(values) != known:
        wrong = ", ".join(sorted(set(values) ^ known))
        raise KeyError(f"fields of a {message} and of fl.privacy.data_flow.FIELDS differ: {wrong}")
    allowed = sent_fields(message, mechanism)
    return {name: value for name, value in values.items() if name in allowed}


def check_incoming(message: str, names: frozenset[str], mechanism: str) -> None:
    """Refuse a message with other fields than the mechanism lets through.

    Raises:
        ReplyError: a field is missing, or should not have been sent.
    """
    expected = sent_fields(message, mechanism)
    if names - expected:
        raise ReplyError(
            f"{min(names - expected)!r} must not be sent under privacy.mechanism={mechanism}: "
            "it is not in the table of fl.privacy.data_flow"
        )
    if expected - names:
        raise ReplyError(f"{min(expected - names)!r} is missing")


def told_reason(reason: str, mechanism: str) -> str:
    """What a client tells of its failure: "stage: reason", and under a mechanism the stage alone.

    Args:
        reason: "stage: reason".
        mechanism: of `MECHANISMS`.
    """
    if "reason" in sent_fields("error", mechanism):
        return reason
    stage = reason.partition(": ")[0] if ": " in reason else "work"
    return f"{stage}: failed; privacy.mechanism={mechanism} keeps the reason at the client"


@dataclass(frozen=True)
class Flow:
    """A row of the table under one mechanism.

    Attributes:
        message: it is part of.
        name: its key.
        content: what it holds.
        treatment: how it leaves the client.
        sensitivity: how far one unit can move it; "0" where it does not depend on the clips, empty where
            it is not sent.
        seen_by: who can read it.
    """

    message: str
    name: str
    content: str
    treatment: str
    sensitivity: str
    seen_by: str


def data_flow(mechanism: str) -> tuple[Flow, ...]:
    """The table under one mechanism, a row for each field."""
    index = MECHANISMS.index(mechanism)
    return tuple(
        Flow(
            field.message,
            field.name,
            field.content,
            str(field.treatments[index]),
            _sensitivity(field.treatments[index], mechanism),
            "nobody" if field.treatments[index] is Treatment.WITHHELD else "server",
        )
        for field in FIELDS
    )


def data_flow_text(mechanism: str) -> str:
    """The table under one mechanism as aligned lines, with what it does not cover."""
    head = ("message", "field", "what it holds", "leaves the client", "sensitivity", "seen by")
    rows = [head, *(astuple(flow) for flow in data_flow(mechanism))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    title = f"What leaves a client under privacy.mechanism={mechanism}; unit of privacy: {UNITS[mechanism]}"
    left = [] if mechanism == "none" else ["Not covered: " + "; ".join(NOT_COVERED)]
    return "\n".join([title, *lines, *left])


def _sensitivity(treatment: Treatment, mechanism: str) -> str:
    if treatment is Treatment.WITHHELD:
        return ""
    if treatment is Treatment.CLEAR:
        return "unbounded"
    return "0" if treatment is Treatment.PUBLIC else SENSITIVITY[mechanism]
