"""A run that was asked of a SuperLink: what travels to the nodes, and what stays with the server.

On disk, in a deployment's folder: ``server/submissions/<id>.json`` with the run folder, the request and all
settings. Only its id and the settings without places go into Flower's run configuration.
"""

import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fl.errors import RequestError, RunError
from fl.settings import Experiment
from fl.settings.building import from_json, to_json, without_places
from sim.provenance import commit

DEPLOYMENT = "FEDPIN_DEPLOYMENT"
"""Environment variable: the folder of the deployment that a server belongs to."""

RunConfig = Mapping[str, str | int | float | bool]


@dataclass(frozen=True)
class Submission:
    """A run as the server knows it.

    Attributes:
        experiment: all settings.
        run_dir: for what the run leaves.
        overrides: the request as typed.
        deployed: the clients are devices with clips of their own; else all is simulated on this machine.
        code: ``commit`` and ``uncommitted_changes`` of the checkout that was submitted; Flower runs a copy,
            which does not know.
    """

    experiment: Experiment
    run_dir: Path
    overrides: tuple[str, ...]
    deployed: bool
    code: Mapping[str, Any]


def write_submission(
    folder: Path, experiment: Experiment, run_dir: Path, overrides: Sequence[str]
) -> dict[str, str]:
    """Keep a submission in a deployment's folder.

    Returns:
        What goes into Flower's run configuration.
    """
    name = secrets.token_hex(8)
    places = {
        "run_dir": str(run_dir),
        "overrides": list(overrides),
        "experiment": asdict(experiment),
        "code": commit(),
    }
    path = folder / "server" / "submissions" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(places, indent=1), encoding="utf-8")
    return {"experiment": to_json(without_places(experiment)), "submission": name}


def read_submission(run_config: RunConfig) -> Submission:
    """The submission that Flower's run configuration names; without a name, a simulation of its settings.

    Raises:
        RequestError: the run configuration is wrong.
        RunError: the deployment's folder has no such submission, or another one.
    """
    sent, name = str(run_config["experiment"]), str(run_config["submission"])
    if not name:
        experiment = from_json(sent)
        folder = experiment.name or f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
        return Submission(experiment, Path(experiment.runs_dir).expanduser() / folder, (), False, commit())
    if not re.fullmatch(r"[0-9a-f]{16}", name):
        raise RequestError(f"submission must be an id that deploy submit gave, got {name[:40]!r}")
    path = Path(os.environ.get(DEPLOYMENT, "")) / "server" / "submissions" / f"{name}.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        experiment = from_json(json.dumps(told["experiment"]))
        run_dir, overrides = Path(told["run_dir"]), tuple(map(str, told["overrides"]))
        code = dict(told["code"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"submission {name} cannot be read ({type(error).__name__}): submit on the server's machine, "
            "with the folder that the server was started with"
        ) from error
    if to_json(without_places(experiment)) != sent:
        raise RunError(f"submission {name} has other settings than the run that names it: submit again")
    return Submission(experiment, run_dir, overrides, True, code)
