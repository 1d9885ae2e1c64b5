"""Who took part in each round of a run, what failed, and how long the round would have taken (simulated)."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sim.report.column import column_axes, legend_above
from sim.report.page import Cell, PageTable
from sim.report.scatter import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY
from sim.round_record import Clients, RoundRecord

MARKS: dict[str, Cell] = {
    "replied": ("replied", "good"),
    "straggled": ("straggled", "warn"),
    "failed": ("failed", "bad"),
    "missing": ("missing", "bad"),
    "unused": ("spare", "dim"),
    "sampled": ("no reply", "bad"),
    "": ("-", "dim"),
}


MAX_CLIENTS = 40
"""Rows of the ledger: of more clients, those are shown who were asked in vain most often."""


def state_of(client: int, clients: Clients | None) -> str:
    """A key of `MARKS`: what became of a client in a round; "" if it was not asked."""
    if clients is None:
        return ""
    if client in {failure["client_id"] for failure in clients["failed"]}:
        return "failed"
    if client in clients["missing"]:
        return "missing"
    if client in clients["replied"]:
        return "straggled" if client in clients.get("stragglers", []) else "replied"
    if client in clients.get("unused", []):
        return "unused"
    return "sampled" if client in clients["sampled"] else ""


def ledger_table(rounds: Sequence[RoundRecord], num_clients: int) -> PageTable:
    """Clients by rounds, and how often each replied.

    Args:
        rounds: oldest first.
        num_clients: of the partition; more are shown if the rounds name them.
    """
    named = {client for record in rounds if record["clients"] for client in record["clients"]["sampled"]}
    everybody = sorted(named | set(range(num_clients)))
    found: list[tuple[int, list[Cell]]] = []
    for client in everybody:
        states = [state_of(client, record["clients"]) for record in rounds]
        asked = sum(state not in ("", "unused") for state in states)
        replied = sum(state in ("replied", "straggled") for state in states)
        row = [f"client {client}", *(MARKS[state] for state in states), f"{replied} of {asked}"]
        found.append((asked - replied, row))
    shown = sorted(sorted(range(len(found)), key=lambda place: -found[place][0])[:MAX_CLIENTS])
    rows = [found[place][1] for place in shown]
    headings = ["client", *(f"round {record['round_index']}" for record in rounds), "replies"]
    caption = (
        "Participation by client and round. Straggled: replied after fewer steps (simulated). Missing: "
        "dropped out (simulated) or did not answer in time. Failed: see below. Spare: asked, not needed. "
        "-: not sampled."
    )
    if len(rows) < len(everybody):
        caption += (
            f" {len(rows)} of {len(everybody)} clients, those asked in vain most often; rounds.jsonl has all."
        )
    return PageTable("participation", caption, headings, rows)


def failures_table(rounds: Sequence[RoundRecord]) -> PageTable | None:
    """Every failure with its stage and reason; None without one."""
    rows = [
        [f"round {record['round_index']}", str(failure["client_id"]), failure["stage"], failure["reason"]]
        for record in rounds
        if record["clients"]
        for failure in record["clients"]["failed"]
    ]
    caption = "Replies that do not count, and why."
    headings = ["round", "client", "stage", "reason"]
    return PageTable("failures", caption, headings, rows, text=True) if rows else None


def participation_table(rounds: Sequence[RoundRecord]) -> PageTable:
    """How many took part in each round, bytes sent, measured seconds."""
    rows: list[list[Cell]] = []
    for record in rounds:
        clients, sent, seconds = record["clients"], record["bytes"], record["seconds"]
        names: tuple[str, ...] = ("sampled", "replied", "failed", "missing", "stragglers")
        counts = [str(len(clients.get(name, []))) if clients else "-" for name in names]  # type: ignore[arg-type]
        amounts = [_megabytes(sent["down"]), _megabytes(sent["up"])] if sent else ["-", "-"]
        wall = seconds["wall"] if seconds else None
        rows.append([str(record["round_index"]), *counts, *amounts, "-" if wall is None else f"{wall:.1f}"])
    headings = ["round", "sampled", "replied", "failed", "missing", "straggled", "down MB", "up MB", "wall s"]
    return PageTable("clients_by_round", "Clients, payload and measured time by round.", headings, rows)


def simulated_table(rounds: Sequence[RoundRecord]) -> PageTable | None:
    """Simulated time by device and round; None if nothing was simulated."""
    devices = device_names(rounds)
    if not devices:
        return None
    rows: list[list[Cell]] = []
    for record in rounds:
        simulated = record["simulated"]
        times = (simulated["by_device"] or {}) if simulated else {}
        whole = simulated["round_s"] if simulated else None
        cells = [_seconds(times.get(name)) for name in devices]
        rows.append([str(record["round_index"]), *cells, _seconds(whole)])
    headings = ["round", *(f"{name}, s" for name in devices), "round, s"]
    caption = "Simulated, not measured: the slowest client of each kind of device; the round waits for all."
    return PageTable("simulated_time", caption, headings, rows)


def draw_simulated(rounds: Sequence[RoundRecord]) -> Figure | None:
    """Simulated time by device over the rounds; None if nothing was simulated."""
    devices = device_names(rounds)
    if not devices:
        return None
    figure, axes = column_axes(2.2)
    styles = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (RED, "D"), (PURPLE, "v"), (SKY, "P"), (GREY, "X"))
    for index, name in enumerate(devices):
        colour, marker = styles[index % len(styles)]
        known = [
            (record["round_index"], times[name])
            for record in rounds
            if record["simulated"] and name in (times := record["simulated"]["by_device"] or {})
        ]
        axes.plot(
            *zip(*known, strict=True), color=colour, marker=marker, markersize=3.5, linewidth=1, label=name
        )
    axes.set(xlabel="round", ylabel="simulated time, s", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.25)
    legend_above(figure, axes, 3)
    return figure


def device_names(rounds: Sequence[RoundRecord]) -> list[str]:
    """The devices of all rounds, sorted."""
    return sorted(
        {name for record in rounds if record["simulated"] for name in record["simulated"]["by_device"] or {}}
    )


def _megabytes(value: int | None) -> str:
    return "-" if value is None else f"{value / 1e6:.2f}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
