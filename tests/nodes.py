"""Nodes in this process: the real client app, each node with a configuration of its own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from clip_files import flat_frames, tone, write_clip
from flwr.app import Context, Message, RecordDict
from flwr.server.superlink.linkstate.utils import create_message_error_unavailable_res_message

from clients.app import app
from fl.settings.building import from_json
from sim.grids.messages import LocalGrid

SETTINGS = (
    '{"partition": {"num_clients": 2}, "system": {"teacher": "tiny_ladeda", "student": "tiny_ladeda"}, '
    '"data": {"clip": {"region": "full_frame", "image_size": 32, "num_frames": 2}}, '
    '"distill": {"epochs": 1, "batch_size": 4, "attention_weight": 0}}'
)
EXPERIMENT = from_json(SETTINGS)


def write_videos(folder: Path, labels: Sequence[int], split: str = "", seed: int = 0) -> None:
    """A folder with a table of short videos: fakes are dark."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index, label in enumerate(labels):
        name = f"{split or 'any'}{index}.mp4"
        levels = rng.integers(40, 80, 45) if label else rng.integers(150, 220, 45)
        write_clip(folder / name, flat_frames(levels.tolist()), tone(1.8))
        rows.append(f"{name},{label},person{index},{split}\n")
    table = folder / "clips.csv"
    before = table.read_text() if table.exists() else "path,label,identity,split\n"
    table.write_text(before + "".join(rows))


class NodeGrid(LocalGrid):
    """Nodes by id, each with its configuration.

    Those in ``cut_off`` are not connected; after ``back_after`` more looks they are again. Those in ``lost``
    are cut off while they work: the SuperLink answers for them.
    """

    def __init__(self, nodes: Mapping[int, Mapping[str, Any]], settings: str = SETTINGS) -> None:
        super().__init__(len(nodes))
        self.nodes = nodes
        self.settings = settings
        self.cut_off: set[int] = set()
        self.back_after = 0
        self.lost: set[int] = set()
        self.asked: list[tuple[int, str]] = []

    def get_node_ids(self) -> Iterable[int]:
        there = [node for node in self.nodes if node not in self.cut_off]
        self.back_after -= 1
        if self.back_after == 0:
            self.cut_off.clear()
        return there

    def arrivals(self, messages: Iterable[Message], timeout: float | None = None) -> Iterator[Message | None]:
        for message in messages:
            node, kind = message.metadata.dst_node_id, message.metadata.message_type
            self.asked.append((node, kind))
            if node in self.lost:
                yield create_message_error_unavailable_res_message(message.metadata, "node_unavail")
                continue
            context = Context(1, node, dict(self.nodes[node]), RecordDict(), {"experiment": self.settings})
            yield app(message, context)
