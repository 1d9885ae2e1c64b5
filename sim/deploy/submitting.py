"""Asking a deployment's server for a run, and what became of it."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import OmegaConf

from fl.errors import RequestError, RunError
from fl.settings import Experiment
from sim import checks
from sim.config import build, compose, validate
from sim.deploy import flower
from sim.deploy.folder import Deployment
from sim.deploy.submission import write_submission
from sim.privacy_checks import check_secret_noise
from sim.provenance import ROOT
from sim.record import ROUNDS_FILE


def submit(deployment: Deployment, overrides: Sequence[str], wait_s: float) -> tuple[str, Path]:
    """Ask for a run by all nodes that may connect.

    Args:
        deployment: its server must be running on this machine.
        overrides: Hydra's, as of `sim run`; the number of clients is that of the nodes.
        wait_s: how long the run waits for its nodes, s.

    Returns:
        Flower's id of the run, and the run folder.

    Raises:
        FedpinError: the request is wrong, or the server cannot be asked.
    """
    if any(item.lstrip("+").startswith("partition.num_clients") for item in overrides):
        raise RequestError("partition.num_clients is the number of nodes here: leave it out")
    if not deployment.allowed:
        raise RequestError("no node may connect: all were revoked")
    if not (ROOT / "pyproject.toml").is_file():
        raise RequestError(f"runs are submitted from a checkout, but there is no pyproject.toml in {ROOT}")
    asked = [*overrides, f"partition.num_clients={len(deployment.nodes)}"]
    cfg = compose(asked, hydra_too=True)
    run_dir = Path(cfg.hydra.run.dir).absolute()
    if (run_dir / ROUNDS_FILE).exists():
        raise RequestError(f"name must be new, but {str(run_dir)!r} already holds a record; choose another")
    experiment = with_absolute_places(build(cfg))
    validate(experiment)
    check_secret_noise(experiment.privacy)
    told = write_submission(deployment.folder, experiment, run_dir, asked)
    config: dict[str, str | int | float] = {
        **told,
        "num-nodes": len(deployment.allowed),
        "wait-s": float(wait_s),
    }
    (run_dir / ".hydra").mkdir(parents=True, exist_ok=True)
    OmegaConf.save(compose(asked), run_dir / ".hydra" / "config.yaml", resolve=True)
    toml = deployment.folder / "server" / "submissions" / f"{told['submission']}.toml"
    toml.write_text(run_config(config), encoding="utf-8")
    answer = flower.ask(deployment, "run", str(ROOT), flower.CONNECTION, "-c", str(toml))
    return str(answer["run-id"]), run_dir


def run_config(values: dict[str, str | int | float]) -> str:
    """Flower's run configuration as TOML, whose strings and numbers are written as JSON's."""
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def with_absolute_places(experiment: Experiment) -> Experiment:
    """The same experiment, its places as seen from anywhere on this machine."""

    def absolute(place: str) -> str:
        return str(Path(place).expanduser().absolute()) if place else ""

    data, teacher, system = experiment.data, experiment.teacher, experiment.system
    return replace(
        experiment,
        cache_dir=str(checks.cache_dir(experiment).absolute()),
        runs_dir=absolute(experiment.runs_dir),
        data=replace(data, root=absolute(data.root)),
        teacher=replace(teacher, weights=absolute(teacher.weights)),
        system=replace(
            system,
            teacher_backbone=absolute(system.teacher_backbone),
            student_backbone=absolute(system.student_backbone),
        ),
    )


def follow(deployment: Deployment, run_id: str) -> None:
    """Show a run's lines until it ends.

    Raises:
        RunError: it did not complete.
    """
    subprocess.run(
        [flower.program("flwr"), "log", run_id, flower.CONNECTION, "--stream"],
        env=flower.environment(flower.server_home(deployment)),
        cwd=ROOT,
        check=False,
    )
    run = flower.ask(deployment, "list", flower.CONNECTION, "--run-id", run_id)["runs"][0]
    if run["status"] != "finished:completed":
        raise RunError(f"run {run_id} is {run['status']}: {run['status-details'] or 'no reason was given'}")
