"""`run resume=RUN` and `run branch=RUN`: a run that was killed goes on, or a new one from its checkpoint.

Hydra's own start is passed by: it would write the settings of a resumed run anew, and a branch's folder
must hold its checkpoint before it looks like a run.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from fl.errors import RequestError
from sim.branch import FIXED, make_branch
from sim.commands.run_folder import shortest
from sim.config import build, compose, validate
from sim.resume import (
    changes,
    is_finished,
    kept_overrides,
    kept_settings,
    only_driver,
    refuse_changes,
)

KEYS = ("resume", "branch")


def take_out(overrides: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """Part ``resume=RUN`` or ``branch=RUN``, by name, from the overrides.

    Raises:
        RequestError: both, one twice, or without a folder.
    """
    named: dict[str, Path] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if key in KEYS:
            if named or not equals or not value:
                raise RequestError(
                    f"a request takes one of resume=RUN and branch=RUN, once, got {override!r}; name a folder"
                )
            named[key] = Path(value).expanduser()
    return named, [override for override in overrides if override.partition("=")[0] not in KEYS]


def resume_run(run_dir: Path, overrides: Sequence[str]) -> int:
    """Let a run go on from its newest checkpoint; a finished one is left as it is.

    Args:
        run_dir: the run's folder.
        overrides: typed beside; they may repeat the run's settings, not change them.

    Returns:
        0.

    Raises:
        RequestError: no run, other settings, or another process drives it.
        FedpinError: the run failed.
    """
    experiment = kept_settings(run_dir)
    refuse_changes(run_dir, changes(run_dir, overrides), overrides)
    with only_driver(run_dir):
        if is_finished(run_dir, experiment):
            rounds = experiment.strategy.num_rounds
            sys.stderr.write(f"{run_dir} is finished, all {rounds} rounds: nothing to do\n")
        else:
            validate(experiment)
            from sim.run import run_experiment  # torch, flwr, ray: only for a request that was checked

            run_experiment(experiment, run_dir.absolute(), kept_overrides(run_dir))
    _say(run_dir)
    return 0


def branch_run(source: Path, overrides: Sequence[str]) -> int:
    """Start a new run from another's newest checkpoint.

    Args:
        source: the other run's folder.
        overrides: typed beside: what the new run does otherwise, and its name.

    Returns:
        0.

    Raises:
        RequestError: no run, a wrong setting, or one that the checkpoint's student fixes.
        FedpinError: the run failed.
    """
    kept_settings(source)
    own = [item for item in kept_overrides(source) if not item.startswith("name=")]
    asked = [*own, *overrides]
    fixed = [key for key in changes(source, overrides) if key.startswith(FIXED)]
    if fixed:
        raise RequestError(
            f"a branch must keep {', '.join(fixed)} of {source}: its checkpoint holds a student made so; "
            "leave it out, or start a run anew"
        )
    cfg = compose(asked)
    experiment = build(cfg)
    validate(experiment)
    folder = Path(compose(asked, hydra_too=True).hydra.run.dir)
    if folder.exists():
        raise RequestError(f"name must be new, but {str(folder)!r} is there already; choose another name")
    with only_driver(source):
        make_branch(source, folder, cfg, asked, lambda text: sys.stderr.write(f"{text}\n"))
    with only_driver(folder):
        from sim.run import run_experiment

        run_experiment(experiment, folder.absolute(), asked)
    _say(folder)
    return 0


def _say(folder: Path) -> None:
    sys.stdout.write(f"{shortest(folder)}\n")
    sys.stdout.flush()
