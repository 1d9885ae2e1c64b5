"""Groups of seeds in tables: who they are, their closing table, and how they differ."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import permutation_test

from sim.report.page import Block, Cell, Note, PageTable
from sim.report.seed_groups import SeedGroup, differing_settings, mean_of
from sim.report.table import three_digits

MIN_SEEDS = 6
"""The sign-flip test's smallest two-sided p is 2 / 2^n: below .05 from six shared seeds on."""

COLUMNS = (
    ("size MB", "size_bytes", 1e-6, ".2f"),
    ("param. M", "num_parameters", 1e-6, ".2f"),
    ("MACs M", "macs", 1e-6, ""),
    ("latency ms p50", "latency_ms_p50", 1.0, ""),
    ("speed-up", "speedup", 1.0, ".1f"),
    ("acc. %", "accuracy", 100.0, ".1f"),
    ("F1", "f1", 1.0, ".3f"),
    ("AUC", "auc", 1.0, ".3f"),
    ("EPS", "eps", 1.0, ".2f"),
    ("EPS shuffled", "eps_shuffled", 1.0, ".2f"),
)
"""Heading, attribute of `ModelRow`, scale, format ("": three digits)."""

METRICS = (("accuracy, %", "accuracy", 100.0, ".1f"), ("AUC", "auc", 1.0, ".3f"), ("EPS", "eps", 1.0, ".3f"))


def groups_table(groups: Sequence[SeedGroup]) -> PageTable:
    """The runs of each group, and the settings in which groups differ."""
    keys = differing_settings(groups)
    rows: list[list[Cell]] = [
        [
            str(group.number),
            ", ".join(run.name for run in group.runs),
            ", ".join(map(str, group.seeds)),
            ", ".join(sorted({str(run.summary.get("commit") or "unknown")[:10] for run in group.runs})),
            *(str(group.runs[0].settings.get(key, "-")) for key in keys),
        ]
        for group in groups
    ]
    caption = "Runs whose settings differ in the seed alone are one group."
    return PageTable("groups", caption, ["group", "runs", "seeds", "commit", *keys], rows, text=True)


def closing_by_seed(groups: Sequence[SeedGroup]) -> PageTable:
    """The closing table with means over seeds, in brackets the smallest and the largest."""
    rows: list[list[Cell]] = []
    for group in groups:
        for name in group.names:
            cells = [with_range(group.values(name, key), scale, form) for _, key, scale, form in COLUMNS]
            rows.append([f"{group.number}: {name}", str(len(group.runs)), *cells])
    caption = (
        "All networks on the test split, by group: mean over seeds, in brackets the smallest to the largest."
    )
    headings = ["group: network", "seeds", *(heading for heading, *_ in COLUMNS)]
    return PageTable("closing_by_seed", caption, headings, rows)


def differences(groups: Sequence[SeedGroup]) -> list[Block]:
    """Groups held against the first, of which one has several seeds, and what may be said of them."""
    first = groups[0]
    rows: list[list[Cell]] = []
    notes = []
    for group in groups[1:]:
        if max(len(first.runs), len(group.runs)) > 1:
            rows += _difference_rows(first, group)
            notes.append(Note(_said_of(first, group)))
    if not rows:
        return []
    caption = (
        f"Groups against group {first.number}: means with the smallest to the largest over seeds. By seed: "
        "differences between runs of the same seed."
    )
    headings = [
        "against the first group",
        "metric",
        "first",
        "this",
        "difference of means",
        "by seed",
        "higher in",
        "p over seeds",
    ]
    return [PageTable("comparison_by_seed", caption, headings, rows), *notes]


def with_range(values: Sequence[float | None], scale: float, form: str) -> str:
    """The mean, and smallest to largest where they are not written alike; "-" without one of the values."""
    mean = mean_of(values)
    if mean is None:
        return "-"
    low, high = (
        _number(end * scale, form) for end in (min(v or 0 for v in values), max(v or 0 for v in values))
    )
    written = _number(mean * scale, form)
    return written if low == high else f"{written} ({low} to {high})"


def sign_flip_p(gains: Sequence[float]) -> float:
    """Two-sided p of the mean of paired differences under exchange of each pair (Fisher 1935, section 21).

    Args:
        gains: one a seed, at least two; all 2^n exchanges are counted up to n = 13, above that 9,999 drawn.
    """
    found = permutation_test(
        (np.asarray(gains, dtype=np.float64),),
        lambda values, axis: np.mean(values, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def _shared(first: SeedGroup, second: SeedGroup) -> list[int]:
    return [seed for seed in first.seeds if seed in second.seeds]


def _difference_rows(first: SeedGroup, second: SeedGroup) -> list[list[Cell]]:
    """A row for each network that both have, and each metric."""
    shared = _shared(first, second)
    rows: list[list[Cell]] = []
    for name in [name for name in first.names if name in second.names]:
        for heading, key, scale, form in METRICS:
            before, after = first.values(name, key), second.values(name, key)
            means = mean_of(before), mean_of(after)
            if name == "teacher" and (key == "eps" or set(before) == set(after)):
                continue
            if means[0] is None or means[1] is None:
                continue
            by_seed = [dict(zip(one.seeds, one.values(name, key), strict=True)) for one in (first, second)]
            gains = [scale * ((by_seed[1][seed] or 0) - (by_seed[0][seed] or 0)) for seed in shared]
            higher = sum(gain > 0 for gain in gains)
            rows.append(
                [
                    f"{second.number}: {name}",
                    heading,
                    with_range(before, scale, form),
                    with_range(after, scale, form),
                    format(scale * (means[1] - means[0]), f"+{form}"),
                    f"{min(gains):+{form}} to {max(gains):+{form}}" if gains else "-",
                    f"{higher} of {len(gains)}" if gains else "-",
                    f"{sign_flip_p(gains):.3g}" if len(gains) >= MIN_SEEDS else "-",
                ]
            )
    return rows


def _said_of(first: SeedGroup, second: SeedGroup) -> str:
    """Which test of two groups has a meaning."""
    shared, both = len(_shared(first, second)), f"Groups {first.number} and {second.number}"
    if shared >= MIN_SEEDS:
        return (
            f"{both} share {shared} seeds: p is that of the exact sign-flip test over them, not corrected "
            "for the number of rows."
        )
    if shared > 1:
        return (
            f"{both} share {shared} seeds: with so few no paired test over seeds can give a p below "
            f"{2 / 2**shared:g}, so none is given (from {MIN_SEEDS} on). Bootstrap and McNemar's test over "
            "clips say nothing of other seeds; for two runs of one seed, report these two alone."
        )
    if shared == 1:
        return (
            f"{both} share one seed: the differences of the means hold no test. Report the two runs of that "
            "seed alone: clip by clip they are tested then."
        )
    return f"{both} share no seed: nothing is paired and nothing is tested, compare the ranges."


def _number(value: float, form: str) -> str:
    return format(value, form) if form else three_digits(value)
