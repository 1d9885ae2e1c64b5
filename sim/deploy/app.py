"""The ServerApp that Flower loads: it puts together what `server.app` needs, and hands over to it.

The clients are nodes of a SuperLink, or of Flower's own simulation.
"""

import os
from pathlib import Path
from typing import Any

import torch
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fl.cores import usable_cores
from fl.privacy.central_gaussian import central_mechanism
from fl.state import flatten
from server.enrolment import EnrolledFleet, TeacherParcel, enrol_nodes, wait_for_nodes
from sim import checks
from sim.conduct import RunPlan, conduct
from sim.config import validate
from sim.deploy.flower import names_of_nodes
from sim.deploy.folder import open_deployment
from sim.deploy.submission import DEPLOYMENT, RunConfig, Submission, read_submission
from sim.prepare import ServerPart, prepare, prepare_server
from sim.privacy_checks import check_secret_noise
from sim.progress import Progress
from sim.trackers.tracking import open_trackers

app = ServerApp()
"""What `[tool.flwr.app]` of pyproject.toml names."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """A whole run.

    Raises:
        FedpinError: with the cause; a wrong request has left nothing on the disk.
    """
    submission = read_submission(context.run_config)
    validate(submission.experiment)
    check_secret_noise(submission.experiment.privacy)
    submission.run_dir.mkdir(parents=True, exist_ok=True)
    progress = Progress()
    progress.line(f"Run folder {submission.run_dir}")
    prepared = prepare_part(submission, progress)
    fleet = enrol(prepared, submission, grid, context.run_config, progress)
    serve(prepared, fleet, submission, grid, context, progress)


def prepare_part(submission: Submission, progress: Progress) -> ServerPart:
    """Corpus, stores and teacher; of a simulation the clients' clips too."""
    make = prepare_server if submission.deployed else prepare
    torch.set_num_threads(usable_cores())
    prepared = make(submission.experiment, checks.cache_dir(submission.experiment), progress)
    torch.set_num_threads(1)
    return prepared


def enrol(
    prepared: ServerPart, submission: Submission, grid: Grid, run_config: RunConfig, progress: Progress
) -> EnrolledFleet:
    """Wait for the nodes, and let them enrol."""
    num_clients = submission.experiment.partition.num_clients
    num_nodes = int(run_config["num-nodes"]) or num_clients
    nodes = wait_for_nodes(grid, num_nodes, float(run_config["wait-s"]))
    teacher = prepared.teacher
    parcel = TeacherParcel(teacher.architecture, flatten(teacher.load()))
    store = "" if submission.deployed else prepared.stores["clients"].digest
    timeout_s = float(run_config["enrol-timeout-s"])
    names = node_names(submission)
    fleet = enrol_nodes(grid, nodes, parcel, num_clients, timeout_s, progress.line, store, names)
    clips = ", ".join(f"{client}: {fleet.examples[client]} clips" for client in sorted(fleet.nodes))
    progress.line(
        f"Enrolled {len(fleet.nodes)} of {num_clients} clients, teacher {parcel.digest[:12]}; {clips}"
    )
    return fleet


def node_names(submission: Submission) -> dict[int, str]:
    """Node id -> the name that the deployment has for it; empty in a simulation."""
    if not submission.deployed:
        return {}
    told = names_of_nodes(open_deployment(Path(os.environ[DEPLOYMENT])))
    return {int(node_id): name for node_id, name in told.items()}


def serve(
    prepared: ServerPart,
    fleet: EnrolledFleet,
    submission: Submission,
    grid: Grid,
    context: Context,
    progress: Progress,
) -> None:
    """All rounds, as of a simulation; the summary also names the nodes."""
    experiment, run_dir = submission.experiment, submission.run_dir
    declared = {client: fleet.examples.get(client, 0) for client in range(experiment.partition.num_clients)}

    def of_nodes() -> dict[str, Any]:
        names = node_names(submission)
        nodes = [
            {"client_id": client, "num_examples": fleet.examples[client], "device": fleet.devices[client]}
            for client in sorted(fleet.nodes)
        ]
        refused = [{"node": names.get(node, str(node)), "reason": why} for node, why in fleet.refused.items()]
        return {"nodes": nodes, "refused": refused, **submission.code}

    with open_trackers(experiment, run_dir, progress.line) as trackers:
        plan = RunPlan(experiment, run_dir, prepared, submission.overrides, trackers, progress)
        conduct(plan, grid, context, declared, central_mechanism(experiment), fleet=fleet, extra=of_nodes)
