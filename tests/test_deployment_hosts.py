"""A server and its devices on hosts of their own: one of them is cut off and comes back."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.lost_node import (
    DEADLINE_S,
    DEVICES,
    MISSING,
    NODES,
    PINNED,
    PORT,
    Played,
    Stage,
    play,
    run_on_ray,
)
from benchmarks.network import why_not
from benchmarks.resume import without_clocks
from sim.record import read_rounds

REASON = why_not()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.skipif(bool(REASON), reason=REASON),
]
ASK = """
import sys, httpx, ssl
context = ssl.create_default_context(cafile=sys.argv[1])
for path in sys.argv[3:]:
    print(httpx.post(sys.argv[2] + path, content=b"", verify=context, timeout=20).status_code)
"""
CLIENTS = set(range(len(NODES)))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hosts")


@pytest.fixture(scope="module")
def played(work: Path) -> Played:
    return play(work, probe=ask_from_elsewhere)


def ask_from_elsewhere(made: Stage) -> list[str]:
    """What a host that is no device is answered by the server: HTTP statuses."""
    server = f"https://{made.hosts['server'].address}:{PORT}"
    paths = ["/v1/control/list-nodes", "/v1/control/start-run", "/v1/runtime/acquire-task"]
    asked = [sys.executable, "-c", ASK, str(made.deployed.folder / "ca" / "ca.crt"), server]
    told = subprocess.run(
        [*made.hosts["stranger"].prefix, *asked, *paths, "/v1/fleet/get-run"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return told.stdout.split()


def summary_of(run_dir: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((run_dir / "summary.json").read_text())
    return summary


def test_other_hosts_reach_the_devices_api_only(played: Played) -> None:
    *closed, devices = played.probed
    assert closed == ["403", "403", "403"]
    assert devices not in ("200", "403")  # let through, and refused there: it is not signed


def test_a_node_with_an_unknown_key_is_refused(played: Played) -> None:
    code, told = played.stranger
    assert code == 1
    assert "Failed to activate SuperNode" in told
    assert "ended with Flower's exit code" in told


def test_a_node_with_another_teacher_is_refused_by_name(played: Played) -> None:
    summary = summary_of(played.hosts)
    assert [refused["node"] for refused in summary["refused"]] == [NODES[PINNED]]
    assert "this node accepts the teacher beef only, but the run has" in summary["refused"][0]["reason"]
    enrolled = sorted(CLIENTS - {PINNED})
    assert [node["client_id"] for node in summary["nodes"]] == enrolled
    assert [node["device"] for node in summary["nodes"]] == [DEVICES[client] for client in enrolled]


def test_a_round_closes_without_the_node_that_is_cut_off(played: Played) -> None:
    rounds = read_rounds(played.hosts)
    assert [record["clients"]["missing"] for record in rounds] == [list(m) for m in MISSING]
    assert [record["clients"]["replied"] for record in rounds] == [
        sorted(CLIENTS - set(missing)) for missing in MISSING
    ]
    assert rounds[1]["seconds"]["train"] < DEADLINE_S + 15
    assert played.submitted == 0
    assert dict.fromkeys(NODES, "online") == played.states


def test_the_run_is_the_one_on_ray_that_loses_the_same_clients(played: Played, work: Path) -> None:
    on_ray = run_on_ray(work, played.asked)
    rounds, ray = read_rounds(played.hosts), read_rounds(on_ray)
    for there, here in zip(rounds, ray, strict=True):
        # weights and architecture by SHA-256; accuracy, EPS, INT8 accuracy and flips to the bit
        for key in ("student", "train", "clients", "global", "eps", "prune", "onnx"):
            assert without_clocks(there[key]) == without_clocks(here[key]), (there["round_index"], key)
    assert summary_of(played.hosts)["commit"] == summary_of(on_ray)["commit"]
    assert rounds[1]["prune"]["removed_channels"] > 0
    assert rounds[1]["prune"]["voters"] == [0, 2]
    assert 0 <= rounds[2]["onnx"]["client_agreement"] <= 1
    for name in ("student.onnx", "student.int8.onnx", "predictions.csv"):
        assert (played.hosts / name).read_bytes() == (on_ray / name).read_bytes(), name
