"""EfficientNet-Lite0 pruned and quantised: how much faster and smaller, and what is left of what it knew.

The thesis's network (chapters 5.7 and 6.2.4), published at 1.96 times the dense one's speed for a third of
its channels. Latency is measured at 224 x 224; training, pruning and accuracy are on the pictures of the
default corpus at their own size, from random weights: image labels are "this picture was altered".
"""

import copy
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.lite0_networks import (
    Quality,
    export,
    fit,
    int8_logits,
    mend,
    prune,
    quality_of,
    trained,
    vote,
)
from benchmarks.pictures import picture_shard, resized
from fl.compress.sessions import batch_feeds
from fl.compress.thesis import NETWORK
from fl.data.shards import ShardView, take
from fl.distill.batches import load_batch
from fl.distill.predict import predict
from fl.metrics.latency import open_session, time_interleaved
from fl.seeds import generator
from models.image import ImageDetector
from models.zoo import IMAGE_NETWORKS
from sim import checks
from sim.__main__ import set_quiet
from sim.config import build, compose
from sim.prepare import build_store, read_clips
from sim.progress import Progress

SHARES = (0.5, 0.65, 0.75)
"""Shares of the channels pruned for speed, of every layer alike."""
ROUNDINGS = (16, 8)
SMALL_SHARE = 0.05
"""Share of the thesis's comparison of local with global pruning, widths not rounded."""
NUM_TUNING_STEPS = 100
NUM_SMALL_TUNING_STEPS = 50
NUM_SEEDS = 3
TUNING_RATE = 1e-3
NUM_TIMED_RUNS = 40
FULL_SIZE = IMAGE_NETWORKS[NETWORK].image_size


@dataclass(frozen=True)
class Lite:
    """One network in one number format.

    Attributes:
        name: share and rounding, or "dense".
        variant: "float" or "INT8".
        size_bytes: of the ONNX file.
        latency_ms: median at 224 x 224, one thread, all timed in turn.
        speedup: dense float's latency over this.
        smaller: dense float's bytes over these.
        quality: after fine-tuning; of INT8 too.
    """

    name: str
    variant: str
    size_bytes: int
    latency_ms: float
    speedup: float
    smaller: float
    quality: Quality


@dataclass(frozen=True)
class Small:
    """Local beside global pruning of a network of one seed.

    Attributes:
        seed: of the network, its pictures' order and the votes.
        dense: before any pruning.
        pruned: scope -> right after, nothing mended.
        tuned: scope -> after fine-tuning, and "dense" after the same steps.
        num_parameters: scope -> what is left.
    """

    seed: int
    dense: Quality
    pruned: dict[str, Quality]
    tuned: dict[str, Quality]
    num_parameters: dict[str, int]


@dataclass(frozen=True)
class Result:
    """The benchmark.

    Attributes:
        num_pictures: split -> pictures.
        rows: dense first.
        small: one for each seed.
    """

    num_pictures: dict[str, int]
    rows: tuple[Lite, ...]
    small: tuple[Small, ...]


def measure(cache_dir: Path) -> Result:
    """Train, prune, quantise and time on the default corpus, whose stores are made first if need be.

    Args:
        cache_dir: where stores and exported graphs are kept.
    """
    experiment, progress = build(compose([])), Progress()
    clips = read_clips(experiment, cache_dir, progress)
    splits = ("public", "clients", "test")
    stores = {split: build_store(split, clips, experiment, cache_dir, progress) for split in splits}
    train = take(picture_shard([stores["public"], stores["clients"]]))
    test = take(picture_shard([stores["test"]]))
    torch.set_num_threads(1)
    networks = [trained(train, seed) for seed in range(NUM_SEEDS)]
    small = [compare_scopes(networks[seed], train, test, seed) for seed in range(NUM_SEEDS)]
    rows = compare_shares(networks[0], train, test, cache_dir)
    return Result({"train": len(train), "test": len(test)}, tuple(rows), tuple(small))


