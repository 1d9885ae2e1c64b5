"""The Flower ClientApp: translation between messages and `clients.round`, nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from torch import nn

from clients.round import EdgeClient, run_round
from fl.data.shards import open_shard, take
from fl.distill.batches import TeacherAnswers
from fl.distill.teacher import live_teacher, open_outputs
from fl.settings import AugmentSettings, CompressSettings, DistillSettings
from fl.wire import read_task, report_records

RESIDENT = 2
"""Networks that stay in memory: a round has at most two widths of student."""


@dataclass(frozen=True)
class ClientSetup:
    """What every client app of a run knows: places on disk and settings, no tensors.

    Attributes:
        shard: folder of the store that holds the clients' clips.
        teacher: the teacher's folder, for `augment.teacher_view=live`.
        outputs: what clients lack -> folder of the teacher's outputs on that store without it; not
            opened where the teacher is live.
        rows: the store's rows that each client owns, by partition id.
        lacks: what each client's device cannot record: "", "audio" or "video".
        augment: settings of the augmentation of training clips.
        precision: of a live teacher's passes: "auto", "float32" or "bfloat16".
        distill: settings of the local training.
        compress: settings of importance and quantisation.
        seed: the run's.
        cache_dir: root of the cache.
    """

    shard: Path
    teacher: Path
    outputs: Mapping[str, Path]
    rows: tuple[np.ndarray, ...]
    lacks: tuple[str, ...]
    augment: AugmentSettings
    precision: str
    distill: DistillSettings
    compress: CompressSettings
    seed: int
    cache_dir: Path


def make_client_app(setup: ClientSetup) -> ClientApp:
    """A ClientApp that serves any partition of the setup; the networks of a round stay resident."""
    store = open_shard(setup.shard)
    teachers = open_teachers(setup)
    resident: dict[str, nn.Module] = {}
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        client_id = int(context.node_config["partition-id"])
        task = read_task(message.content)
        key = task.architecture.sha256
        network = resident.pop(key, None)
        if network is None:
            network = task.architecture.build().to(memory_format=torch.channels_last)
        resident[key] = network  # last in the order of use
        if len(resident) > RESIDENT:
            del resident[next(iter(resident))]
        client = EdgeClient(
            client_id=client_id,
            view=take(store, setup.rows[client_id], lacks=setup.lacks[client_id]),
            teacher=teachers[setup.lacks[client_id]],
            augment=setup.augment,
            distill=setup.distill,
            compress=setup.compress,
            seed=setup.seed,
            cache_dir=setup.cache_dir,
        )
        report = run_round(task, client, network)
        return Message(report_records(report), reply_to=message)

    return app


def open_teachers(setup: ClientSetup) -> dict[str, TeacherAnswers]:
    """What clients lack -> the teacher's answers; a live teacher is loaded once, and sees what they see."""
    if setup.augment.teacher_view == "live":
        return dict.fromkeys(setup.lacks, live_teacher(setup.teacher, setup.precision))
    return {lacks: open_outputs(setup.outputs[lacks]) for lacks in set(setup.lacks)}
