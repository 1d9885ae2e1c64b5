"""Where the draws of a private client come from: the run's seed, or a secret of its own."""

import numpy as np

from fl.seeds import generator
from fl.settings import PrivacySettings


def private_generator(
    settings: PrivacySettings, seed: int, round_index: int, client_id: int, purpose: str
) -> np.random.Generator:
    """The generator behind a client's noise, or behind its choice of clips.

    Drawn from the run's seed it is the same on every grid and in a rerun, but whoever knows the seed, as
    the server of a deployment does, can take the noise off again. With ``secret_noise`` it is drawn from the
    system's entropy. Neither is a cryptographic generator.
    """
    if settings.secret_noise:
        return np.random.default_rng()
    return generator(seed, round_index, client_id, purpose)
