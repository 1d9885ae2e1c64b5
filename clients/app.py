"""The Flower ClientApps: translation between messages and `clients.round` or `clients.device`, nothing else.

`make_client_app` makes the one that serves the partitions of a simulation in our own processes. `app` is what
Flower's SuperNodes and its simulation load: it knows its node's configuration and the run's, and no more.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp
from torch import nn

from clients.adversary import act
from clients.device import (
    MAX_TEACHER_VALUES,
    Device,
    edge_client,
    enrol,
    open_device,
    receive_teacher,
    threads_of,
)
from clients.round import EdgeClient, StageError
from fl.data.shards import open_shard, take
from fl.distill.batches import TeacherAnswers
from fl.distill.teacher import live_teacher, open_outputs
from fl.errors import FedpinError
from fl.message_size import check_size
from fl.privacy.data_flow import told_reason
from fl.reasons import without_places
from fl.settings import AdversarySettings, AugmentSettings, CompressSettings, DistillSettings, PrivacySettings
from fl.settings.building import from_json
from fl.task import Enrolment
from fl.wire import enrolment_records, read_digests, read_task, read_teacher, report_records

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
        privacy: what protects the clients' clips.
        adversary: what malicious clients do.
        malicious: who they are.
        num_rounds: of the run.
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
    privacy: PrivacySettings
    adversary: AdversarySettings
    malicious: frozenset[int]
    num_rounds: int


def make_client_app(setup: ClientSetup) -> ClientApp:
    """A ClientApp that serves any partition of the setup; the networks of a round stay resident."""
    store = open_shard(setup.shard)
    teachers = open_teachers(setup)
    resident: dict[str, nn.Module] = {}
    client_app = ClientApp()

    @client_app.train()
    def train(message: Message, context: Context) -> Message:
        client_id = int(context.node_config["partition-id"])
        client = EdgeClient(
            client_id=client_id,
            view=take(store, setup.rows[client_id], lacks=setup.lacks[client_id]),
            teacher=teachers[setup.lacks[client_id]],
            augment=setup.augment,
            distill=setup.distill,
            compress=setup.compress,
            seed=setup.seed,
            cache_dir=setup.cache_dir,
            privacy=setup.privacy,
            adversary=setup.adversary if client_id in setup.malicious else None,
            num_rounds=setup.num_rounds,
        )
        return train_reply(message, client, resident)

    return client_app


def train_reply(message: Message, client: EdgeClient, resident: dict[str, nn.Module]) -> Message:
    """A client's round, asked for and answered by message.

    Args:
        message: with a task.
        client: who does it.
        resident: networks by architecture, least recently used first; kept up to date.

    Raises:
        StageError: its work failed; the message is what may be told of it.
    """
    task = read_task(message.content)
    key = task.architecture.sha256
    network = resident.pop(key, None)
    if network is None:
        network = task.architecture.build().to(memory_format=torch.channels_last)
    resident[key] = network  # last in the order of use
    if len(resident) > RESIDENT:
        del resident[next(iter(resident))]
    mechanism = client.privacy.mechanism
    try:
        report = act(task, client, network)
    except StageError as error:
        raise StageError(told_reason(str(error), mechanism)) from error
    return Message(report_records(report, mechanism), reply_to=message)


def open_teachers(setup: ClientSetup) -> dict[str, TeacherAnswers]:
    """What clients lack -> the teacher's answers; a live teacher is loaded once, and sees what they see."""
    if setup.augment.teacher_view == "live":
        return dict.fromkeys(setup.lacks, live_teacher(setup.teacher, setup.precision))
    return {lacks: open_outputs(setup.outputs[lacks]) for lacks in set(setup.lacks)}


app = ClientApp()
"""What `[tool.flwr.app]` of pyproject.toml names."""

CLIENT_ERROR = 1
log = logging.getLogger(__name__)
_resident: dict[str, nn.Module] = {}


@app.query("enrol")
def answer_enrol(message: Message, context: Context) -> Message:
    """Who the node is, and whether it holds the teacher."""

    def work(device: Device, teacher: str) -> Message:
        return _enrolled(message, enrol(device, teacher))

    return _answer(message, context, work)


@app.query("teacher")
def answer_teacher(message: Message, context: Context) -> Message:
    """Keep the teacher that the message brings."""

    def work(device: Device, teacher: str) -> Message:
        return _enrolled(message, receive_teacher(device, teacher, *read_teacher(message.content)))

    return _answer(message, context, work)


@app.train()
def answer_train(message: Message, context: Context) -> Message:
    """A round."""

    def work(device: Device, teacher: str) -> Message:
        return train_reply(message, edge_client(device, teacher), _resident)

    return _answer(message, context, work)


def _enrolled(message: Message, enrolment: Enrolment) -> Message:
    return Message(enrolment_records(enrolment), reply_to=message)


def _answer(message: Message, context: Context, work: Callable[[Device, str], Message]) -> Message:
    """Open the node's device and do the work; a failure is logged here and told without paths."""
    mechanism = "none"
    try:
        experiment = from_json(str(context.run_config["experiment"]))
        mechanism = experiment.privacy.mechanism
        torch.set_num_threads(threads_of(context.node_config))
        check_size(message.content, MAX_TEACHER_VALUES)
        teacher, store = read_digests(message.content)
        return work(open_device(context.node_config, experiment, store), teacher)
    except Exception as error:
        log.exception("the work of a %s message failed", message.metadata.message_type)
        return Message(Error(CLIENT_ERROR, told_reason(reason_of(error), mechanism)), reply_to=message)


def reason_of(error: Exception) -> str:
    """What is told of a failure: "stage: reason", without the node's folders and files."""
    text = str(error) or type(error).__name__
    if not isinstance(error, StageError):
        text = f"open: {text}" if isinstance(error, FedpinError) else f"open: {type(error).__name__}: {text}"
    return without_places(text)
