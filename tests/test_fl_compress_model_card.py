"""What an exported graph says of itself, and files that must not be believed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fl.compress.export import load_template, save_model
from fl.compress.model_card import CLASSES, ModelCard, load_model, read_card, write_card
from fl.compress.quantize import quantize_int8
from fl.errors import RequestError
from fl.metrics.cost import example_inputs
from fl.metrics.latency import open_session
from fl.settings import ClipSettings, FaceSettings
from models.architecture import Architecture

LITE = Architecture("pin_lite", {"num_frames": 2, "num_mfcc": 13})
CLIP = ClipSettings(num_frames=2, image_size=64, window_s=0.8, face=FaceSettings(margin=0.25))
CARD = ModelCard(CLIP, "first", "0.1.0", LITE.sha256, threshold=0.4)


def small_graph() -> onnx.ModelProto:
    """Logits that are the sum of the frames: quick to make, with our inputs' names."""
    frames = helper.make_tensor_value_info("frames", TensorProto.FLOAT, ["batch", 2, 3, 64, 64])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch"])
    axes = numpy_helper.from_array(np.array([1, 2, 3, 4]), "axes")
    node = helper.make_node("ReduceSum", ["frames", "axes"], ["logits"], keepdims=0)
    graph = helper.make_graph([node], "small", [frames], [logits], [axes])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def test_card_of_both_exported_files_is_what_was_written(tmp_path: Path) -> None:
    network = LITE.build()
    inputs = example_inputs(LITE.settings, image_size=64, audio_steps=40)
    graph = load_template(LITE, network, inputs, tmp_path).with_weights(network.state_dict())
    before = open_session(graph.SerializeToString()).run(
        None, {name: np.asarray(x) for name, x in zip(("frames", "mfcc", "modalities"), inputs, strict=True)}
    )
    float_onnx = save_model(write_card(graph, CARD), tmp_path / "student.onnx")
    int8_onnx = quantize_int8(float_onnx, tmp_path / "student.int8.onnx", "dynamic")
    assert not onnx.load(int8_onnx).metadata_props
    save_model(write_card(onnx.load(int8_onnx), CARD), int8_onnx)
    for path in (float_onnx, int8_onnx):
        model, card = load_model(path)
        assert card == CARD
        onnx.checker.check_model(model)
        told = {entry.key: entry.value for entry in model.metadata_props}
        assert json.loads(told["classes"]) == ["real", "fake"]
        assert json.loads(told["clip"])["face"]["margin"] == 0.25
        assert "see the data's terms" in told["licence"]
        assert (model.producer_name, model.producer_version) == ("fedpin", "0.1.0")
    after = open_session(float_onnx).run(
        None, {name: np.asarray(x) for name, x in zip(("frames", "mfcc", "modalities"), inputs, strict=True)}
    )
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_writing_twice_keeps_one_card() -> None:
    model = write_card(write_card(small_graph(), CARD), replace(CARD, threshold=0.7))
    assert read_card(model, "it").threshold == 0.7
    assert len({entry.key for entry in model.metadata_props}) == len(model.metadata_props)
    assert read_card(model, "it").classes == CLASSES


def test_graph_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = save_model(small_graph(), tmp_path / "foreign.onnx")
    with pytest.raises(RequestError, match=r"must be a model that `sim run` exported.*lacks.*clip"):
        load_model(path)


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("clip", "{", "cannot be read"),
        ("clip", '{"face": {}, "num_frames": "2"}', "num_frames must be of type int"),
        ("clip", '{"face": {"eyes": 2}}', "cannot be read"),
        ("clip", '{"face": {}, "num_frames": 3, "image_size": 64}', "its metadata contradict"),
        ("threshold", "1.5", r"threshold 1\.5, which is not in \[0, 1\]"),
        ("threshold", "NaN", "which is not in"),
        ("reader_version", "0", "version 0 of the reader"),
    ],
)
def test_metadata_that_were_tampered_with_are_refused(key: str, value: str, complaint: str) -> None:
    model = write_card(small_graph(), CARD)
    for entry in model.metadata_props:
        if entry.key == key:
            entry.value = value
    with pytest.raises(RequestError, match=complaint):
        read_card(model, "it")


def test_a_missing_file_a_folder_and_other_content_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a graph")
    (tmp_path / "empty.onnx").touch()
    for name, complaint in (
        ("none.onnx", "does not exist"),
        (".", "is a folder"),
        ("text.onnx", "is not an ONNX file"),
        ("empty.onnx", "must be a model that"),
    ):
        with pytest.raises(RequestError, match=complaint):
            load_model(tmp_path / name)


@pytest.mark.parametrize("where", ["initializer", "attribute", "subgraph"])
def test_weights_in_other_files_are_never_opened(where: str, tmp_path: Path) -> None:
    model = write_card(small_graph(), CARD)
    tensor = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    if where == "initializer":
        model.graph.initializer.append(tensor)
    elif where == "attribute":
        model.graph.node.append(helper.make_node("Constant", [], ["outside"], value=tensor))
    else:
        inner = helper.make_graph([], "inner", [], [], [tensor])
        model.graph.node.append(helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner))
    path = save_model(model, tmp_path / "a.onnx")
    with pytest.raises(RequestError, match="weights in other files"):
        load_model(path)
