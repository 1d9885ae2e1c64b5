"""One client's update of one round, done again: the simulator draws everything from seeds."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from clients.round import run_round
from fl.data.shards import ShardView
from fl.errors import RequestError
from fl.state import load_flat
from server.checkpoint import FOLDER, load_checkpoint
from server.parts import GlobalStudent
from server.rounds import make_task
from sim.audits.attacked_clips import AttackedClips


@dataclass(frozen=True)
class Update:
    """What the server saw of a client in a round.

    Attributes:
        client_id: whose it is.
        round_index: when.
        before: the student that the client was sent.
        after: the one that it sent back.
        view: the client's clips.
    """

    client_id: int
    round_index: int
    before: nn.Module
    after: nn.Module
    view: ShardView


def replay_round(clips: AttackedClips) -> int:
    """The round whose updates can be replayed: the last that replied to a student of a checkpoint.

    Raises:
        RequestError: the run has no checkpoint of the round before one.
    """
    for record in reversed(clips.rounds):
        told, index = record["clients"], int(record["round_index"])
        before = clips.run.folder / FOLDER / f"round-{index - 1:03d}"
        if told and told["replied"] and before.is_dir():
            return index
    raise RequestError(
        f"{clips.run.folder} must have the checkpoint before one of its rounds, but a run of one round has "
        "none; name a run of at least two"
    )


def full_width_clients(clips: AttackedClips, round_index: int) -> list[int]:
    """Honest clients that replied in a round with the global student at its full width, ascending."""
    record = next(one for one in clips.rounds if one["round_index"] == round_index)
    told, weak = record["clients"], record.get("weak")
    replied = told["replied"] if told else []
    narrow = weak["replied"] if weak else []
    return [client for client in replied if client not in narrow and client not in clips.malicious]


def replay_update(clips: AttackedClips, client_id: int, round_index: int) -> Update:
    """Do a client's work of a round again; what it sends is what it sent, noise included.

    Except with privacy.secret_noise, whose noise is another each time.

    Raises:
        StageError: the work failed.
    """
    experiment = clips.run.experiment
    folder = clips.run.folder / FOLDER / f"round-{round_index - 1:03d}"
    architecture, before, _ = load_checkpoint(folder)
    record = next(one for one in clips.rounds if one["round_index"] == round_index)
    slow = record["clients"] is not None and client_id in record["clients"].get("stragglers", [])
    task = replace(
        make_task(experiment, GlobalStudent(architecture, before), round_index, prunes=False),
        step_share=experiment.strategy.straggler_steps if slow else 1.0,
        quantize=False,
    )
    view = clips.client_view(client_id)
    client = clips.edge_client(client_id, view, clips.answers("clients", view.lacks))
    network = architecture.build().to(memory_format=torch.channels_last)  # as clients.app has it: equal bits
    report = run_round(task, client, network)
    after = architecture.build()
    load_flat(after, report.state)
    return Update(client_id, round_index, before.eval(), after.eval(), view)
