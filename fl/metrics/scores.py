"""From logits to probabilities of fake. Light: `python -m sim predict` needs nothing else of the metrics."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit


def probabilities(logits: ArrayLike) -> NDArray[np.float64]:
    """The logistic function, in double precision, so that large logits stay apart from 1.

    Args:
        logits: of any shape, unnormalised; above 0 is fake.

    Returns:
        The same shape, in [0, 1]; NaN where the logit is.
    """
    return np.asarray(expit(np.asarray(logits, dtype=np.float64)))
