import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.metrics.scores import probabilities


@given(st.lists(st.floats(-700, 700, width=32), max_size=20))
def test_probabilities_are_the_logistic_function_in_double_precision(logits: list[float]) -> None:
    found = probabilities(np.array(logits, dtype=np.float32))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-np.array(logits, dtype=np.float64))), rtol=1e-12)
    np.testing.assert_allclose(found + probabilities(-np.array(logits)), 1, rtol=1e-12)


def test_large_logits_stay_apart_and_extremes_do_not_warn() -> None:
    assert probabilities([20.0, 30.0, 1000.0, -1000.0]).tolist() == pytest.approx([1, 1, 1, 0])
    assert probabilities(np.float32([20, 30]))[0] < probabilities(np.float32([20, 30]))[1] < 1
    assert np.isnan(probabilities([np.nan]))[0]


def test_neither_torch_nor_scikit_learn_is_loaded_for_it() -> None:
    code = "import sys, fl.metrics.scores; print({'torch', 'sklearn'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
