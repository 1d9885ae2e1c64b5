"""Whole private runs on a tiny rendered corpus: a budget ends one, a kill does not, and no privacy at all."""

import io
import signal
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from benchmarks.resume import SMALL, differences, kill_at
from sim.__main__ import main
from sim.record import read_rounds
from sim.report.recorded_run import read_run
from sim.report.run_sections import sections_of

UNIFORM = tuple(item for item in SMALL if item != "fleet=mixed")
# Of seed 2, round 1 samples one client and round 2 nobody; a third would spend 5.1.
PRIVATE = (
    *UNIFORM,
    "privacy=central_gaussian",
    "privacy.clipping=adaptive",
    "privacy.clip_norm=0.1",
    "privacy.budget_epsilon=4.5",
    "strategy.fraction=0.4",
    "seed=2",
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # Ray's children
]


def start(runs_dir: Path, *overrides: str) -> Path:
    with redirect_stdout(io.StringIO()):
        assert main(["run", *overrides, f"runs_dir={runs_dir}"]) == 0
    return runs_dir / "run"


def test_a_run_ends_with_its_budget_and_a_killed_one_ends_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = start(tmp_path / "alone", *PRIVATE)
    told = capsys.readouterr().err
    assert "Ended after round 2 of 3: one more would spend epsilon 5.1" in told
    assert "Privacy of each client: epsilon 4.332 (by Rényi divergence 4.863), delta 1e-05" in told
    first, second = read_rounds(alone)
    assert first["privacy"] is not None
    assert second["privacy"] is not None
    assert [first["privacy"]["epsilon"], second["privacy"]["epsilon"]] == pytest.approx(
        [3.265, 4.332], abs=1e-3
    )
    assert second["clients"] is not None
    assert second["clients"]["sampled"] == []  # noise alone, and still a round
    assert first["student"] is not None
    assert second["student"] is not None
    assert first["student"]["weights_sha256"] != second["student"]["weights_sha256"]
    assert first["privacy"]["clip_norm"] == 0.1 != second["privacy"]["clip_norm"]
    assert first["train"] is first["simulated"] is second["train"] is None
    titles = {section.title: section for section in sections_of(read_run(alone))}
    assert "epsilon 4.332 at delta 1e-05 after 2 rounds" in titles["Privacy"].blocks[0].html()

    assert kill_at("before_record", [*PRIVATE, f"runs_dir={tmp_path / 'killed'}"]) == -signal.SIGKILL
    killed = tmp_path / "killed/run"
    assert len(read_rounds(killed)) == 1
    resume(killed)
    assert differences(alone, killed) == []


OWN_NOISE = (*UNIFORM, "strategy.num_rounds=2", "compress.prune_rounds=[]", "privacy.target_epsilon=8")


@pytest.mark.parametrize("mechanism", ["dp_sgd", "local_gaussian"])
def test_clients_own_noise_is_the_same_on_ray_and_after_a_kill(mechanism: str, tmp_path: Path) -> None:
    asked = (*OWN_NOISE, f"privacy={mechanism}")
    alone = start(tmp_path / "alone", *asked)
    ray = start(tmp_path / "ray", *asked, "grid=ray", "grid.num_workers=1")
    assert weights_of(alone) == weights_of(ray)
    assert len(set(weights_of(alone))) == 2
    assert spent(alone) == spent(ray)
    assert kill_at("before_checkpoint", [*asked, f"runs_dir={tmp_path / 'killed'}"]) == -signal.SIGKILL
    killed = tmp_path / "killed/run"
    assert len(read_rounds(killed)) == 1
    resume(killed)
    assert differences(alone, killed) == []
    assert 7.9 < spent(killed)[-1] <= 8.0
    assert not (killed / "releases.jsonl").exists()


@pytest.mark.parametrize("mechanism", ["central_gaussian", "local_gaussian"])
def test_a_broken_round_of_secret_noise_was_released_and_is_counted(mechanism: str, tmp_path: Path) -> None:
    asked = (*UNIFORM, "strategy.num_rounds=3", "compress.prune_rounds=[]", f"privacy={mechanism}")
    asked = (*asked, "privacy.secret_noise=true", "privacy.target_epsilon=8", "privacy.delta=1e-5")
    assert kill_at("before_checkpoint", [*asked, f"runs_dir={tmp_path}"]) == -signal.SIGKILL
    run = tmp_path / "run"
    (first,) = spent(run)
    resume(run)  # round 2 for the second time, and then the budget of three releases is spent
    _, second = spent(run)
    assert 7.9 < second <= 8.0
    assert first < second
    record = read_rounds(run)[-1]["privacy"]
    assert record is not None
    assert record["num_broken"] == 1
    assert len((run / "releases.jsonl").read_text().splitlines()) == 3
    titles = {section.title: section for section in sections_of(read_run(run))}
    text = titles["Privacy"].blocks[0].html()
    assert "after 2 rounds and 1 that were broken off and done again with other noise" in text
    resume(run)  # nothing is left to spend, and a resume releases nothing
    assert spent(run) == [first, second]


def resume(run: Path) -> None:
    with redirect_stdout(io.StringIO()):
        assert main(["run", f"resume={run}"]) == 0


def spent(run: Path) -> list[float]:
    return [record["privacy"]["epsilon"] or 0.0 for record in read_rounds(run) if record["privacy"]]


def weights_of(run: Path) -> list[str | None]:
    return [record["student"] and record["student"]["weights_sha256"] for record in read_rounds(run)]


def test_without_noise_and_clipping_the_run_is_the_plain_one_to_the_bit(tmp_path: Path) -> None:
    short = ("strategy.num_rounds=2", "compress.prune_rounds=[1]")
    ranked = ("compress.voters=server", "compress.importance=l1")
    plain = start(tmp_path / "plain", *UNIFORM, *short, *ranked)
    off = ("privacy=central_gaussian", "privacy.noise_multiplier=0", "privacy.clip_norm=0")
    private = start(tmp_path / "private", *UNIFORM, *off, *short)
    assert weights_of(plain) == weights_of(private)
    assert len(weights_of(plain)) == 2
    assert (plain / "predictions.csv").read_bytes() == (private / "predictions.csv").read_bytes()
