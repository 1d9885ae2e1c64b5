"""Interleaved latency: what it orders, counts and returns."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fl.metrics.latency import open_session, time_interleaved


def product_graph(size: int) -> bytes:
    """A graph of one matrix product, (1, size) by (size, size)."""
    weight = numpy_helper.from_array(np.eye(size, dtype=np.float32) * 2, "w")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, size])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, size])
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return bytes(model.SerializeToString())


class Recorder:
    """Stands for a session: notes when it is run."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def run(self, outputs: Any, feeds: Any) -> None:
        self.log.append(self.name)


def test_session_runs_from_bytes_and_from_a_file(tmp_path: Path) -> None:
    content = product_graph(4)
    path = tmp_path / "product.onnx"
    path.write_bytes(content)
    feeds = {"x": np.ones((1, 4), np.float32)}
    for source in (content, path):
        session = open_session(source)
        assert session.get_providers() == ["CPUExecutionProvider"]
        options = session.get_session_options()
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
        np.testing.assert_array_equal(session.run(None, feeds)[0], np.full((1, 4), 2, np.float32))


def test_every_pass_runs_each_network_once_in_varying_order() -> None:
    log: list[str] = []
    networks: Any = {name: (Recorder(name, log), {}) for name in "abc"}
    result = time_interleaved(networks, num_warmup=2, num_runs=10, rng=np.random.default_rng(0))
    passes = [tuple(log[i : i + 3]) for i in range(0, len(log), 3)]
    assert len(passes) == 12
    assert all(sorted(one) == ["a", "b", "c"] for one in passes)
    assert len(set(passes)) > 1
    assert list(result) == ["a", "b", "c"]


def test_larger_network_is_slower_and_p95_is_not_below_p50() -> None:
    networks = {
        str(size): (open_session(product_graph(size)), {"x": np.zeros((1, size), np.float32)})
        for size in (8, 1500)
    }
    result = time_interleaved(networks, num_warmup=2, num_runs=15, rng=np.random.default_rng(0))
    assert result["1500"].p50_ms > 2 * result["8"].p50_ms
    assert all(0 < latency.p50_ms <= latency.p95_ms for latency in result.values())


def test_broken_graph_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(product_graph(64)[:200])
    with pytest.raises(Exception, match=r"(?i)protobuf|invalid"):
        open_session(path)
    assert onnx.load_from_string(product_graph(4)).graph.name == "g"
