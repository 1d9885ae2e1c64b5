import json

import pytest

from models.zoo import BUILDERS, IMAGE_NETWORKS
from sim.__main__ import main
from sim.commands.models import ModelRow, model_rows


@pytest.fixture(scope="module")
def rows() -> dict[str, ModelRow]:
    return {row.name: row for row in model_rows()}


def test_every_network_of_the_zoo_has_a_row(rows: dict[str, ModelRow]):
    assert list(rows) == [*BUILDERS, *IMAGE_NETWORKS]
    assert (rows["pinpoint"].system, rows["pinpoint"].role) == ("pin", "teacher")
    assert (rows["pin_lite"].system, rows["pin_lite"].role) == ("pin", "student")


def test_parameters_are_the_published_numbers(rows: dict[str, ModelRow]):
    assert rows["pinpoint"].num_parameters == 14_998_732
    assert rows["pin_lite"].num_parameters == 1_694_508


def test_macs_without_attention_are_within_one_percent_of_the_published(rows: dict[str, ModelRow]):
    assert rows["pinpoint"].macs_without_attention == pytest.approx(18.71e9, rel=0.01)
    assert rows["pin_lite"].macs_without_attention == pytest.approx(0.778e9, rel=0.01)


def test_bytes_are_four_per_parameter_and_the_buffers(rows: dict[str, ModelRow]):
    tiny = rows["tiny_ladeda"]
    assert tiny.size_bytes == 4 * (tiny.num_parameters + 3 * 9 + 3 * 2 * 8) + 3 * 8
    for row in rows.values():
        assert 4 * row.num_parameters < row.size_bytes < 4.1 * row.num_parameters or row is tiny


def test_each_network_of_pictures_is_counted_at_its_own_size(rows: dict[str, ModelRow]):
    assert rows["efficientnet_b3"].inputs == {"frames": (1, 1, 3, 300, 300)}
    assert rows["mobilenetv3_small_100"].inputs == {"frames": (1, 1, 3, 160, 160)}
    assert rows["efficientnet_b0"].macs == pytest.approx(384.5e6, rel=0.001)
    assert (rows["resnet18"].system, rows["resnet18"].role) == (None, None)


def test_json_is_the_rows(
    rows: dict[str, ModelRow], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sim.commands.models.model_rows", lambda: iter(rows.values()))
    assert main(["models", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in printed] == list(rows)
    assert printed[0]["inputs"] == {
        "frames": [1, 30, 3, 128, 128],
        "mfcc": [1, 400, 13],
        "modalities": [1, 2],
    }


def test_the_table_fits_100_columns_and_counts_in_millions_of_bytes(
    rows: dict[str, ModelRow], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sim.commands.models.model_rows", lambda: iter(rows.values()))
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    assert max(len(line) for line in printed.splitlines()) <= 100
    assert f"{rows['pinpoint'].size_bytes / 1e6:.2f}" in printed
    assert "14,998,732" in printed
    assert "frames: 1 x 30 x 3 x 128 x 128" in printed
