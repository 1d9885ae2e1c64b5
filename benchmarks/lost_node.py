"""A deployment on hosts of their own in which a node is lost and comes back, and the same run on Ray.

Four devices are registered: one is cut off while it works on round 2 and comes back for round 3, another
accepts another teacher only. The run on Ray is asked to lose the same clients in the same rounds: its seed
is one that draws just them as drop-outs.
"""

import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from benchmarks.deployed import Deployed, give_videos
from benchmarks.flower_processes import environment, running, wait_for_text
from benchmarks.network import Host, network
from fl.settings import Experiment
from server.sampling import sample_clients
from sim.config import build, compose
from sim.deploy.certificates import make_node_key
from sim.record import read_rounds

NODES = ("node-0", "node-1", "node-2", "node-3")
DEVICES = ("laptop", "camera", "phone", "phone")
LOST, PINNED = 1, 3
MISSING = ((PINNED,), (LOST, PINNED), (PINNED,))
"""Clients that each round does without."""
PORT = 9443
DEADLINE_S = 240
"""Of a round; on an idle machine the SuperLink notices long before that a node is gone."""
ROUND_S = 600
"""What a round may take here at most, with all that is around it."""
REQUEST = (
    "experiment=smoke",
    "data.synthetic.num_identities=16",
    f"strategy.num_rounds={len(MISSING)}",
    "strategy.straggler_share=0",
    "compress.prune_rounds=[2]",
    "latency.num_runs=5",
)
FLOWERS = re.compile(r"INFO ?:|\d{4}-\d\d-\d\dT\S+ INFO ")
"""Lines of Flower's programs on what they are doing."""
DROPOUT = "strategy.dropout_share=0.4"


@dataclass(frozen=True)
class Played:
    """What is left of it.

    Attributes:
        hosts: folder of the run on the hosts.
        asked: what a run on Ray is asked for that loses the same clients.
        submitted: exit code of `submit --follow`.
        stranger: exit code of a node with a key that the server does not know, and its lines.
        probed: what the caller's probe found.
        states: of the nodes in the end.
        seconds: what happened -> when, in seconds after the first round was recorded.
        transcript: what was typed, and what was answered.
    """

    hosts: Path
    asked: tuple[str, ...]
    submitted: int
    stranger: tuple[int, str]
    probed: list[str]
    states: dict[str, str]
    seconds: dict[str, float]
    transcript: list[str]


@dataclass
class Stage:
    """Hosts on a switch, what runs on them, and what was typed there."""

    work: Path
    deployed: Deployed
    hosts: dict[str, Host]
    lines: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Note a line."""
        self.lines.append(text)
        print(text, flush=True)

    def last_typed(self, name: str) -> list[str]:
        """What a part that runs was started with."""
        command = self.deployed.running[name].args
        return list(command[len(self.deployed.command(name)) :])  # type: ignore[call-overload]

    def typed(self, host: str, arguments: Sequence[str]) -> None:
        """Note a command."""
        self.say(f"{host}$ python -m sim deploy {shlex.join(arguments)}".replace(f"{self.work}/", ""))

    def answered(self, output: str) -> None:
        """Note what a command answered: without colours, and without the place where it was played."""
        for line in re.sub(r"\x1b\[[0-9;]*m", "", output).replace(f"{self.work}/", "").splitlines():
            if line.strip() and not FLOWERS.match(line):
                self.say(line.rstrip())

    def ask(self, *arguments: str) -> None:
        """A command on the server's host."""
        self.typed("server", arguments)
        done = self.deployed.ask(*arguments)
        self.answered(done.stdout + done.stderr)


def lossy_seed(experiment: Experiment) -> int:
    """The first seed with which a simulation loses the clients of `MISSING`."""
    for seed in count(1):
        if all(
            tuple(sample_clients(experiment.strategy, seed, index, len(NODES))[2]) == missing
            for index, missing in enumerate(MISSING, start=1)
        ):
            return seed
    raise AssertionError


def lossy_request(work: Path) -> tuple[str, ...]:
    """What a simulation is asked for that loses the clients of `MISSING`; the last is its seed."""
    asked = (*REQUEST, f"partition.num_clients={len(NODES)}", DROPOUT, f"cache_dir={work / 'cache'}")
    return (*asked, f"seed={lossy_seed(build(compose(asked)))}")


def run_on_ray(work: Path, asked: Sequence[str]) -> Path:
    """The run on Ray; its folder."""
    more = ("grid=ray", f"runs_dir={work / 'ray'}", "name=lab")
    command = [sys.executable, "-m", "sim", "run", *asked, *more]
    subprocess.run(command, check=True, capture_output=True, cwd=work, timeout=900)
    return work / "ray" / "lab"


