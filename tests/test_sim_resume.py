"""Runs that were killed: whether they may go on, and that they end as if nothing had happened."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from event_files import read_events
from omegaconf import OmegaConf

from benchmarks.resume import SMALL, differences, kill_at, what_is_there, without_clocks
from fl.errors import RequestError, RunError
from server.checkpoint import FILES, SUMS_FILE
from sim.__main__ import main
from sim.branch import Origin, read_origin
from sim.commands.resume import take_out
from sim.config import compose
from sim.record import read_rounds
from sim.resume import changes, kept_overrides, kept_settings, only_driver, refuse_changes

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Ray's children


def begin(folder: Path, *overrides: str) -> Path:
    """A run's folder as Hydra leaves it before the work begins."""
    (folder / ".hydra").mkdir(parents=True)
    OmegaConf.save(compose(overrides), folder / ".hydra/config.yaml", resolve=True)
    OmegaConf.save(list(overrides), folder / ".hydra/overrides.yaml")
    return folder


@pytest.mark.parametrize(
    "overrides", [["resume=a", "branch=b"], ["resume=a", "resume=b"], ["resume="], ["seed=1", "branch"]]
)
def test_a_request_names_one_run_to_go_on_with(overrides: list[str]) -> None:
    with pytest.raises(RequestError, match="one of resume=RUN and branch=RUN"):
        take_out(overrides)
    assert take_out(["seed=1", "resume=runs/a=b"]) == ({"resume": Path("runs/a=b")}, ["seed=1"])


