"""Settings of the rounds: compression in the loop, strategy, grid, timing."""

from dataclasses import dataclass

from fl.devices import PROFILES
from fl.settings.limits import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, Limit, setting

AGGREGATORS = (
    "mean",
    "median",
    "trimmed_mean",
    "krum",
    "multi_krum",
    "bulyan",
    "geometric_median",
    "norm_clipping",
)
"""How replies become one state: see `server.aggregators.rules`."""


@dataclass(frozen=True)
class CompressSettings:
    """Pruning and quantisation in the loop."""

    prune_rounds: tuple[int, ...] = setting(
        (2, 3), doc="rounds after whose aggregation the student shrinks; empty: never"
    )
    prune_ratio: float = setting(
        0.65, Limit(low=0, high=1, high_open=True), doc="share of what ratio_of names that is gone in the end"
    )
    ratio_of: str = setting(
        "channels",
        Limit(choices=("channels", "parameters", "macs", "latency")),
        doc="what prune_ratio is a share of; latency: measured in ONNX Runtime on this machine",
    )
    ratio_schedule: str = setting(
        "linear",
        Limit(choices=("linear", "cubic")),
        doc="how the ratio rises over prune_rounds; cubic: most of it in the first of them",
    )
    targets: str = setting(
        "backbone",
        Limit(choices=("backbone", "attention", "feed_forward", "audio", "recurrent", "all")),
        doc="what is pruned: backbone channels, heads, hidden units, audio channels, GRU units",
    )
    importance: str = setting(
        "taylor",
        Limit(choices=("taylor", "l1", "l2", "random")),
        doc="what a vote measures: gradients, size of the weights, or nothing (control)",
    )
    voters: str = setting(
        "all",
        Limit(choices=("all", "one_client", "server", "random")),
        doc="whose votes count; server: no client's, from the weights alone; random: control",
    )
    vote_limit: float = setting(
        3.0, Limit(low=1), doc="a client's vote for a group is cut to this many times the clients' median"
    )
    prune_scope: str = setting(
        "global", Limit(choices=("global", "local")), doc="rank channels over all layers or within each"
    )
    round_to: int = setting(16, COUNT, doc="widths are multiples of this")
    min_channel_share: float = setting(
        0.2, Limit(low=0, high=1, low_open=True), doc="floor on every layer's width"
    )
    importance_batches: int = setting(4, COUNT, doc="batches of a client's Taylor importance")
    batchnorm_batches: int = setting(10, COUNT, doc="batches that re-estimate BatchNorm after pruning")
    int8: str = setting(
        "auto",
        Limit(choices=("auto", "dynamic", "static", "mixed", "weight_only")),
        doc="INT8 recipe; auto: the architecture's own; mixed: sweeps for what stays float",
    )
    calibration: str = setting(
        "two_class",
        Limit(choices=("two_class", "one_class")),
        doc="clips behind static INT8; one_class: an ablation, real clips only and the head quantised",
    )
    calibration_method: str = setting(
        "minmax",
        Limit(choices=("minmax", "percentile", "entropy")),
        doc="how static INT8 takes a tensor's range from the calibration clips",
    )
    calibration_clips: int = setting(
        64, Limit(low=32), doc="public clips of both classes that calibrate static INT8"
    )
    client_int8: bool = setting(
        True, doc="clients quantise their own students in the last round, and tell how far both agree"
    )


@dataclass(frozen=True)
class StrategySettings:
    """FedProx on Flower."""

    num_rounds: int = setting(5, COUNT, doc="rounds")
    fraction: float = setting(
        1.0, Limit(low=0, low_open=True, high=1), doc="share of the clients sampled each round"
    )
    straggler_share: float = setting(0.2, SHARE, doc="simulated: sampled clients that do fewer steps")
    straggler_steps: float = setting(
        0.5, Limit(low=0, low_open=True, high=1), doc="share of the steps a straggler does"
    )
    dropout_share: float = setting(
        0.05, Limit(low=0, high=1, high_open=True), doc="simulated: sampled clients that never answer"
    )
    aggregator: str = setting(
        "mean",
        Limit(choices=AGGREGATORS),
        doc="how the clients' students become one; mean: by examples (FedAvg), the others withstand bad ones",
    )
    num_byzantine: int = setting(
        0, NOT_NEGATIVE, doc="bad clients among the sampled that strategy.aggregator must withstand"
    )
    round_timeout_s: float = setting(600.0, POSITIVE, doc="a round closes after this time, s")
    over_sampling: float = setting(
        0.0, SHARE, doc="share of further clients asked, as spares for planned ones that fail or are late"
    )
    grace_s: float = setting(
        10.0, NOT_NEGATIVE, doc="how much longer a round with enough replies waits for planned clients, s"
    )
    rejoin_s: float = setting(
        0.0,
        NOT_NEGATIVE,
        doc="devices: how long a round waits, before it begins, for nodes that are cut off, s; "
        "for round_timeout_s if none is left",
    )
    min_replies: int = setting(1, COUNT, doc="a round with fewer valid replies has failed")
    max_failed_rounds: int = setting(
        0, NOT_NEGATIVE, doc="failed rounds in a row that leave the student as it was; one more ends the run"
    )

    def num_sampled(self, num_clients: int) -> int:
        """Clients planned for a round."""
        return max(1, round(self.fraction * num_clients))


@dataclass(frozen=True)
class FleetSettings:
    """Which width of the student each device trains; clients have the devices of `fl.devices` in turn."""

    kind: str = setting(
        "uniform",
        Limit(choices=("uniform", "mixed")),
        doc="mixed: weak devices train a narrower student, nested in the others' (HeteroFL)",
    )
    weak_devices: tuple[str, ...] = setting(
        ("camera",), Limit(choices=tuple(sorted(PROFILES))), doc="devices that are weak in a mixed fleet"
    )
    weak_ratio: float = setting(
        0.5,
        Limit(low=0, low_open=True, high=1, high_open=True),
        doc="share of each layer's channels that they do without; compress.round_to and its floors hold",
    )


@dataclass(frozen=True)
class GridSettings:
    """Where the clients run."""

    kind: str = setting("ray", Limit(choices=("ray", "inprocess")), doc="Ray actors, or this process")
    address: str = setting("local", doc="Ray cluster to join; local: start one here")
    num_workers: int = setting(0, NOT_NEGATIVE, doc="Ray actors; 0: one per core")
    max_retries: int = setting(2, NOT_NEGATIVE, doc="times a client is tried again when its worker dies")


@dataclass(frozen=True)
class LatencySettings:
    """ONNX Runtime timing, 1 thread, batch 1, interleaved."""

    num_warmup: int = setting(5, NOT_NEGATIVE, doc="runs before the clock counts")
    num_runs: int = setting(40, Limit(low=5), doc="timed runs of each network per round")
