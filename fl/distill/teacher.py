"""The teacher: trained once on the server's public split, cached by digest, then frozen.

On disk: ``<cache>/teachers/<digest>/`` with architecture.json, weights.safetensors, teacher.json,
and ``outputs/<shard digest>/`` with the logits and maps of every clip of a store, memory-mapped;
``outputs/<shard digest>-no-audio/`` and ``-no-video/`` are what it says without that modality.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from filelock import FileLock
from torch import nn

from fl.data.cache import atomic_folder
from fl.data.shards import Shard, take
from fl.distill.batches import LiveTeacher, TeacherOutputs
from fl.distill.early_stopping import Advance, train_best, validation_auc
from fl.distill.precision import resolve_precision
from fl.distill.predict import predict
from fl.errors import RequestError, TeacherError
from fl.seeds import derive
from fl.settings import AugmentSettings, TeacherSettings
from models.architecture import Architecture
from models.zoo import Detector

RECIPE_VERSION = 5
"""Part of the digest: raise it when the training below or the exported graph beside it changes."""


@dataclass(frozen=True)
class Teacher:
    """A trained, frozen teacher.

    Attributes:
        architecture: of the network.
        folder: where it is cached.
        digest: of everything that made it.
        validation_auc: on the validation split; the best epoch's.
        num_epochs: epochs trained; 0 for given weights.
    """

    architecture: Architecture
    folder: Path
    digest: str
    validation_auc: float
    num_epochs: int

    def load(self) -> nn.Module:
        """The network with its weights, in evaluation mode, without gradients."""
        return load_teacher(self.folder)


def load_teacher(folder: Path) -> Detector:
    """The network of a teacher's folder, in evaluation mode, without gradients."""
    network = Architecture.from_json((folder / "architecture.json").read_text()).build()
    safetensors.torch.load_model(network, folder / "weights.safetensors")
    return network.requires_grad_(False)


def live_teacher(folder: Path, precision: str) -> LiveTeacher:
    """The teacher of a folder, to be asked about each batch.

    Args:
        folder: a `Teacher`'s.
        precision: "auto", "float32" or "bfloat16".
    """
    network = load_teacher(folder).to(memory_format=torch.channels_last)
    return LiveTeacher(network, resolve_precision(precision))


def obtain_teacher(
    architecture: Architecture,
    public: Shard,
    validation: Shard,
    settings: TeacherSettings,
    augment: AugmentSettings,
    cache_dir: Path,
    advance: Advance,
    pretrained: bool | str = False,
) -> Teacher:
    """The cached teacher, or a new one, trained under a lock; past its gate in either case.

    Args:
        architecture: of the teacher.
        public: the server's own clips.
        validation: decides when to stop, and the gate.
        settings: how it is trained.
        augment: how the public clips are altered each time.
        cache_dir: root of the cache.
        advance: called with (1, note) after each epoch.
        pretrained: start the backbone from ImageNet weights, see `Architecture.build`.

    Raises:
        TeacherError: the validation AUC is below ``settings.min_auc``, or cannot be measured.
        RequestError: ``teacher.weights`` does not fit.
    """
    digest = _digest(architecture, public, validation, settings, augment, pretrained)
    folder = cache_dir / "teachers" / digest
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "teacher.json").exists():
            with atomic_folder(folder) as building:
                network = architecture.build(derive(settings.seed, "teacher"), pretrained)
                _make(network, public, validation, settings, augment, building, advance)
                (building / "architecture.json").write_text(architecture.to_json())
    told = json.loads((folder / "teacher.json").read_text())
    teacher = Teacher(architecture, folder, digest, told["validation_auc"], told["num_epochs"])
    if teacher.validation_auc < settings.min_auc:
        raise TeacherError(
            f"the teacher's validation AUC is {teacher.validation_auc:.3f}, below teacher.min_auc "
            f"{settings.min_auc:g}: a student cannot learn from it. Give it more public clips "
            "(data.public_share) or epochs (teacher.max_epochs), or lower teacher.min_auc"
        )
    return teacher