@pytest.mark.parametrize("key", ["resume", "branch"])
def test_what_is_no_run_is_a_wrong_request(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", f"{key}={tmp_path}"]) == 2
    assert "must name the folder of a run" in capsys.readouterr().err
    (begin(tmp_path / "torn") / ".hydra/config.yaml").write_text("a: [")
    assert main(["run", f"{key}={tmp_path}/torn"]) == 2
    assert "config.yaml cannot be read" in capsys.readouterr().err
    assert main(["run", "-m", f"{key}={begin(tmp_path / 'one')}", "seed=1,2"]) == 2
    assert f"{key} goes without --multirun" in capsys.readouterr().err


def test_other_settings_are_refused_key_by_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = begin(tmp_path / "one", "strategy.num_rounds=5", "seed=3", "compress.prune_rounds=[2]")
    assert changes(run, []) == changes(run, ["seed=3", "compress.prune_rounds=[2]"]) == {}
    assert changes(run, ["distill=off", "seed=4"]) == {
        "seed": (3, 4),
        "distill.soft_weight": (0.5, 0.0),
        "distill.attention_weight": (0.3, 0.0),
    }
    assert main(["run", f"resume={run}", "strategy.num_rounds=8", "compress.prune_rounds=[2,4]"]) == 2
    first, *keys = capsys.readouterr().err.splitlines()
    assert first.endswith(f"run branch={run} strategy.num_rounds=8 compress.prune_rounds=[2,4]")
    assert keys == ["  compress.prune_rounds: (2,) -> (2, 4)", "  strategy.num_rounds: 5 -> 8"]
    assert main(["run", f"resume={run}", "strategy.num_round=8"]) == 2
    assert "did you mean strategy.num_rounds?" in capsys.readouterr().err
    refuse_changes(run, {}, [])


def test_a_default_that_changed_since_does_not_count_as_asked_for(tmp_path: Path) -> None:
    run = begin(tmp_path / "one", "seed=3")
    stored = compose(["seed=3", "distill.temperature=3.5"])  # as if that had been the default then
    OmegaConf.save(stored, run / ".hydra/config.yaml")
    assert set(changes(run, ["distill.soft_weight=0.1"])) == {"distill.soft_weight"}
    assert kept_settings(run).distill.temperature == 3.5


def test_a_folder_of_further_groups_is_remembered(tmp_path: Path) -> None:
    run = begin(tmp_path / "one", "seed=3")
    place = "hydra.searchpath=['file:///x']"
    kept = {"hydra": {"overrides": {"hydra": [place, "hydra.mode=RUN"], "task": ["seed=3"]}}}
    OmegaConf.save(OmegaConf.create(kept), run / ".hydra/hydra.yaml")
    assert kept_overrides(run) == [place, "seed=3"]


def test_two_processes_never_drive_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = begin(tmp_path / "runs/one")
    code = f"""
import pathlib, sys
from sim.resume import only_driver
with only_driver(pathlib.Path({str(run)!r})):
    print("held", flush=True)
    sys.stdin.read()
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "held\n"
    for request in ([f"resume={run}"], [f"runs_dir={tmp_path}/runs", "name=one"]):
        assert main(["run", *request]) == 2
        assert "is being written by another process" in capsys.readouterr().err
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    with only_driver(run):
        pass


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    return started(tmp_path_factory.mktemp("alone"))


def started(runs_dir: Path, *overrides: str) -> Path:
    with redirect_stdout(io.StringIO()):
        assert main(["run", *SMALL, *overrides, f"runs_dir={runs_dir}"]) == 0
    return runs_dir / "run"


def killed(runs_dir: Path, moment: str, *overrides: str) -> Path:
    assert kill_at(moment, [*SMALL, *overrides, f"runs_dir={runs_dir}"]) == -signal.SIGKILL
    return runs_dir / "run"


def resumed(run: Path) -> list[str]:
    """Resume a run; what was printed on standard output."""
    with redirect_stdout(io.StringIO()) as out:
        assert main(["run", f"resume={run}"]) == 0
    return out.getvalue().splitlines()


def assert_same(alone: Path, run: Path) -> None:
    """The resumed run has all that the other has, and no more."""
    assert differences(alone, run) == []
    assert len(list((run / "tensorboard").iterdir())) == 1
    ours, theirs = read_events(run / "tensorboard"), read_events(alone / "tensorboard")
    assert set(ours[1]) == set(theirs[1])  # the settings, and the end of a run that finished
    kept = [{k: v for k, v in scalars.items() if not clock(k)} for scalars, _ in (ours, theirs)]
    assert kept[0] == kept[1]


def clock(name: str) -> bool:
    """Whether a scalar is measured time."""
    return any(without_clocks({part: 0}) == {} for part in name.split("/"))


@pytest.mark.slow
def test_killed_from_outside_in_mid_round_it_ends_as_if_it_had_not_been(alone: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "sim", "run", *SMALL, f"runs_dir={tmp_path}"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert any(line.startswith("Round 1/3") for line in process.stderr)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    run = tmp_path / "run"
    assert what_is_there(run).startswith("1 checkpoints")
    assert resumed(run)[-1] == str(run)
    assert_same(alone, run)


@pytest.mark.slow
def test_a_checkpoint_that_was_being_written_counts_for_nothing(alone: Path, tmp_path: Path) -> None:
    run = killed(tmp_path, "in_checkpoint")
    assert what_is_there(run) == "1 checkpoints and a torn one, 1 records"
    resumed(run)
    assert_same(alone, run)


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_costs_one_round(
    alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = killed(tmp_path, "before_summary")
    assert what_is_there(run) == "3 checkpoints, 3 records"
    os.truncate(run / "checkpoints/round-003/weights.safetensors", 1000)
    resumed(run)
    lines = capsys.readouterr().err.splitlines()
    (told,) = [line for line in lines if "damaged" in line]
    assert told.startswith(
        "Checkpoint round-003 is damaged, going back to the one before: weights.safetensors"
    )
    assert [line[:9] for line in lines if line.startswith("Round ")] == ["Round 3/3"]
    assert_same(alone, run)
    assert resumed(run) == [str(run)]
    assert f"{run} is finished, all 3 rounds: nothing to do\n" in capsys.readouterr().err


@pytest.mark.slow
def test_with_another_teacher_it_does_not_go_on_and_changes_nothing(
    alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = killed(tmp_path, "before_record")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    newest = run / "checkpoints/round-002"
    state = json.loads((newest / "state.json").read_text())
    state["inputs"]["teacher"] = "0" * 24  # as if another had taught the run until now
    (newest / "state.json").write_text(json.dumps(state))
    sums = subprocess.run(["sha256sum", *FILES], cwd=newest, capture_output=True, check=True).stdout
    (newest / SUMS_FILE).write_bytes(sums)
    assert main(["run", f"resume={run}"]) == 2
    assert "but digests differ (teacher: 00000000 -> " in capsys.readouterr().err
    (newest / "state.json").write_bytes(before[newest / "state.json"])
    (newest / SUMS_FILE).write_bytes(before[newest / SUMS_FILE])
    assert {path: path.read_bytes() for path in before} == before
    resumed(run)
    assert_same(alone, run)


@pytest.mark.slow
def test_a_branch_is_a_run_of_its_own_from_the_checkpoint_on(
    alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = shutil.copytree(alone, tmp_path / "source")
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    for wrong, says in (
        ("seed=1", "strategy.num_rounds must be above 3, the round of the checkpoint"),
        ("system=mobilenet", "a branch must keep system.student"),
        ("fleet=uniform", "a branch must keep fleet.kind"),
    ):
        assert main(["run", f"branch={source}", f"runs_dir={tmp_path}", "name=new", wrong]) == 2
        assert says in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    request = [f"branch={source}", f"runs_dir={tmp_path}", "strategy.num_rounds=4", "distill=off"]
    assert main(["run", *request, "name=new"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "new")
    old, new = read_rounds(source), read_rounds(tmp_path / "new")
    assert new[:3] == old
    assert (new[3]["round_index"], new[3]["train"]["loss_soft"] != 0) == (4, True)  # told, though not weighed
    origin = Origin(str(source), 3, old[2]["student"]["weights_sha256"])
    assert read_origin(tmp_path / "new") == origin
    summary = json.loads((tmp_path / "new/summary.json").read_text())
    assert summary["branched_from"]["weights_sha256"] == origin.weights_sha256
    assert kept_settings(tmp_path / "new").distill.soft_weight == 0
    assert {path: path.read_bytes() for path in before} == before
    assert main(["run", *request, "name=new"]) == 2
    assert "is there already" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "new/checkpoints")
    (tmp_path / "new/figures/partition.png").unlink()
    assert main(["run", f"resume={tmp_path}/new"]) == RunError.exit_code
    assert "has lost the checkpoint that it started from" in capsys.readouterr().err


@pytest.fixture(scope="module")
def alone_on_ray(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with Ray."""
    return started(tmp_path_factory.mktemp("alone_on_ray"), "grid=ray")


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("moment", ["in_training", "before_checkpoint"])
def test_a_driver_killed_on_ray_is_resumed_to_the_same_bits(
    moment: str, alone_on_ray: Path, tmp_path: Path
) -> None:
    run = killed(tmp_path, moment, "grid=ray")
    resumed(run)
    assert_same(alone_on_ray, run)
