"""A deployment of real processes: its folder, each node's videos, and what runs."""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from benchmarks.flower_processes import environment, running
from fl.data.corpora.building import METADATA_NAME
from fl.settings import Experiment
from sim.prepare import prepare
from sim.progress import Progress


@dataclass
class Deployed:
    """A deployment over TLS.

    Attributes:
        folder: of the deployment.
        videos: folder of the nodes' folders and of all logs.
        cache: the server's.
        stack: ends what was started.
        hosts: part -> what puts a command on its host; parts that are not named run here.
        running: part -> its process.
    """

    folder: Path
    videos: Path
    cache: Path
    stack: ExitStack
    hosts: dict[str, Sequence[str]] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def command(self, host: str, *arguments: str) -> list[str]:
        """`sim deploy` as run on a host."""
        return [*self.hosts.get(host, ()), sys.executable, "-m", "sim", "deploy", *arguments]

    def ask(self, *arguments: str, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
        """An action on the server's machine."""
        return subprocess.run(
            self.command("server", *arguments),
            cwd=self.videos,
            env=environment(self.folder / "unused", FEDPIN_CACHE=str(self.cache)),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def start(self, name: str, *arguments: str) -> Path:
        """Start a part; gives its log."""
        log = self.videos / f"{name}.log"
        env = environment(self.folder / "unused", FEDPIN_CACHE=str(self.cache))
        command = self.command(name, *arguments)
        self.running[name] = self.stack.enter_context(running(command, env, log, self.videos))
        return log

    def start_node(self, name: str, folder: Path, *more: str) -> Path:
        """Start a node with its videos and a cache of its own; gives its log."""
        own = ["--data", str(self.videos / folder.name), "--layout", "lavdf"]
        cache = ["--cache", str(self.videos / f"cache-{name}")]
        return self.start(name, "node", str(folder), *own, *cache, *more)

    def status(self) -> dict[str, str]:
        """Node -> "online", "offline", "registered" or "revoked"."""
        nodes: dict[str, str] = json.loads(self.ask("status", str(self.folder), "--json").stdout)["nodes"]
        return nodes


def give_videos(experiment: Experiment, folder: Path) -> None:
    """Each client's clips in a folder of its own, as LAV-DF lays them out."""
    prepared = prepare(experiment, Path(experiment.cache_dir), Progress(Console(file=io.StringIO())))
    for client, rows in enumerate(prepared.rows):
        clips = [prepared.stores["clients"].clips[row] for row in rows]
        root = clips[0].path.parents[1]
        names = {clip.path.relative_to(root).as_posix() for clip in clips}
        entries = [e for e in json.loads((root / METADATA_NAME).read_text()) if e["file"] in names]
        own = folder / f"node-{client}"
        (own / "train").mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copy(root / name, own / name)
        (own / METADATA_NAME).write_text(json.dumps(entries))
