"""How many replies each aggregation rule's theory asks for. No heavy import: requests are checked by it."""

from collections.abc import Mapping
from types import MappingProxyType

FEWEST: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "mean": (0, 1),
        "median": (2, 1),
        "trimmed_mean": (2, 1),
        "geometric_median": (2, 1),
        "norm_clipping": (2, 1),
        "krum": (2, 3),
        "multi_krum": (2, 3),
        "bulyan": (4, 3),
    }
)
"""Rule -> (a, b): with f bad clients its theory asks for a f + b replies."""


def fewest_replies(aggregator: str, num_byzantine: int) -> int:
    """How many replies the theory of a rule asks for, with so many bad ones among them."""
    per_bad, more = FEWEST[aggregator]
    return per_bad * num_byzantine + more
