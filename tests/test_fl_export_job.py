"""Conversions in a process of their own: what comes back, and what is left when they fail."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fl.compress.importance import prunable_groups
from fl.compress.prune import apply_plan
from fl.compress.units import KINDS
from fl.errors import RunError
from fl.export.job import converted, last_line, run_logged
from fl.export.tflite_environment import environment_python
from fl.metrics.cost import example_inputs
from models.architecture import Architecture
from models.output import INPUTS

LITE = Architecture("pin_lite", {"num_frames": 2, "num_mfcc": 13})
TFLITE_CACHE = Path(os.environ.get("FEDPIN_TEST_TFLITE_CACHE", "/nowhere"))
"""A cache with a prepared TFLite environment: its tests are skipped without it."""


def pruned_student() -> tuple[Architecture, nn.Module]:
    """A student without every other channel, unit and head of each group."""
    network = LITE.build(3)
    groups = prunable_groups(network, "all")
    assert {group.kind for group in groups} == set(KINDS)
    apply_plan(network, {group.name: list(range(0, group.num_channels, 2)) for group in groups})
    return LITE.with_widths_of(network), network


def check_parity(name: str, python: Path, architecture: Architecture, network: nn.Module, log: Path) -> None:
    inputs = example_inputs(LITE.settings, image_size=32, audio_steps=4, batch_size=3)
    inputs[2][1, 1] = 0  # a clip without sound
    with torch.no_grad():
        expected = network.eval()(*inputs)
    named = dict(zip(INPUTS, inputs, strict=True))
    with converted(name, python, architecture, network, named, log) as conversion:
        np.testing.assert_allclose(conversion.logits, expected.logits.numpy(), atol=1e-4)
        np.testing.assert_allclose(conversion.explanation, expected.explanation.numpy(), atol=1e-4)
        assert conversion.path.stat().st_size > 100_000
        assert set(conversion.told) >= {"converter", "runtime", "torch", "input_names", "output_names"}
    assert not conversion.path.exists()
    assert not log.exists()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("executorch") is None, reason="needs the extra executorch")
def test_executorch_answers_as_pytorch_for_a_network_pruned_everywhere(tmp_path: Path) -> None:
    architecture, network = pruned_student()
    assert architecture.kept
    assert any("cross.query" in name for name in architecture.widths)
    check_parity("executorch", Path(sys.executable), architecture, network, tmp_path / "log")


@pytest.mark.slow
@pytest.mark.skipif(environment_python(TFLITE_CACHE) is None, reason="needs FEDPIN_TEST_TFLITE_CACHE")
def test_tflite_answers_as_pytorch_for_a_network_pruned_everywhere(tmp_path: Path) -> None:
    python = environment_python(TFLITE_CACHE)
    assert python is not None
    check_parity("tflite", python, *pruned_student(), tmp_path / "log")


def test_a_worker_that_fails_is_one_line_and_a_log(tmp_path: Path) -> None:
    inputs = dict(zip(INPUTS, example_inputs(LITE.settings, image_size=32, audio_steps=4), strict=True))
    log = tmp_path / "tensorrt.log"
    with (
        pytest.raises(
            RunError, match=r"^the export to tensorrt failed: KeyError: 'tensorrt'; log: "
        ) as caught,
        converted("tensorrt", Path(sys.executable), LITE, LITE.build(), inputs, log),
    ):
        pass
    assert str(log) in str(caught.value)
    assert "Traceback" in log.read_text()


def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(RunError, match=r"^sleeping took longer than 0\.2 s and was ended; log: "):
        run_logged(["sleep", "60"], tmp_path, log, 0.2, "sleeping")


def test_what_crashes_is_named_by_its_signal(tmp_path: Path) -> None:
    script = "import os; print('working', flush=True); os.abort()"
    with pytest.raises(RunError, match=r"^it failed: killed by SIGABRT; log: "):
        run_logged([sys.executable, "-c", script], tmp_path, tmp_path / "log", 60.0, "it")


def test_what_cannot_be_started_leaves_no_log(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run_logged(["/no/such/program"], tmp_path, tmp_path / "log", 1.0, "nothing")
    assert not list(tmp_path.iterdir())


def test_another_environment_sees_no_packages_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    script = "import os; raise SystemExit(os.environ.get('PYTHONPATH', 'none') + os.environ['SET'])"
    with pytest.raises(RunError, match="failed: nonehere; log"):
        run_logged([sys.executable, "-c", script], tmp_path, tmp_path / "log", 60.0, "it", {"SET": "here"})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("Traceback (most recent call last):\n  File x\n    y()\nValueError: no\n\n", "ValueError: no"),
        ("error: no solution\n  cause: dns\n-----\n", "error: no solution"),
        ("ValueError: no op\nRegistration failed.\n", "ValueError: no op"),
        ("x" * 300, "x" * 200),
    ],
)
def test_the_last_line_that_says_something(text: str, line: str) -> None:
    assert last_line(text) == line
