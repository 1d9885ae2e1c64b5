"""What `deploy init` writes for systemd and containers, held against their own programs."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sim.__main__ import main
from sim.commands.deploy import ACTIONS
from sim.deploy.templates import compose_file, node_unit, readme, server_unit

UNITS = {"fedpin-server.service": server_unit(), "fedpin-node.service": node_unit("kitchen")}
WITHOUT_SYSTEMD = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
WITHOUT_DOCKER = pytest.mark.skipif(not shutil.which("docker"), reason="needs docker's client")


def command_of(unit: str) -> list[str]:
    """What a unit's `deploy` is given."""
    line = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    program, *arguments = shlex.split(line.partition("=")[2])
    assert program == "/opt/fedpin/.venv/bin/python"
    assert arguments[:3] == ["-m", "sim", "deploy"]
    return arguments[3:]


@WITHOUT_SYSTEMD
@pytest.mark.parametrize("name", sorted(UNITS))
@pytest.mark.parametrize(("wrong", "complaint"), [("", ""), ("Restart=often", "restart specifier")])
def test_systemd_has_nothing_to_say(name: str, wrong: str, complaint: str, tmp_path: Path) -> None:
    unit = UNITS[name].replace("/opt/fedpin/.venv/bin/python", sys.executable)
    (tmp_path / name).write_text(unit.replace("Restart=on-failure", wrong or "Restart=on-failure"))
    asked = ["systemd-analyze", "verify", str(tmp_path / name)]
    told = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert complaint in told.stderr
    assert bool(told.stderr) == bool(complaint), told.stderr


@pytest.mark.parametrize("name", sorted(UNITS))
def test_a_units_command_is_understood(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = command_of(UNITS[name])
    assert main(["deploy", *arguments]) == 2
    assert f"in '{arguments[1]}'" in capsys.readouterr().err  # only its folder is not there


@pytest.mark.parametrize("name", sorted(UNITS))
def test_a_unit_may_write_into_its_folder(name: str) -> None:
    # ProtectSystem=full: /usr, /boot and /etc are read-only for it
    unit = UNITS[name]
    assert "ProtectSystem=full" in unit
    assert command_of(unit)[1].startswith("/var/lib/fedpin/")
    assert {"StateDirectory=fedpin", "CacheDirectory=fedpin"} <= set(unit.splitlines())


@WITHOUT_DOCKER
def test_docker_reads_the_compose_file(tmp_path: Path) -> None:
    # the client's own schema is that of swarms, which know no pull_policy
    text = re.sub(r"\n +pull_policy: never", "", compose_file(9443, ["kitchen", "b-2"]))
    (tmp_path / "compose.yaml").write_text(text)

    def told() -> subprocess.CompletedProcess[str]:
        asked = ["docker", "stack", "config", "--compose-file", str(tmp_path / "compose.yaml")]
        return subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)

    read = told()
    assert read.returncode == 0, read.stderr
    assert "published: 9443" in read.stdout
    assert str(tmp_path / "nodes" / "kitchen") in read.stdout
    (tmp_path / "compose.yaml").write_text(text.replace("restart:", "restarts:"))
    assert "restarts is not allowed" in told().stderr


def test_the_readme_names_commands_that_exist() -> None:
    text = readme("10.0.0.1:9443", ["kitchen", "b-2"])
    assert set(re.findall(r"sim deploy (\w+)", text)) == set(ACTIONS)
