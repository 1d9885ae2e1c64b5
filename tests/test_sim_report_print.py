"""Figures for print: one column wide, readable, whole, and the same bytes each time."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text
from recorded_runs import write_run

from fl.errors import RequestError, RunError
from sim.commands.report import main
from sim.report.column import PRINT_DPI, SMALL, WIDTH, column_axes
from sim.report.page import PageFigure
from sim.report.recorded_run import read_run
from sim.report.run_sections import sections_of
from sim.report.saving import picture_bytes, save_picture

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Figure]:
    run = read_run(write_run(tmp_path_factory.mktemp("runs") / "run"))
    blocks = [block for section in sections_of(run) for block in section.blocks]
    return {block.name: block.figure for block in blocks if isinstance(block, PageFigure)}


def test_every_figure_is_one_column_wide_and_readable_and_whole(drawn: dict[str, Figure]) -> None:
    assert {"roc", "calibration", "accuracy_latency", "rounds_eps", "clients", "simulated_time"} <= set(drawn)
    for name, figure in drawn.items():
        assert figure.get_figwidth() == WIDTH
        texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        assert min(text.get_fontsize() for text in texts) >= SMALL, name
        figure.draw_without_rendering()
        box = figure.get_tightbbox()  # inches, of what is drawn
        assert min(box.x0, box.y0) > -0.01, name
        assert box.x1 < WIDTH + 0.01, name
        assert box.y1 < figure.get_figheight() + 0.01, name


def test_bytes_are_the_same_each_time_and_bear_no_date(drawn: dict[str, Figure]) -> None:
    for ending in ("svg", "png"):
        once = picture_bytes(drawn["roc"], ending, PRINT_DPI)
        assert once == picture_bytes(drawn["roc"], ending, PRINT_DPI)
        assert b"dc:date" not in once


@pytest.mark.slow
def test_every_figure_is_written_beside_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_run(tmp_path / "run")
    assert main([str(folder), "--figures", "--tables", "--out", str(tmp_path / "new" / "page.html")]) == 0
    places = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert all(path.is_file() for path in places)
    pngs = sorted((tmp_path / "new" / "figures" / "print").glob("*.png"))
    assert len(pngs) == 15
    for png in pngs:
        assert imread(png).shape[1] == WIDTH * PRINT_DPI
        root = ElementTree.fromstring(png.with_suffix(".svg").read_text())
        assert root.get("width") == f"{72 * WIDTH:g}pt"
    tables = {path.suffix for path in (tmp_path / "new" / "page").iterdir()}
    assert tables == {".csv", ".md", ".tex"}
    assert not (folder / "report.html").exists()


def test_what_cannot_be_written_or_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written"):
        save_picture(column_axes(1.0)[0], tmp_path / "file", "a", ("svg",))
    with pytest.raises(RequestError, match="--cache-dir must be a folder"):
        main([str(write_run(tmp_path / "run")), "--cache-dir", str(tmp_path / "nowhere")])
