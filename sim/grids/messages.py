"""What our grids share: a Flower identity for this process, and answers from a client app.

The one place that uses a private name of Flower: a `Message` can only be made by a process that
has a task identity, which Flower's own engine sets the same way (pinned: flwr 1.41).
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator

from flwr.app import Context, Error, Message, RecordDict, UserConfig
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from fl.reasons import without_places

RUN_ID = 1
SERVER_NODE_ID = 1
CLIENT_ERROR = 1


def identify() -> None:
    """Give this process the identity that making messages asks for."""
    TaskIdentity.task_id = 1
    TaskIdentity.run_id = RUN_ID
    TaskIdentity.node_id = SERVER_NODE_ID


def node_of(client_id: int) -> int:
    """The node id of a partition; rising with it."""
    return client_id + 2


def client_of(node_id: int) -> int:
    """The partition id of a node."""
    return node_id - 2


def context_of(node_id: int, num_clients: int) -> Context:
    """A fresh context: nothing of one task is seen by the next."""
    config: UserConfig = {"partition-id": client_of(node_id), "num-partitions": num_clients}
    return Context(run_id=RUN_ID, node_id=node_id, node_config=config, state=RecordDict(), run_config={})


def answer(app: ClientApp, message: Message, num_clients: int) -> Message:
    """The app's reply, or an error reply that says why there is none."""
    try:
        return app(message, context_of(message.metadata.dst_node_id, num_clients))
    except Exception as error:
        return error_reply(message, without_places(str(error) or type(error).__name__))


def error_reply(message: Message, reason: str) -> Message:
    """A reply in the client's place; ``reason`` begins with the stage and a colon."""
    return Message(Error(CLIENT_ERROR, reason), reply_to=message)


class LocalGrid(Grid):
    """A Flower Grid whose nodes are the partitions of one run; `arrivals` does the work.

    Args:
        num_clients: number of partitions.

    Attributes:
        client_done: called with the partition id after each client; whoever wants to know sets it.
    """

    def __init__(self, num_clients: int) -> None:
        identify()
        self.num_clients = num_clients
        self.client_done: Callable[[int], object] = lambda client_id: None
        self._run = Run.create_empty(RUN_ID)
        self._pushed: dict[str, Message] = {}

    def set_run(self, run: Run) -> None:
        """Take the run's description."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run's description."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Make a message."""
        return Message(
            content, dst_node_id=dst_node_id, message_type=message_type, group_id=group_id, ttl=ttl
        )

    def get_node_ids(self) -> Iterable[int]:
        """All partitions are always connected."""
        return [node_of(client) for client in range(self.num_clients)]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Keep messages until they are pulled; the id is the node's."""
        pushed = {str(m.metadata.dst_node_id): m for m in messages}
        self._pushed.update(pushed)
        return list(pushed)

    @abstractmethod
    def arrivals(self, messages: Iterable[Message], timeout: float | None = None) -> Iterator[Message | None]:
        """Each reply when it is there, until ``timeout`` s have passed, and now and then None.

        Whoever closes the iterator wants no more.
        """

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """All replies that come within ``timeout`` s."""
        return [reply for reply in self.arrivals(messages, timeout) if reply is not None]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Do the work of pushed messages and return the replies."""
        return self.send_and_receive([self._pushed.pop(key) for key in message_ids if key in self._pushed])
