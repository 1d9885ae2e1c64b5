"""All randomness of a run comes from one seed, by purpose: no global generator is ever seeded."""

import hashlib

import numpy as np


def derive(seed: int, *parts: int | str) -> int:
    """A 63-bit seed for one purpose, the same on every machine.

    Args:
        seed: the run's seed.
        parts: what it is for, e.g. ``"batches", round_index, client_id``.
    """
    text = "/".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, round_index: int, client_id: int, purpose: str) -> np.random.Generator:
    """The generator of one client in one round for one purpose; -1 stands for the server."""
    return np.random.default_rng(derive(seed, purpose, round_index, client_id))
