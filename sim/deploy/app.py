"""The ServerApp that Flower loads: it puts together what `server.app` needs, and hands over to it.

The server's part of `sim.run`: the clients are nodes of a SuperLink, or of Flower's own simulation.
"""

import os
from pathlib import Path

import torch
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fl.cores import usable_cores
from fl.data.shards import take
from fl.privacy.central_gaussian import central_mechanism
from fl.privacy.client_account import client_accounts
from fl.state import flatten
from server.app import make_server_app
from server.enrolment import EnrolledFleet, TeacherParcel, enrol_nodes, wait_for_nodes
from server.evaluate import Evaluation
from server.rounds import Record, Server
from server.strategy import DeterministicFedProx
from sim import checks
from sim.config import validate
from sim.deploy.flower import names_of_nodes
from sim.deploy.folder import open_deployment
from sim.deploy.submission import DEPLOYMENT, RunConfig, Submission, read_submission
from sim.prepare import ServerPart, prepare, prepare_server
from sim.progress import Progress
from sim.record import append_round, read_rounds
from sim.report.figures import draw_figures
from sim.report.table import print_table, rows_of_run
from sim.run import caveats, describe_teacher, finish, make_examiner, tell_spent
from sim.start import Scores, inputs_of, make_student
from sim.trackers.tracking import open_trackers

app = ServerApp()
"""What `[tool.flwr.app]` of pyproject.toml names."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """A whole run."""
    submission = read_submission(context.run_config)
    validate(submission.experiment)
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
    """All rounds, recorded as `sim.run` records them."""
    experiment, run_dir = submission.experiment, submission.run_dir
    cache_dir, told = checks.cache_dir(experiment), caveats(prepared)
    num_clients = experiment.partition.num_clients
    examiner = make_examiner(prepared, experiment, run_dir, cache_dir)
    teacher_row = describe_teacher(prepared, examiner.teacher_onnx)
    student = make_student(prepared, experiment, cache_dir, progress)
    declared = {client: fleet.examples.get(client, 0) for client in range(num_clients)}
    privacy = central_mechanism(experiment)
    strategy = DeterministicFedProx(
        experiment.strategy,
        experiment.seed,
        experiment.distill,
        declared,
        fleet,
        privacy,
        client_accounts(experiment, declared),
    )
    nodes = [
        {"client_id": client, "num_examples": fleet.examples[client], "device": fleet.devices[client]}
        for client in sorted(fleet.nodes)
    ]
    last: list[Scores] = []
    with (
        open_trackers(experiment, run_dir, progress.line) as trackers,
        progress.rounds(experiment.strategy.num_rounds, num_clients) as display,
    ):

        def on_round(record: Record, evaluation: Evaluation) -> None:
            trackers.round_done(append_round(run_dir, record))
            last[:] = [Scores(evaluation.scores, evaluation.scores_int8)]
            display.round_done(record)

        public = take(prepared.stores["public"])
        server = Server(experiment, strategy, examiner, public, inputs_of(prepared), on_round)
        try:
            make_server_app(server, student)(grid, context)
        finally:
            if last:
                names = node_names(submission)
                refused = [
                    {"node": names.get(node, str(node)), "reason": why} for node, why in fleet.refused.items()
                ]
                extra = {"nodes": nodes, "refused": refused, **submission.code}
                finish(
                    run_dir, experiment, prepared, teacher_row, last[0], submission.overrides, told, **extra
                )
    draw_figures(run_dir)
    print_table(rows_of_run(read_rounds(run_dir), teacher_row))
    tell_spent(strategy.account, progress, student.rounds_done, experiment.strategy.num_rounds)
    for caveat in told:
        progress.line(caveat)
