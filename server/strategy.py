"""FedProx on Flower's strategy, made deterministic: who is sampled, and in which order replies are added.

Li et al. 2020, Federated Optimization in Heterogeneous Networks (FedProx): the work of stragglers
is kept, and the proximal term at the client holds it near the global student.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedProx

from fl.devices import PROFILES, DeviceProfile, profile_of
from fl.errors import ReplyError, RunError
from fl.settings import DistillSettings, StrategySettings
from fl.task import ClientReport
from fl.wire import array_record, client_record, read_array, read_report, size_bytes, task_records
from server.aggregation import mean_losses, mean_of_holders
from server.enrolment import EnrolledFleet
from server.fleet import WeakPart
from server.gate import Expectation, check_report
from server.sampling import sample_clients


@dataclass(frozen=True)
class Failure:
    """A client whose work of a round is lost, at which stage, and why."""

    client_id: int
    stage: str
    reason: str


@dataclass
class Ledger:
    """Who took part in a round; client ids in rising order.

    Attributes:
        sampled: chosen for the round.
        replied: whose replies passed the gate.
        failed: who answered with an error or with a reply that the gate refused.
        missing: of whom nothing came: simulated drop-outs and replies after the time limit.
        stragglers: simulated: who was asked for fewer steps.
        down_bytes: sent to all clients.
        up_bytes: received from all clients.
    """

    sampled: list[int] = field(default_factory=list)
    replied: list[int] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    stragglers: list[int] = field(default_factory=list)
    down_bytes: int = 0
    up_bytes: int = 0


class DeterministicFedProx(FedProx):
    """Flower's FedProx with sampling by (seed, round), a gate, a ledger, and an ordered sum.

    Set ``expected`` before each round, and ``weak`` where some clients train a narrower student. After
    `aggregate_train`, ``ledger`` and ``reports`` tell of the round. Node ids in rising order stand for
    partition ids 0, 1, ... unless ``fleet`` says whose node is whose: then a client whose node is not
    connected is missing in that round.

    Args:
        settings: sampling, stragglers, drop-outs.
        seed: the run's.
        distill: batch size and proximal term.
        declared_examples: clips of each client, by its number: 0, 1, ...
        fleet: nodes that enrolled; None where all clients are in processes of our own.
    """

    def __init__(
        self,
        settings: StrategySettings,
        seed: int,
        distill: DistillSettings,
        declared_examples: Mapping[int, int],
        fleet: EnrolledFleet | None = None,
    ) -> None:
        super().__init__(
            fraction_train=settings.fraction, min_available_nodes=1, proximal_mu=distill.proximal_mu
        )
        self.settings = settings
        self.batch_size = distill.batch_size
        self.seed = seed
        self.declared_examples = declared_examples
        self.fleet = fleet
        self.expected: Expectation | None = None
        self.weak: WeakPart | None = None
        self.ledger = Ledger()
        self.reports: list[ClientReport] = []
        self._client_of: dict[int, int] = {}
        self._sent = np.empty(0, np.float32)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One message for each sampled client that does not drop out."""
        num_clients = len(self.declared_examples)
        nodes = self.connected(grid)
        sampled, stragglers, dropped = sample_clients(self.settings, self.seed, server_round, num_clients)
        missing = [client for client in sampled if client in dropped or client not in nodes]
        stragglers = [client for client in stragglers if client not in missing]
        self.ledger = Ledger(sampled=sampled, missing=missing, stragglers=stragglers)
        self._client_of = {nodes[client]: client for client in sampled if client not in missing}
        self._sent = read_array(arrays, "state")
        full = (arrays, config)
        narrow = task_records(self.weak.task) if self.weak else full
        told = (self.fleet.teacher, self.fleet.store) if self.fleet else ("", "")
        shares = {
            True: client_record(self.settings.straggler_steps, *told),
            False: client_record(1.0, *told),
        }
        messages = []
        for node, client in self._client_of.items():
            state, asked = narrow if self.is_weak(client) else full
            content = RecordDict({"arrays": state, "config": asked, "client": shares[client in stragglers]})
            self.ledger.down_bytes += size_bytes(content)
            messages.append(Message(content, dst_node_id=node, message_type=MessageType.TRAIN))
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The mean of the valid replies, weighted by examples, added in the order of client ids.

        Where widths differ, each value's is over those who hold it: see `mean_of_holders`.

        Raises:
            RunError: no reply of the round is valid.
        """
        self.reports = []
        answered = {self._client_of[reply.metadata.src_node_id]: reply for reply in replies}
        for client in sorted(self._client_of.values()):
            if client not in answered:
                self.ledger.missing.append(client)
            else:
                self._judge(client, answered[client])
        self.ledger.missing.sort()
        if not self.reports:
            raise RunError(_nobody(server_round, self.ledger))
        state = mean_of_holders(self._sent, self.reports, self.weak)
        return array_record(state=state), MetricRecord(dict(mean_losses(self.reports)))

    def connected(self, grid: Grid) -> Mapping[int, int]:
        """Client -> node of all that could be asked now.

        Raises:
            RunError: without a fleet, not every client is there.
        """
        there = set(grid.get_node_ids())
        if self.fleet is not None:
            return {client: node for client, node in self.fleet.nodes.items() if node in there}
        if len(there) != len(self.declared_examples):
            raise RunError(
                f"{len(there)} of {len(self.declared_examples)} clients are connected; start the others first"
            )
        return dict(enumerate(sorted(there)))

    def device_of(self, client: int) -> DeviceProfile:
        """The device of a client: what its node says, else by turns."""
        told = self.fleet.devices.get(client) if self.fleet else None
        return PROFILES[told] if told else profile_of(client)

    def is_weak(self, client: int) -> bool:
        """Whether a client trains the narrow student this round."""
        return self.weak is not None and client in self.weak.clients

    @property
    def voters(self) -> list[ClientReport]:
        """Reports of those who train the global student at its full width, and so can judge all of it."""
        return [report for report in self.reports if not self.is_weak(report.client_id)]

    def _judge(self, client: int, reply: Message) -> None:
        """Accept a reply, or write down why not."""
        if reply.has_error():
            stage, _, reason = (reply.error.reason or "").partition(": ")
            self.ledger.failed.append(Failure(client, stage, reason))
            return
        self.ledger.up_bytes += size_bytes(reply.content)
        try:
            expected = self.weak.expected if self.weak and self.is_weak(client) else self.expected
            if expected is None:
                raise RunError("the strategy was not told what to expect of this round")
            report = read_report(reply.content, expected.mechanism)
            check_report(report, client, expected)
        except ReplyError as error:
            self.ledger.failed.append(Failure(client, "gate", str(error)))
            return
        self.ledger.replied.append(client)
        self.reports.append(report)


def _nobody(round_index: int, ledger: Ledger) -> str:
    reasons = "; ".join(f"client {f.client_id}: {f.stage}: {f.reason}" for f in ledger.failed[:3])
    return (
        f"round {round_index} has no valid reply: {len(ledger.failed)} failed, "
        f"{len(ledger.missing)} missing of {len(ledger.sampled)} sampled. {reasons}"
    )
