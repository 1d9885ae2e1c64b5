"""From a target for what a network costs to the share of its channels that must go."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import nn

from fl.compress.export import load_template
from fl.errors import RequestError
from fl.metrics.cost import count_macs, count_parameters
from fl.metrics.latency import open_session, time_interleaved
from models.architecture import Architecture
from models.output import INPUTS, Inputs

MAX_TRIES = 10
"""Halvings of the interval: channels come in blocks, so more would find the same plan again."""

NUM_WARMUP, NUM_RUNS = 5, 30
"""Interleaved runs of one latency ratio."""


def share_removed(
    ratio_of: str,
    dense: nn.Module,
    pruned: nn.Module,
    architectures: tuple[Architecture, Architecture],
    inputs: Inputs,
    cache_dir: Path,
) -> float:
    """How much of what the dense network costs the pruned one saves; below 0 if it costs more.

    Args:
        ratio_of: "parameters", "macs", or "latency": the medians of float ONNX graphs, one thread,
            run in turn on this machine. Latency is a measurement: it is not the same twice.
        dense: before any pruning; its weights do not matter.
        pruned: after.
        architectures: of both.
        inputs: one clip.
        cache_dir: where exported graphs are kept.
    """
    if ratio_of == "parameters":
        return 1 - count_parameters(pruned) / count_parameters(dense)
    if ratio_of == "macs":
        return 1 - count_macs(pruned, *inputs).total / count_macs(dense, *inputs).total
    feeds = {name: tensor.numpy() for name, tensor in zip(INPUTS, inputs, strict=True)}
    sessions = {}
    networks = {"dense": (architectures[0], dense), "pruned": (architectures[1], pruned)}
    for name, (architecture, network) in networks.items():
        template = load_template(architecture, network, inputs, cache_dir)
        model = template.with_weights(network.state_dict())
        sessions[name] = (open_session(model.SerializeToString()), feeds)
    times = time_interleaved(sessions, num_warmup=NUM_WARMUP, num_runs=NUM_RUNS, rng=np.random.default_rng(0))
    return 1 - times["pruned"].p50_ms / times["dense"].p50_ms


def smallest_ratio(saved: Callable[[float], float], goal: float, highest: float, ratio_of: str) -> float:
    """The smallest share of channels whose removal saves at least ``goal``, by bisection.

    Args:
        saved: channel ratio -> share saved; rises but for noise and blocks.
        goal: share to save, in [0, 1).
        highest: the largest channel ratio that the floors allow.
        ratio_of: named in the error.

    Returns:
        A ratio in [0, highest]; of those tried, the smallest that reached the goal.

    Raises:
        RequestError: even the highest ratio saves less.
    """
    if goal <= 0:
        return 0.0
    most = saved(highest)
    if most < goal:
        raise RequestError(
            f"compress.prune_ratio must be at most {most:.3f} with compress.ratio_of={ratio_of} and these "
            f"floors, got {goal:g}; lower the ratio, compress.min_channel_share or compress.round_to"
        )
    low, high = 0.0, highest
    for _ in range(MAX_TRIES):
        middle = (low + high) / 2
        if saved(middle) >= goal:
            high = middle
        else:
            low = middle
    return high
