"""Kill runs with SIGKILL at chosen moments, resume them, and hold them against a run that was left alone.

`python -m benchmarks.resume` prints the table, moments by grids: digest of the final weights, and whatever
else differs. `python -m benchmarks.resume MOMENT ...` is one `run ...` that kills itself at that moment.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
GRIDS = ("inprocess", "ray")
SMALL = (
    "experiment=smoke",
    "data.synthetic.num_identities=12",
    "fleet=mixed",
    "strategy.num_rounds=3",
    "compress.prune_rounds=[2]",
    "latency.num_runs=5",
    "name=run",
)
"""A run in which a pruning and two widths of student must survive; 3 clients in each round."""

CLOCKS = ("seconds", "speedup_int8")
"""Keys of records and summaries that hold measured times, beside those with ``latency_ms`` in them."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        grid: "inprocess" or "ray".
        moment: a name of `MOMENTS`; empty: left alone.
        found: what the killed process had left.
        sha256: of the weights file of the last checkpoint, in the end.
        differences: from the run that was left alone; empty if there is none.
        seconds: of the resume, or of the whole run that was left alone.
    """

    grid: str
    moment: str
    found: str
    sha256: str
    differences: list[str]
    seconds: float


def die() -> None:
    """End this process as the kernel does when memory is short: nothing is flushed, nothing caught."""
    os.kill(os.getpid(), signal.SIGKILL)


def before_round_1() -> None:
    """All is prepared, the first round begins."""
    from server import rounds

    rounds.run_round = lambda *_: die()


def in_training() -> None:
    """One client of round 3 is done: the pruned student, and the narrow one in it, must come back."""
    from sim.progress import Rounds

    tell, clients = Rounds.client_done, []

    def client_done(self: Rounds, client_id: int) -> None:
        clients.append(client_id)
        if len(clients) == 7:
            die()
        tell(self, client_id)

    Rounds.client_done = client_done


def before_checkpoint() -> None:
    """Round 2 is aggregated, pruned, exported and measured, but not saved."""
    from server import rounds

    save = rounds.save_checkpoint
    rounds.save_checkpoint = lambda *args: die() if args[1] == 2 else save(*args)


def in_checkpoint() -> None:
    """Half of the weights of round 2 are written."""
    import safetensors.torch

    save = safetensors.torch.save_model

    def save_half(network: Any, path: str) -> None:
        save(network, path)
        if len(list(Path(path).parents[1].glob("round-*"))) == 1:
            os.truncate(path, os.path.getsize(path) // 2)
            die()

    safetensors.torch.save_model = save_half


def before_record() -> None:
    """Round 2 is saved, but has no line in rounds.jsonl."""
    from sim import conduct

    append = conduct.append_round
    conduct.append_round = lambda folder, record: (
        die() if record["round_index"] == 2 else append(folder, record)
    )


def before_summary() -> None:
    """The last round is recorded; neither predictions nor summary are."""
    from sim import conduct

    conduct.finish = lambda *_, **__: die()


def before_figures() -> None:
    """Only the figures are not drawn."""
    from sim import conduct

    conduct.draw_figures = lambda _: die()


MOMENTS: Mapping[str, Callable[[], None]] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            before_round_1,
            in_training,
            before_checkpoint,
            in_checkpoint,
            before_record,
            before_summary,
            before_figures,
        )
    }
)
"""Each makes this process kill itself at its moment."""


def kill_at(moment: str, overrides: Sequence[str]) -> int:
    """Start a run in a process that dies at ``moment``; its exit code: below 0, the signal's number."""
    command = [sys.executable, "-m", "benchmarks.resume", moment, *overrides]
    quiet = subprocess.DEVNULL  # pipes would stay open as long as Ray's agents, which outlive it by 100 s
    return subprocess.run(command, cwd=ROOT, check=False, stdout=quiet, stderr=quiet).returncode


def run(overrides: Sequence[str]) -> float:
    """A run, or a resume, in a process of its own; its seconds."""
    started = time.monotonic()
    command = [sys.executable, "-m", "sim", "run", *overrides]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])}: {done.stderr}")
    return time.monotonic() - started


