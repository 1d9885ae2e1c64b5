"""The report: one page from records that a run writes."""

import csv
import json
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from recorded_runs import NUM_CLIPS, a_round, predictions, write_run
from sklearn.metrics import precision_recall_curve, roc_curve

from fl.errors import RequestError, RunError
from fl.metrics.comparison import resamples
from fl.metrics.detection import detection_metrics
from sim.commands.report import main, write_whole
from sim.record import Prediction, append_round, summarise, write_summary
from sim.report.comparison import check_clips, compared
from sim.report.curves import GRID, confusion, precision_recall_band, roc_band
from sim.report.fronts import draw_front
from sim.report.ledger import failures_table, ledger_table, simulated_table, state_of
from sim.report.page import Note, PageFigure, PageTable, Section, page
from sim.report.recorded_run import Scores, read_run
from sim.report.run_rows import model_rows
from sim.report.run_sections import caveats_of
from sim.report.table import ModelRow
from sim.round_record import complete_round


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    return lambda name, *args, **kwargs: write_run(tmp_path / name, *args, **kwargs)


class Reader(HTMLParser):
    """Tags, ids and links of a page; complains about what is not closed."""

    VOID = ("meta", "img", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read_page(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


def test_one_page_holds_everything_and_needs_nothing(
    make_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run("a <run>")
    before = sorted(folder.rglob("*"))
    assert main([str(folder)]) == 0
    out = folder / "report.html"
    assert capsys.readouterr().out == f"{out}\n"
    assert sorted(set(folder.rglob("*")) - set(before)) == [out]
    text, found = out.read_text(encoding="utf-8"), read_page(out)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in found.attributes}
    sources = [values["src"] or "" for tag, values in found.attributes if tag == "img"]
    assert len(sources) == 15
    for source in sources:
        assert source.startswith("data:image/svg+xml;charset=utf-8,")
        assert ElementTree.fromstring(unquote(source.partition(",")[2])).tag.endswith("svg")
    assert all(values.get("alt") for tag, values in found.attributes if tag == "img")
    ids = [values["id"] for _, values in found.attributes if "id" in values]
    links = [values["href"] for tag, values in found.attributes if tag == "a"]
    assert links == [f"#{name}" for name in ids]
    assert "LEAK: &lt;1&gt; clip" in text
    assert "loss is &lt;nan&gt;" in text
    assert "FaceSwap &lt;b&gt;" in text
    assert "<b>" not in text
    assert "prefers-color-scheme: dark" in text
    assert "Simulated, not measured" in text


@pytest.mark.slow
def test_the_page_is_the_same_each_time(make_run: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_run("run")
    pages = [tmp_path / "a.html", tmp_path / "new" / "b.html"]
    for path in pages:
        main([str(folder), "--out", str(path)])
    assert pages[0].read_bytes() == pages[1].read_bytes()
    assert not (folder / "report.html").exists()


def test_every_number_of_a_network_comes_from_its_predictions(make_run: Callable[..., Path]) -> None:
    folder = make_run("run")
    main([str(folder), "--tables"])
    rows = {row.name: row for row in model_rows(read_run(folder))}
    table = predictions(0)
    labels = [row.label for row in table]
    for name, column in (
        ("dense student", "score"),
        ("dense INT8", "score_int8"),
        ("teacher", "score_teacher"),
    ):
        metrics = detection_metrics(labels, [getattr(row, column) for row in table])
        assert (rows[name].accuracy, rows[name].f1, rows[name].auc) == (
            metrics.accuracy,
            metrics.f1,
            metrics.auc,
        )
    with (folder / "report" / "detection.csv").open() as file:
        written = {row["network"]: row for row in csv.DictReader(file)}
    student = rows["dense student"]
    assert written["student"]["accuracy, %"].startswith(f"{100 * (student.accuracy or 0):.1f} [")
    assert written["student"]["AUC"].startswith(f"{student.auc:.3f} [")
    low, high = (float(end) for end in re.findall(r"[\d.]+", written["student"]["AUC"])[1:])
    assert low < (student.auc or 0) < high
    notes = [note.text for note in caveats_of(read_run(folder))]
    assert notes[0] == "LEAK: <1> clip"
    assert any("by predictions.csv, shown here, but 0.5000 in the rounds" in text for text in notes)
    assert (folder / "report" / "closing.md").read_text().startswith("| network | size MB |")


def test_records_that_agree_need_no_warning(make_run: Callable[..., Path]) -> None:
    folder = make_run("run")
    rows = predictions(0)
    labels = [row.label for row in rows]
    student, int8, teacher = (
        detection_metrics(labels, [getattr(row, column) for row in rows]).as_record()
        for column in ("score", "score_int8", "score_teacher")
    )
    record = a_round(3, **{"global": student})
    record["onnx"]["int8"] |= {key: int8[key] for key in ("accuracy", "auc")}
    append_round(folder, record)
    write_summary(folder, summarise(folder, teacher, {}, uncommitted_changes=False))
    assert list(caveats_of(read_run(folder))) == []


def test_only_settings_that_differ_are_shown(make_run: Callable[..., Path]) -> None:
    settings = "seed: 7\nstrategy: {num_rounds: 5}\ncompress: {prune_rounds: [1, 2]}\n"
    settings += "old: {key: 3}\nhydra: {a: 1}\n"
    run = read_run(make_run("run", settings=settings))
    changed = run.changed_settings()
    assert changed["seed"] == (7, 0)
    assert changed["old.key"] == (3, None)
    assert changed["compress.prune_rounds"][0] == [1, 2]
    assert set(changed) <= {"seed", "old.key", "compress.prune_rounds", "strategy.num_rounds"}


def test_two_runs_are_compared_on_the_clips_of_both(make_run: Callable[..., Path]) -> None:
    runs = [read_run(make_run("first")), read_run(make_run("second", rows=predictions(1, NUM_CLIPS - 6)))]
    section = compared(runs)
    assert section.title == "2 runs compared"
    table = section.blocks[0]
    assert isinstance(table, PageTable)
    rows = [dict(zip(table.headings, row, strict=True)) for row in table.rows]
    names = [row["against the first run"] for row in rows]
    assert names == ["student, second", "INT8 student, second", "teacher, second"]
    assert {row["clips of both"] for row in rows} == {str(NUM_CLIPS - 6)}
    old, new = predictions(0)[: NUM_CLIPS - 6], predictions(1, NUM_CLIPS - 6)
    right = [[(row.score > 0.5) == row.label for row in table] for table in (old, new)]
    only_first = sum(a and not b for a, b in zip(*right, strict=True))
    only_second = sum(b and not a for a, b in zip(*right, strict=True))
    assert (rows[0]["only first right"], rows[0]["only this right"]) == (str(only_first), str(only_second))
    accuracies = [f"{100 * np.mean(one):.1f}" for one in right]
    assert rows[0]["accuracy, %"] == " → ".join(accuracies)
    captions = [block.caption for block in section.blocks if isinstance(block, PageFigure)]
    assert len(captions) == 7  # five quantities by round, two fronts
    assert all(caption.endswith("1 = first, 2 = second.") for caption in captions)


@pytest.mark.slow
def test_two_runs_stand_on_one_page(make_run: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "both.html"
    folders = [str(make_run("first")), str(make_run("second", seed=1))]
    assert main([*folders, "--out", str(out), "--tables"]) == 0
    assert (tmp_path / "both" / "comparison.csv").is_file()
    assert (tmp_path / "both" / "run2_detection.md").is_file()
    read_page(out)
    text = out.read_text()
    titles = [text.index(f">{title}</h2>") for title in ("2 runs compared", "Run first", "Run second")]
    assert titles == sorted(titles)


def test_one_class_and_missing_networks_are_reported_too(make_run: Callable[..., Path]) -> None:
    rows = [Prediction(f"{index}.mp4", 1, "FaceSwap", 0.9) for index in range(3)]
    folder = make_run("run", rows=rows)
    main([str(folder)])
    text = (folder / "report.html").read_text()
    assert "Without both classes in the test split there are no curves" in text
    assert '<th scope="row">INT8 student' not in text  # the rounds know it, the predictions do not


def test_a_round_that_measured_nothing_does_no_harm(make_run: Callable[..., Path]) -> None:
    folder = make_run("run")
    append_round(folder, {"round_index": 3})
    write_summary(folder, {"name": "run"})  # of another program
    main([str(folder)])
    assert "commit</th><td>unknown" in (folder / "report.html").read_text()


def test_the_ledger_says_what_became_of_each_client() -> None:
    record = complete_round(a_round(1))
    assert [state_of(client, record["clients"]) for client in range(4)] == [
        "replied",
        "straggled",
        "failed",
        "",
    ]
    absent = {"sampled": [0, 1], "replied": [], "failed": [], "missing": [0]}
    later = complete_round({"round_index": 2, "clients": absent})
    assert [state_of(client, later["clients"]) for client in (0, 1)] == ["missing", "sampled"]
    rows = {row[0]: row for row in ledger_table([record, later], 4).rows}
    assert rows["client 0"][1:] == [("replied", "good"), ("missing", "bad"), "1 of 2"]
    assert rows["client 3"][1:] == [("-", "dim"), ("-", "dim"), "0 of 0"]
    failures = failures_table([record, later])
    assert failures is not None
    assert failures.rows == [["round 1", "2", "gate", "loss is <nan>"]]
    simulated = simulated_table([record, later])
    assert simulated is not None
    assert simulated.rows == [["1", "30.25", "3.00", "30.25"], ["2", "-", "-", "-"]]
    assert failures_table([later]) is None
    assert simulated_table([later]) is None


def test_of_many_clients_the_ledger_shows_those_who_were_asked_in_vain() -> None:
    everybody = list(range(100))
    silent = {"sampled": everybody, "replied": everybody[:-3], "failed": [], "missing": everybody[-3:]}
    table = ledger_table([complete_round({"round_index": 1, "clients": silent})], 100)
    assert [row[0] for row in table.rows] == [f"client {c}" for c in (*range(37), 97, 98, 99)]
    assert "40 of 100 clients" in table.caption


def scored(labels: Sequence[int], scores: Sequence[float]) -> Scores:
    return Scores("student", np.array(labels), np.array(scores), ("real",) * len(labels))


def test_a_perfect_detector_has_no_band_and_a_poor_one_a_wide_one() -> None:
    perfect = scored([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    for make in (roc_band, precision_recall_band):
        band = make(perfect, np.random.default_rng(0))
        np.testing.assert_allclose(band.low, 1)
        np.testing.assert_allclose(band.high, 1)
    rng = np.random.default_rng(1)
    chance = scored([0, 1] * 100, rng.random(200).tolist())
    band = roc_band(chance, rng)
    assert (band.low <= band.high).all()
    assert band.low[50] < 0.5 < band.high[50]
    precision = precision_recall_band(chance, rng)
    assert precision.low[80] < 0.5 < precision.high[80]


def test_bands_are_those_of_scikit_learns_curves_on_the_same_resamples() -> None:
    rng = np.random.default_rng(2)
    table = scored([0, 1] * 15, rng.random(30).round(1).tolist())  # ties
    rocs, recalls = [], []
    for weights in resamples(table.labels, np.random.default_rng(3), 40):
        x, y, _ = roc_curve(table.labels, table.scores, sample_weight=weights)
        rocs.append(np.interp(GRID, x, y))
        precision, recall, _ = precision_recall_curve(table.labels, table.scores, sample_weight=weights)
        points = [(r, p) for r, p in zip(recall[::-1], precision[::-1], strict=True)][1:]
        recalls.append([next(p for r, p in points if r >= at - 1e-9) for at in GRID[1:]])
    for make, first, curves in ((roc_band, 0, rocs), (precision_recall_band, 1, recalls)):
        band = make(table, np.random.default_rng(3), 40)
        low, high = np.quantile(np.array(curves), [0.025, 0.975], axis=0)
        np.testing.assert_allclose(band.low[first:], low)
        np.testing.assert_allclose(band.high[first:], high)


def test_counts_of_confusion_are_right_by_hand() -> None:
    table = scored([0, 0, 1, 1, 1], [0.02, 0.93, 0.04, 0.97, 1.0])
    assert confusion(table).tolist() == [[1, 1], [1, 2]]


def test_dominated_networks_are_grey() -> None:
    rows = [
        ModelRow("fast", latency_ms_p50=1.0, accuracy=0.8),
        ModelRow("bad", latency_ms_p50=2.0, accuracy=0.7),
        ModelRow("slow", latency_ms_p50=3.0, accuracy=0.9),
    ]
    figure = draw_front(rows, "accuracy")
    assert figure is not None
    points = {
        float(one.get_offsets()[0][0]): tuple(one.get_facecolor()[0][:3])
        for one in figure.axes[0].collections
        if one.get_gid() is None and len(one.get_offsets()) == 1 and type(one).__name__ == "PathCollection"
    }
    assert len(set(points[2.0])) == 1  # red = green = blue
    assert len(set(points[1.0])) == len(set(points[3.0])) == 3
    assert draw_front(rows, "eps") is None


def test_tables_escape_what_their_format_reserves() -> None:
    table = PageTable("t", "a < b", ["name", "n"], [["x|y, <i>", ("1", "good")]])
    assert table.csv() == 'name,n\n"x|y, <i>",1\n'
    assert table.markdown() == "| name | n |\n| --- | ---: |\n| x\\|y, <i> | 1 |\n"
    assert 'x|y, &lt;i&gt;</th><td class="good">1</td>' in table.html()
    assert "<title>&lt;t&gt;</title>" in page("<t>", [Section("s", [Note("n")])])


def change(folder: Path, name: str, text: str | None) -> None:
    (folder / name).unlink() if text is None else (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("summary.json", None, "RUN must be finished, but .* it has no summary.json; let the run end"),
        ("predictions.csv", None, "it has no predictions.csv"),
        ("rounds.jsonl", None, "without .hydra/config.yaml or rounds.jsonl"),
        ("rounds.jsonl", "", "no round is recorded"),
        ("rounds.jsonl", "{\n", "line 1 is not JSON"),
        (".hydra/config.yaml", None, "without .hydra/config.yaml"),
        (".hydra/config.yaml", "a: [", "cannot be read"),
        ("summary.json", "{", "cannot be read"),
        ("summary.json", "[]", "must be mappings"),
        ("predictions.csv", "clip,label\na,1\n", "row 1 must have clip"),
        ("predictions.csv", "clip,label,category,score\na,1,x,0.5\nb,1,x,7\n", "row 2 must have"),
        ("predictions.csv", "clip,label,category,score\na,2,x,0.5\n", "label 2"),
        ("predictions.csv", "clip,label,category,score\na,1,x,nan\n", "row 1 must have"),
        (
            "predictions.csv",
            "clip,label,category,score\na,1,x,0.5\na,1,x,0.5\n",
            "each test clip once, got 2 rows",
        ),
        ("predictions.csv", "clip,label,category,score\n", "got 0 rows"),
    ],
)
def test_what_is_no_finished_run_is_refused(
    make_run: Callable[..., Path], name: str, text: str | None, says: str
) -> None:
    folder = make_run("run")
    change(folder, name, text)
    with pytest.raises(RequestError, match=says):
        main([str(folder)])
    assert not (folder / "report.html").exists()


def test_wrong_requests_are_refused(make_run: Callable[..., Path], tmp_path: Path) -> None:
    folder = str(make_run("run"))
    with pytest.raises(RequestError, match="no folder"):
        main([str(tmp_path / "nothing")])
    with pytest.raises(RequestError, match="named once"):
        main([folder, f"{folder}/../run"])
    with pytest.raises(RequestError, match="--out must be a file"):
        main([folder, "--out", str(tmp_path)])
    with pytest.raises(RequestError, match="usage"):
        main([])
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written"):
        write_whole(tmp_path / "file" / "page.html", "text")
    (tmp_path / "page.html").mkdir()
    with pytest.raises(RunError, match="cannot be written"):
        write_whole(tmp_path / "page.html", "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "page.html", "run"]


def test_runs_of_other_clips_are_not_compared(make_run: Callable[..., Path]) -> None:
    first = read_run(make_run("first"))
    other = make_run("other corpus", settings=json.dumps({"data": {"corpus": "folders", "root": "/x"}}))
    with pytest.raises(RequestError, match=r"must have the same clips: data.corpus is 'synthetic' in"):
        check_clips(first, read_run(other))
    seeded = make_run("other seed", settings=json.dumps({"data": {"synthetic": {"seed": 5}}}))
    with pytest.raises(RequestError, match=r"data.synthetic.seed is 0 in .* 5 in"):
        check_clips(first, read_run(seeded))
    apart = make_run("apart", rows=[Prediction("x.mp4", 0, "real", 0.1), Prediction("y.mp4", 1, "F", 0.1)])
    with pytest.raises(RequestError, match="no clip in common"):
        check_clips(first, read_run(apart))
    changed = make_run("changed", rows=[Prediction("000.mp4", 1, "Dub", 0.1)])
    with pytest.raises(RequestError, match=r"clip '000.mp4' is 'real' in .* 'Dub' in"):
        check_clips(first, read_run(changed))
