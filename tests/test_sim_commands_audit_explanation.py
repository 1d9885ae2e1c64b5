"""The explanation audit's table, plot and what it refuses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_shards import FACE, REAL, shard

from fl.data.shards import take
from fl.distill.predict import predict
from fl.errors import DataError, RequestError
from fl.metrics.explanation import eps
from models.architecture import Architecture
from sim.audits.explanation import Explanation, trace_network
from sim.commands.audit_explanation import main
from sim.report.explanation import draw_explanation, print_explanation


def test_a_real_network_is_traced_told_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    view = take(shard([REAL, FACE, REAL], has_audio=[1, 1, 0]))
    network = Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13}).build().eval()
    _, maps = predict(network, view)
    rows = tuple(
        trace_network(name, network, view, maps, kind, 0)
        for name in ("teacher", "student")
        for kind in ("frames", "sound")
    )
    assert [row.num_clips for row in rows] == [3, 2, 3, 2]  # the deaf clip has no sound to lose
    assert rows[0] == replace(rows[2], network="teacher")
    assert all(0 < row.deletion.mean < 1 for row in rows)
    alike = eps(maps, maps, np.full(3, 10), np.random.default_rng(0))
    audit = Explanation("runs/" + "a" * 20, 3, 1, alike, rows, "runs/figures/explanation.png")
    print_explanation(audit)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    assert "EPS of the student's maps: 1.000 [1.000, 1.000]" in text
    (figure,) = draw_explanation(audit, tmp_path / "figures")
    assert figure.name == "explanation.png"
    assert figure.stat().st_size > 10_000


def test_clips_without_sound_have_none_to_remove() -> None:
    view = take(shard([REAL, FACE], has_audio=[0, 0]))
    network = Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13}).build().eval()
    with pytest.raises(DataError, match="no test clip has sound to remove"):
        trace_network("student", network, view, np.ones((2, 10, 4)), "sound", 0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "RUN must be the folder of a finished run"),
        (["nowhere", "--num-clips", "1"], "--num-clips must be at least 2"),
        ([], "required: RUN"),
    ],
)
def test_a_wrong_request_is_refused(arguments: list[str], complaint: str) -> None:
    with pytest.raises(RequestError, match=complaint):
        main(arguments)