def compare_scopes(network: ImageDetector, train: ShardView, test: ShardView, seed: int) -> Small:
    """Five per cent of every layer, against the five per cent that matter least anywhere."""
    votes = vote(network, train, seed)
    pruned, tuned, counts = {}, {}, {}
    control = copy.deepcopy(network)
    fit(control, train, NUM_SMALL_TUNING_STEPS, TUNING_RATE, seed)
    tuned["dense"] = quality_of(predict(control, test)[0], test)
    for scope in ("local", "global"):
        smaller = prune(network, votes, SMALL_SHARE, scope, round_to=1)
        counts[scope] = sum(parameter.numel() for parameter in smaller.parameters())
        pruned[scope] = quality_of(predict(smaller, test)[0], test)
        fit(smaller, train, NUM_SMALL_TUNING_STEPS, TUNING_RATE, seed)
        tuned[scope] = quality_of(predict(smaller, test)[0], test)
    return Small(seed, quality_of(predict(network, test)[0], test), pruned, tuned, counts)


def compare_shares(network: ImageDetector, train: ShardView, test: ShardView, cache_dir: Path) -> list[Lite]:
    """Every share and rounding, fine-tuned, float and INT8: quality on the corpus, latency at 224."""
    networks = {"dense": network}
    votes = vote(network, train, 0)
    for round_to in ROUNDINGS:
        for share in SHARES:
            smaller = prune(network, votes, share, "local", round_to)
            mend(smaller, train)
            fit(smaller, train, NUM_TUNING_STEPS, TUNING_RATE, 0)
            networks[f"{100 * share:g} %, by {round_to}"] = smaller
    with tempfile.TemporaryDirectory() as folder:
        files, quality = {}, {}
        for name, found in networks.items():
            place = Path(folder, name)
            float_logits = predict(found, test)[0]
            files[name, "float"], files[name, "INT8"] = export(found, train, FULL_SIZE, cache_dir, place)
            _, small_int8 = export(found, train, test.shard.frames.shape[2], cache_dir, place / "small")
            quality[name, "float"] = quality_of(float_logits, test)
            quality[name, "INT8"] = quality_of(int8_logits(small_int8, test), test)
        batch = load_batch(test, np.arange(1))
        feeds = {**batch_feeds(batch), "frames": resized(batch.frames, FULL_SIZE).numpy()}
        timed = time_interleaved(
            {"/".join(key): (open_session(path), feeds) for key, path in files.items()},
            num_warmup=5,
            num_runs=NUM_TIMED_RUNS,
            rng=generator(0, 0, -1, "lite0 latency"),
        )
        sizes = {key: path.stat().st_size for key, path in files.items()}
    dense_ms, dense_bytes = timed["dense/float"].p50_ms, sizes["dense", "float"]
    return [
        Lite(
            name=name,
            variant=variant,
            size_bytes=size,
            latency_ms=timed[f"{name}/{variant}"].p50_ms,
            speedup=dense_ms / timed[f"{name}/{variant}"].p50_ms,
            smaller=dense_bytes / size,
            quality=quality[name, variant],
        )
        for (name, variant), size in sizes.items()
    ]


def describe(told: Result) -> list[str]:
    """The two tables, in lines of text."""
    counts = ", ".join(f"{number} {split}" for split, number in told.num_pictures.items())
    lines = [
        f"EfficientNet-Lite0, latency at {FULL_SIZE} x {FULL_SIZE}, one thread; {counts} pictures:",
        "  network          format  size MB  smaller    ms  faster   acc. %    AUC   loss",
    ]
    for row in told.rows:
        lines.append(
            f"  {row.name:16s} {row.variant:6s} {row.size_bytes / 1e6:8.2f} {row.smaller:7.1f}x"
            f" {row.latency_ms:5.1f} {row.speedup:6.2f}x {_show(row.quality)}"
        )
    lines += [
        f"Local against global pruning of {100 * SMALL_SHARE:g} % of the channels:",
        "  seed  network  parameters   right after: acc. %, AUC, loss   fine-tuned: acc. %, AUC, loss",
    ]
    for small in told.small:
        before, after = _show(small.dense), _show(small.tuned["dense"])
        lines.append(f"  {small.seed:4d}  dense    {'':10s} {before:>32s} {after:>32s}")
        for scope in ("local", "global"):
            lines.append(
                f"  {'':4s}  {scope:7s}  {small.num_parameters[scope]:10,d}"
                f" {_show(small.pruned[scope]):>32s} {_show(small.tuned[scope]):>32s}"
            )
    return lines


def _show(quality: Quality) -> str:
    return f"{100 * quality.accuracy:8.1f} {quality.auc:6.3f} {quality.loss:6.3f}"


def main() -> None:
    """Measure this alone."""
    set_quiet()
    print("\n".join(describe(measure(checks.cache_dir(build(compose([])))))))


if __name__ == "__main__":
    main()
