"""A narrow network inside a wide one: which of the wide one's values it holds.

Diao et al. 2021, "HeteroFL: Computation and Communication Efficient Federated Learning for
Heterogeneous Clients": a weak device trains a slice of the global network, and each value is averaged
over those who hold it. HeteroFL slices the first channels of every layer; here a pruning plan says
which stay, so that the narrow network is the pruned one. HeteroFL's scaler is not needed: BatchNorm
takes the scale out behind every convolution, and its statistics are made anew for each width.
"""

import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fl.compress.channels import TRACE_SIZE
from fl.compress.prune import PruningPlan, apply_plan
from fl.state import flatten, learnt_values, load_flat, schema_digest
from models.architecture import Architecture


@dataclass(frozen=True)
class NestedWidth:
    """A narrow network's shape, and where its flat state lies in the wide one's.

    Attributes:
        architecture: of the narrow network.
        schema: digest of its flat state's names and shapes.
        positions: (num_values,), int64: ``narrow == wide[positions]``; distinct and rising.
        learnt: (num_values,), bool: parameters. The others are BatchNorm's running statistics, which
            describe what goes through a network of this width and mean nothing in another.
    """

    architecture: Architecture
    schema: str
    positions: NDArray[np.int64]
    learnt: NDArray[np.bool_]

    def build(self, wide_state: np.ndarray) -> nn.Module:
        """The narrow network with its values of a wide flat state, in evaluation mode."""
        network = self.architecture.build()
        load_flat(network, wide_state[self.positions])
        return network


def nest(
    architecture: Architecture, network: nn.Module, plan: PruningPlan, image_size: int = TRACE_SIZE
) -> NestedWidth:
    """The network that a plan would leave, as a part of the present one.

    Args:
        architecture: of ``network``.
        network: the wide one; left as it is, its values do not matter.
        plan: what the narrow one does without.
        image_size: see `apply_plan`.

    Raises:
        ValueError: as `apply_plan`.
    """
    # Float64 holds every index exactly; float32 would only up to 2^24.
    marked = copy.deepcopy(network).double()
    load_flat(marked, np.arange(flatten(marked).size, dtype=np.float64))
    apply_plan(marked, plan, image_size)
    return NestedWidth(
        architecture=architecture.with_widths_of(marked),
        schema=schema_digest(marked),
        positions=flatten(marked).astype(np.int64),
        learnt=learnt_values(marked),
    )
