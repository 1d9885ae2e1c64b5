"""Whose votes should decide what is pruned? Clients', one client's, the weights alone, or chance.

All prune to the same number of parameters after the first round, on shards that differ in their
manipulations, and train for one round more. Distillation, seeds, clients and first weights are the same.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from sim.config import build, compose

VOTERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "all clients": ("compress.voters=all",),
        "one client": ("compress.voters=one_client",),
        "magnitude": ("compress.voters=server", "compress.importance=l1"),
        "random": ("compress.voters=random",),
    }
)
"""Name -> overrides; "magnitude" needs no data, "random" is the control."""

COMMON = (
    "grid=inprocess",
    "partition=dirichlet",
    "partition.alpha=0.1",
    "strategy.num_rounds=2",
    "strategy.straggler_share=0",
    "strategy.dropout_share=0",
    "compress.prune_rounds=[1]",
    "compress.ratio_of=parameters",
    "compress.prune_ratio=0.5",
    "compress.round_to=8",
    "latency.num_runs=5",
)


@dataclass(frozen=True)
class Outcome:
    """One run.

    Attributes:
        voters: a name of `VOTERS`.
        seed: of the run.
        num_parameters: after pruning.
        pruned: accuracy, AUC and EPS right after pruning, BatchNorm re-estimated, nothing trained.
        trained: the same after one round more.
    """

    voters: str
    seed: int
    num_parameters: int
    pruned: dict[str, float]
    trained: dict[str, float]


def measure(seeds: Sequence[int] = (0, 1, 2), overrides: Sequence[str] = ()) -> list[Outcome]:
    """Run every kind of voters with every seed."""
    outcomes = []
    for seed in seeds:
        for voters, own in VOTERS.items():
            with tempfile.TemporaryDirectory() as folder:
                outcomes.append(run(voters, seed, [*COMMON, *own, *overrides], Path(folder)))
            print(json.dumps(asdict(outcomes[-1])), flush=True)
    return outcomes


def run(voters: str, seed: int, overrides: Sequence[str], folder: Path) -> Outcome:
    """One federated run of two rounds."""
    from sim.record import read_rounds
    from sim.run import run_experiment

    request = [*overrides, f"seed={seed}"]
    run_experiment(build(compose(request)), folder, request)
    pruned, trained = read_rounds(folder)
    return Outcome(voters, seed, pruned["student"]["num_parameters"], _metrics(pruned), _metrics(trained))


def describe(outcomes: Sequence[Outcome]) -> list[str]:
    """Mean and standard deviation over the seeds, and in how many of them the voters beat chance."""
    lines = ["voters        parameters   right after pruning: acc. / AUC / EPS   after a round more"]
    chance = {outcome.seed: outcome for outcome in outcomes if outcome.voters == "random"}
    for voters in VOTERS:
        own = [outcome for outcome in outcomes if outcome.voters == voters]
        parts = [_spread([getattr(outcome, when) for outcome in own]) for when in ("pruned", "trained")]
        wins = sum(outcome.pruned["auc"] > chance[outcome.seed].pruned["auc"] for outcome in own)
        size = np.mean([outcome.num_parameters for outcome in own])
        beats = "" if voters == "random" else f"   AUC above random's in {wins} of {len(own)}"
        lines.append(f"{voters:<13} {size:10,.0f}   {parts[0]}   {parts[1]}{beats}")
    return lines


def _metrics(record: Mapping[str, Any]) -> dict[str, float]:
    return {
        "accuracy": record["global"]["accuracy"],
        "auc": record["global"]["auc"],
        "eps": record["eps"]["mean"],
    }


def _spread(metrics: Sequence[Mapping[str, float]]) -> str:
    columns = {key: np.array([row[key] for row in metrics]) for key in metrics[0]}
    return " / ".join(f"{column.mean():.3f} ± {column.std(ddof=1):.3f}" for column in columns.values())


if __name__ == "__main__":
    from sim.__main__ import set_quiet

    set_quiet()
    print("\n".join(describe(measure())))
