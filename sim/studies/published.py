"""Every published table, by key. Nothing here is a measurement of ours."""

from collections.abc import Mapping
from types import MappingProxyType

from sim.studies import mobilenet_study, patch_audit, pin_lite, thesis
from sim.studies.rows import PublishedRow, PublishedTable

__all__ = ["PRESETS", "PUBLISHED", "PublishedRow", "PublishedTable", "tables_of"]


def _by_key(*groups: tuple[PublishedTable, ...]) -> Mapping[str, PublishedTable]:
    tables: dict[str, PublishedTable] = {}
    for table in (table for group in groups for table in group):
        if table.key in tables:
            raise ValueError(f"two published tables are called {table.key}")
        tables[table.key] = table
    return MappingProxyType(tables)


PUBLISHED: Mapping[str, PublishedTable] = _by_key(
    pin_lite.TABLES, thesis.TABLES, patch_audit.TABLES, mobilenet_study.TABLES
)
"""Key ("preset/place") -> table."""

PRESETS = tuple(dict.fromkeys(table.preset for table in PUBLISHED.values()))
"""The publications, by the name of the experiment that replays each."""


def tables_of(preset: str) -> tuple[PublishedTable, ...]:
    """The tables of one publication, in its order; empty for an unknown one."""
    return tuple(table for table in PUBLISHED.values() if table.preset == preset)
