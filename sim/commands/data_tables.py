"""`data check` as text: short tables within 100 columns, then problems, notes and the verdict."""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fl.data.problems import HARMLESS, UNUSABLE, Problem
from fl.data.splits import SPLITS
from sim.commands.data_check import CorpusCheck, describe_files
from sim.progress import MAX_COLUMNS, clean, duration

SHOWN_PER_KIND = 5
"""Problems of one kind that are printed; --json prints all."""
SHOWN_CATEGORIES = 12
SHOWN_VALUES = 5

TITLES: Mapping[str, str] = {
    "leak_random_crops": "Leak by design",
    "leak_file": "Leak: one file in two splits",
    "leak_source": "Leak: one source in two splits",
    "leak_identity": "Leak: one identity in two splits",
    "leak_donor": "Leak: a donor seen or lent in another split",
    "leak_near_duplicate": "Leak: near-duplicates in two splits",
    "near_duplicate": "Near-duplicates between the server's and the clients' clips",
    "too_many_bad": "Too many unusable files",
    "empty_split": "Empty split",
    "one_class": "Split with one class only",
    "missing": "Missing files",
    "unreadable": "Unreadable files",
}


def print_check(check: CorpusCheck) -> None:
    """Print everything to standard output."""
    console = Console(width=min(MAX_COLUMNS, Console().width) if sys.stdout.isatty() else MAX_COLUMNS)
    where = f"{check.corpus} at {check.root}"
    console.print(Text(clean(f"{where}: {len(check.clips)} clips, split.scheme={check.scheme}")))
    console.print(splits_table(check))
    console.print(categories_table(check))
    console.print(files_table(check))
    _print_problems(console, check.problems)
    for note in check.notes:
        console.print(Text(clean(f"note: {note}")))
    console.print(Text(verdict(check), style="bold"))


def verdict(check: CorpusCheck) -> str:
    """The last line."""
    num_spoiling = sum(problem.kind not in HARMLESS for problem in check.problems)
    num_bad = sum(problem.kind in UNUSABLE for problem in check.problems)
    skipped = f"; {num_bad} unusable files will be skipped" if num_bad else ""
    if num_spoiling:
        things = "1 thing" if num_spoiling == 1 else f"{num_spoiling} things"
        return f"NOT OK: {things} would spoil a result{skipped}"
    return f"OK: nothing found that would spoil a result{skipped}"


def splits_table(check: CorpusCheck) -> Table:
    """Real, fake, identities, clips per identity, length and unusable clips of each split."""
    table = _table(
        "split", "real", "fake", "identities", "clips each, min / median / max", "length", "unusable"
    )
    for split, count in check.splits().items():
        members = [clip for clip in check.clips if clip.split == split]
        each = sorted(Counter(clip.identity for clip in members).values())
        facts = [check.facts[clip.path] for clip in members]
        length_s = sum(found.header.duration_s for found in facts if found.header)
        table.add_row(
            split,
            f"{count.num_real:,}",
            f"{count.num_fake:,}",
            f"{count.num_identities:,}",
            f"{each[0]} / {median(each):g} / {each[-1]}" if each else "-",
            duration(length_s) if length_s else "-",
            f"{sum(bool(found.reason) for found in facts):,}",
        )
    return table


def categories_table(check: CorpusCheck) -> Table:
    """Clips of each category in each split."""
    table = _table("category", *SPLITS, "all")
    counts = Counter((clip.category, clip.split) for clip in check.clips)
    totals = Counter(clip.category for clip in check.clips).most_common()
    for category, total in totals[:SHOWN_CATEGORIES]:
        row = [f"{counts[category, split]:,}" for split in SPLITS]
        table.add_row(Text(clean(category), overflow="ellipsis"), *row, f"{total:,}")
    if rest := totals[SHOWN_CATEGORIES:]:
        row = [f"{sum(counts[category, split] for category, _ in rest):,}" for split in SPLITS]
        table.add_row(f"{len(rest)} others", *row, f"{sum(total for _, total in rest):,}")
    return table


def files_table(check: CorpusCheck) -> Table:
    """Sizes, lengths, codecs and sound of the files that can be used."""
    files = describe_files(check)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    used = f"{files['num_usable']:,} of {files['num_files']:,} usable, {files['size_bytes'] / 1e6:,.1f} MB"
    table.add_row("files", used)
    length = files["duration_s"]
    if length:
        table.add_row(
            "duration, s",
            f"{length['min']:.2f} to {length['max']:.2f}, median {length['median']:.2f}",
        )
    for title, key in (("resolution", "resolutions"), ("frame rate", "frame_rates"), ("codec", "codecs")):
        if files[key]:
            table.add_row(title, _counted(files[key]))
    silent = files["num_usable"] - files["num_with_audio"]
    table.add_row("sound", f"{files['num_with_audio']:,} files with, {silent:,} without")
    return table


def _counted(counts: Mapping[str, int]) -> str:
    items = sorted(counts.items(), key=lambda item: -item[1])
    shown = [f"{clean(name)} ({count:,})" for name, count in items[:SHOWN_VALUES]]
    if rest := items[SHOWN_VALUES:]:
        shown.append(f"{len(rest)} others ({sum(count for _, count in rest):,})")
    return ", ".join(shown) or "-"


def _table(first: str, *headings: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", title_justify="left")
    table.add_column(first, no_wrap=True, max_width=40)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _print_problems(console: Console, problems: Iterable[Problem]) -> None:
    by_kind: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        by_kind[problem.kind].append(problem)
    for kind, members in by_kind.items():
        style = "yellow" if kind in HARMLESS else "bold red"
        console.print(Text(f"{TITLES[kind]} ({len(members)})", style=style))
        _print_some(console, members)


def _print_some(console: Console, members: Sequence[Problem]) -> None:
    for problem in members[:SHOWN_PER_KIND]:
        text = f"{problem.file}: {problem.reason}" if problem.file else problem.reason
        console.print(Padding(Text(clean(text)), (0, 0, 0, 2)))
    if len(members) > SHOWN_PER_KIND:
        console.print(f"  and {len(members) - SHOWN_PER_KIND} more; --json names all")
