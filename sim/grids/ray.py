"""A Grid over a pool of long-lived Ray actors that we own.

The flat state of a round is put into Ray's object store once, whatever the number of clients. A
dead actor is replaced and its client tried again; an actor past the round's deadline is replaced too.
"""

import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from flwr.app import Message, RecordDict
from ray._private import ray_constants
from ray.exceptions import RayActorError, RayError

from clients.app import ClientSetup
from fl.cores import usable_cores
from fl.errors import RequestError, RunError
from fl.reasons import one_line
from fl.settings import GridSettings
from sim.grids.messages import LocalGrid, answer, client_of, error_reply

THREADS = {
    "OMP_NUM_THREADS": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
}
TICK_S = 1.0


class Worker:
    """What lives in an actor: one client app, one thread, the network resident between rounds."""

    def __init__(self, setup: ClientSetup) -> None:
        import torch

        from clients.app import make_client_app

        torch.set_num_threads(1)
        self.app = make_client_app(setup)
        self.num_clients = len(setup.rows)

    def pid(self) -> int:
        """The process id; answering means ready."""
        return os.getpid()

    def work(self, message: Message, arrays: Any) -> Message:
        """One client's round."""
        shared = dict(message.content.config_records)
        message.content = RecordDict({"arrays": arrays, **shared})
        return answer(self.app, message, self.num_clients)


class RayGrid(LocalGrid):
    """Clients on a pool of actors; a context manager that leaves no process behind.

    The actors start in the background: what is done before the first message costs them nothing.

    Args:
        setup: what the client apps know.
        settings: address, number of workers, retries.
    """

    def __init__(self, setup: ClientSetup, settings: GridSettings) -> None:
        super().__init__(len(setup.rows))
        self.settings = settings
        num_workers = min(settings.num_workers or usable_cores(), len(setup.rows))
        self._folder = tempfile.mkdtemp(prefix="fedpin-", dir=os.environ.get("RAY_TMPDIR", "/tmp"))
        start_ray(settings.address, num_workers, self._folder)
        self._setup = ray.put(setup)
        self._actor = ray.remote(num_cpus=1, max_restarts=0)(Worker)
        self._workers: list[Any] = [None] * num_workers
        self._rising: dict[Any, int] = {}
        for place in range(num_workers):
            self._hire(place)

    def __enter__(self) -> "RayGrid":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the actors, and the local Ray with them."""
        self.close()

    def close(self) -> None:
        """End the actors, and the local Ray with them; may be called twice."""
        if ray.is_initialized():
            for worker in self._workers:
                ray.kill(worker)
            ray.shutdown()
            shutil.rmtree(self._folder, ignore_errors=True)
        self._workers = []

    def worker_pids(self) -> list[int]:
        """Process ids of the workers; returns when all are ready."""
        return [int(pid) for pid in ray.get([worker.pid.remote() for worker in self._workers])]

    def arrivals(self, messages: Iterable[Message], timeout: float | None = None) -> Iterator[Message | None]:
        """Give each idle worker the next client until all have answered or ``timeout`` s have passed.

        A worker that is still at work in the end is replaced; while the new one starts, others do the work.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        waiting = [(message, 0) for message in messages]
        shared = _put_arrays([message for message, _ in waiting])
        idle = [place for place in range(len(self._workers)) if place not in self._rising.values()]
        busy: dict[Any, tuple[int, Message, int]] = {}
        try:
            while (waiting or busy) and (left := deadline - time.monotonic()) > 0:
                while idle and waiting:
                    message, tries = waiting.pop(0)
                    place = idle.pop(0)
                    light = Message(
                        RecordDict(dict(message.content.config_records)),
                        dst_node_id=message.metadata.dst_node_id,
                        message_type=message.metadata.message_type,
                    )
                    future = self._workers[place].work.remote(light, shared[id(message.content["arrays"])])
                    busy[future] = (place, message, tries)
                ready, _ = ray.wait([*busy, *self._rising], num_returns=1, timeout=min(TICK_S, left))
                if not ready:
                    yield None
                    continue
                if ready[0] in self._rising:
                    idle.append(self._rising.pop(ready[0]))
                    continue
                place, message, tries = busy.pop(ready[0])
                reply = self._collect(ready[0], place, message, tries)
                if place not in self._rising.values():
                    idle.append(place)
                if reply is None:
                    waiting.insert(0, (message, tries + 1))
                    continue
                self.client_done(client_of(message.metadata.dst_node_id))
                yield reply
        finally:
            for place, _, _ in busy.values():
                self._replace(place)

    def _collect(self, future: Any, place: int, message: Message, tries: int) -> Message | None:
        """The reply; None when the worker died and the client shall be tried again."""
        try:
            reply: Message = ray.get(future)
            return reply
        except RayActorError:
            self._replace(place)
            if tries < self.settings.max_retries:
                return None
            return error_reply(message, f"worker: died {tries + 1} times at this client's work")
        except RayError as error:
            return error_reply(message, f"worker: {error}".splitlines()[0])

    def _hire(self, place: int) -> None:
        """A new worker; its first answer, or its failure, says that it can be given work."""
        self._workers[place] = self._actor.remote(self._setup)
        self._rising[self._workers[place].pid.remote()] = place

    def _replace(self, place: int) -> None:
        ray.kill(self._workers[place])
        self._hire(place)


