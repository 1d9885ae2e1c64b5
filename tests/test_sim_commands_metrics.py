import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from fl.errors import RequestError
from fl.metrics.detection import equal_error_rate
from sim.commands.metrics import main, metrics_text
from sim.prediction_file import read_table
from sim.record import Prediction, write_predictions


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "predictions.csv"
    path.write_text(text)
    return path


def test_json_has_every_metric_of_a_hand_counted_table(tmp_path: Path) -> None:
    path = table(tmp_path, "label,score\n0,0.1\n0,0.4\n1,0.35\n1,0.8\n")
    found = json.loads(metrics_text(path, as_json=True))
    assert found == {
        "num_clips": 4,
        "num_fake": 2,
        "num_real": 2,
        "threshold": 0.5,
        "accuracy": 0.75,
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "auc": 0.75,
        "eer": 0.5,
        "by_category": {},
    }
    assert json.loads(metrics_text(path, as_json=True, threshold=0.3))["recall"] == 1.0


def test_the_predictions_of_a_run_can_be_read(tmp_path: Path) -> None:
    rows = [
        Prediction("a,\nb.mp4", 1, "Dub", 0.9),
        Prediction("c.mp4", 0, "real", 0.2, 0.3, 0.1),
        Prediction("d.mp4", 1, "FaceSwap", 0.1),
    ]
    text = metrics_text(write_predictions(tmp_path, rows), as_json=False)
    lines = [line.split() for line in text.splitlines()]
    assert text.startswith("3 clips: 2 fake, 1 real; threshold 0.5\n")
    assert ["auc", "0.5000"] in lines
    assert ["Dub", "1", "1.0000", "1.0000"] in lines
    assert ["FaceSwap", "1", "0.0000", "0.0000"] in lines
    assert ["real", "1", "1.0000", "-"] in lines


def test_undefined_metrics_are_null(tmp_path: Path) -> None:
    path = table(tmp_path, "score,label\n0.5,1.0\n")
    found = json.loads(metrics_text(path, as_json=True))
    assert (found["auc"], found["precision"], found["recall"]) == (None, None, 0.0)
    assert "  auc       -" in metrics_text(path, as_json=False)


def test_a_byte_order_mark_and_empty_lines_do_no_harm(tmp_path: Path) -> None:
    path = table(tmp_path, "\ufefflabel,score\r\n1,0.5\r\n\r\n0,1e-3\r\n")
    assert read_table(path).scores == [0.5, 0.001]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no column 'label' \\(found: none\\)"),
        ("label,probability\n1,0.5\n", "no column 'score' \\(found: label, probability\\)"),
        ("label,score\n", "a header but no rows"),
        ("label,score\n1,0.5\nfake,0.5\n", "line 3: label must be a number, got 'fake'"),
        ("label,score\n1,\n", "line 2: score must be a number, got ''"),
        ("label,score\n1\n", "line 2: score must be a number, got None"),
        ("label,score\n2,0.5\n", "label must be 0 \\(real\\) or 1 \\(fake\\), got '2'"),
        ("label,score\nnan,0.5\n", "label must be 0"),
        ("label,score\n1,1.5\n", "score must be in \\[0, 1\\], got '1.5'; apply the sigmoid"),
        ("label,score\n1,nan\n", "score must be in \\[0, 1\\], got 'nan'"),
    ],
)
def test_a_wrong_table_is_a_wrong_request(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        metrics_text(table(tmp_path, text), as_json=False)


def test_what_is_no_table_is_a_wrong_request(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot be read: No such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(RequestError, match="cannot be read: Is a directory"):
        read_table(tmp_path)
    (tmp_path / "binary.csv").write_bytes(b"label,score\n\xff\xfe\n")
    with pytest.raises(RequestError, match="not a CSV file in UTF-8"):
        read_table(tmp_path / "binary.csv")
    path = table(tmp_path, "label,score\n1,0.5\n")
    with pytest.raises(RequestError, match="threshold must be in"):
        metrics_text(path, as_json=False, threshold=1.5)


def test_the_module_loads_nothing_heavy() -> None:
    heavy = "{'sklearn', 'torch', 'numpy', 'scipy'}"
    code = f"import sys, sim.commands.metrics; print(*({heavy} & set(sys.modules)))"
    root = Path(__file__).resolve().parents[1]
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == ""


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.one_of(st.sampled_from([0.1, 0.5, 0.9]), st.floats(0, 1))),
        min_size=1,
        max_size=30,
    )
)
def test_a_prediction_file_gives_what_scikit_learn_finds(rows: list[tuple[int, float]]) -> None:
    with TemporaryDirectory() as folder:
        written = [Prediction(f"{n}", label, "x", score) for n, (label, score) in enumerate(rows)]
        found = json.loads(metrics_text(write_predictions(Path(folder), written), as_json=True))
    labels, scores = [row[0] for row in rows], [row[1] for row in rows]
    verdicts = [score > 0.5 for score in scores]
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, verdicts), abs=1e-12)
    if sum(labels) in (0, len(labels)):
        assert (found["auc"], found["eer"]) == (None, None)
    else:
        assert found["auc"] == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
        assert found["f1"] == pytest.approx(metrics.f1_score(labels, verdicts), abs=1e-12)
        assert found["recall"] == pytest.approx(metrics.recall_score(labels, verdicts), abs=1e-12)
        assert found["eer"] == equal_error_rate(labels, scores)


def test_rows_of_one_video_are_averaged_first(tmp_path: Path) -> None:
    path = table(tmp_path, "label,score,video\n1,0.9,b\n0,0.4,a\n1,0.2,b\n0,0.3,a\n")
    found = json.loads(metrics_text(path, as_json=True, by="video"))
    assert (found["num_videos"], found["num_fake"], found["accuracy"], found["auc"]) == (2, 1, 1.0, 1.0)
    assert json.loads(metrics_text(path, as_json=True))["accuracy"] == 0.75
    assert metrics_text(path, as_json=False, by="video").startswith("2 videos: 1 fake, 1 real;")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("label,score\n1,0.5\n", "no column 'video'"),
        ("label,score,video\n1,0.5,a\n0,0.5,a\n", "one video must have one label, but video 'a' has 1 and 0"),
        ("label,score,video\n1,0.5,\n", "row 1 must name its video, got ''"),
        ("label,score,video\n1,nan,a\n", r"score must be in \[0, 1\], got 'nan'"),
        ("label,score,video\n1,0.5\n", "row 1 must name its video"),
    ],
)
def test_videos_that_cannot_be_averaged_are_a_wrong_request(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        metrics_text(table(tmp_path, text), as_json=False, by="video")


def test_the_command_reads_its_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path, "label,score,clip\n1,0.9,b\n1,0.2,b\n")
    assert main([str(path), "--by", "clip", "--json", "--threshold", "0.6"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["num_clips"], found["accuracy"], found["threshold"]) == (1, 0.0, 0.6)
    for wrong, says in (
        ([str(tmp_path)], "RUN must be the folder of a finished run"),
        ([str(tmp_path), "--by", "clip"], "--by is for a table"),
        ([str(path), "--cache-dir", "x"], "--cache-dir is a run's"),
        ([str(path), "--by", "frame"], "invalid choice: 'frame'"),
    ):
        with pytest.raises(RequestError, match=says):
            main(wrong)