def differences(one: Path, other: Path) -> list[str]:
    """What differs between two run folders, but for measured times, pictures of them, and TensorBoard's."""
    found = [f"{name} in one only" for name in sorted(_files(one) ^ _files(other))]
    same = [name for name in _files(one) & _files(other) if name.endswith((".onnx", ".safetensors", ".csv"))]
    found += [name for name in sorted(same) if (one / name).read_bytes() != (other / name).read_bytes()]
    for name in ("rounds.jsonl", "summary.json"):
        texts = [without_clocks(_objects(folder / name)) for folder in (one, other)]
        if texts[0] != texts[1]:
            found.append(name)
    return found


def without_clocks(value: Any) -> Any:
    """A record or summary without what it has measured of time."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if key not in CLOCKS and "latency_ms" not in key}
        return {key: without_clocks(item) for key, item in kept.items()}
    return [without_clocks(item) for item in value] if isinstance(value, list) else value


def what_is_there(run_dir: Path) -> str:
    """How far a killed run had come."""
    saved, records = sorted(run_dir.glob("checkpoints/round-*")), run_dir / "rounds.jsonl"
    num_records = len(records.read_text().splitlines()) if records.exists() else 0
    torn = " and a torn one" if any(run_dir.glob("checkpoints/.*")) else ""
    summary = ", summary" if (run_dir / "summary.json").exists() else ""
    return f"{len(saved)} checkpoints{torn}, {num_records} records{summary}"


def last_weights(run_dir: Path) -> str:
    """SHA-256 of the weights file of the last checkpoint."""
    path = sorted(run_dir.glob("checkpoints/round-*"))[-1] / "weights.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def measure(folder: Path, grids: Sequence[str] = GRIDS, moments: Sequence[str] = tuple(MOMENTS)) -> list[Row]:
    """Run, kill and resume; rows are printed as they come."""
    rows = []
    for grid in grids:
        alone = folder / grid / "alone" / "run"
        seconds = run([*SMALL, f"grid={grid}", f"runs_dir={alone.parent}"])
        rows.append(Row(grid, "", "", last_weights(alone), [], seconds))
        print(line(rows[-1]), flush=True)
        for moment in moments:
            killed = folder / grid / moment / "run"
            code = kill_at(moment, [*SMALL, f"grid={grid}", f"runs_dir={killed.parent}"])
            if code != -signal.SIGKILL:
                raise RuntimeError(f"{moment}: the run was to be killed, but ended with {code}")
            found = what_is_there(killed)
            seconds = run([f"resume={killed}"])
            rows.append(Row(grid, moment, found, last_weights(killed), differences(alone, killed), seconds))
            print(line(rows[-1]), flush=True)
    return rows


def line(row: Row) -> str:
    """One row of the table, in Markdown."""
    verdict = "; ".join(row.differences) or ("equal" if row.moment else "")
    moment = row.moment.replace("_", " ") or "not killed"
    return f"| {row.grid} | {moment} | {row.found} | `{row.sha256[:16]}` | {verdict} | {row.seconds:.0f} |"


def _files(run_dir: Path) -> set[str]:
    names = {str(path.relative_to(run_dir)) for path in run_dir.rglob("*") if path.is_file()}
    return {name for name in names if not name.startswith("tensorboard")}


def _objects(path: Path) -> list[Any]:
    text = path.read_text()
    objects = (
        [json.loads(text)] if path.suffix == ".json" else [json.loads(item) for item in text.splitlines()]
    )
    for item in objects:
        for key in ("config_digest", "overrides", "commit", "uncommitted_changes"):  # runs_dir; this checkout
            item.pop(key, None)
    return objects


def main(arguments: Sequence[str]) -> int:
    """The table, or one run that kills itself."""
    from sim.__main__ import main as command
    from sim.__main__ import set_quiet

    set_quiet()
    if arguments:
        MOMENTS[arguments[0]]()
        return command(["run", *arguments[1:]])
    print("| grid | killed | found by the resume | weights, SHA-256 | against the run not killed | s |")
    print("| --- | --- | --- | --- | --- | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder))
    return int(any(row.differences for row in rows) or len({row.sha256 for row in rows}) > 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
