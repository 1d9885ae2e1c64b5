"""The student's first weights: distilled once on the server's public split, then found in the cache.

On disk: ``<cache>/students/<digest>/weights.safetensors``. Runs that differ only in their clients, their
rounds or their compression begin from the same file.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import safetensors.torch
from filelock import FileLock
from torch import nn

from fl.data.cache import atomic_folder
from fl.data.shards import Shard, take
from fl.distill.batches import TeacherAnswers
from fl.distill.early_stopping import train_best
from fl.distill.precision import resolve_precision
from fl.distill.teacher import Teacher
from fl.settings import AugmentSettings, DistillSettings, WarmupSettings
from fl.state import flatten, schema_digest, weights_sha256
from models.zoo import Detector

RECIPE_VERSION = 2
"""Part of the digest: raise it when `train_best` trains otherwise."""


def obtain_first_weights(
    network: Detector,
    public: Shard,
    validation: Shard,
    teacher: Teacher,
    answers: TeacherAnswers,
    warmup: WarmupSettings,
    augment: AugmentSettings,
    distill: DistillSettings,
    seed: int,
    cache_dir: Path,
    advance: Callable[[int, str], None],
) -> None:
    """Train the network in place as `warmup` asks, or read what an earlier run trained alike.

    Args:
        network: with the weights it starts from.
        public: the server's own clips.
        validation: decides when to stop, if `warmup` has patience.
        teacher: the one that answers.
        answers: its outputs on ``public``, cached or live.
        warmup: epochs, batch size, learning rate.
        augment: how the clips are altered each time.
        distill: weights of the distillation loss.
        seed: of the order of clips and of what alters them.
        cache_dir: root of the cache.
        advance: called with (1, note) after each epoch.
    """
    digest = _digest(network, (public, validation), teacher, warmup, augment, distill, seed)
    folder = cache_dir / "students" / digest
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            with atomic_folder(folder) as building:
                clips = take(public), take(validation)
                train_best(network, *clips, warmup, augment, seed, advance, answers, distill)
                safetensors.torch.save_model(network, str(building / "weights.safetensors"))
    safetensors.torch.load_model(network, folder / "weights.safetensors")


def _digest(
    network: nn.Module,
    stores: Sequence[Shard],
    teacher: Teacher,
    warmup: WarmupSettings,
    augment: AugmentSettings,
    distill: DistillSettings,
    seed: int,
) -> str:
    start = [schema_digest(network), weights_sha256(flatten(network))]
    told = [asdict(settings) for settings in (warmup, augment, distill)]
    precision = resolve_precision(warmup.precision)
    parts = [RECIPE_VERSION, start, [store.digest for store in stores], teacher.digest, told, precision, seed]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]
