"""The teacher: trained once on the server's public split, cached by digest, then frozen.

On disk: ``<cache>/teachers/<digest>/`` with architecture.json, weights.safetensors, teacher.json,
and ``outputs/<shard digest>/`` with the logits and maps of every clip of a store, memory-mapped.
"""

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from filelock import FileLock
from sklearn.metrics import roc_auc_score
from torch import nn

from fl.data.shards import Shard, ShardView, take
from fl.distill.batches import Batch, TeacherOutputs, num_batches, shuffled_batches
from fl.distill.loop import take_steps
from fl.distill.losses import LossTerms, supervised_loss
from fl.distill.predict import autocast, predict, resolve_precision
from fl.errors import RequestError, TeacherError
from fl.seeds import derive, generator
from fl.settings import TeacherSettings
from models.architecture import Architecture

RECIPE_VERSION = 1
"""Part of the digest: raise it when the training below changes."""

Advance = Callable[[int, str], None]


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
        network = self.architecture.build()
        safetensors.torch.load_model(network, self.folder / "weights.safetensors")
        return network.requires_grad_(False)


def obtain_teacher(
    architecture: Architecture,
    public: Shard,
    validation: Shard,
    settings: TeacherSettings,
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
        cache_dir: root of the cache.
        advance: called with (1, note) after each epoch.
        pretrained: start the backbone from ImageNet weights, see `Architecture.build`.

    Raises:
        TeacherError: the validation AUC is below ``settings.min_auc``, or cannot be measured.
        RequestError: ``teacher.weights`` does not fit.
    """
    digest = _digest(architecture, public, validation, settings, pretrained)
    folder = cache_dir / "teachers" / digest
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "teacher.json").exists():
            with _atomic_folder(folder) as building:
                network = architecture.build(derive(settings.seed, "teacher"), pretrained)
                _make(network, public, validation, settings, building, advance)
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
    network: nn.Module,
    public: Shard,
    validation: Shard,
    settings: TeacherSettings,
    folder: Path,
    advance: Advance,
) -> None:
    """Train (or read) the teacher and write its files into ``folder``."""
    if settings.weights:
        _read_weights(network, Path(settings.weights))
        auc, num_epochs = _auc(network, take(validation), settings), 0
    else:
        auc, num_epochs = train_teacher(network, take(public), take(validation), settings, advance)
    safetensors.torch.save_model(network, str(folder / "weights.safetensors"))
    told = {"validation_auc": auc, "num_epochs": num_epochs, "settings": asdict(settings)}
    (folder / "teacher.json").write_text(json.dumps(told, indent=1))


def train_teacher(
    network: nn.Module,
    public: ShardView,
    validation: ShardView,
    settings: TeacherSettings,
    advance: Advance,
) -> tuple[float, int]:
    """AdamW with warm-up and cosine decay, stopped early; the best epoch's weights are kept.

    Returns:
        The best validation AUC and the number of epochs trained.
    """
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    per_epoch = num_batches(len(public), settings.batch_size)
    num_steps = per_epoch * settings.max_epochs
    precision = resolve_precision(settings.precision)

    def loss_terms(net: nn.Module, batch: Batch) -> LossTerms:
        with autocast(precision):
            logits = net(batch.frames, batch.mfcc).logits
        return supervised_loss(logits.float(), batch.labels)

    best_auc, best_epoch, best_state = -1.0, -1, {}
    for epoch in range(settings.max_epochs):
        rng = generator(settings.seed, epoch, -1, "teacher batches")

        def set_rate(step: int, done: int = epoch * per_epoch) -> None:
            share = warm_cosine((done + step) / num_steps)
            optimizer.param_groups[0]["lr"] = settings.learning_rate * share

        batches = shuffled_batches(public, None, settings.batch_size, per_epoch, rng, flip=True)
        means = take_steps(network, batches, loss_terms, optimizer, clip_norm=1.0, before_step=set_rate)
        auc = _auc(network, validation, settings)
        if auc > best_auc:
            best_auc, best_epoch = auc, epoch
            best_state = {k: v.clone() for k, v in network.state_dict().items()}
        advance(1, f"loss {means.loss:.3f}, validation AUC {auc:.3f}")
        if epoch - best_epoch >= settings.patience:
            break
    network.load_state_dict(best_state)
    network.to(memory_format=torch.contiguous_format)
    return best_auc, epoch + 1


def warm_cosine(progress: float, warmup: float = 0.1) -> float:
    """Share of the peak learning rate at ``progress`` in [0, 1]: linear rise, then half a cosine."""
    if progress < warmup:
        return 0.05 + 0.95 * progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def teacher_outputs(
    teacher: Teacher, shard: Shard, precision: str, advance: Callable[[int], None]
) -> TeacherOutputs:
    """The teacher's logits and maps of a store: computed once, then memory-mapped.

    Args:
        teacher: loaded only where the outputs are not cached yet.
        shard: the store.
        precision: "auto", "float32" or "bfloat16".
        advance: called with the number of clips done.
    """
    folder = teacher.folder / "outputs" / shard.digest
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            with _atomic_folder(folder) as building:
                network = teacher.load().to(memory_format=torch.channels_last)
                logits, maps = predict(
                    network, take(shard), precision=resolve_precision(precision), advance=advance
                )
                logits.astype("<f4").tofile(building / "logits.f32")
                maps.astype("<f4").tofile(building / "maps.f32")
                (building / "outputs.json").write_text(json.dumps({"maps": list(maps.shape)}))
    return open_outputs(folder)


def open_outputs(folder: Path) -> TeacherOutputs:
    """Memory-map what `teacher_outputs` wrote (copy on write: torch wants writable arrays)."""
    shape = tuple(json.loads((folder / "outputs.json").read_text())["maps"])
    logits = np.memmap(folder / "logits.f32", dtype="<f4", mode="c", shape=shape[:1])
    maps = np.memmap(folder / "maps.f32", dtype="<f4", mode="c", shape=shape)
    return TeacherOutputs(logits, maps)


def _auc(network: nn.Module, view: ShardView, settings: TeacherSettings) -> float:
    """Validation AUC; TeacherError where one class is missing."""
    labels = view.labels
    if len(set(labels.tolist())) < 2:
        raise TeacherError(
            f"the validation split holds one class only ({len(labels)} clips): its AUC, on which "
            "teacher.min_auc decides, is undefined. Give it real and fake clips"
        )
    logits, _ = predict(network, view, precision=resolve_precision(settings.precision))
    return float(roc_auc_score(labels, logits))


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
    pretrained: bool | str,
) -> str:
    told = {key: value for key, value in asdict(settings).items() if key != "min_auc"}
    if settings.weights:
        path = Path(settings.weights)
        if not path.is_file():
            raise RequestError(f"teacher.weights must name a file, got {path}: no such file")
        told["weights"] = hashlib.sha256(path.read_bytes()).hexdigest()
    told["precision"] = resolve_precision(settings.precision)
    parts = [RECIPE_VERSION, architecture.to_json(), public.digest, validation.digest, told, pretrained]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


@contextmanager
def _atomic_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside ``folder`` that takes its name only when all went well."""
    building = Path(tempfile.mkdtemp(prefix=folder.name + ".", dir=folder.parent))
    try:
        yield building
        os.replace(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
