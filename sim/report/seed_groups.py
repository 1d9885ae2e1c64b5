"""Runs that differ in their seed alone, as one group: means, smallest and largest, differences seed by seed.

Two or three seeds are too few for a confidence interval that means anything, so ranges are shown as they are.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from sim.report.recorded_run import RecordedRun
from sim.report.run_rows import model_rows
from sim.report.table import ModelRow

PLACES = ("name", "runs_dir", "cache_dir")
"""Settings that say where things lie, not what is computed."""


@dataclass(frozen=True)
class SeedGroup:
    """Runs of one configuration, by rising seed.

    Attributes:
        number: 1 for the group of the first run named.
        runs: at least one; no seed twice.
    """

    number: int
    runs: tuple[RecordedRun, ...]

    @property
    def seeds(self) -> list[int]:
        """In the order of the runs."""
        return [int(run.settings["seed"]) for run in self.runs]

    @property
    def label(self) -> str:
        """For legends: the number, and how many seeds."""
        several = f"{len(self.runs)} seeds" if len(self.runs) > 1 else f"seed {self.seeds[0]}"
        return f"group {self.number} ({several})"

    @cached_property
    def rows(self) -> list[list[ModelRow]]:
        """The closing table's rows of each run."""
        return [model_rows(run) for run in self.runs]

    @property
    def names(self) -> list[str]:
        """Networks that every run has."""
        return [row.name for row in self.rows[0] if all(self._has(row.name, rows) for rows in self.rows)]

    def values(self, network: str, key: str) -> list[float | None]:
        """What each run measured.

        Args:
            network: of `names`.
            key: attribute of `ModelRow`.
        """
        return [getattr(row, key) for rows in self.rows for row in rows if row.name == network]

    def mean_rows(self) -> list[ModelRow]:
        """One row a network: means over the seeds, None where one has no value."""
        keys = [field.name for field in fields(ModelRow) if field.name != "name"]
        found = []
        for name in self.names:
            means: dict[str, Any] = {key: mean_of(self.values(name, key)) for key in keys}
            found.append(ModelRow(name, **means))
        return found

    def ranges(self, key: str) -> dict[str, tuple[float, float]]:
        """Network -> smallest and largest over several seeds, where all have a value."""
        found = {}
        for name in self.names if len(self.runs) > 1 else ():
            values = self.values(name, key)
            known = [value for value in values if value is not None]
            if len(known) == len(values):
                found[name] = (min(known), max(known))
        return found

    @staticmethod
    def _has(network: str, rows: Sequence[ModelRow]) -> bool:
        return any(row.name == network for row in rows)


def group_by_seed(runs: Sequence[RecordedRun]) -> list[SeedGroup]:
    """Runs whose resolved settings differ in ``seed`` alone belong together.

    `PLACES` are not compared. Where two runs agree in all settings and in the seed too, they are repeats (of
    another commit or machine, say), not seeds: every run of that configuration then stands alone.
    """
    alike: dict[Any, list[RecordedRun]] = defaultdict(list)
    for run in runs:
        alike[_configuration(run)].append(run)
    found: list[tuple[RecordedRun, ...]] = []
    for members in alike.values():
        seeds = [run.settings["seed"] for run in members]
        if len(set(seeds)) < len(seeds):
            found += [(run,) for run in members]
        else:
            found.append(tuple(sorted(members, key=lambda run: int(run.settings["seed"]))))
    order = [run.folder for run in runs]
    found.sort(key=lambda members: min(order.index(run.folder) for run in members))
    return [SeedGroup(number, members) for number, members in enumerate(found, start=1)]


def differing_settings(groups: Sequence[SeedGroup]) -> list[str]:
    """Keys in which the groups differ, without the seed and `PLACES`, in alphabetical order."""
    tables = [group.runs[0].settings for group in groups]
    keys = sorted({key for table in tables for key in table} - {"seed", *PLACES})
    return [key for key in keys if any(table.get(key) != tables[0].get(key) for table in tables)]


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean; None where a value is missing."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if values and len(known) == len(values) else None


def _configuration(run: RecordedRun) -> Any:
    kept = {key: value for key, value in run.settings.items() if key not in ("seed", *PLACES)}
    return tuple((key, repr(value)) for key, value in sorted(kept.items()))
