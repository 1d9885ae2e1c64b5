import json
import os
import re
import resource
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from fl.errors import RunError
from fl.settings import Experiment
from sim.__main__ import COMMANDS, QUIET, main

HEAVY = ("torch", "flwr", "ray", "cv2", "av", "onnxruntime", "sklearn", "numpy", "hydra", "omegaconf")


def command(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sim", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
    )


@pytest.fixture
def stub_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Experiment, Path, Sequence[str]]]:
    """`sim.run` replaced by one that only notes what it is asked for; the current folder is empty."""
    calls: list[tuple[Experiment, Path, Sequence[str]]] = []

    def run_experiment(experiment: Experiment, run_dir: Path, overrides: Sequence[str]) -> Path:
        calls.append((experiment, run_dir, overrides))
        if experiment.seed == 13:
            raise RunError("round 1 has no valid reply")
        (run_dir / "rounds.jsonl").write_text("{}\n")
        return run_dir

    module = ModuleType("sim.run")
    vars(module)["run_experiment"] = run_experiment
    monkeypatch.setitem(sys.modules, "sim.run", module)
    monkeypatch.chdir(tmp_path)
    return calls


def test_help_is_quick_lists_the_commands_and_imports_nothing_heavy(project_dir: Path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "sim", "--help"],
        capture_output=True,
        text=True,
        cwd=project_dir,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    imported = set(re.findall(r"\|\s+(\w+)(?:\.\S+)?$", done.stderr, re.MULTILINE))
    assert not imported & set(HEAVY)
    # Seconds of a core, which other work beside the tests does not stretch.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["rnu"],
            f"fedpin: there is no command 'rnu'; choose from {', '.join(COMMANDS)}; did you mean run?",
        ),
        ([], f"fedpin: a command must be named; choose from {', '.join(COMMANDS)}"),
        (["models", "--jsno"], "fedpin: unrecognized arguments: --jsno; usage: python -m sim models"),
        (["run", "--cfg", "x"], "fedpin: argument --cfg/-c: invalid choice: 'x'"),
        (
            ["run", "--config-dir", "/no/such"],
            "fedpin: --config-dir must be an existing folder, got '/no/such'",
        ),
        (["run", "distill.soft_weight=1.4"], "fedpin: distill.soft_weight must be in [0, 1], got 1.4\n"),
        (
            ["run", "-m", "distill.soft_weight=0,1.4"],
            "fedpin: distill.soft_weight must be in [0, 1], got 1.4\n",
        ),
    ],
)
def test_a_wrong_request_is_one_line_on_standard_error_and_exit_code_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str], stub_run: list, tmp_path: Path
):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(line)
    assert err.count("\n") == 1
    assert not stub_run
    assert not list(tmp_path.iterdir())


def test_a_wrong_request_loads_nothing_heavy_and_exits_2(project_dir: Path, tmp_path: Path):
    code = (
        "import sys; from sim.__main__ import main;"
        "code = main(['run', '-m', 'distill.soft_weight=0,1.4', 'hydra.sweep.dir=' + sys.argv[1]]);"
        "print(*sorted({'torch', 'flwr', 'ray', 'cv2'} & set(sys.modules))); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "sweep")], capture_output=True, text=True, cwd=project_dir
    )
    assert (done.returncode, done.stdout.strip()) == (2, "")
    assert done.stderr == "fedpin: distill.soft_weight must be in [0, 1], got 1.4\n"
    assert not (tmp_path / "sweep").exists()