def _make(
    network: Detector,
    public: Shard,
    validation: Shard,
    settings: TeacherSettings,
    augment: AugmentSettings,
    folder: Path,
    advance: Advance,
) -> None:
    """Train (or read) the teacher and write its files into ``folder``."""
    if settings.weights:
        _read_weights(network, Path(settings.weights))
        auc, num_epochs = validation_auc(network, take(validation), settings), 0
    else:
        best, num_epochs = train_best(
            network, take(public), take(validation), settings, augment, settings.seed, advance
        )
        assert best is not None  # the teacher's patience is at least 1
        auc = best
        network.to(memory_format=torch.contiguous_format)
    safetensors.torch.save_model(network, str(folder / "weights.safetensors"))
    told = {"validation_auc": auc, "num_epochs": num_epochs, "settings": asdict(settings)}
    (folder / "teacher.json").write_text(json.dumps(told, indent=1))


def teacher_outputs(
    teacher: Path, shard: Shard, precision: str, advance: Callable[[int], None], lacks: str = ""
) -> TeacherOutputs:
    """The teacher's logits and maps of a store: computed once, then memory-mapped.

    Args:
        teacher: its folder; it is loaded only where the outputs are not cached yet.
        shard: the store.
        precision: "auto", "float32" or "bfloat16".
        advance: called with the number of clips done.
        lacks: "audio" or "video" is hidden from the teacher, as from clients that cannot record it.
    """
    folder = outputs_folder(teacher, shard, lacks)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            with atomic_folder(folder) as building:
                network = load_teacher(teacher).to(memory_format=torch.channels_last)
                logits, maps = predict(
                    network, take(shard, lacks=lacks), precision=resolve_precision(precision), advance=advance
                )
                logits.astype("<f4").tofile(building / "logits.f32")
                maps.astype("<f4").tofile(building / "maps.f32")
                (building / "outputs.json").write_text(json.dumps({"maps": list(maps.shape)}))
    return open_outputs(folder)


def outputs_folder(teacher_folder: Path, shard: Shard, lacks: str = "") -> Path:
    """Where `teacher_outputs` keeps them."""
    return teacher_folder / "outputs" / (f"{shard.digest}-no-{lacks}" if lacks else shard.digest)


def open_outputs(folder: Path) -> TeacherOutputs:
    """Memory-map what `teacher_outputs` wrote (copy on write: torch wants writable arrays)."""
    shape = tuple(json.loads((folder / "outputs.json").read_text())["maps"])
    logits = np.memmap(folder / "logits.f32", dtype="<f4", mode="c", shape=shape[:1])
    maps = np.memmap(folder / "maps.f32", dtype="<f4", mode="c", shape=shape)
    return TeacherOutputs(logits, maps)


def _read_weights(network: nn.Module, path: Path) -> None:
    try:
        safetensors.torch.load_model(network, path)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RequestError(
            f"teacher.weights must be a safetensors file of this architecture, got {path}: {reason}"
        ) from error


def _digest(
    architecture: Architecture,
    public: Shard,
    validation: Shard,
    settings: TeacherSettings,
    augment: AugmentSettings,
    pretrained: bool | str,
) -> str:
    told = {key: value for key, value in asdict(settings).items() if key != "min_auc"}
    if settings.weights:
        path = Path(settings.weights)
        if not path.is_file():
            raise RequestError(f"teacher.weights must name a file, got {path}: no such file")
        told["weights"] = hashlib.sha256(path.read_bytes()).hexdigest()
    told["precision"] = resolve_precision(settings.precision)
    altered = {key: value for key, value in asdict(augment).items() if key != "teacher_view"}
    stores = [public.digest, validation.digest]
    parts = [RECIPE_VERSION, architecture.to_json(), *stores, told, altered, pretrained]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]
