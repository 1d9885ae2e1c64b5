"""Who is malicious: drawn from the seed, known to the clients and to the record, never to a defence."""

import numpy as np

from fl.seeds import derive
from fl.settings import AdversarySettings


def num_malicious(settings: AdversarySettings, num_clients: int) -> int:
    """How many of the clients harm."""
    return 0 if settings.kind == "none" else round(settings.share * num_clients)


def malicious_clients(settings: AdversarySettings, seed: int, num_clients: int) -> frozenset[int]:
    """Ids of the malicious clients; of the same seed, a larger share holds all of a smaller one."""
    order = np.random.default_rng(derive(seed, "adversary")).permutation(num_clients)
    return frozenset(order[: num_malicious(settings, num_clients)].tolist())
