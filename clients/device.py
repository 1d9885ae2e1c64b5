"""A client outside of a simulation's process: its own clips, its cache, and the teacher that it was sent."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
from filelock import FileLock
from torch import nn

from clients.round import EdgeClient
from fl.data.cache import atomic_folder, cache_root
from fl.data.own_clips import build_own_store
from fl.data.partition import partition_clips
from fl.data.shards import ShardView, open_shard, take
from fl.devices import PROFILES, profile_of
from fl.distill.batches import TeacherAnswers
from fl.distill.teacher import live_teacher, load_teacher, teacher_outputs
from fl.errors import RequestError, TeacherError
from fl.poisoning.roster import malicious_clients
from fl.settings import Experiment
from fl.state import flatten, load_flat, teacher_digest
from fl.task import Enrolment
from models.architecture import Architecture
from models.names import hears

MAX_TEACHER_VALUES = 250_000_000
"""A gigabyte; the largest teacher of the zoo has 15 million."""

NodeConfig = Mapping[str, str | int | float | bool]

KEYS = (
    "partition-id",
    "num-partitions",
    "data-root",
    "data-layout",
    "device",
    "threads",
    "cache-dir",
    "teacher",
)
"""What a node may add of its own; the first two are Flower's names for its number and the count."""


@dataclass(frozen=True)
class Device:
    """A client with its clips.

    Attributes:
        client_id: its number in the run.
        profile: name of its device's profile.
        view: its clips.
        experiment: the run's settings.
        cache_dir: root of its cache.
        pinned: the start of the only teacher's digest that it accepts; empty: any.
    """

    client_id: int
    profile: str
    view: ShardView
    experiment: Experiment
    cache_dir: Path
    pinned: str


def threads_of(node: NodeConfig) -> int:
    """How many cores the node may use.

    Raises:
        RequestError: not a number above 0.
    """
    threads = node.get("threads", 1)
    if type(threads) is not int or threads < 1:
        raise RequestError(f"threads must be a whole number above 0, got {threads!r}")
    return threads


def open_device(node: NodeConfig, experiment: Experiment, simulated_store: str) -> Device:
    """The client that a node is.

    Args:
        node: its configuration: `KEYS`.
        experiment: the run's settings.
        simulated_store: digest of the store whose partition simulated clients share; of no meaning to a
            node that has its own folder.

    Raises:
        RequestError: the node's configuration does not fit the run.
        DataError: its clips cannot be used.
    """
    unknown = sorted(set(node) - set(KEYS))
    if unknown:
        raise RequestError(f"a node's configuration has {', '.join(KEYS)}, got {unknown[0]}")
    client_id, num_clients = node.get("partition-id"), experiment.partition.num_clients
    if type(client_id) is not int or not 0 <= client_id < num_clients:
        raise RequestError(
            f"partition-id must be a whole number below partition.num_clients = {num_clients}, "
            f"got {client_id!r}"
        )
    profile = str(node.get("device", "")) or profile_of(client_id).name
    if profile not in PROFILES:
        raise RequestError(f"device must be one of {', '.join(PROFILES)}, got {profile!r}")
    cache_dir = cache_root(str(node.get("cache-dir", "")) or experiment.cache_dir)
    if node.get("data-root"):
        view = own_view(node, experiment, cache_dir)
    elif is_digest(simulated_store):
        view = simulated_view(cache_dir / "shards" / simulated_store, experiment, client_id)
    else:
        raise RequestError("data-root must name the folder of this node's videos, got ''")
    return Device(client_id, profile, view, experiment, cache_dir, str(node.get("teacher", "")))


def is_digest(text: str) -> bool:
    """Whether a text is a SHA-256: what came from elsewhere names no other folder."""
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


def own_view(node: NodeConfig, experiment: Experiment, cache_dir: Path) -> ShardView:
    """All clips of the node's own folder."""
    store = build_own_store(
        Path(str(node["data-root"])).expanduser(),
        str(node.get("data-layout", "table")),
        experiment.data,
        cache_dir,
        hears=hears(experiment.system.student),
        workers=threads_of(node),
    )
    return take(store)


