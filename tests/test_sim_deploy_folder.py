"""`deploy init` makes a whole folder or none; wrong requests are refused by name before anything starts."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from flwr.app import Context, RecordDict
from flwr.clientapp import ClientApp

from fl.errors import FedpinError, RequestError, RunError
from fl.settings.building import from_json, to_json
from sim.__main__ import main
from sim.config import build, compose
from sim.deploy.certificates import make_server_certificate, read_certificate
from sim.deploy.flower import free_port
from sim.deploy.folder import Deployment, make_deployment, open_deployment, open_node, read_address
from sim.deploy.serving import NodeOptions, check_server, node_config
from sim.deploy.submission import DEPLOYMENT, read_submission, write_submission
from sim.grids.inprocess import InProcessGrid
from sim.privacy_checks import check_secret_noise
from sim.provenance import commit


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return make_deployment(tmp_path / "dep", read_address(f"127.0.0.1:{free_port()}"), ["a", "b-2"], 365)


def test_a_deployment_is_all_there(deployment: Deployment) -> None:
    folder = deployment.folder
    assert open_deployment(folder) == Deployment(folder.resolve(), deployment.server, ("a", "b-2"))
    assert deployment.allowed == ["a", "b-2"]
    for number, name in enumerate(deployment.nodes):
        node = open_node(folder / "nodes" / name)
        assert (node.name, node.number, node.server) == (name, number, deployment.server)
        assert (node.folder / "ca.crt").read_bytes() == (folder / "ca" / "ca.crt").read_bytes()
        assert (node.folder / "node.key").stat().st_mode & 0o777 == 0o600
        assert f"sim deploy node /var/lib/fedpin/{name} " in (node.folder / "fedpin-node.service").read_text()
        assert f"nodes/{name}" in (folder / "README.md").read_text()
        load_ssh_public_key(deployment.public_key(name).read_bytes())
    assert folder.stat().st_mode & 0o777 == 0o700
    assert not [path for path in (folder / "nodes").rglob("*") if "server" in path.name]
    services = yaml.safe_load((folder / "compose.yaml").read_text())["services"]
    assert sorted(services) == ["a", "b-2", "server"]
    assert {service["pull_policy"] for service in services.values()} == {"never"}
    assert services["b-2"]["volumes"][0] == "./nodes/b-2:/node"


def test_a_renewed_certificate_is_of_the_same_ca(deployment: Deployment) -> None:
    folder = deployment.folder / "server"
    before, root = read_certificate(folder / "server.pem"), read_certificate(folder / "ca.crt")
    assert main(["deploy", "init", str(deployment.folder), "--renew", "--days", "20"]) == 0
    after = read_certificate(folder / "server.pem")
    after.verify_directly_issued_by(root)
    assert (after.not_valid_after_utc - before.not_valid_after_utc).days in (-345, -346)
    assert after.public_key() != before.public_key()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--server", "host", "--nodes", "2"], "--server must be HOST:PORT, a name or IPv4 address"),
        (["--server", "host:0", "--nodes", "2"], "--server must be HOST:PORT"),
        (["--server", "ho st:1", "--nodes", "2"], "--server must be HOST:PORT"),
        (["--server", "h:1", "--nodes", "0"], "--nodes must be in [1, 10000], got 0"),
        (["--server", "h:1", "--nodes", "a,a"], "nodes must have different names"),
        (["--server", "h:1", "--nodes", "../x"], "nodes must have different names of a-z, 0-9 and -"),
        (["--server", "h:1", "--nodes", "1", "--days", "0"], "--days must be in [1, 3650], got 0"),
        (["--server", "h:1"], "deploy init needs --server HOST:PORT and --nodes N, or --renew"),
        (["--renew"], "there is no deployment.json in"),
    ],
)
def test_a_wrong_init_leaves_nothing(
    arguments: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["deploy", "init", str(tmp_path / "dep"), *arguments]) == 2
    assert complaint in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_deployment_is_not_overwritten(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    before = (deployment.folder / "ca" / "ca.key").read_bytes()
    assert main(["deploy", "init", str(deployment.folder), "--server", "h:1", "--nodes", "1"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (deployment.folder / "ca" / "ca.key").read_bytes() == before


def test_what_keeps_a_server_from_starting_is_named(deployment: Deployment) -> None:
    told: list[str] = []
    check_server(deployment, "127.0.0.1", told.append)
    assert told == []
    folder = deployment.folder
    make_server_certificate(folder / "ca", folder / "server", ["localhost"], 12)
    check_server(deployment, "127.0.0.1", told.append)
    assert len(told) == 1
    assert "in 11 days: python -m sim deploy init" in told[0]
    make_server_certificate(folder / "ca", folder / "server", ["localhost"], 0)
    with pytest.raises(RunError, match=r"expired on .*: python -m sim deploy init .* --renew"):
        check_server(deployment, "127.0.0.1", told.append)
    (folder / "server" / "server.key").chmod(0o644)
    with pytest.raises(RequestError, match="mode is 0644: chmod 600"):
        check_server(deployment, "127.0.0.1", told.append)


def test_a_port_in_use_is_named_in_time(deployment: Deployment) -> None:
    import socket

    with socket.create_server(("127.0.0.1", deployment.server.port)):
        done = subprocess.run(
            [sys.executable, "-m", "sim", "deploy", "server", str(deployment.folder), "--bind", "127.0.0.1"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert (
        f"port {deployment.server.port} at 127.0.0.1 cannot be opened (Address already in use)" in done.stderr
    )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"data": Path("nowhere")}, "--data must be the folder of this node's videos, got 'nowhere'"),
        ({"layout": "zip"}, "--layout must be one of lavdf, .*, folders, got 'zip'"),
        ({"device": "toaster"}, "--device must be one of camera, phone, laptop, got 'toaster'"),
        ({"threads": 0}, "--threads must be at least 1, got 0"),
        ({"cache_dir": Path('a"b')}, "cache-dir must have no quote or backslash in its path"),
    ],
)
def test_a_nodes_own_settings_are_checked(
    deployment: Deployment, tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    good = NodeOptions(tmp_path, "table", "phone", 2, tmp_path / "c d", "")
    node = open_node(deployment.folder / "nodes" / "b-2")
    assert dict(node_config(node, good)) == {
        "partition-id": 1,
        "data-root": str(tmp_path),
        "data-layout": "table",
        "device": "phone",
        "threads": 2,
        "cache-dir": str(tmp_path / "c d"),
    }
    with pytest.raises(RequestError, match=complaint):
        node_config(node, NodeOptions(**{**vars(good), **change}))


def test_places_stay_with_the_server(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = from_json(json.dumps({"cache_dir": "/hidden", "seed": 4}))
    told = write_submission(deployment.folder, experiment, tmp_path / "run", ["seed=4"])
    assert "hidden" not in json.dumps(told)
    assert str(tmp_path) not in json.dumps(told)
    monkeypatch.setenv(DEPLOYMENT, str(deployment.folder))
    got = read_submission(told)
    assert (got.experiment, got.run_dir, got.overrides) == (experiment, tmp_path / "run", ("seed=4",))
    assert got.deployed
    assert got.code == commit()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"experiment": '{"seed": 5}'}, "has other settings than the run that names it"),
        ({"submission": "0" * 16}, "submission 0000000000000000 cannot be read"),
        ({"submission": "../../etc/passwd"}, "submission must be an id that deploy submit gave"),
    ],
)
def test_a_submission_that_is_not_the_servers_is_refused(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], complaint: str
) -> None:
    told = write_submission(deployment.folder, from_json("{}"), Path("run"), [])
    monkeypatch.setenv(DEPLOYMENT, str(deployment.folder))
    with pytest.raises(FedpinError, match=complaint):
        read_submission({**told, **change})


def test_a_simulation_needs_no_submission(tmp_path: Path) -> None:
    sent = json.dumps({"runs_dir": str(tmp_path), "name": "mine"})
    got = read_submission({"experiment": sent, "submission": ""})
    assert (got.run_dir, got.deployed) == (tmp_path / "mine", False)


@pytest.mark.parametrize("mechanism", ["central_gaussian", "local_gaussian", "dp_sgd"])
def test_a_bare_flwr_run_refuses_noise_from_a_seed_that_nodes_are_told(
    mechanism: str, tmp_path: Path
) -> None:
    from sim.deploy.app import app

    asked = [f"privacy={mechanism}", f"runs_dir={tmp_path}/runs", "name=mine"]

    config = {"experiment": to_json(build(compose(asked))), "submission": ""}
    with pytest.raises(
        RequestError, match=r"privacy\.secret_noise must be true .*, got false; add privacy\.s"
    ):
        app(InProcessGrid(ClientApp(), 1), Context(1, 0, {}, RecordDict(), config))
    assert not (tmp_path / "runs").exists()
    check_secret_noise(build(compose([*asked, "privacy.secret_noise=true"])).privacy)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["submit", "{dep}", "partition.num_clients=3"], "partition.num_clients is the number of nodes here"),
        (["submit", "{dep}", "distill.soft_weight=1.4"], "distill.soft_weight must be in [0, 1], got 1.4"),
        (["submit", "{dep}", "--wait", "0"], "--wait must be above 0, got 0"),
        (["revoke", "{dep}", "c"], "NODE must be one that may connect (a, b-2), got 'c'"),
        (["status", "{dep}x"], "there is no deployment.json in"),
        (["node", "{dep}", "--data", "."], "there is no node.json in"),
        (["sever", "{dep}"], "deploy has no action 'sever'; choose from init, server"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(
    deployment: Deployment, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [argument.replace("{dep}", str(deployment.folder)) for argument in arguments]
    assert main(["deploy", *asked]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_revoking_needs_no_server(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", "revoke", str(deployment.folder), "a"]) == 0
    assert "a may not connect when the server is started again" in capsys.readouterr().err
    assert open_deployment(deployment.folder).allowed == ["b-2"]
    assert main(["deploy", "revoke", str(deployment.folder), "a"]) == 2


def test_help_and_init_need_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from sim.__main__ import main;"
        f"main(['deploy', 'init', {str(tmp_path / 'd')!r}, '--server', 'h:1', '--nodes', '1']);"
        "main(['deploy', '--help']); sys.exit(int('torch' in sys.modules or 'flwr' in sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "revoke FOLDER NODE" in done.stdout
    shutil.rmtree(tmp_path / "d")
