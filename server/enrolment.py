"""Before the first round on nodes that are not ours: who they are, and that all hold the run's teacher."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fl.devices import PROFILES
from fl.errors import ReplyError, RunError
from fl.message_size import check_size
from fl.reasons import one_line
from fl.state import teacher_digest
from fl.task import Enrolment
from fl.wire import client_record, read_enrolment, teacher_records
from models.architecture import Architecture

POLL_S = 1.0


@dataclass(frozen=True)
class TeacherParcel:
    """A teacher as it is sent.

    Attributes:
        architecture: of the network.
        state: (num_values,), float32, flat.
    """

    architecture: Architecture
    state: np.ndarray

    @property
    def digest(self) -> str:
        """SHA-256 of architecture and weights."""
        return teacher_digest(self.architecture.sha256, self.state)


@dataclass
class EnrolledFleet:
    """The nodes that take part.

    Attributes:
        teacher: digest of the run's teacher, which they all hold.
        store: digest of the store that simulated clients share; empty on devices.
        nodes: client -> node id.
        examples: client -> clips that it declared.
        devices: client -> name of its device's profile.
        refused: node id -> why it was refused.
    """

    teacher: str
    store: str = ""
    nodes: dict[int, int] = field(default_factory=dict)
    examples: dict[int, int] = field(default_factory=dict)
    devices: dict[int, str] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)

    def connected(
        self, grid: Grid, wanted: Iterable[int] = (), wait_s: float = 0.0, outage_s: float = 0.0
    ) -> dict[int, int]:
        """Client -> node of all that can be asked now.

        Args:
            grid: that reaches the nodes.
            wanted: clients whose nodes are waited for; those that did not enrol are not.
            wait_s: how long, if only some of them are cut off, s.
            outage_s: how long, if all of them are, s.
        """
        enrolled = self.nodes.keys() & set(wanted)
        started = time.monotonic()
        while True:
            there = set(grid.get_node_ids())
            found = {client: node for client, node in self.nodes.items() if node in there}
            limit = wait_s if enrolled & found.keys() else max(wait_s, outage_s)
            if enrolled <= found.keys() or time.monotonic() - started >= limit:
                return found
            time.sleep(POLL_S)


def wait_for_nodes(grid: Grid, num_nodes: int, wait_s: float) -> list[int]:
    """Ids of the nodes, once there are enough.

    Raises:
        RunError: too few in time.
    """
    deadline = time.monotonic() + wait_s
    while len(nodes := sorted(grid.get_node_ids())) < num_nodes:
        if time.monotonic() > deadline:
            raise RunError(
                f"{len(nodes)} of {num_nodes} nodes were connected after {wait_s:g} s; start the others"
            )
        time.sleep(POLL_S)
    return nodes


def enrol_nodes(
    grid: Grid,
    nodes: Iterable[int],
    parcel: TeacherParcel,
    num_clients: int,
    timeout_s: float,
    tell: Callable[[str], None],
    store: str = "",
    names: Mapping[int, str] = MappingProxyType({}),
) -> EnrolledFleet:
    """Ask every node who it is, and send the teacher to those that do not hold it.

    Args:
        grid: that reaches the nodes.
        nodes: their ids.
        parcel: the run's teacher.
        num_clients: numbers of clients are below this.
        timeout_s: for each of the two questions: a node reads its videos when it is asked first.
        tell: told a line about each node that is refused.
        store: see `EnrolledFleet`.
        names: node id -> the name by which it is known; nodes that have none go by their id.

    Raises:
        RunError: no node is left.
    """
    fleet = EnrolledFleet(parcel.digest, store)
    client = client_record(1.0, fleet.teacher, store)
    asked = {node: RecordDict({"client": client}) for node in nodes}
    first = _ask(grid, "enrol", asked, timeout_s, fleet)
    lacking = [node for node, enrolment in first.items() if enrolment.teacher != fleet.teacher]
    parcels = dict.fromkeys(lacking, teacher_records(parcel.architecture, parcel.state, client))
    second = _ask(grid, "teacher", parcels, timeout_s, fleet) if lacking else {}
    for node in sorted(first.keys() - set(lacking) | second.keys()):
        _admit(fleet, node, second.get(node, first[node]), num_clients)
    refused = [f"{names.get(node, f'node {node}')}: {reason}" for node, reason in fleet.refused.items()]
    for line in refused:
        tell(f"Refused {line}")
    if not fleet.nodes:
        raise RunError(f"no node could enrol: {'; '.join(refused) or 'none was connected'}")
    return fleet


def _ask(
    grid: Grid, action: str, contents: Mapping[int, RecordDict], timeout_s: float, fleet: EnrolledFleet
) -> dict[int, Enrolment]:
    """Node -> its answer; the others are refused."""
    messages = [
        Message(content, dst_node_id=node, message_type=f"{MessageType.QUERY}.{action}")
        for node, content in contents.items()
    ]
    answers: dict[int, Enrolment] = {}
    silent = set(contents)
    for reply in grid.send_and_receive(messages, timeout=timeout_s):
        node = reply.metadata.src_node_id
        if node not in silent:
            continue  # the SuperLink's own, of a node that went offline
        silent.discard(node)
        try:
            if reply.has_error():
                raise ReplyError(reply.error.reason or "no reason was given")
            check_size(reply.content, 0)
            answers[node] = read_enrolment(reply.content)
        except ReplyError as error:
            fleet.refused[node] = one_line(str(error))
    fleet.refused.update(dict.fromkeys(sorted(silent), f"no answer in {timeout_s:g} s, or cut off"))
    return answers


def _admit(fleet: EnrolledFleet, node: int, told: Enrolment, num_clients: int) -> None:
    """Take a node in, or write down why not."""
    client = told.client_id
    if told.teacher != fleet.teacher:
        reason = f"it holds the teacher {told.teacher[:12] or 'none'}, the run has {fleet.teacher[:12]}"
    elif not 0 <= client < num_clients:
        reason = f"its number must be below partition.num_clients = {num_clients}, got {client}"
    elif client in fleet.nodes:
        reason = f"client {client} is node {fleet.nodes[client]} already: give each node a number of its own"
    elif told.num_examples < 1:
        reason = f"client {client} has no clip"
    elif told.device not in PROFILES:
        reason = f"client {client} names an unknown device"
    else:
        fleet.nodes[client], fleet.examples[client] = node, told.num_examples
        fleet.devices[client] = told.device
        return
    fleet.refused[node] = reason
