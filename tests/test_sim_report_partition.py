import json
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clip_tables import corpus
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from fl.data.partition import partition_clips, partition_skew
from fl.settings import PartitionSettings
from sim.prepare import describe_partition
from sim.report.partition import draw_partition, partition_figure


def record(scheme: str, num_clients: int, missing: str = "none", qualities: int = 1) -> dict[str, Any]:
    """As in ``summary.json``."""
    clips = [replace(c, quality=f"c{i % qualities}") for i, c in enumerate(corpus(450, 2))]
    settings = PartitionSettings(scheme, num_clients, alpha=0.3, missing_modality=missing)
    return {**asdict(settings), **partition_skew(clips, partition_clips(clips, settings, 0))}


def heat_maps(figure: Figure) -> list[Any]:
    return [axes for axes in figure.axes if axes.yaxis_inverted()]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize(("num_clients", "num_bands"), [(1, 1), (8, 1), (25, 1), (26, 2), (100, 4)])
def test_every_count_is_written_in_its_cell(num_clients: int, num_bands: int) -> None:
    partition = record("dirichlet", num_clients)
    bands = heat_maps(partition_figure(partition, "footer"))
    assert len(bands) == num_bands
    drawn = np.zeros((num_clients, len(partition["categories"])), dtype=int)
    first = 0
    for axes in bands:
        assert [label.get_text() for label in axes.get_yticklabels()] == partition["categories"]
        for text in axes.texts:
            client, category = text.get_position()
            drawn[first + int(client), int(category)] = int(text.get_text())
        first += len(axes.get_xticks())
    assert first == num_clients
    assert drawn.tolist() == partition["counts"]


def test_shades_are_the_shares_of_each_client() -> None:
    partition = record("zipf", 8)
    shades = heat_maps(partition_figure(partition, ""))[0].collections[0].get_array()
    counts = np.array(partition["counts"])
    np.testing.assert_allclose(shades.T, counts / counts.sum(axis=1, keepdims=True))


def test_several_qualities_are_rows_of_their_own() -> None:
    partition = record("quality", 6, qualities=3)
    figure = partition_figure(partition, "")
    names = [label.get_text() for label in heat_maps(figure)[0].get_yticklabels()]
    assert names == [*partition["categories"], "c0", "c1", "c2"]
    assert any("0.67 in qualities" in text for text in texts(figure))


def test_the_title_names_scheme_parameter_and_divergence() -> None:
    partition = record("dirichlet", 8)
    title = next(text for text in texts(partition_figure(partition, "")) if text.startswith("Partition"))
    assert title.startswith("Partition dirichlet, alpha 0.3: 8 clients, divergence")
    assert f"{partition['category_divergence']:.2f} in categories" in title


@pytest.mark.parametrize("num_clients", [8, 100])
def test_texts_below_the_clients_stay_apart_and_inside(num_clients: int) -> None:
    partition = record("iid", num_clients, missing="audio")
    figure = partition_figure(partition, "footer")
    figure.draw_without_rendering()
    labels = [axes.get_xticklabels() for axes in heat_maps(figure)]
    noted = [label.get_text().endswith("no audio") for band in labels for label in band]
    assert noted == [lacks == "audio" for lacks in partition["lacks"]]
    for band in labels:
        boxes = [label.get_window_extent() for label in band]
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    width, height = figure.bbox.size
    for text in figure.findobj(Text):
        box = text.get_window_extent()
        if text.get_text() and text.get_visible():
            assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0, text


def test_a_crowd_is_drawn_without_counts() -> None:
    bands = heat_maps(partition_figure(record("lognormal", 400, missing="video"), ""))
    assert len(bands) == 8
    assert not any(axes.texts for axes in bands)
    assert sum(axes.collections[0].get_array().shape[1] for axes in bands) == 400


def test_the_picture_is_among_the_figures_of_a_run(tmp_path: Path) -> None:
    assert draw_partition(tmp_path) == []
    summary = {"partition": record("manipulation", 8), "commit": "0123456789abcdef"}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert draw_partition(tmp_path) == [tmp_path / "figures" / "partition.png"]
    picture = imread(tmp_path / "figures" / "partition.png")
    assert picture.shape[1] > 1000
    assert picture[..., :3].std() > 0.05


def test_the_console_says_sizes_divergence_and_what_is_missing() -> None:
    partition = record("manipulation", 8, missing="audio")
    sizes, apart = describe_partition("manipulation", partition)  # type: ignore[arg-type]
    counts = partition["sizes"]
    assert sizes.startswith("Partition manipulation: 8 clients, effectively ")
    assert f"{min(counts)} to {max(counts)} clips each" in sizes
    assert f"{partition['category_divergence']:.2f} in categories" in apart
    assert apart.endswith("(0 = IID); 4 lack audio")
    assert max(len(sizes), len(apart)) <= 100  # longer lines are cut