def _put_arrays(messages: list[Message]) -> dict[int, Any]:
    """Each distinct array record into the object store, once."""
    records = {id(m.content["arrays"]): m.content["arrays"] for m in messages}
    return {key: ray.put(record) for key, record in records.items()}


def start_ray(address: str, num_workers: int, folder: str) -> None:
    """Start Ray on this machine's loopback address, or join a cluster.

    Args:
        address: "local", or that of a cluster.
        num_workers: actors that shall run at a time.
        folder: of the sockets and logs of a Ray that is started here; short, as paths of sockets must be.

    Raises:
        RequestError: more workers than CPUs, or nobody at the address.
        RunError: it does not start in time.
    """
    if ray.is_initialized():
        return
    runtime_env = {"env_vars": THREADS}
    quiet = {"logging_level": "ERROR", "log_to_driver": False, "runtime_env": runtime_env}
    if address == "local":
        cores = usable_cores()
        if num_workers > cores:
            raise RequestError(f"grid.num_workers must be at most {cores}, the cores here, got {num_workers}")
        _stay_on_loopback()
        with starting():
            ray.init(
                address="local",
                num_cpus=num_workers,
                include_dashboard=False,
                object_store_memory=256 * 2**20,
                _temp_dir=folder,
                **quiet,
            )
        return
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RequestError(
            f"grid.address must be local or a running Ray cluster, got {address}: {error}"
        ) from error


def _stay_on_loopback() -> None:
    """Make Ray's own processes listen to this machine only.

    ``_node_ip_address="127.0.0.1"`` does not: Ray turns it into the machine's public address and listens on
    all. What it does for the firewalls of Windows and macOS is what is wanted here: a private constant
    (pinned: ray 2.55) for this process, its environment variable for those that it starts.
    """
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False


@contextmanager
def starting() -> Iterator[None]:
    """Turn what Ray raises when its processes do not come up into one line, and leave none of them.

    Ray 2.55 raises a plain ``Exception`` when its node has not registered after 30 s.

    Raises:
        RunError: it does not start in time.
    """
    try:
        yield
    except Exception as error:
        if type(error) is not Exception and not isinstance(error, (OSError, RuntimeError, RayError)):
            raise
        ray.shutdown()
        raise RunError(
            f"Ray did not start on this machine: {one_line(str(error))} Try again when it is less busy, "
            "or add grid=inprocess, which needs no Ray"
        ) from error
