"""What no file of the project may do: SECURITY.md promises it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from fl.errors import RequestError
from fl.settings.building import from_json
from sim.config import build, compose

UNPICKLERS = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
CALLS = {
    "torch.load": "unpickles",
    "torch.save": "pickles",
    "hydra.utils.instantiate": "calls what a file names",
    "hydra.utils.call": "calls what a file names",
    "yaml.load": "builds any object",
    "os.system": "starts a shell",
    "eval": "runs text",
    "exec": "runs text",
}
ARGUMENTS = {"shell": "starts a shell", "allow_pickle": "unpickles"}


def violations(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (f"imports {a.name}" for a in node.names if a.name.split(".")[0] in UNPICKLERS)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNPICKLERS:
            yield f"imports {node.module}"
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in CALLS:
                yield f"{name} {CALLS[name]}"
            for keyword in node.keywords:
                if keyword.arg in ARGUMENTS and not (
                    isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                ):
                    yield f"{keyword.arg}= {ARGUMENTS[keyword.arg]}"


def test_nothing_is_unpickled_and_no_text_is_run(project_dir: Path) -> None:
    packages = ("fl", "clients", "server", "models", "sim", "benchmarks")
    files = [path for package in packages for path in sorted((project_dir / package).rglob("*.py"))]
    assert len(files) > 200
    found = {path.name: list(violations(path.read_text(encoding="utf-8"))) for path in files}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import torch\ntorch.load('x', weights_only=True)",
        "subprocess.run(x, shell=True)",
        "np.load(x, allow_pickle=True)",
        "eval(x)",
    ],
)
def test_each_would_be_found(source: str) -> None:
    assert len(list(violations(source))) == 1


def test_a_setting_cannot_name_what_is_to_be_called() -> None:
    with pytest.raises(RequestError, match=r"no setting data\._target_"):
        build(compose(["+data._target_=os.system"]))
    with pytest.raises(RequestError, match="_target_"):
        from_json('{"data": {"_target_": "os.system"}}')
