"""Event files that ``tensorboard --logdir runs`` shows."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim.trackers.scalars import round_scalars, summary_scalars

FOLDER = "tensorboard"
COMPARED = ("global/auc", "global/accuracy", "eps/mean", "onnx/int8/auc", "onnx/int8/latency_ms_p50")
"""Columns of TensorBoard's table of runs, beside the settings."""


class TensorBoard:
    """The event file of ``RUN/tensorboard``; whole after every round, so a killed run's can be read.

    Written by tensorboardX's `EventsWriter` at once, not by a thread: a full disk is heard of where it
    happens. TensorBoard holds scalars as float32; ``rounds.jsonl`` has all digits.

    Args:
        run_dir: the run folder.
        parameters: the settings, as `sim.trackers.scalars.hyperparameters` gives them.
    """

    name = "TensorBoard"

    def __init__(self, run_dir: Path, parameters: Mapping[str, Any]) -> None:
        self._folder = run_dir.absolute() / FOLDER
        self._parameters = parameters
        self._writer: Any = None
        self._end: Any = None
        self._last_round = 0

    def start(self) -> None:
        """Open the file and write the settings; a killed process's goes, since all rounds are told again."""
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.summary import hparams

        self._folder.mkdir(exist_ok=True)
        for earlier in self._folder.glob("events*"):
            earlier.unlink()
        self._writer = EventsWriter(str(self._folder / "events"))
        columns, values, self._end = hparams(dict(self._parameters), dict.fromkeys(COMPARED))
        for summary in (columns, values):
            self._write(summary, step=0)
        self._writer.flush()

    def round_done(self, record: Mapping[str, Any]) -> None:
        """Write one round; it is in the file when this returns."""
        self._last_round = int(record["round_index"])
        self._write_scalars(round_scalars(record))

    def finish(self, status: str, summary: Mapping[str, Any] | None) -> None:
        """Write the summary's numbers; a run that did not finish gets no end in the table of runs."""
        if summary is not None:
            self._write_scalars(summary_scalars(summary))
        if status == "finished":
            self._write(self._end, step=self._last_round)
        self.close()

    def close(self) -> None:
        """Close the file; may be called again."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _write_scalars(self, scalars: Mapping[str, float]) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._write(Summary(value=values), self._last_round)
        self._writer.flush()

    def _write(self, summary: Any, step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time.time(), step=step, summary=summary))
