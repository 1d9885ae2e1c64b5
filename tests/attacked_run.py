"""A small run to attack: two clients, two rounds, clips whose labels no picture tells."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from small_shards import FACE, REAL, shard

from fl.data.partition import Partition
from fl.data.shards import Shard
from fl.settings import DistillSettings, Experiment, StrategySettings, WarmupSettings
from models.architecture import Architecture
from server.checkpoint import save_checkpoint
from sim.audits.attacked_clips import AttackedClips
from sim.finished import FinishedRun
from sim.record import append_round, read_rounds

LITE = Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13})
EXPERIMENT = Experiment(
    distill=DistillSettings(batch_size=8, soft_weight=0.0, attention_weight=0.0, proximal_mu=0.0),
    warmup=WarmupSettings(max_epochs=0),
    strategy=StrategySettings(num_rounds=2),
)


def store(split: str, num: int, seed: int, folder: Path) -> Shard:
    """Two clips of each person, whose labels no picture tells; the teacher's answers beside it."""
    rng = np.random.default_rng(seed)
    clips = [replace((REAL, FACE)[i % 2], identity=f"{split}{i // 2}", group="all") for i in range(num)]
    made = shard(clips)
    frames = rng.integers(0, 256, made.frames.shape, dtype=np.uint8)
    mfcc = rng.normal(size=made.mfcc.shape).astype(np.float16)
    outputs = folder / "outputs" / split
    outputs.mkdir(parents=True)
    rng.normal(size=num).astype("<f4").tofile(outputs / "logits.f32")
    rng.random((num, 10, 4)).astype("<f4").tofile(outputs / "maps.f32")
    (outputs / "outputs.json").write_text(json.dumps({"maps": [num, 10, 4]}))
    return replace(made, digest=split, frames=frames, mfcc=mfcc)


def clips_of(
    folder: Path, experiment: Experiment = EXPERIMENT, architecture: Architecture = LITE
) -> AttackedClips:
    """A run of two clients and two rounds; its student is as it was drawn."""
    sizes = {"public": 16, "clients": 100, "test": 48}
    stores = {name: store(name, size, seed, folder) for seed, (name, size) in enumerate(sizes.items())}
    rows = np.arange(40), np.arange(40, 100)
    network = architecture.build(0)
    for index in (1, 2):
        save_checkpoint(folder, index, architecture, network, {})
        told = {"sampled": [0, 1], "replied": [0, 1], "failed": [], "missing": [], "stragglers": [0]}
        append_round(folder, {"round_index": index, "clients": told})
    run = FinishedRun(folder, experiment, folder, architecture, network.eval(), folder)
    return AttackedClips(run, stores, Partition(rows, ("", "")), read_rounds(folder))
