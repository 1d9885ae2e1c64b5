"""Name -> rule: how the valid replies of a round become one state."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from server.aggregators.bulyan import bulyan
from server.aggregators.coordinates import median, trimmed_mean
from server.aggregators.geometric_median import geometric_median
from server.aggregators.krum import krum, multi_krum
from server.aggregators.norm_clipping import norm_clipping
from server.aggregators.replies import Combined, Replies

Rule = Callable[[Replies], Combined]

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "median": median,
        "trimmed_mean": trimmed_mean,
        "krum": krum,
        "multi_krum": multi_krum,
        "bulyan": bulyan,
        "geometric_median": geometric_median,
        "norm_clipping": norm_clipping,
    }
)
"""The robust ones; the mean is `server.aggregation.mean_of_holders`."""


def left_out(weights: np.ndarray) -> np.ndarray:
    """(clients,), whether a reply counts for less than half of an equal share."""
    return weights < 0.5 / len(weights)
