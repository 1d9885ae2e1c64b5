import io
import threading
from typing import Any

import pytest
from rich.console import Console

from sim.progress import Progress, duration, fit, round_line

ESCAPE = "\x1b"


def plain() -> tuple[Progress, io.StringIO]:
    out = io.StringIO()
    return Progress(Console(file=out, force_terminal=False)), out


def terminal(width: int = 80) -> tuple[Progress, io.StringIO]:
    out = io.StringIO()
    return Progress(Console(file=out, force_terminal=True, width=width)), out


def record(index: int, **changes: Any) -> dict[str, Any]:
    return {
        "round_index": index,
        "seconds": {"train": 4.0, "evaluate": 2.0, "wall": 6.31},
        "clients": {"sampled": [0, 1, 2], "replied": [0, 2], "failed": [], "missing": [1]},
        "train": {"loss": 0.41234},
        "global": {"auc": 0.95321},
        "eps": {"mean": 0.6123, "shuffled": 0.0512},
        **changes,
    }


def test_without_a_terminal_there_is_one_line_per_stage_and_round() -> None:
    progress, out = plain()
    with progress.stage("Rendering the corpus", total=3) as advance:
        for _ in range(3):
            advance(1, note="clip.mp4")
    progress.line("8 clients")
    with progress.rounds(2, clients_per_round=3) as rounds:
        for index in (1, 2):
            for client in range(3):
                rounds.client_done(client)
            rounds.round_done(record(index))
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("Rendering the corpus: 3, 0.")
    assert lines[1] == "8 clients"
    assert lines[2].startswith(
        "Round 1/2  clients 2/3  loss 0.412  AUC 0.953  EPS 0.61 (shuffled 0.05)  6.3 s  ETA 0.0 s"
    )
    assert lines[3] == "Round 2/2  clients 2/3  loss 0.412  AUC 0.953  EPS 0.61 (shuffled 0.05)  6.3 s"
    assert len(lines) == 4
    assert ESCAPE not in out.getvalue()
    assert "\r" not in out.getvalue()


def test_a_terminal_sees_bars_and_keeps_the_same_lines() -> None:
    progress, out = terminal()
    with progress.stage("Rendering", total=3) as advance:
        advance(2, note="clip.mp4")
    with progress.rounds(1, clients_per_round=3) as rounds:
        rounds.client_done(4)
        rounds.round_done(record(1))
    text = out.getvalue()
    assert ESCAPE in text
    assert "2/3" in text
    assert "clip.mp4" in text
    assert "1/3" in text
    assert "Rendering: 2, " in text
    assert "EPS 0.61 (shuffled 0.05)" in text
    # The cursor that the bars hide is shown again.
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0


def test_the_bar_of_the_second_round_shows_the_metrics_of_the_first() -> None:
    progress, out = terminal(width=100)
    with progress.rounds(2, clients_per_round=3) as rounds:
        rounds.round_done(record(1))
        rounds.client_done(0)
    after = out.getvalue().partition("6.3 s  ETA")[2]
    assert "Round 2/2" in after
    assert "loss 0.412  AUC 0.953" in after


def test_undefined_metrics_are_dashes() -> None:
    empty = {"global": None, "eps": {"mean": None, "shuffled": None}, "train": None, "clients": None}
    assert round_line(record(1, **empty), 1, 0.0) == "Round 1/1  loss -  AUC -  EPS -  6.3 s"


def test_a_pruning_is_told() -> None:
    assert "  pruned  " in round_line(record(4, prune={"ratio": 0.4}), 10, 44.0)


def test_a_mixed_fleets_round_tells_of_both_students_in_one_line() -> None:
    mixed = record(4, prune={"ratio": 0.4}, weak={"global": {"auc": 0.9123}})
    line = round_line(mixed, 10, 44.0)
    assert "AUC 0.953 (weak 0.912)  EPS 0.61  pruned  6.3 s  ETA 44 s" in line
    assert "AUC 0.953 (weak -)" in round_line(record(4, weak={"global": None}), 10, 44.0)


@pytest.mark.parametrize("make", [plain, terminal])
def test_a_failing_stage_says_where_it_stopped(make: Any) -> None:
    progress, out = make()

    def interrupted() -> None:
        with progress.stage("Training", total=12) as advance:
            advance(5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "Training: stopped after 5 of 12, 0." in out.getvalue()
    assert out.getvalue().count("\x1b[?25l") == out.getvalue().count("\x1b[?25h")


def test_stages_may_be_nested() -> None:
    progress, out = terminal()
    with progress.stage("Outer", total=2) as outer:
        outer()
        with progress.stage("Inner", total=5) as inner:
            inner(3)
        outer()
    text = out.getvalue()
    assert text.index("Inner: 3, ") < text.index("Outer: 2, ")
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1


def test_threads_may_report_at_once() -> None:
    progress, out = plain()
    with progress.stage("Decoding", total=4000) as advance:
        threads = [threading.Thread(target=lambda: [advance() for _ in range(1000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert out.getvalue().startswith("Decoding: 4000, ")


@pytest.mark.parametrize("make", [plain, terminal])
def test_names_from_outside_cannot_steer_the_terminal(make: Any) -> None:
    progress, out = make()
    evil = "a\x1b]0;title\x07\nb\r[red]c[/red]"
    with progress.stage(evil, total=1) as advance:
        advance(1, note=evil)
    progress.line(evil)
    text = out.getvalue()
    assert "\x1b]0;" not in text
    assert "\x07" not in text
    assert "a ]0;title  b [red]c[/red]" in text  # brackets are not markup


@pytest.mark.parametrize("make", [plain, terminal])
def test_no_line_is_longer_than_100_columns(make: Any) -> None:
    progress, out = make()
    progress.line("x" * 300)
    lines = [line for line in out.getvalue().splitlines() if "x" in line]
    assert lines == ["x" * 97 + "..."]
    long = record(99, clients={"sampled": [0] * 20, "replied": [0] * 18}, prune={"ratio": 0.4})
    assert len(round_line(long, 100, 5000.0)) <= 100
    assert fit("y" * 100) == "y" * 100


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (6.31, "6.3 s"), (44.4, "44 s"), (119, "119 s"), (150, "2 min"), (11100, "3 h 05 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