def test_a_run_gets_its_folder_its_configuration_and_the_request(
    stub_run: list, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["run", "experiment=smoke", "seed=${partition.num_clients}", "name=first"]) == 0
    [(experiment, folder, overrides)] = stub_run
    assert folder == tmp_path / "runs" / "first"
    assert experiment.seed == experiment.partition.num_clients == 3
    assert overrides == ["experiment=smoke", "seed=${partition.num_clients}", "name=first"]
    written = yaml.safe_load((folder / ".hydra" / "config.yaml").read_text())
    assert written["seed"] == 3
    assert "hydra" not in written
    assert yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text()) == overrides
    assert (folder / ".hydra" / "hydra.yaml").is_file()
    assert sorted(path.name for path in folder.iterdir()) == [".hydra", "rounds.jsonl"]
    assert capsys.readouterr().out == "runs/first\n"
    assert Path.cwd() == tmp_path


def test_a_run_without_a_name_is_named_by_date_and_time(stub_run: list, capsys: pytest.CaptureFixture[str]):
    assert main(["run"]) == main(["run"]) == 0
    names = [folder.name for _, folder, _ in stub_run]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d\.\d{3}", name) for name in names)
    assert len(set(names)) == 2


def test_a_record_is_never_written_over(stub_run: list, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["run", "name=first"]) == 0
    before = (tmp_path / "runs" / "first" / ".hydra" / "config.yaml").read_text()
    assert main(["run", "name=first", "seed=5"]) == 2
    assert "'runs/first' already holds a record; choose another name" in capsys.readouterr().err
    assert (tmp_path / "runs" / "first" / ".hydra" / "config.yaml").read_text() == before
    (tmp_path / "multirun" / "first" / "0").mkdir(parents=True)
    (tmp_path / "multirun" / "first" / "0" / "rounds.jsonl").touch()
    assert main(["run", "-m", "name=first", "seed=5,6"]) == 2


def test_a_sweep_runs_every_job_in_a_folder_of_its_own(
    stub_run: list, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["run", "-m", "distill=joint,off", "seed=1,2", "name=grid"]) == 0
    assert [(e.distill.soft_weight, e.seed) for e, _, _ in stub_run] == [(0.5, 1), (0.5, 2), (0, 1), (0, 2)]
    assert [folder for _, folder, _ in stub_run] == [
        tmp_path / "multirun" / "grid" / str(n) for n in range(4)
    ]
    assert capsys.readouterr().out.splitlines() == [f"multirun/grid/{n}" for n in range(4)]


