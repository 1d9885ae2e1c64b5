"""`python -m sim predict`: verdicts of real files, the annotated video, and requests that are wrong."""

import json
import re
from pathlib import Path

import av
import numpy as np
import pytest
from clip_files import draw_face, flat_frames, tone, write_clip
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from fl.compress.export import save_model
from fl.compress.model_card import ModelCard, write_card
from fl.data import processes
from fl.errors import RunError
from fl.settings import ClipSettings
from sim.__main__ import main
from sim.judgement import Segment, Verdict, conclude
from sim.progress import Progress
from sim.report.annotate import annotate_video
from sim.report.face_track import steady_track

CLIP = ClipSettings(num_frames=4, image_size=48, window_s=0.8)
FACE, DARK_FACE = draw_face(192, 40, 50, 90), draw_face(192, 40, 50, 90) // 2


def brightness_graph(card: ModelCard) -> ModelProto:
    """logit = -8 * mean pixel - 4 + 3 * modalities[audio]: dark is fake, as every test can work out."""
    clip = card.clip
    shapes = {
        "frames": ["batch", clip.num_frames, 3, clip.image_size, clip.image_size],
        "mfcc": ["batch", 40, clip.num_mfcc],
        "modalities": ["batch", 2],
    }
    values = {
        "axes": np.array([1, 2, 3, 4]),
        "minus": np.array([-8.0], np.float32),
        "shift": np.array([-4.0], np.float32),
        "weights": np.array([[0.0], [3.0]], np.float32),
        "one": np.array([1]),
    }
    nodes = [
        helper.make_node("ReduceMean", ["frames", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "minus"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["shifted"]),
        helper.make_node("MatMul", ["modalities", "weights"], ["column"]),
        helper.make_node("Squeeze", ["column", "one"], ["heard"]),
        helper.make_node("Add", ["shifted", "heard"], ["logits"]),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch"])]
    tensors = [numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "brightness", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return write_card(model, card)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    card = ModelCard(CLIP, "first", "0.1.0")
    return save_model(brightness_graph(card), tmp_path_factory.mktemp("model") / "student.onnx")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_clip(folder / "light.mp4", np.stack([FACE] * 40), None)
    write_clip(folder / "dark.mp4", np.stack([DARK_FACE] * 40), None)
    write_clip(folder / "partly.mp4", np.stack([FACE] * 60 + [DARK_FACE] * 20), tone(3.2))
    write_clip(folder / "empty_room.mp4", flat_frames([90] * 20, (192, 192)), tone(0.8))
    write_clip(folder / "mostly_empty.mp4", np.stack([FACE] * 20 + [FACE * 0 + 90] * 60), None)
    (folder / "notes.mp4").write_text("not a video")
    return folder


def predict(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[dict]]:
    code = main(["predict", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_verdicts_follow_the_files(model: Path, videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["light", "dark", "partly", "empty_room", "mostly_empty", "notes", "missing"]
    code, told = predict(capsys, *(videos / f"{name}.mp4" for name in names), "--model", model)
    assert code == 0
    by_name = {Path(entry["file"]).stem: entry for entry in told}
    assert list(by_name) == names
    assert [by_name[name]["verdict"] for name in names] == ["real", "fake", "fake", *["undecided"] * 4]
    partly = by_name["partly"]
    assert [segment["start_s"] for segment in partly["segments"]] == pytest.approx([0, 0.8, 1.6, 2.4])
    assert [segment["probability"] > 0.5 for segment in partly["segments"]] == [False, False, False, True]
    assert partly["probability"] == partly["segments"][3]["probability"]
    assert (partly["has_sound"], by_name["light"]["has_sound"]) == (True, False)
    assert by_name["empty_room"]["reason"] == "no face in any frame"
    assert (by_name["empty_room"]["faces_found"], by_name["light"]["faces_found"]) == (0, 1)
    assert by_name["empty_room"]["probability"] is None
    assert by_name["mostly_empty"]["reason"].startswith("only 1 of 4 windows can be judged: no face")
    assert by_name["mostly_empty"]["faces_found"] == 0.25
    assert by_name["notes"]["reason"].startswith("not a video file")
    assert by_name["missing"]["reason"] == "no such file"


def test_sound_reaches_the_network(model: Path, videos: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    """The logit rises by 3 where there is sound, on the same pictures."""
    write_clip(tmp_path / "heard.mp4", np.stack([FACE] * 40), tone(1.6))
    _, (silent, heard) = predict(capsys, videos / "light.mp4", tmp_path / "heard.mp4", "--model", model)
    logits = [np.log(p / (1 - p)) for p in (silent["probability"], heard["probability"])]
    assert logits[1] - logits[0] == pytest.approx(3, abs=0.1)


def test_without_a_single_verdict_the_exit_code_is_1(
    model: Path, videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = predict(capsys, videos / "empty_room.mp4", videos, "--model", model)
    assert code == 1
    assert [entry["reason"] for entry in told] == ["no face in any frame", "not a regular file"]


def test_threshold_is_the_models_unless_given(
    model: Path, videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(capsys, videos / "dark.mp4", "--model", model)[1][0]["threshold"] == 0.5
    _, (strict,) = predict(capsys, videos / "dark.mp4", "--model", model, "--threshold", "1")
    assert (strict["verdict"], strict["threshold"]) == ("real", 1)


def test_table_stays_within_100_columns(
    model: Path, videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", *map(str, sorted(videos.glob("*.mp4"))), "--model", str(model)]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    assert out.count("undecided") >= 3


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["dark.mp4"], "required: --model"),
        (["dark.mp4", "--model", "none.onnx"], "does not exist"),
        (["dark.mp4", "--model", "."], "is a folder"),
        (["dark.mp4", "--model", "notes.mp4"], "is not an ONNX file"),
        (["dark.mp4", "--model", "MODEL", "--threshold", "1.5"], "in [0, 1], got 1.5"),
        (["dark.mp4", "--model", "MODEL", "--threshold", "nan"], "in [0, 1], got nan"),
        (["dark.mp4", "--model", "MODEL", "--timeout", "0"], "--timeout must be above 0 s, got 0"),
        (["dark.mp4", "--model", "MODEL", "--timeout", "nan"], "--timeout must be above 0 s, got nan"),
        (["dark.mp4", "light.mp4", "--model", "MODEL", "--annotate", "o.mp4"], "takes one FILE, got 2"),
        (["dark.mp4", "--model", "MODEL", "--annotate", "o.avi"], "must name an .mp4 file"),
        (["dark.mp4", "--model", "MODEL", "--annotate", "no/o.mp4"], "in an existing folder"),
        (["dark.mp4", "--model", "MODEL", "--annotate", "dark.mp4"], "must not be FILE itself"),
    ],
)
def test_a_wrong_request_exits_with_2(
    arguments: list[str],
    complaint: str,
    model: Path,
    videos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(videos)
    before = sorted(videos.iterdir())
    assert main(["predict", *(str(model) if part == "MODEL" else part for part in arguments)]) == 2
    err = capsys.readouterr().err
    assert complaint in err
    assert err.count("\n") == 1
    assert sorted(videos.iterdir()) == before


def test_settings_out_of_range_in_the_metadata_are_refused(
    tmp_path: Path, videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = ModelCard(ClipSettings(num_frames=4, image_size=48, window_s=1e9), "first", "0.1.0")
    path = save_model(brightness_graph(card), tmp_path / "a.onnx")
    assert main(["predict", str(videos / "dark.mp4"), "--model", str(path)]) == 2
    assert "data.clip.window_s must be in [0.4, 30]" in capsys.readouterr().err


def test_annotated_video_keeps_pictures_and_sound_and_its_box_follows_the_face(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = np.stack([draw_face(191, i, 50, 90) for i in range(50)])  # odd sides: H.264 wants even ones
    frames = np.concatenate([frames, np.full_like(frames[:30], 90)])
    write_clip(tmp_path / "a.mp4", frames[:, :190, :190], tone(3.2, hz=1000))
    out = tmp_path / "out.mp4"
    code, _ = predict(capsys, tmp_path / "a.mp4", "--model", model, "--annotate", out)
    assert code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "out.mp4"]
    with av.open(str(out)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        pictures = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    with av.open(str(out)) as container:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert len(pictures) == 80
    shown = [np.abs(p - f[:190, :190]) for p, f in zip(pictures, frames, strict=True)]
    columns = [change[70:130].mean(axis=(0, 2)) for change in shown]  # the box's sides stand out
    lefts = [np.flatnonzero(column > 20).min() for column in (columns[10], columns[40])]
    assert lefts[1] - lefts[0] == pytest.approx(30, abs=6)
    assert columns[75].max() < 10
    spectrum = np.abs(np.fft.rfft(heard[9600:57600]))
    assert np.argmax(spectrum) == pytest.approx(1000, abs=2)  # 1 s of sound: bins of 1 Hz
    assert len(heard) / 48_000 == pytest.approx(3.2, abs=0.1)


def test_what_cannot_be_annotated_leaves_no_file(
    model: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mp4"
    assert main(["predict", str(videos / "notes.mp4"), "--model", str(model), "--annotate", str(out)]) == 1
    assert "not annotated" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# The worker's own code, and files at which it hangs as a decoder does, or crashes as one.
_AT_FILES = (
    "import os, signal, sys; sys.path[:] = sys.argv[1:]\n"
    "from fl.data import containers\n"
    "from {module} import main\n"
    "import fl.data.windows as windows\n"
    "def at(opened):\n"
    "    def opened_or_not(path, *args):\n"
    "        while path.name == 'hang.mp4': pass\n"
    "        if path.name == 'crash.mp4': os.kill(os.getpid(), signal.SIGSEGV)\n"
    "        return opened(path, *args)\n"
    "    return opened_or_not\n"
    "for module in {{'fl.data.windows', 'sim.report.face_track'}} & set(sys.modules):\n"
    "    sys.modules[module].opened = at(sys.modules[module].opened)\n"
    "main()\n"
)


@pytest.fixture
def bad_decoder(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with light.mp4, hang.mp4, crash.mp4 and dark.mp4, and a decoder that does so."""
    for name, source in (("light", "light"), ("hang", "light"), ("crash", "light"), ("dark", "dark")):
        (tmp_path / f"{name}.mp4").write_bytes((videos / f"{source}.mp4").read_bytes())
    monkeypatch.setattr(processes, "code_of", lambda module: _AT_FILES.format(module=module))
    return tmp_path


@pytest.mark.slow
def test_a_file_at_which_the_decoder_hangs_or_crashes_costs_itself_only(
    model: Path, bad_decoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [bad_decoder / f"{name}.mp4" for name in ("light", "hang", "crash", "dark")]
    code, told = predict(capsys, *files, "--model", model, "--timeout", "3")
    assert code == 0
    assert [entry["verdict"] for entry in told] == ["real", "undecided", "undecided", "fake"]
    reasons = [entry["reason"] for entry in told]
    assert reasons == ["", "cut off: not read within 3 s", "its reader died (SIGSEGV)", ""]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reason"), [("hang", "cut off: not read within 2 s"), ("crash", "its reader died (SIGSEGV)")]
)
def test_annotation_that_hangs_or_crashes_leaves_no_file(name: str, reason: str, bad_decoder: Path) -> None:
    verdict = Verdict("x", "real", 0.1, (Segment(0.0, 0.8, 0.1),))
    before = sorted(bad_decoder.iterdir())
    with pytest.raises(RunError, match=rf"{name}.mp4' cannot be annotated: {re.escape(reason)}"):
        annotate_video(
            bad_decoder / f"{name}.mp4", bad_decoder / "out.mp4", verdict, 0.5, Progress(), timeout_s=2.0
        )
    assert sorted(bad_decoder.iterdir()) == before


def test_a_video_that_breaks_off_is_undecided_or_judged_as_far_as_it_goes(
    model: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (videos / "partly.mp4").read_bytes()
    (tmp_path / "torn.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "noise.mp4").write_bytes(whole[:64] + np.random.default_rng(0).bytes(5000))
    code, told = predict(capsys, *sorted(tmp_path.glob("*.mp4")), "--model", model)
    assert code == 1
    assert [entry["verdict"] for entry in told] == ["undecided", "undecided"]
    assert all(entry["reason"] for entry in told)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=30), st.floats(0, 1))
def test_no_file_is_real_for_want_of_evidence(told: list[float | None], threshold: float) -> None:
    segments = [Segment(i, i + 1.0, p, "" if p is not None else "no face") for i, p in enumerate(told)]
    verdict = conclude(segments, threshold)
    known = [p for p in told if p is not None]
    if verdict.verdict == "real":
        assert len(known) >= len(told) / 2
    assert (verdict.probability is None) == (not known)
    assert (verdict.verdict == "undecided") == bool(verdict.reason)
    if known:
        assert verdict.probability is not None
        assert np.mean(known) - 1e-9 <= verdict.probability <= max(known) + 1e-9
        assert (verdict.verdict == "fake") == (verdict.probability > threshold)


def test_up_to_four_windows_the_worst_decides_beyond_the_worst_quarter() -> None:
    def probability(values: list[float]) -> float | None:
        return conclude([Segment(0, 1, value) for value in values], 0.5).probability

    assert probability([0.1, 0.9, 0.2, 0.3]) == 0.9
    assert probability([0.0] * 6 + [0.5, 1.0]) == 0.75


def test_track_goes_over_short_losses_and_stops_at_long_ones() -> None:
    boxes = np.tile(np.array([10, 20, 30, 30], np.float32), (60, 1))
    boxes[:, 0] += np.arange(60)
    boxes[10:14] = np.nan
    boxes[30:50] = np.nan
    boxes[20, 0] = 500  # a false find
    track = steady_track(boxes, max_gap=8)
    assert np.isfinite(track[:30]).all()
    assert np.isnan(track[30:50]).all()
    np.testing.assert_allclose(track[8:26, 0], 10 + np.arange(8, 26), atol=3)
    assert np.isnan(steady_track(np.full((5, 4), np.nan, np.float32), max_gap=3)).all()
