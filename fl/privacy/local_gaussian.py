"""Local differential privacy: each client cuts its whole update and adds noise before it is sent.

The Gaussian mechanism (Dwork and Roth 2014, appendix A) on a client's update, for a server that is not
trusted: whatever clips a client holds, any others could have given what it sends. The noise multiplies
clip_norm; from any update of that norm to any other are 2 clip_norm, so the account sees half of the noise
multiplier (`fl.privacy.client_releases`). Rounds compose: a client that is asked ten times spends ten times.
"""

import numpy as np


def noised_update(
    sent: np.ndarray,
    trained: np.ndarray,
    *,
    clip_norm: float,
    noise_std: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """What a client tells of its training: the state it got, plus its cut update, plus noise.

    Args:
        sent: (num_values,), the flat state that it got.
        trained: (num_values,), what it made of it; values that are not finite count as no update at all,
            since no cut bounds them.
        clip_norm: largest Euclidean norm of the update, > 0.
        noise_std: standard deviation of the noise on each value; 0: none.
        rng: of the noise.

    Returns:
        (num_values,), float32.
    """
    update = trained.astype(np.float64) - sent
    norm = float(np.linalg.norm(update))
    if not np.isfinite(norm):
        update, norm = np.zeros_like(update), 0.0
    if norm > clip_norm:
        update *= clip_norm / norm
    if noise_std:
        update += noise_std * rng.standard_normal(update.size)
    told: np.ndarray = (sent + update).astype(np.float32)
    return told
