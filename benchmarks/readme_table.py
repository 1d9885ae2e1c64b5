"""`python -m benchmarks.readme_table [RUN]`: the README's table of the default run, from its records.

With RUN its records are first copied to docs/results/default/, from which the table is always made: a test
holds the README against them.
"""

import json
import shutil
import sys
from pathlib import Path

from sim.record import ROUNDS_FILE, SUMMARY_FILE, read_rounds, replace_text
from sim.report.table import rows_of_run, to_markdown
from sim.studies.measuring import commit_of

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "docs" / "results" / "default"
README = ROOT / "README.md"
BEGIN, END = "<!-- results:default -->\n", "<!-- /results:default -->"


def main() -> None:
    """Rewrite the README's block."""
    if len(sys.argv) > 1:
        RECORDS.mkdir(parents=True, exist_ok=True)
        for name in (ROUNDS_FILE, SUMMARY_FILE):
            shutil.copyfile(Path(sys.argv[1]) / name, RECORDS / name)
    replace_text(README, with_table(README.read_text(encoding="utf-8")))


def with_table(text: str) -> str:
    """The README's text with the block between its marks made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{results_block(RECORDS)}{END}{after}"


def results_block(records: Path) -> str:
    """Where the numbers come from, and the closing table of a run.

    Args:
        records: a folder with rounds.jsonl and summary.json.
    """
    rounds = read_rounds(records)
    summary = json.loads((records / SUMMARY_FILE).read_text(encoding="utf-8"))
    machine, clips = summary["hardware"], summary["clips"]
    seconds = sum(record["seconds"]["wall"] for record in rounds)
    facts = (
        f"`make run`, commit {commit_of(records)}, {machine['num_usable_cores']} cores "
        f"of an {machine['cpu']}, no GPU. "
        f"{len(summary['partition']['sizes'])} clients, {len(rounds)} rounds in "
        f"{seconds:.0f} s; {clips['test']} test clips of people that no training saw. One run, "
        "one seed; latency in ONNX Runtime, one thread, one clip."
    )
    return f"{facts}\n\n{to_markdown(rows_of_run(rounds, summary['teacher']))}"


if __name__ == "__main__":
    main()
