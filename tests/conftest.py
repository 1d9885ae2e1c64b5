"""What every test shares: quiet libraries, one thread, a cache of its own, reproducible hypotheses.

With several workers (`make test`) a file of tests is done by one of them, from first to last: what a file
prepares is prepared once. Files that take long come first, so that none is left over in the end.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_table import is_fault
from hypothesis import settings

from sim.__main__ import set_quiet

os.environ.setdefault("OMP_NUM_THREADS", "1")
set_quiet()

settings.register_profile("fedpin", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("fedpin")


IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
MARK_WEIGHTS = {"slow": 1, "ray": 1}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands in the fault table; where workers share the tests, put files that take long first."""
    for item in items:
        if is_fault(item.path.name, item.name.partition("[")[0]):
            item.add_marker(pytest.mark.faults)
    if IS_WORKER:
        weights: Counter[Path] = Counter()
        for item in items:
            marks = {mark.name for mark in item.iter_markers()}
            weights[item.path] += sum(weight for name, weight in MARK_WEIGHTS.items() if name in marks)
        items.sort(key=lambda item: -weights[item.path])


@pytest.fixture(autouse=True, scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No test reads or writes the user's cache; corpora are made once a session, by whichever worker."""
    folder = tmp_path_factory.getbasetemp()
    cache = (folder.parent if IS_WORKER else folder) / "cache"
    cache.mkdir(exist_ok=True)
    os.environ["FEDPIN_CACHE"] = str(cache)
    return cache


@pytest.fixture
def project_dir() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture
def hear_interrupts() -> Callable[[], None]:
    """For a child before it starts: a background job of a shell ignores SIGINT, and so would its children."""

    def hear() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return hear