@contextmanager
def stage(work: Path) -> Iterator[Stage]:
    """A server and its nodes, up and connected; ended with the block."""
    with network(("server", *NODES, "stranger")) as hosts, ExitStack() as stack:
        prefixes = {name: host.prefix for name, host in hosts.items()}
        deployed = Deployed(work / "lab", work, work / "cache", stack, prefixes)
        made = Stage(work, deployed, hosts)
        address = f"{hosts['server'].address}:{PORT}"
        made.ask("init", "lab", "--server", address, "--nodes", str(len(NODES)))
        log = deployed.start("server", "server", "lab")
        wait_for_text(log, "Server ready", ROUND_S, deployed.running["server"])
        made.typed("server", ("server", "lab"))
        made.answered(log.read_text())
        for number, (name, device) in enumerate(zip(NODES, DEVICES, strict=True)):
            pinned = ("--teacher", "beef") if number == PINNED else ()
            log = deployed.start_node(name, deployed.folder / "nodes" / name, "--device", device, *pinned)
            made.typed(name, made.last_typed(name))
        yield made


def turn_away_a_stranger(made: Stage) -> tuple[int, str]:
    """A node with a key of its own making: its exit code and lines."""
    folder = made.work / "stranger"
    shutil.copytree(made.deployed.folder / "nodes" / NODES[0], folder)
    make_node_key(folder)
    asked = ("node", "stranger", "--data", NODES[0], "--cache", "cache-stranger")
    log = made.deployed.start("stranger", *asked)
    code = made.deployed.running["stranger"].wait(ROUND_S)
    made.typed("stranger", asked)
    made.answered(log.read_text())
    return code, log.read_text()


def play(work: Path, probe: Callable[[Stage], list[str]] = lambda made: []) -> Played:
    """All that happens on the hosts, whose nodes get the videos of the clients of a simulation.

    Args:
        work: an empty folder.
        probe: asked when server and nodes are up.
    """
    lossy = lossy_request(work)
    give_videos(build(compose(lossy)), work)
    with stage(work) as made:
        stranger = turn_away_a_stranger(made)
        probed = probe(made)
        wait_until(lambda: set(made.deployed.status().values()) == {"online"}, ROUND_S, "all nodes online")
        made.ask("status", "lab")
        hosts, log = work / "runs" / "lab", work / "submit.log"
        asked = ["submit", "lab", *REQUEST, lossy[-1], f"strategy.round_timeout_s={DEADLINE_S}"]
        asked += ["strategy.rejoin_s=60", "runs_dir=runs", "name=lab", "--follow"]
        made.typed("server", asked)
        env = environment(work / "unused", FEDPIN_CACHE=str(work / "cache"))
        with running(made.deployed.command("server", *asked), env, log, work) as process:
            seconds = lose_a_node(made, hosts, process)
            submitted = process.wait(ROUND_S)
            made.answered(log.read_text())
        made.ask("status", "lab")
        states = made.deployed.status()
        return Played(hosts, lossy, submitted, stranger, probed, states, seconds, made.lines)


def lose_a_node(made: Stage, run_dir: Path, process: subprocess.Popen[bytes]) -> dict[str, float]:
    """Cut a node off while it works on round 2, and mend it when the round is recorded.

    Returns:
        What happened -> when, in seconds after the first round was recorded.
    """
    host, log = made.hosts[NODES[LOST]], made.work / f"{NODES[LOST]}.log"
    before, task = 3, "Received successfully"  # two questions at enrolment, and round 1

    def recorded(rounds: int) -> None:
        def there() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"the run ended with {process.returncode} before round {rounds}")
            return run_dir.is_dir() and len(read_rounds(run_dir)) >= rounds

        wait_until(there, 2 * ROUND_S if rounds == 1 else ROUND_S, f"record of round {rounds}")

    seconds: dict[str, float] = {}

    def note(what: str) -> None:
        seconds[what] = time.monotonic() - started

    recorded(1)
    started = time.monotonic()
    wait_until(lambda: log.read_text().count(task) > before, ROUND_S, "round 2 at the node that is lost")
    host.cut()
    note(f"{NODES[LOST]} holds the task of round 2, and is cut off")
    recorded(2)
    note("round 2 is recorded without it, and the plug is put back")
    host.mend()
    wait_until(lambda: log.read_text().count(task) > before + 1, ROUND_S, "round 3 at the node that was lost")
    note("it holds the task of round 3")
    recorded(3)
    note("round 3 is recorded with it")
    return seconds


def wait_until(there: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Until something is so; fails by name when time is up."""
    deadline = time.monotonic() + timeout_s
    while not there():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not in {timeout_s:g} s")
        time.sleep(0.2)
