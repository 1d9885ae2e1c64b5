"""Checks that no single setting's limit can express: settings against each other, and against the disk.

No heavy import: they run before torch is loaded.
"""

import os
import re
from pathlib import Path

from fl.data.cache import cache_root
from fl.devices import PROFILES, clients_with, profile_of
from fl.errors import RequestError
from fl.settings import (
    CompressSettings,
    DistillSettings,
    Experiment,
    FleetSettings,
    GridSettings,
    StrategySettings,
    SystemSettings,
)
from models.names import CHANNELS_IN_GROUP, hears
from sim.adversary_checks import check_adversary, check_aggregator
from sim.corpus_checks import check_data, check_split
from sim.privacy_checks import check_privacy
from sim.trackers.tracking import check_tracking

_NAME = re.compile(r"[\w][\w.+-]{0,99}")


def check_consistency(experiment: Experiment) -> None:
    """Hold the settings against each other and against the disk.

    Raises:
        RequestError: the first that does not fit; key, limit, value and remedy are in the message.
    """
    _check_name(experiment.name)
    check_data(experiment.data)
    check_split(experiment.split, experiment.data)
    _check_calibration(experiment.compress)
    _check_pruning(experiment.compress, experiment.strategy.num_rounds)
    _check_replies(experiment.strategy, experiment.partition.num_clients)
    _check_fleet(experiment.fleet, experiment.partition.num_clients)
    check_privacy(experiment)
    check_aggregator(experiment)
    check_adversary(experiment)
    _check_teacher_weights(experiment.teacher.weights)
    _check_system(experiment.system)
    _check_attention(experiment.distill, experiment.system.student)
    _check_norm(experiment.system, experiment.compress)
    _check_grid(experiment.grid)
    check_tracking(experiment.tracking)
    _check_writable("runs_dir", Path(experiment.runs_dir))
    _check_writable("cache_dir", cache_dir(experiment))


def cache_dir(experiment: Experiment) -> Path:
    """The cache of this run, see `fl.data.cache.cache_root`."""
    return cache_root(experiment.cache_dir)


def _check_name(name: str) -> None:
    if name and not _NAME.fullmatch(name):
        raise RequestError(
            f"name must be a plain folder name (letters, digits, . _ + -, at most 100), got {name!r}; "
            "set runs_dir to choose where it goes"
        )


def _check_calibration(compress: CompressSettings) -> None:
    if compress.calibration == "one_class" and compress.int8 != "static":
        raise RequestError(
            f"compress.calibration=one_class is an ablation of compress.int8=static, got {compress.int8!r}; "
            "add compress.int8=static"
        )


def _check_pruning(compress: CompressSettings, num_rounds: int) -> None:
    rounds = compress.prune_rounds
    written = "[" + ",".join(str(item) for item in rounds) + "]"
    if any(not 1 <= item <= num_rounds for item in rounds):
        raise RequestError(
            f"compress.prune_rounds must lie within 1 and strategy.num_rounds = {num_rounds}, got {written}; "
            f"set e.g. compress.prune_rounds=[{max(1, num_rounds // 2)}], or compress=none for no pruning"
        )
    if list(rounds) != sorted(set(rounds)):
        raise RequestError(
            f"compress.prune_rounds must rise without repeats, got {written}; "
            f"set compress.prune_rounds=[{','.join(str(item) for item in sorted(set(rounds)))}]"
        )
    if compress.voters == "server" and compress.importance == "taylor":
        raise RequestError(
            "compress.importance must be l1, l2 or random with compress.voters=server, which has no clips "
            "to take gradients from, got 'taylor'; add compress.importance=l1"
        )


