import os
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


def notebook(project_dir: Path) -> nbformat.NotebookNode:
    """The tour as it is committed."""
    return nbformat.read(project_dir / "docs/tour.ipynb", as_version=4)


def execute(tour: nbformat.NotebookNode, folder: Path) -> None:
    """Run every cell in ``folder``, with this Python as kernel, whatever kernels the user has."""
    specs = KernelSpecManager(kernel_dirs=[], ensure_native_kernel=True)
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    client = NotebookClient(tour, timeout=300, resources={"metadata": {"path": str(folder)}})
    client.create_kernel_manager().kernel_spec_manager = specs
    client.execute()


def test_the_tour_is_committed_without_outputs(project_dir: Path) -> None:
    cells = [cell for cell in notebook(project_dir).cells if cell.cell_type == "code"]
    assert len(cells) >= 5
    assert not any(cell.outputs or cell.execution_count for cell in cells)


@pytest.mark.slow
def test_every_cell_of_the_tour_runs(project_dir: Path, tmp_path: Path) -> None:
    tour = notebook(project_dir)
    execute(tour, tmp_path)
    said = "".join(output.get("text", "") for cell in tour.cells for output in cell.get("outputs", ()))
    assert "labels only" in said
    assert "Round 2/2  clients" in said
    assert "\x1b" not in said  # no moving bars
    assert len(list((tmp_path / "runs").glob("*/summary.json"))) == 2
    pictures = [
        out for cell in tour.cells for out in cell.get("outputs", ()) if "image/png" in out.get("data", {})
    ]
    assert len(pictures) == 2


@pytest.mark.slow
def test_a_cell_that_fails_is_seen(tmp_path: Path) -> None:
    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("assert 1 == 2")])
    with pytest.raises(CellExecutionError, match="1 == 2"):
        execute(broken, tmp_path)
