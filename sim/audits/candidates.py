"""A finished run's dense student, pruned to several shares and fine-tuned by the server, all alike.

The votes are Taylor importances over the server's public clips: the clients' are not there any more. The
fine-tuning is that of the student's first weights (`fl.distill.supervised`), from the same teacher.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from clients.round import EdgeClient, measure_importance
from fl.compress.importance import FloatVector, prunable_groups
from fl.compress.prune import apply_plan, reestimate_batchnorm
from fl.compress.sessions import inputs_like
from fl.data.shards import Shard, ShardView, take
from fl.distill.batches import TeacherAnswers, num_batches, shuffled_batches
from fl.distill.supervised import train_epochs
from fl.errors import RequestError
from fl.seeds import derive, generator
from fl.settings import CompressSettings
from fl.task import RoundTask
from models.architecture import Architecture
from models.zoo import Detector
from server.checkpoint import checkpoint_folders, load_checkpoint
from server.pruning import choose_plan
from sim.audits.compression_aims import DENSE, TUNED
from sim.finished import FinishedRun
from sim.record import read_rounds


@dataclass(frozen=True)
class Candidate:
    """A student to be exported.

    Attributes:
        name: "dense" as the run left it; "dense, tuned", the control that was only fine-tuned; or
            "pruned" with its share.
        ratio: share that was asked to go; 0 for the dense ones.
        architecture: of the network.
        network: in evaluation mode.
    """

    name: str
    ratio: float
    architecture: Architecture
    network: nn.Module


def dense_student(run: FinishedRun) -> tuple[Architecture, Detector, int]:
    """The run's last student before any pruning, and the round that left it.

    Raises:
        RequestError: the run pruned in its first round, so that there is none.
    """
    pruned = [record["round_index"] for record in read_rounds(run.folder) if record.get("prune")]
    last = checkpoint_folders(run.folder)[-1]
    folder = run.folder / "checkpoints" / f"round-{min(pruned) - 1:03d}" if pruned else last
    if not folder.is_dir():
        raise RequestError(
            f"RUN must hold a dense student, but {run.folder} pruned its own in round {min(pruned)}; "
            "name a run made with compress=none"
        )
    architecture, network, state = load_checkpoint(folder)
    return architecture, network.eval(), int(state["round_index"])


@dataclass(frozen=True)
class Workshop:
    """What pruning and fine-tuning at the server need.

    Attributes:
        run: its settings.
        public: the server's clips.
        answers: the teacher's to them.
        compress: the run's settings, with what the audit was asked for.
        num_epochs: of fine-tuning; 0: none.
    """

    run: FinishedRun
    public: Shard
    answers: TeacherAnswers
    compress: CompressSettings
    num_epochs: int

    @property
    def view(self) -> ShardView:
        """All of the server's clips."""
        return take(self.public)


def make_candidates(
    workshop: Workshop, ratios: tuple[float, ...], advance: Callable[[int, str], None]
) -> Iterator[Candidate]:
    """The dense student, the control, and one pruned student for each ratio.

    Args:
        workshop: see there.
        ratios: shares of what `CompressSettings.ratio_of` names, in (0, 1).
        advance: called with (1, note) after each epoch.

    Raises:
        RequestError: no dense student, or the floors do not allow a ratio.
    """
    architecture, dense, _ = dense_student(workshop.run)
    yield Candidate(DENSE, 0.0, architecture, dense)
    if workshop.num_epochs:
        tuned = copy.deepcopy(dense)
        _fine_tune(workshop, tuned, advance, TUNED)
        yield Candidate(TUNED, 0.0, architecture, tuned)
    votes = _votes(workshop, architecture, dense)
    for ratio in ratios:
        name = f"pruned {100 * ratio:g} %"
        smaller, network = _prune(workshop, architecture, dense, votes, ratio)
        _fine_tune(workshop, network, advance, name)
        yield Candidate(name, ratio, smaller, network)


def _votes(workshop: Workshop, architecture: Architecture, dense: Detector) -> FloatVector:
    """The vote of a client that holds the server's clips, over all of them."""
    experiment = workshop.run.experiment
    num = num_batches(len(workshop.public), experiment.distill.batch_size)
    server = EdgeClient(
        client_id=-1,
        view=workshop.view,
        teacher=workshop.answers,
        augment=experiment.augment,
        distill=experiment.distill,
        compress=replace(workshop.compress, importance_batches=num),
        seed=experiment.seed,
        cache_dir=workshop.run.cache_dir,
    )
    task = RoundTask(0, architecture, np.empty(0, np.float32), "", experiment.distill.learning_rate)
    return measure_importance(task, server, dense)


def _prune(
    workshop: Workshop, architecture: Architecture, dense: Detector, votes: FloatVector, ratio: float
) -> tuple[Architecture, Detector]:
    experiment, network = workshop.run.experiment, copy.deepcopy(dense)
    inputs = inputs_like(workshop.view)
    image_size = inputs[0].shape[-1]
    groups = prunable_groups(network, workshop.compress.targets, image_size)
    plan = choose_plan(
        workshop.compress, architecture, network, groups, votes, ratio, inputs, workshop.run.cache_dir
    )
    apply_plan(network, plan, image_size)
    rng = generator(experiment.seed, 0, -1, "compression batchnorm")
    batches = shuffled_batches(
        workshop.view,
        None,
        experiment.distill.batch_size,
        workshop.compress.batchnorm_batches,
        rng,
        augment=None,
    )
    reestimate_batchnorm(network, (batch.inputs for batch in batches))
    return architecture.with_widths_of(network), network


def _fine_tune(workshop: Workshop, network: Detector, advance: Callable[[int, str], None], name: str) -> None:
    """Distil on the public clips, in place, at the clients' learning rate."""
    experiment = workshop.run.experiment
    if not workshop.num_epochs:
        return
    settings = replace(
        experiment.warmup,
        max_epochs=workshop.num_epochs,
        learning_rate=experiment.distill.learning_rate,
    )
    for means in train_epochs(
        network,
        workshop.view,
        settings,
        experiment.augment,
        derive(experiment.seed, "compression"),
        workshop.answers,
        experiment.distill,
    ):
        advance(1, f"{name}: loss {means.loss:.3f}")
    network.eval()