def _check_replies(strategy: StrategySettings, num_clients: int) -> None:
    """A round can have as many valid replies as it needs, and there is somebody to ask beyond the plan."""
    num_sampled = strategy.num_sampled(num_clients)
    if strategy.min_replies > num_sampled:
        raise RequestError(
            f"strategy.min_replies must be at most {num_sampled}, the clients sampled of "
            f"partition.num_clients = {num_clients} at strategy.fraction = {strategy.fraction:g}, "
            f"got {strategy.min_replies}; ask for fewer replies or sample more"
        )
    if strategy.over_sampling and num_sampled == num_clients:
        raise RequestError(
            f"strategy.over_sampling needs clients beyond those sampled, but strategy.fraction = "
            f"{strategy.fraction:g} samples all {num_clients}; lower strategy.fraction or set "
            "strategy.over_sampling=0"
        )


def _check_fleet(fleet: FleetSettings, num_clients: int) -> None:
    """A mixed fleet has clients of both widths."""
    if fleet.kind != "mixed":
        return
    written = "[" + ",".join(fleet.weak_devices) + "]"
    if set(fleet.weak_devices) >= set(PROFILES):
        raise RequestError(
            f"fleet.weak_devices must leave one of {', '.join(sorted(PROFILES))} at full width, "
            f"got {written}; name fewer, or add fleet=uniform"
        )
    num_weak = len(clients_with(fleet.weak_devices, num_clients))
    if not 0 < num_weak < num_clients:
        raise RequestError(
            f"fleet.weak_devices must name the device of some clients and not of all, but {written} is "
            f"that of {num_weak} with partition.num_clients = {num_clients} "
            f"({', '.join(profile_of(client).name for client in range(min(num_clients, 3)))} in turn); "
            "name other devices, ask for more clients, or add fleet=uniform"
        )


def _check_teacher_weights(weights: str) -> None:
    if weights and not Path(weights).expanduser().is_file():
        raise RequestError(
            f"teacher.weights must be an existing safetensors file, got {weights!r}; "
            "leave it empty to train a teacher"
        )


def _check_system(system: SystemSettings) -> None:
    if hears(system.teacher) != hears(system.student):
        deaf, other = sorted((system.teacher, system.student), key=hears)
        raise RequestError(
            f"system.teacher and system.student must take the same input, got {system.teacher} and "
            f"{system.student}: {deaf} is deaf, {other} is not; add system=efficientnet, mobilenet or ladeda"
        )


def _check_attention(distill: DistillSettings, student: str) -> None:
    if distill.attention_loss == "sigmoid_mse" and hears(student):
        raise RequestError(
            f"distill.attention_loss=sigmoid_mse needs maps of logits, but {student}'s are weights of its "
            "attention; use correlation or kl, or add system=ladeda"
        )


def _check_norm(system: SystemSettings, compress: CompressSettings) -> None:
    """Pruned widths of a student with GroupNorm are whole groups."""
    if system.student_norm == "group" and compress.prune_rounds and compress.round_to % CHANNELS_IN_GROUP:
        raise RequestError(
            f"compress.round_to must be a multiple of {CHANNELS_IN_GROUP}, the channels in a group, with "
            f"system.student_norm=group, got {compress.round_to}; "
            f"set compress.round_to={CHANNELS_IN_GROUP} or 16, or compress=none"
        )


def _check_grid(grid: GridSettings) -> None:
    if grid.kind != "ray" and grid.address != "local":
        raise RequestError(
            f"grid.address must be 'local' for grid={grid.kind}, got {grid.address!r}; "
            "add grid=ray to join a cluster"
        )


def _check_writable(key: str, folder: Path) -> None:
    """Whether ``folder`` can be written, or made in the nearest folder above it that exists."""
    try:
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    except OSError as error:
        raise RequestError(
            f"{key} must be a folder that can be written, got {str(folder)!r}: {error}"
        ) from error
    if not nearest.is_dir():
        raise RequestError(f"{key} must be a folder, but {str(nearest)!r} is a file; choose another {key}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise RequestError(
            f"{key} must be a folder that can be written, but {str(nearest)!r} is read-only; "
            f"choose another {key}"
        )
