"""A Grid that calls the client in the same process: no Ray, the debugger works."""

import time
from collections.abc import Iterable, Iterator

from flwr.app import Message
from flwr.clientapp import ClientApp

from sim.grids.messages import LocalGrid, answer, client_of


class InProcessGrid(LocalGrid):
    """Clients one after the other.

    Args:
        app: the client app.
        num_clients: number of partitions.
    """

    def __init__(self, app: ClientApp, num_clients: int) -> None:
        super().__init__(num_clients)
        self.app = app

    def arrivals(self, messages: Iterable[Message], timeout: float | None = None) -> Iterator[Message | None]:
        """Run every message's client; those that ``timeout`` (s) leaves no time for do not answer."""
        deadline = None if timeout is None else time.monotonic() + timeout
        for message in messages:
            if deadline is not None and time.monotonic() > deadline:
                break
            reply = answer(self.app, message, self.num_clients)
            self.client_done(client_of(message.metadata.dst_node_id))
            yield reply