def test_a_failed_run_is_one_line_and_exit_code_1(stub_run: list, capsys: pytest.CaptureFixture[str]):
    assert main(["run", "seed=13"]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", "fedpin: round 1 has no valid reply\n")


def test_a_sweep_goes_on_after_a_failed_job_and_exits_1(stub_run: list, capsys: pytest.CaptureFixture[str]):
    assert main(["run", "-m", "seed=13,14", "name=s"]) == 1
    out, err = capsys.readouterr()
    assert [e.seed for e, _, _ in stub_run] == [13, 14]
    assert out.splitlines() == ["multirun/s/1"]
    assert err.splitlines()[0] == "fedpin: 1 of 2 jobs failed"
    assert "multirun/s/0: round 1 has no valid reply" in err


def test_the_traceback_is_shown_on_request(
    stub_run: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("FEDPIN_TRACEBACK", "1")
    assert main(["run", "seed=13"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_bug_is_not_dressed_up_as_a_users_error(stub_run: list, monkeypatch: pytest.MonkeyPatch):
    vars(sys.modules["sim.run"])["run_experiment"] = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        main(["run", "name=bug"])


def test_cfg_prints_the_configuration_and_runs_nothing(project_dir: Path, tmp_path: Path):
    done = command("run", "experiment=smoke", "--cfg", "job", cwd=tmp_path, PYTHONPATH=str(project_dir))
    assert done.returncode == 0
    printed = yaml.safe_load(done.stdout)
    assert printed["strategy"]["num_rounds"] == 2
    assert printed["distill"]["soft_weight"] == Experiment().distill.soft_weight
    assert done.stderr == ""
    assert not list(tmp_path.iterdir())


def test_runs_help_lists_groups_and_every_setting_with_the_value_in_use(capsys: pytest.CaptureFixture[str]):
    assert main(["run", "experiment=smoke", "--help"]) == 0
    out = capsys.readouterr().out
    assert "data        celebdf  dfdc  faceforensics  folders  images  lavdf  synthetic*  table" in out
    assert re.search(r"strategy\.num_rounds=2 +at least 1: rounds", out)
    assert re.search(r"distill\.soft_weight=0\.5 +in \[0, 1\]: ", out)


def test_a_users_own_folder_of_experiments_is_found(stub_run: list, tmp_path: Path):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "long.yaml").write_text(
        "# @package _global_\nstrategy:\n  num_rounds: 50\n"
    )
    assert main(["run", "--config-dir", "mine", "experiment=long"]) == 0
    assert stub_run[0][0].strategy.num_rounds == 50


def test_ctrl_c_ends_with_130_and_one_line(
    project_dir: Path, tmp_path: Path, hear_interrupts: Callable[[], None]
):
    code = (
        "import sys, time, types; module = types.ModuleType('sim.run');\n"
        "def run_experiment(*_):\n    print('started', flush=True); time.sleep(60)\n"
        "module.run_experiment = run_experiment; sys.modules['sim.run'] = module\n"
        "from sim.__main__ import main; sys.exit(main(['run', 'runs_dir=' + sys.argv[1]]))"
    )
    with subprocess.Popen(
        preexec_fn=hear_interrupts,
        args=[sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=project_dir,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=5)
    assert (process.returncode, err) == (130, "fedpin: interrupted\n")


def test_libraries_are_told_not_to_report_unless_the_user_wants_it(project_dir: Path):
    code = (
        "import json, os; from sim.__main__ import QUIET, set_quiet; set_quiet();"
        "print(json.dumps({k: os.environ[k] for k in QUIET}))"
    )
    bare = {name: value for name, value in os.environ.items() if name not in QUIET}

    def seen(**extra: str) -> dict[str, str]:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            cwd=project_dir,
            env={**bare, **extra},
            check=True,
        )
        return json.loads(done.stdout)

    assert seen()["FLWR_TELEMETRY_ENABLED"] == seen()["RAY_USAGE_STATS_ENABLED"] == "0"
    assert seen()["ORT_DISABLE_TELEMETRY"] == "1"
    assert seen(FLWR_TELEMETRY_ENABLED="1")["FLWR_TELEMETRY_ENABLED"] == "1"


def test_a_reader_that_leaves_early_gets_no_traceback(project_dir: Path):
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m sim run --help | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        cwd=project_dir,
    )
    assert "Traceback" not in done.stderr


def test_metrics_reads_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    table = tmp_path / "predictions.csv"
    table.write_text("label,score\n1,0.9\n0,0.1\n1,0.4\n0,0.2\n")
    assert main(["metrics", str(table), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["num_clips"], found["accuracy"], found["auc"]) == (4, 0.75, 1.0)
    assert main(["metrics", str(tmp_path / "none.csv")]) == 2


def test_make_help_lists_every_target_with_a_line(project_dir: Path):
    makefile = (project_dir / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert targets is not None
    done = subprocess.run(["make", "help"], capture_output=True, text=True, cwd=project_dir, check=True)
    for target in targets[1].split():
        assert re.search(rf"^  make {target} +\S", done.stdout, re.MULTILINE), target


def test_the_lock_holds_names_and_exact_versions_only_and_covers_the_project(project_dir: Path):
    lines = (project_dir / "requirements.lock").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+!]*", line) for line in lines)
    names = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    assert len(names) == len(lines)
    project = tomllib.loads((project_dir / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert {re.split(r"[<>=\[]", entry)[0] for entry in wanted} <= names
    assert {"setuptools", "uv"} <= names
    assert "fedpin" not in names


def test_ci_runs_the_tests_through_make(project_dir: Path):
    script = project_dir / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()
