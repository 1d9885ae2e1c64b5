"""Sending a round's messages and taking in what comes back, on any Grid, until the round closes."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing as closed_in_the_end
from typing import Protocol, runtime_checkable

from flwr.app import Message
from flwr.serverapp import Grid

from server.closing import Closing

POLL_S = 1.0


@runtime_checkable
class Arriving(Protocol):
    """A Grid that gives replies as they come."""

    def arrivals(self, messages: Iterable[Message], timeout: float | None = None) -> Iterator[Message | None]:
        """Each reply when it is there, and now and then None, so that the clock can be looked at."""


def gather(
    grid: Grid,
    messages: Iterable[Message],
    timeout_s: float,
    closing: Closing,
    judge: Callable[[Message], tuple[int, bool] | None],
) -> list[Message]:
    """Replies of a round, by the time it closes.

    Args:
        grid: reaches the clients.
        messages: one for each client.
        timeout_s: the round closes after this time at the latest, s.
        closing: closes it before.
        judge: reply -> client, and whether it is valid; None: of nobody who was asked.
    """
    heard = []
    with closed_in_the_end(arrivals(grid, messages, timeout_s)) as source:
        for reply in source:
            told = None if reply is None else judge(reply)
            if reply is not None and told is not None:
                heard.append(reply)
                closing.hear(*told, time.monotonic())
            if closing.is_over(time.monotonic()):
                break
    return heard


def arrivals(
    grid: Grid, messages: Iterable[Message], timeout_s: float
) -> Generator[Message | None, None, None]:
    """Each reply when it is there, and now and then None; ends with the last reply or the time."""
    if isinstance(grid, Arriving):
        yield from grid.arrivals(messages, timeout_s)
        return
    deadline = time.monotonic() + timeout_s
    waiting = set(grid.push_messages(list(messages))) - {None}
    while waiting and time.monotonic() < deadline:
        for reply in grid.pull_messages(waiting):
            waiting.discard(reply.metadata.reply_to_message_id)
            yield reply
        yield None
        if waiting:
            time.sleep(min(POLL_S, max(0.0, deadline - time.monotonic())))
