"""When a round closes, and whose replies count: one rule for every grid.

Over-sampling as in Bonawitz et al. 2019, Towards Federated Learning at Scale: System Design, section 9:
more clients are asked than the round needs, and it closes when it has enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Closing:
    """The rule of one round, told of each answer as it comes.

    Clients count in a fixed order: those who were planned, then the spares as they were drawn. The round
    takes the first ``num_wanted`` valid replies in that order, and closes as soon as they are known. Where
    it has as many from anybody, it waits ``grace_s`` longer for those who come earlier in the order. So
    the clock decides nothing unless somebody is late.

    Attributes:
        order: clients that were asked, in the order in which they count.
        spares: those of them who were asked beyond the plan.
        num_wanted: valid replies that the round takes at most.
        grace_s: see above, s.
    """

    order: Sequence[int] = ()
    spares: frozenset[int] = frozenset()
    num_wanted: int = 0
    grace_s: float = 0.0
    _valid: dict[int, bool] = field(default_factory=dict)
    _enough_since: float | None = None

    def hear(self, client: int, valid: bool, now: float) -> None:
        """A client has answered at ``now``, s of any clock that only goes forward."""
        self._valid[client] = valid
        if self._enough_since is None and sum(self._valid.values()) >= self.num_wanted:
            self._enough_since = now

    def is_over(self, now: float) -> bool:
        """Whether nothing that may still come is waited for."""
        if self._enough_since is not None and now - self._enough_since >= self.grace_s:
            return True
        num_valid = 0
        for client in self.order:
            if client not in self._valid:
                return False
            num_valid += self._valid[client]
            if num_valid == self.num_wanted:
                return True
        return True

    @property
    def taken(self) -> list[int]:
        """Clients whose replies the round takes, in the order in which they count."""
        return [client for client in self.order if self._valid.get(client)][: self.num_wanted]

    @property
    def unused(self) -> set[int]:
        """Spares that were not needed: with a valid reply, or still at work when the round closed."""
        taken = self.taken
        if len(taken) < self.num_wanted:
            return set()
        return {client for client in self.spares - set(taken) if self._valid.get(client, True)}
