"""What a run's rounds hold between them, and what they need."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from fl.data.shards import ShardView
from fl.settings import Experiment
from models.architecture import Architecture
from server.evaluate import Evaluation, Examiner
from server.fleet import (
    WeakWidth,
)
from server.strategy import DeterministicFedProx

Record = dict[str, Any]


@dataclass
class GlobalStudent:
    """The student that the server holds between rounds.

    Attributes:
        architecture: changes when the student is pruned.
        network: its weights are the last aggregate.
        weak: the narrower student inside it, in a mixed fleet.
        rounds_done: the round whose aggregate it is; 0: first weights.
        failed_in_a_row: how many of the last rounds had too few valid replies and left it as it was.
    """

    architecture: Architecture
    network: nn.Module
    weak: WeakWidth | None = None
    rounds_done: int = 0
    failed_in_a_row: int = 0


@dataclass(frozen=True)
class Server:
    """What the rounds need.

    Attributes:
        experiment: all settings.
        strategy: sampling and aggregation.
        examiner: evaluation.
        public: the server's own clips: BatchNorm re-estimation.
        inputs: what the run learns from -> its digest; kept in every checkpoint.
        on_round: called with each round's record and evaluation, when its checkpoint is on the disk.
    """

    experiment: Experiment
    strategy: DeterministicFedProx
    examiner: Examiner
    public: ShardView
    inputs: Mapping[str, str]
    on_round: Callable[[Record, Evaluation], None]
