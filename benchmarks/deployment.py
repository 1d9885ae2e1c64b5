"""`python -m benchmarks.deployment`: the part of docs/deployment.md that is played and measured, made anew.

Needs network namespaces, that is root and iproute2. Takes some minutes.
"""

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.lost_node import Played, play, run_on_ray
from benchmarks.network import why_not
from sim.record import read_rounds, replace_text
from sim.studies.measuring import commit_of

PAGE = Path(__file__).resolve().parents[1] / "docs" / "deployment.md"
BEGIN, END = "<!-- played -->\n", "<!-- /played -->"


def page_part(played: Played, ray: Path, started: Sequence[float]) -> str:
    """The part of docs/deployment.md that is measured.

    Args:
        played: what was played.
        ray: folder of the run on Ray that loses the same clients.
        started: load of the machine when it began: 1, 5, 15 minutes.
    """
    summary = json.loads((played.hosts / "summary.json").read_text(encoding="utf-8"))
    machine, when = summary["hardware"], played.seconds
    facts = (
        f"Commit {commit_of(played.hosts)}; all hosts are namespaces of one machine with "
        f"{machine['num_usable_cores']} cores of an {machine['cpu']}, whose load was {started[0]:.1f} before "
        f"and {os.getloadavg()[0]:.1f} after."
    )
    rows = ["| round | replied | SuperLink and nodes, s: train + evaluate | Ray, s | weights, SHA-256 |"]
    rows.append("| ---: | --- | ---: | ---: | --- |")
    for there, here in zip(read_rounds(played.hosts), read_rounds(ray), strict=True):
        digests = [record["student"]["weights_sha256"] for record in (there, here)]
        same = "the same" if digests[0] == digests[1] else f"Ray `{digests[1][:12]}`"
        times = [f"{r['seconds']['train']:.1f} + {r['seconds']['evaluate']:.1f}" for r in (there, here)]
        replied = ", ".join(map(str, there["clients"]["replied"]))
        rows.append(
            f"| {there['round_index']} | {replied} | {times[0]} | {times[1]} | `{digests[0][:12]}`, {same} |"
        )
    events = ["| event | s after round 1 was recorded |", "| --- | ---: |"]
    events += [f"| {what} | {second:.1f} |" for what, second in when.items()]
    transcript = "\n".join(played.transcript)
    return "\n\n".join([facts, "\n".join(rows), "\n".join(events), f"```console\n{transcript}\n```"])


def main() -> None:
    """Play it, and rewrite the page's block."""
    reason = why_not()
    if reason:
        sys.exit(reason)
    started = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        played = play(Path(folder))
        block = page_part(played, run_on_ray(Path(folder), played.asked), started)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    replace_text(PAGE, f"{before}{BEGIN}{block}\n{END}{after}")


if __name__ == "__main__":
    main()
