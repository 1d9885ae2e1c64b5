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
from fl.errors import FailedRoundError, ReplyError, RunError
from fl.message_size import check_size
from fl.privacy.central_gaussian import CentralGaussian
from fl.privacy.client_account import ClientAccounts
from fl.privacy.release_log import ReleaseLog
from fl.reasons import one_line
from fl.settings import DistillSettings, StrategySettings
from fl.task import ClientReport
from fl.wire import array_record, client_record, read_array, read_report, size_bytes, task_records
from server.aggregation import mean_losses, mean_of_holders
from server.aggregators.limits import fewest_replies
from server.aggregators.replies import Combined, Replies
from server.aggregators.rules import RULES
from server.closing import Closing
from server.enrolment import EnrolledFleet
from server.fleet import WeakPart
from server.gate import Expectation, check_report
from server.sampling import sample_clients, sample_spares


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
        spares: of those sampled, who was asked beyond the plan.
        unused: spares that were not needed.
        down_bytes: sent to all clients.
        up_bytes: received from all clients.
    """

    sampled: list[int] = field(default_factory=list)
    replied: list[int] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    stragglers: list[int] = field(default_factory=list)
    spares: list[int] = field(default_factory=list)
    unused: list[int] = field(default_factory=list)
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
        privacy: the mechanism of a private run, which then aggregates; set ``learnt`` before each round too.
        accounts: of clients that make their own noise.
        releases: where they are written down before they are made; None where noise repeats.
    """

    def __init__(
        self,
        settings: StrategySettings,
        seed: int,
        distill: DistillSettings,
        declared_examples: Mapping[int, int],
        fleet: EnrolledFleet | None = None,
        privacy: CentralGaussian | None = None,
        accounts: ClientAccounts | None = None,
        releases: ReleaseLog | None = None,
    ) -> None:
        super().__init__(
            fraction_train=settings.fraction, min_available_nodes=1, proximal_mu=distill.proximal_mu
        )
        self.settings = settings
        self.batch_size = distill.batch_size
        self.seed = seed
        self.declared_examples = declared_examples
        self.fleet = fleet
        self.privacy = privacy
        self.accounts = accounts
        self.releases = releases
        self.learnt = np.empty(0, np.bool_)
        self.expected: Expectation | None = None
        self.weak: WeakPart | None = None
        self.ledger = Ledger()
        self.closing = Closing()
        self.reports: list[ClientReport] = []
        self.combined: Combined | None = None
        self._client_of: dict[int, int] = {}
        self._sent = np.empty(0, np.float32)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One message for each sampled client that does not drop out."""
        num_clients = len(self.declared_examples)
        private = self.privacy is not None
        secret = self.privacy is not None and self.privacy.settings.secret_noise
        sampled, stragglers, dropped = sample_clients(
            self.settings, self.seed, server_round, num_clients, poisson=private, secret=secret
        )
        spares, slow, lost = sample_spares(self.settings, self.seed, server_round, num_clients, sampled)
        nodes = self.connected(grid, {*sampled, *spares}.difference(dropped, lost))
        gone = {*dropped, *lost} | (set(range(num_clients)) - nodes.keys())
        order = [client for client in (*sampled, *spares) if client not in gone]
        self.ledger = Ledger(
            sampled=sorted((*sampled, *spares)),
            missing=sorted(gone.intersection((*sampled, *spares))),
            stragglers=sorted({*stragglers, *slow} - gone),
            spares=sorted(spares),
        )
        self.closing = Closing(order, frozenset(spares), len(sampled), self.settings.grace_s)
        self._client_of = {nodes[client]: client for client in order}
        self._sent = read_array(arrays, "state")
        full = (arrays, config)
        narrow = task_records(self.weak.task) if self.weak else full
        told = (self.fleet.teacher, self.fleet.store) if self.fleet else ("", "")
        shares = {
            True: client_record(self.settings.straggler_steps, *told),
            False: client_record(1.0, *told),
        }
        lifetime_s = self.settings.round_timeout_s if self.fleet else None  # no node begins a closed round
        messages = []
        for node, client in self._client_of.items():
            state, asked = narrow if self.is_weak(client) else full
            share = shares[client in self.ledger.stragglers]
            content = RecordDict({"arrays": state, "config": asked, "client": share})
            self.ledger.down_bytes += size_bytes(content)
            messages.append(
                Message(content, dst_node_id=node, message_type=MessageType.TRAIN, ttl=lifetime_s)
            )
        if self.accounts:
            steps = self.settings.straggler_steps
            asked_shares = {
                c: steps if c in self.ledger.stragglers else 1.0 for c in self._client_of.values()
            }
            if self.releases:
                self.releases.write(server_round, asked_shares)
            self.accounts.count_round(asked_shares)
        return messages

    @property
    def account(self) -> CentralGaussian | ClientAccounts | None:
        """What the run has spent, whoever makes the noise; None if nobody does."""
        return self.privacy or self.accounts

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The mean of the valid replies, weighted by examples, added in the order of client ids.

        Where widths differ, each value's is over those who hold it: see `mean_of_holders`. In a private run
        all weigh the same, see `CentralGaussian`, and a round that nobody answers is noise alone. With
        another ``strategy.aggregator`` its rule decides, and ``combined`` says what each reply counts.

        Raises:
            FailedRoundError: too few replies of the round are valid, for ``strategy.min_replies`` or for what
                the rule's theory asks; in a private run, none though some came.
        """
        self.reports, self.combined = [], None
        answered = {self._client_of[reply.metadata.src_node_id]: reply for reply in replies}
        self.ledger.unused = sorted(self.closing.unused)
        for client in sorted(self._client_of.values()):
            if client in answered and not answered[client].has_error():
                self.ledger.up_bytes += size_bytes(answered[client].content)
            if client in self.ledger.unused:
                continue
            if client not in answered:
                self.ledger.missing.append(client)
            else:
                self._judge(client, answered[client])
        self.ledger.missing.sort()
        if self.privacy is not None and (self.reports or not self.ledger.failed):
            return array_record(state=self._private_state(server_round, self.privacy)), MetricRecord()
        needed = fewest_replies(self.settings.aggregator, self.settings.num_byzantine)
        needed = max(needed, self.settings.min_replies)
        if len(self.reports) < needed:
            raise FailedRoundError(_too_few(server_round, self.ledger, needed))
        state = self._aggregate()
        return array_record(state=state), MetricRecord(dict(mean_losses(self.reports)))

    def _private_state(self, round_index: int, privacy: CentralGaussian) -> np.ndarray:
        """What the mechanism releases; the clients' losses are not part of it."""
        if self.releases:
            self.releases.write(round_index, {})
        if not privacy.clips:
            privacy.count_round()
            return mean_of_holders(self._sent, self.reports, None)
        states = [report.state for report in self.reports]
        return privacy.aggregate(round_index, self._sent, states, self.learnt)

    def _aggregate(self) -> np.ndarray:
        if self.settings.aggregator == "mean":
            return mean_of_holders(self._sent, self.reports, self.weak)
        states, examples = zip(*((report.state, report.num_examples) for report in self.reports), strict=True)
        replies = Replies(self._sent, list(states), list(examples), self.settings.num_byzantine)
        self.combined = RULES[self.settings.aggregator](replies)
        return self.combined.state

    def connected(self, grid: Grid, wanted: Iterable[int]) -> Mapping[int, int]:
        """Client -> node of all that could be asked now; devices that are ``wanted`` may take their time.

        Raises:
            RunError: without a fleet, not every client is there.
        """
        if self.fleet is not None:
            settings = self.settings
            return self.fleet.connected(grid, wanted, settings.rejoin_s, settings.round_timeout_s)
        there = set(grid.get_node_ids())
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

    def hear(self, reply: Message) -> tuple[int, bool] | None:
        """Whose reply it is, and whether it is valid; None: of nobody who was asked."""
        client = self._client_of.get(reply.metadata.src_node_id)
        if client is None or reply.has_error():
            return None if client is None else (client, False)
        if not self.closing.spares:
            return client, True  # the round waits for everybody, and judges when it adds
        try:
            self._read(client, reply)
        except ReplyError:
            return client, False
        return client, True

    def _judge(self, client: int, reply: Message) -> None:
        """Accept a reply, or write down why not."""
        if reply.has_error():
            stage, _, reason = one_line(reply.error.reason or "").partition(": ")
            self.ledger.failed.append(Failure(client, stage, reason))
            return
        try:
            report = self._read(client, reply)
        except ReplyError as error:
            self.ledger.failed.append(Failure(client, "gate", one_line(str(error))))
            return
        self.ledger.replied.append(client)
        self.reports.append(report)

    def _read(self, client: int, reply: Message) -> ClientReport:
        """The report in a reply, past the gate."""
        expected = self.weak.expected if self.weak and self.is_weak(client) else self.expected
        if expected is None:
            raise RunError("the strategy was not told what to expect of this round")
        check_size(reply.content, expected.num_values + expected.num_importances)
        report = read_report(reply.content, expected.mechanism)
        check_report(report, client, expected)
        return report


def _too_few(round_index: int, ledger: Ledger, min_replies: int) -> str:
    reasons = "; ".join(f"client {f.client_id}: {f.stage}: {f.reason}" for f in ledger.failed[:3])
    valid = "no valid reply" if not ledger.replied else f"{len(ledger.replied)} valid replies"
    wanted = f", {min_replies} are needed" if min_replies > 1 else ""
    return (
        f"round {round_index} has {valid}{wanted}: {len(ledger.failed)} failed, "
        f"{len(ledger.missing)} missing of {len(ledger.sampled)} sampled. {reasons}"
    )