def simulated_view(store: Path, experiment: Experiment, client_id: int) -> ShardView:
    """A simulated client's part of the store that all of them share on one machine."""
    shard = open_shard(store)
    partition = partition_clips(shard.clips, experiment.partition, experiment.seed)
    return take(shard, partition.rows[client_id], lacks=partition.lacks[client_id])


def enrol(device: Device, digest: str) -> Enrolment:
    """Tell who the device is, and whether it holds the run's teacher; if so, its outputs are made.

    Raises:
        TeacherError: the device is pinned to another teacher, or its copy is damaged.
    """
    folder = teacher_folder(device, digest)
    held = (folder / "weights.safetensors").is_file()
    if held:
        check_teacher(load_teacher(folder), folder, digest)
        teacher_answers(device, digest)
    return Enrolment(device.client_id, len(device.view), device.profile, digest if held else "")


def receive_teacher(device: Device, digest: str, architecture: str, state: np.ndarray) -> Enrolment:
    """Keep the teacher that was sent, if it is the one that was announced.

    Args:
        device: who receives.
        digest: as announced.
        architecture: its canonical JSON.
        state: (num_values,), flat.

    Raises:
        TeacherError: what came is another teacher.
    """
    folder = teacher_folder(device, digest)
    if state.size > MAX_TEACHER_VALUES:
        raise TeacherError(f"a teacher may have {MAX_TEACHER_VALUES} weights, what was sent has {state.size}")
    built = Architecture.from_json(architecture)
    got = teacher_digest(built.sha256, state)
    if got != digest:
        raise TeacherError(f"the teacher must be {digest[:12]}, but what was sent is {got[:12]}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            network = built.build()
            load_flat(network, state)
            with atomic_folder(folder) as building:
                safetensors.torch.save_model(network, str(building / "weights.safetensors"))
                (building / "architecture.json").write_text(built.to_json(), encoding="utf-8")
    return enrol(device, digest)


def teacher_folder(device: Device, digest: str) -> Path:
    """Where a device keeps the teacher of this digest.

    Raises:
        TeacherError: the device is pinned to another one, or this is no digest.
    """
    if not is_digest(digest):
        raise TeacherError(f"a teacher's digest has 64 hexadecimal digits, got {digest[:80]!r}")
    if not digest.startswith(device.pinned):
        raise TeacherError(
            f"this node accepts the teacher {device.pinned[:12]} only, but the run has {digest[:12]}"
        )
    return device.cache_dir / "teachers" / digest


def check_teacher(network: nn.Module, folder: Path, digest: str) -> None:
    """Refuse a cached copy that is not what its folder's name says.

    Raises:
        TeacherError: it was altered.
    """
    architecture = Architecture.from_json((folder / "architecture.json").read_text(encoding="utf-8"))
    got = teacher_digest(architecture.sha256, flatten(network))
    if got != digest:
        raise TeacherError(
            f"the cached teacher {digest[:12]} was altered: its weights are {got[:12]}; "
            f"delete teachers/{digest} in this node's cache"
        )


def teacher_answers(device: Device, digest: str) -> TeacherAnswers:
    """The teacher's outputs on the device's clips, made once; or the living teacher if so asked."""
    folder, precision = teacher_folder(device, digest), device.experiment.teacher.precision
    if device.experiment.augment.teacher_view == "live":
        return live_teacher(folder, precision)
    view = device.view
    return teacher_outputs(folder, view.shard, precision, lambda count: None, view.lacks)


def edge_client(device: Device, digest: str) -> EdgeClient:
    """The device as `clients.round` knows it.

    Raises:
        TeacherError: the device does not hold this teacher.
    """
    if not teacher_folder(device, digest).is_dir():
        raise TeacherError(f"this node does not hold the teacher {digest[:12]}: it must enrol first")
    experiment = device.experiment
    malicious = malicious_clients(experiment.adversary, experiment.seed, experiment.partition.num_clients)
    return EdgeClient(
        client_id=device.client_id,
        view=device.view,
        teacher=teacher_answers(device, digest),
        augment=experiment.augment,
        distill=experiment.distill,
        compress=experiment.compress,
        seed=experiment.seed,
        cache_dir=device.cache_dir,
        privacy=experiment.privacy,
        adversary=experiment.adversary if device.client_id in malicious else None,
        num_rounds=experiment.strategy.num_rounds,
    )
