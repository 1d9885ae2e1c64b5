"""Nodes enrol: the real client app on real videos, in this process; who does not fit is refused by name."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message
from nodes import EXPERIMENT, NodeGrid, write_videos

from fl.errors import RunError
from fl.state import flatten, schema_digest
from fl.task import RoundTask
from fl.wire import task_records
from models.architecture import Architecture
from server.enrolment import EnrolledFleet, TeacherParcel, enrol_nodes, wait_for_nodes
from server.gate import Expectation
from server.replies import gather
from server.strategy import DeterministicFedProx

ARCHITECTURE = Architecture("tiny_ladeda")
PARCEL = TeacherParcel(ARCHITECTURE, flatten(ARCHITECTURE.build(1)))
LABELS = (0, 1, 0, 1, 1)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    write_videos(root / "a", LABELS)
    write_videos(root / "b", (0, 1, 0), "train", seed=1)
    write_videos(root / "b", (0, 1), "test", seed=2)
    return root


def config(videos: Path, tmp_path: Path, client: int, **more: Any) -> dict[str, Any]:
    """A node of its own, with its own cache."""
    return {
        "partition-id": client,
        "data-root": str(videos / "ab"[client % 2]),
        "cache-dir": str(tmp_path / f"cache{client}"),
        **more,
    }


def enrol(grid: NodeGrid, parcel: TeacherParcel = PARCEL) -> tuple[EnrolledFleet, list[str]]:
    told: list[str] = []
    names = {85: "kitchen"}
    fleet = enrol_nodes(grid, grid.get_node_ids(), parcel, 2, 60, told.append, names=names)
    return fleet, told


def test_the_teacher_is_sent_once_and_each_node_has_its_number(videos: Path, tmp_path: Path) -> None:
    # node ids are in another order than the numbers of the clients
    grid = NodeGrid({71: config(videos, tmp_path, 1, device="phone"), 85: config(videos, tmp_path, 0)})
    fleet, told = enrol(grid)
    assert (told, fleet.refused) == ([], {})
    assert fleet.nodes == {0: 85, 1: 71}
    assert fleet.examples == {0: 5, 1: 3}  # b's test clips are not read
    assert fleet.devices == {0: "camera", 1: "phone"}
    assert grid.asked == [
        (71, "query.enrol"),
        (85, "query.enrol"),
        (71, "query.teacher"),
        (85, "query.teacher"),
    ]
    folder = tmp_path / "cache0" / "teachers" / PARCEL.digest
    assert sorted(path.name for path in folder.iterdir()) == [
        "architecture.json",
        "outputs",
        "weights.safetensors",
    ]

    grid.asked.clear()
    again, _ = enrol(grid)
    assert again == fleet
    assert [kind for _, kind in grid.asked] == ["query.enrol", "query.enrol"]


def test_a_round_is_trained_by_those_who_are_connected(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.enrolment.POLL_S", 0.01)
    grid = NodeGrid({71: config(videos, tmp_path, 1), 85: config(videos, tmp_path, 0)})
    fleet, _ = enrol(grid)
    settings = replace(EXPERIMENT.strategy, straggler_share=0.0, dropout_share=0.0, round_timeout_s=0.2)
    strategy = DeterministicFedProx(settings, 0, EXPERIMENT.distill, fleet.examples, fleet)
    network = ARCHITECTURE.build(2)
    sent = flatten(network)
    task = RoundTask(1, ARCHITECTURE, sent, schema_digest(network), 1e-3)
    strategy.expected = Expectation(sent.size, task.schema, 0, fleet.examples)

    def round_of(index: int) -> np.ndarray:
        messages = strategy.configure_train(index, *task_records(task), grid)
        replies = gather(grid, messages, 60, strategy.closing, strategy.hear)
        aggregate, _ = strategy.aggregate_train(index, replies)
        assert aggregate is not None
        return np.frombuffer(aggregate["state"].data, "<f4")

    both = round_of(1)
    assert (strategy.ledger.replied, strategy.ledger.failed, strategy.ledger.missing) == ([0, 1], [], [])
    assert not np.array_equal(both, sent)
    assert [report.num_examples for report in strategy.reports] == [5, 3]
    grid.cut_off.add(71)
    alone = round_of(2)
    assert (strategy.ledger.replied, strategy.ledger.missing) == ([0], [1])
    assert np.array_equal(alone, strategy.reports[0].state)
    grid.cut_off.clear()
    round_of(3)
    assert strategy.ledger.replied == [0, 1]
    grid.lost.add(71)  # in the middle of the round
    again = round_of(4)
    assert (strategy.ledger.replied, strategy.ledger.failed, strategy.ledger.missing) == ([0], [], [1])
    assert np.array_equal(again, strategy.reports[0].state)
    grid.lost.clear()
    grid.cut_off.update((71, 85))
    grid.back_after = 3  # an outage shorter than a round may take costs nothing
    round_of(5)
    assert strategy.ledger.replied == [0, 1]
    grid.cut_off.update((71, 85))
    with pytest.raises(RunError, match="round 6 has no valid reply: 0 failed, 2 missing of 2 sampled"):
        round_of(6)


def test_a_round_waits_for_a_node_as_long_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.enrolment.POLL_S", 0.01)
    fleet = EnrolledFleet("", nodes={0: 85, 1: 71})
    grid = NodeGrid({71: {}, 85: {}})

    def connected(wanted: Iterable[int], wait_s: float) -> set[int]:
        grid.cut_off, grid.back_after = {71}, 3
        return set(fleet.connected(grid, wanted, wait_s, 60))

    assert connected((0, 1), 60) == {0, 1}
    assert connected((0, 1), 0) == {0}
    assert connected((0,), 60) == {0}  # client 1 was not sampled
    assert connected((0, 2), 60) == {0}  # client 2 never enrolled
    assert connected((1,), 0) == {0, 1}  # nobody else: until the outage is over


def test_a_node_that_goes_offline_while_it_enrols_is_refused(videos: Path, tmp_path: Path) -> None:
    grid = NodeGrid({71: config(videos, tmp_path, 1), 85: config(videos, tmp_path, 0)})
    grid.lost.add(85)
    fleet, told = enrol(grid)
    assert fleet.nodes == {1: 71}
    assert told == ["Refused kitchen: no answer in 60 s, or cut off"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"teacher": "beef"},
            f"this node accepts the teacher beef only, but the run has {PARCEL.digest[:12]}",
        ),
        ({"partition-id": 2}, "partition-id must be a whole number below partition.num_clients = 2, got 2"),
        ({"partition-id": 0}, "client 0 is node 71 already"),
        ({"device": "toaster"}, "device must be one of camera, phone, laptop, got 'toaster'"),
        ({"data-layout": "zip"}, "data-layout must be one of"),
        ({"data-root": ""}, "data-root must name the folder of this node's videos"),
        ({"data-root": "/nowhere/at/all"}, "data.root must be a folder that exists, got <path>"),
        ({"threads": 0}, "threads must be a whole number above 0, got 0"),
        ({"num-threads": 1}, "a node's configuration has"),
    ],
)
def test_a_node_that_does_not_fit_is_refused_by_name(
    videos: Path, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    grid = NodeGrid({71: config(videos, tmp_path, 0), 85: {**config(videos, tmp_path, 1), **change}})
    fleet, told = enrol(grid)
    assert fleet.nodes == {0: 71}
    assert len(told) == 1
    assert told[0].startswith("Refused kitchen: ")
    assert reason in told[0]
    assert str(tmp_path) not in told[0]
    assert str(videos) not in told[0]


def test_an_altered_copy_of_the_teacher_is_refused(videos: Path, tmp_path: Path) -> None:
    grid = NodeGrid({71: config(videos, tmp_path, 0)})
    enrol(grid)
    other = TeacherParcel(ARCHITECTURE, flatten(ARCHITECTURE.build(9)))
    enrol(grid, other)
    teachers = tmp_path / "cache0" / "teachers"
    weights = "weights.safetensors"
    (teachers / PARCEL.digest / weights).write_bytes((teachers / other.digest / weights).read_bytes())
    with pytest.raises(RunError, match=f"cached teacher {PARCEL.digest[:12]} was altered"):
        enrol(grid)


def test_a_teacher_that_is_not_the_announced_one_is_refused(videos: Path, tmp_path: Path) -> None:
    class Swapping(NodeGrid):
        """Someone between server and nodes puts in another teacher."""

        def send_and_receive(
            self, messages: Iterable[Message], *, timeout: float | None = None
        ) -> Iterable[Message]:
            for message in messages:
                for record in message.content.array_records.values():
                    state = np.frombuffer(record["state"].data, "<f4") * 1.01
                    record["state"].data = state.astype("<f4").tobytes()
            return super().send_and_receive(messages, timeout=timeout)

    with pytest.raises(RunError, match=f"teacher must be {PARCEL.digest[:12]}, but what was sent is "):
        enrol(Swapping({71: config(videos, tmp_path, 0)}))
    assert not list((tmp_path / "cache0").glob("teachers/*/weights.safetensors"))


def test_a_teacher_has_a_largest_size(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clients.device.MAX_TEACHER_VALUES", PARCEL.state.size - 1)
    with pytest.raises(RunError, match=r"a teacher may have .* weights, what was sent has"):
        enrol(NodeGrid({71: config(videos, tmp_path, 0)}))


def test_a_server_names_no_folder_of_a_node(tmp_path: Path) -> None:
    grid = NodeGrid({71: {"partition-id": 0, "cache-dir": str(tmp_path)}})
    with pytest.raises(RunError, match="data-root must name the folder"):
        enrol_nodes(grid, [71], PARCEL, 2, 60, lambda line: None, store="../../etc")


def test_too_few_nodes_are_waited_for_and_counted(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"1 of 2 nodes were connected after 0.1 s"):
        wait_for_nodes(NodeGrid({71: {}}), 2, 0.1)


def test_a_silent_node_is_refused(videos: Path, tmp_path: Path) -> None:
    class Silent(NodeGrid):
        """Node 85 never answers."""

        def send_and_receive(
            self, messages: Iterable[Message], *, timeout: float | None = None
        ) -> Iterable[Message]:
            heard = [message for message in messages if message.metadata.dst_node_id != 85]
            return super().send_and_receive(heard, timeout=timeout)

    fleet, told = enrol(Silent({71: config(videos, tmp_path, 0), 85: config(videos, tmp_path, 1)}))
    assert fleet.nodes == {0: 71}
    assert told == ["Refused kitchen: no answer in 60 s, or cut off"]
