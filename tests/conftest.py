"""What every test shares: quiet libraries, one thread, a cache of its own, reproducible hypotheses."""

import os
import signal
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands in the fault table."""
    for item in items:
        if is_fault(item.path.name, item.name.partition("[")[0]):
            item.add_marker(pytest.mark.faults)


@pytest.fixture(autouse=True, scope="session")
def _session_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the user's cache; corpora are made once a session."""
    os.environ["FEDPIN_CACHE"] = str(tmp_path_factory.mktemp("cache"))


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
