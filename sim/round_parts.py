"""Parts of a round's record that only some runs have: privacy, pruning, robust rules, malicious clients."""

from typing import NotRequired, TypedDict


class ClientSpending(TypedDict):
    """What one client has spent that makes its own noise; ``num_releases`` counts steps, or rounds."""

    client_id: int
    epsilon_pld: float | None
    epsilon_rdp: float | None
    noise_multiplier: float
    sampling_rate: float
    num_releases: int


class Privacy(TypedDict):
    """What all rounds so far have spent, and how; null without privacy.

    Attributes:
        epsilon: the tighter bound, of the client that spent most; null: no noise, so nothing bounds it.
        delta: that it holds for.
        mechanism: "central_gaussian", "local_gaussian" or "dp_sgd".
        unit: whom it protects: "client", all clips of one, or "clip".
        epsilon_pld: by privacy loss distributions.
        epsilon_rdp: by Rényi divergence.
        noise_multiplier: of all that the round released, over its sensitivity; the least of all clients.
        sampling_rate: probability with which a client took part.
        expected_clients: on average in a round.
        clip_norm: of the clients' updates in this round, or of the clips' gradients.
        clients: what each has spent, where clients make their own noise.
        share_clipped: of the updates, with noise; only with adaptive clipping, which pays for it.
        num_broken: releases of rounds that were broken off and done again with other noise, which are
            counted too; only where there are any.
    """

    epsilon: float | None
    delta: float | None
    mechanism: NotRequired[str]
    unit: NotRequired[str]
    epsilon_pld: NotRequired[float | None]
    epsilon_rdp: NotRequired[float | None]
    noise_multiplier: NotRequired[float]
    sampling_rate: NotRequired[float]
    expected_clients: NotRequired[float]
    clip_norm: NotRequired[float]
    share_clipped: NotRequired[float]
    clients: NotRequired[list[ClientSpending]]
    num_broken: NotRequired[int]


class Prune(TypedDict):
    """Present if the student shrank after this round's aggregation.

    Attributes:
        ratio: share of what ``ratio_of`` names that was to be gone after this round.
        ratio_of: "channels", "parameters", "macs" or "latency".
        removed_channels: in this round; a head counts as many as it is wide.
        voters: ids of the clients whose votes counted; empty where the server decided without them.
        clipped: ids of those whose votes were cut, so that one client cannot decide alone.
        optimizer_state: "reset": clients make optimisers anew each round, nothing is carried over.
    """

    ratio: float | None
    removed_channels: int | None
    ratio_of: NotRequired[str | None]
    voters: NotRequired[list[int] | None]
    clipped: NotRequired[list[int] | None]
    optimizer_state: NotRequired[str | None]


class Aggregation(TypedDict):
    """Present where ``strategy.aggregator`` is not the mean: what the rule did with the replies.

    Attributes:
        aggregator: its name.
        num_byzantine: bad clients that it was told to withstand.
        fewest_replies: what its theory asks for; with fewer the round fails.
        weights: of each client in ``clients.replied``, what its reply counts, as in
            `server.aggregators.replies.Combined`; null: the round failed.
        left_out: ids of those that count for less than half of an equal share.
    """

    aggregator: str
    num_byzantine: int
    fewest_replies: int
    weights: list[float] | None
    left_out: list[int]


class Adversary(TypedDict):
    """Present where clients are malicious: who, what became of their replies, and whether they had success.

    Only the record knows who they are; gate and aggregators do not. For gate and rule, ``malicious_`` are the
    true positives and ``honest_`` the false ones.

    Attributes:
        kind: what they do, `fl.settings.adversary.KINDS`.
        malicious: ids, of all clients.
        malicious_refused: of them, those whose reply the gate refused.
        malicious_left_out: those whom the rule left out.
        malicious_counted: those whose replies passed both.
        honest_refused: honest clients that the gate refused.
        honest_left_out: honest clients that the rule left out.
        attack_success: of a backdoor, share of the test clips with the trigger that are called its target,
            though they are not; else share of the fake test clips that are called real. Float student,
            after pruning.
        without_trigger: the same share of the same clips as they are.
    """

    kind: str
    malicious: list[int]
    malicious_refused: list[int]
    malicious_left_out: list[int]
    malicious_counted: list[int]
    honest_refused: list[int]
    honest_left_out: list[int]
    attack_success: float | None
    without_trigger: float | None
