"""`python -m sim deploy ACTION ...`: a server and its devices, by Flower's SuperLink and SuperNodes.

Each action imports what it needs: `init` and `--help` no torch.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from fl.errors import RequestError, RunError
from sim.commands.arguments import Parser, choose_action

USAGE = """\
usage: python -m sim deploy ACTION ...

  init FOLDER --server HOST:PORT --nodes N    one folder with all keys, certificates and a README
  init FOLDER --renew                         a new certificate for the server
  server FOLDER                               start the server (SuperLink)
  node NODE_FOLDER --data VIDEOS              start a device (SuperNode)
  submit FOLDER [OVERRIDES] [--follow]        ask for a run, as of `sim run`; prints its id and folder
  status FOLDER [--json]                      nodes and runs
  stop FOLDER RUN_ID                          end a run
  revoke FOLDER NODE                          a node may no longer connect

All are for the server's machine but `node`, which is for a device. TLS and authentication are always on.
"""


def main(argv: Sequence[str]) -> int:
    """Do what is asked for.

    Returns:
        0.

    Raises:
        FedpinError: the request is wrong, or could not be done.
    """
    chosen = choose_action("deploy", USAGE, ACTIONS, argv)
    if chosen is None:
        return 0
    name, action = chosen
    return action(Parser(prog=f"python -m sim deploy {name}"), argv[1:])


def _init(parser: Parser, argv: Sequence[str]) -> int:
    parser.add_argument("folder", type=Path)
    parser.add_argument("--server", help="HOST:PORT by which devices reach the server")
    parser.add_argument("--nodes", help="how many, or their names with commas")
    parser.add_argument("--days", type=int, default=365, help="how long the server's certificate is good")
    parser.add_argument(
        "--renew", action="store_true", help="only a new certificate, from the CA in FOLDER/ca"
    )
    asked = parser.parse_args(list(argv))
    if not 1 <= asked.days <= 3650:
        raise RequestError(f"--days must be in [1, 3650], got {asked.days}")
    from sim.deploy.folder import make_deployment, open_deployment, read_address, renew_certificate

    if asked.renew:
        renew_certificate(open_deployment(asked.folder), asked.days)
        _tell(f"A new certificate is in {asked.folder / 'server'}: start the server again")
        return 0
    if not asked.server or not asked.nodes:
        raise RequestError("deploy init needs --server HOST:PORT and --nodes N, or --renew")
    make_deployment(asked.folder, read_address(asked.server), _node_names(asked.nodes), asked.days)
    _tell(f"{asked.folder / 'README.md'} says what to do on each machine")
    return 0


def _node_names(text: str) -> list[str]:
    if not text.isdecimal():
        return text.split(",")
    if not 1 <= int(text) <= 10_000:
        raise RequestError(f"--nodes must be in [1, 10000], got {text}")
    return [f"node-{number}" for number in range(int(text))]


def _server(parser: Parser, argv: Sequence[str]) -> int:
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bind", default="0.0.0.0", help="IPv4 address to listen at; 0.0.0.0: all")
    asked = parser.parse_args(list(argv))
    from sim.deploy.folder import open_deployment
    from sim.deploy.serving import run_server

    run_server(open_deployment(asked.folder), asked.bind, _tell)
    return 0


def _node(parser: Parser, argv: Sequence[str]) -> int:
    parser.add_argument("folder", type=Path, help="this node's folder, nodes/NAME of the deployment's")
    parser.add_argument("--data", type=Path, required=True, help="folder of this node's videos")
    parser.add_argument("--layout", default="table", help="of that folder: table, lavdf, folders, ...")
    parser.add_argument("--device", default="", help="profile: camera, phone, laptop; default: by turns")
    parser.add_argument("--threads", type=int, default=1, help="cores that it may use")
    parser.add_argument(
        "--cache", type=Path, help="stores and the teacher; default: $FEDPIN_CACHE, ~/.cache/fedpin"
    )
    parser.add_argument("--teacher", default="", help="accept the teacher of this digest (or its start) only")
    asked = parser.parse_args(list(argv))
    from fl.data.cache import cache_root
    from sim.deploy.folder import open_node
    from sim.deploy.serving import NodeOptions, run_node

    cache = asked.cache or cache_root("")
    options = NodeOptions(asked.data, asked.layout, asked.device, asked.threads, cache, asked.teacher)
    run_node(open_node(asked.folder), options, _tell)
    return 0


def _submit(parser: Parser, argv: Sequence[str]) -> int:
    parser.add_argument("folder", type=Path)
    parser.add_argument("overrides", nargs="*", help="as of `sim run`")
    parser.add_argument("--follow", action="store_true", help="show the run's lines; exit code 1 if it fails")
    parser.add_argument("--wait", type=float, default=600.0, help="how long it waits for all nodes, s")
    asked = parser.parse_intermixed_args(list(argv))
    if not asked.wait > 0:
        raise RequestError(f"--wait must be above 0, got {asked.wait:g}")
    from sim.deploy.folder import open_deployment
    from sim.deploy.submitting import follow, submit

    deployment = open_deployment(asked.folder)
    run_id, run_dir = submit(deployment, asked.overrides, asked.wait)
    sys.stdout.write(f"{run_id}\n")
    sys.stdout.flush()
    if asked.follow:
        follow(deployment, run_id)
    sys.stdout.write(f"{run_dir}\n")
    return 0


def _status(parser: Parser, argv: Sequence[str]) -> int:
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args(list(argv))
    from sim.deploy import flower
    from sim.deploy.folder import open_deployment

    deployment = open_deployment(asked.folder)
    states, names = flower.node_states(deployment), flower.names_of_nodes(deployment)
    by_name = {names.get(node_id, node_id): state for node_id, state in states.items()}
    nodes = {name: by_name.get(name, "revoked") for name in deployment.nodes}
    runs = flower.ask(deployment, "list", flower.CONNECTION)["runs"]
    keys = ("run-id", "status", "status-details", "elapsed")
    if asked.json:
        shown = [{key: run[key] for key in keys} for run in runs]
        sys.stdout.write(json.dumps({"nodes": nodes, "runs": shown}) + "\n")
        return 0
    for name, state in nodes.items():
        sys.stdout.write(f"{name:<20}{state}\n")
    for run in runs:
        sys.stdout.write("  ".join(str(run[key]) for key in keys).rstrip() + "\n")
    return 0


def _stop(parser: Parser, argv: Sequence[str]) -> int:
    parser.add_argument("folder", type=Path)
    parser.add_argument("run_id", type=int)
    asked = parser.parse_args(list(argv))
    from sim.deploy import flower
    from sim.deploy.folder import open_deployment

    flower.ask(open_deployment(asked.folder), "stop", str(asked.run_id), flower.CONNECTION)
    _tell(f"Run {asked.run_id} was stopped; what it recorded is kept")
    return 0


def _revoke(parser: Parser, argv: Sequence[str]) -> int:
    parser.add_argument("folder", type=Path)
    parser.add_argument("node", help="its name")
    asked = parser.parse_args(list(argv))
    from sim.deploy import flower
    from sim.deploy.folder import open_deployment

    deployment = open_deployment(asked.folder)
    if asked.node not in deployment.allowed:
        allowed = ", ".join(deployment.allowed) or "none"
        raise RequestError(f"NODE must be one that may connect ({allowed}), got {asked.node!r}")
    deployment.public_key(asked.node).rename(deployment.public_key(asked.node, "revoked"))
    if not flower.listens(deployment.server.port):
        _tell(f"{asked.node} may not connect when the server is started again")
        return 0
    if not flower.register_nodes(deployment):
        raise RunError(f"the server did not know {asked.node}; its key is out of the list of allowed ones")
    _tell(f"{asked.node} may no longer connect")
    return 0


ACTIONS: Mapping[str, Callable[[Parser, Sequence[str]], int]] = MappingProxyType(
    {
        "init": _init,
        "server": _server,
        "node": _node,
        "submit": _submit,
        "status": _status,
        "stop": _stop,
        "revoke": _revoke,
    }
)


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
