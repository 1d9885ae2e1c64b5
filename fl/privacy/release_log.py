"""Releases with secret noise, written down before they are made: what was seen of a broken round stays spent.

Noise from the seed repeats with the round, so that a round done again tells nothing new. Noise from the
system's entropy does not: a round that was broken off, and that is done again by a resume, releases twice.
Each is a line of ``releases.jsonl`` in the run's folder, on the disk before anyone can see the release.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from fl.errors import RunError

FILE = "releases.jsonl"

StepShares = Mapping[int, float]
"""Client that was asked -> share of its steps; empty where the server makes the noise."""


class Account(Protocol):
    """What counts releases."""

    def count_broken(self, step_shares: StepShares) -> None:
        """One more release, of a round that will be done again."""


class ReleaseLog:
    """The lines of one run.

    Args:
        run_dir: the run's folder.

    Attributes:
        shares: of each line, oldest first.

    Raises:
        RunError: a line is none of ours.
    """

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / FILE
        self.shares: list[StepShares] = []
        lines = self.path.read_text().splitlines(keepends=True) if self.path.exists() else []
        if lines and not lines[-1].endswith("\n"):  # torn by a kill, before its release was made
            os.truncate(self.path, sum(len(line.encode()) for line in lines[:-1]))
            del lines[-1]
        for number, line in enumerate(lines, start=1):
            try:
                asked = json.loads(line)["asked"]
                self.shares.append({int(client): float(share) for client, share in asked.items()})
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise RunError(
                    f"{self.path} line {number} cannot be read, so that nobody knows what was spent; restore "
                    "the file, or start a run anew"
                ) from error

    def write(self, round_index: int, step_shares: StepShares) -> None:
        """Add a line; it is on the disk when this returns."""
        line = json.dumps({"round_index": round_index, "asked": dict(step_shares)}) + "\n"
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be written ({error}): a release must be noted first"
            ) from error
        self.shares.append(dict(step_shares))

    def count_broken(self, account: Account, num_known: int) -> int:
        """Count the releases after the first ``num_known``, which a checkpoint has; gives how many."""
        broken = self.shares[num_known:]
        for step_shares in broken:
            account.count_broken(step_shares)
        return len(broken)
