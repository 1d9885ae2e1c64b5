"""`python -m sim run [overrides]`: a federated run, or with -m several, in Hydra's syntax.

The whole request, every job of a sweep, is composed and checked before torch is imported. Hydra
then makes the run folder, writes the configuration there, and calls back for each job.
"""

import importlib.metadata
import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from fl.errors import FedpinError, RequestError, RunError
from sim.commands.arguments import Parser
from sim.commands.resume import branch_run, resume_run, take_out
from sim.commands.run_folder import refuse_taken, shortest
from sim.config import (
    CONFIG_MODULE,
    CONFIG_NAME,
    HYDRA_VERSION_BASE,
    build,
    compose,
    expand,
    explain,
    groups,
    register,
    validate,
)
from sim.record import replace_text
from sim.resume import only_driver
from sim.schema import describe, settings

USAGE = """\
usage: python -m sim run [GROUP=OPTION ...] [SECTION.KEY=VALUE ...] [-m] [--cfg job] [--help]

  python -m sim run                                            the default experiment
  python -m sim run experiment=smoke                           every part once, within a minute
  python -m sim run data=folders data.root=FOLDER              on real videos of people talking
  python -m sim run distill.soft_weight=0.3 name=third         one setting changed, in runs/third
  python -m sim run resume=runs/third                          a run that was killed goes on, to the same bits
  python -m sim run branch=runs/third name=longer strategy.num_rounds=9   a new run from its last checkpoint
  python -m sim run -m distill=joint,off seed=1,2,3            six runs, one after the other
  python -m sim run experiment=smoke --cfg job                 print the configuration, run nothing

  -m, --multirun     run every combination of the values given with commas
  -c, --cfg WHAT     print the configuration (job, hydra or all) and stop; -p SECTION prints a part
  -cd, --config-dir  a further folder of groups, e.g. with experiment/mine.yaml
  -i, --info WHAT    print how Hydra composed it (defaults, defaults-tree, searchpath, ...)
"""


def main(argv: Sequence[str]) -> int:
    """Run what is asked for; prints the run folder last.

    Returns:
        0.

    Raises:
        RequestError: the request is wrong; nothing heavy was imported and nothing written.
        FedpinError: the run failed. In a sweep the other jobs are run first.
    """
    asked = _parser().parse_intermixed_args(list(argv))
    named, typed = take_out(asked.overrides)
    overrides = [*_search_path(asked.config_dir), *typed]
    if asked.help:
        sys.stdout.write(help_text(overrides))
        return 0
    if named:
        flags = _flags(asked)
        if flags:
            raise RequestError(f"{' and '.join(named)} goes without {flags[0]}; name one run, and no sweep")
        return (
            resume_run(named["resume"], overrides)
            if "resume" in named
            else branch_run(named["branch"], overrides)
        )
    jobs = expand(overrides) if asked.multirun else [overrides]
    for job in jobs:
        if asked.cfg or asked.info:
            build(compose(job))
        else:
            check(job, multirun=asked.multirun)
    failures = _hand_to_hydra(_flags(asked), overrides)
    if failures:
        raise _sum_up(failures, len(jobs))
    return 0


def check(overrides: Sequence[str], *, multirun: bool) -> None:
    """Compose and check one job, and that its folder holds no other run's record.

    Raises:
        RequestError: what is wrong, in one line.
    """
    cfg = compose(overrides, hydra_too=True)
    validate(build(cfg))
    folder = Path(cfg.hydra.sweep.dir if multirun else cfg.hydra.run.dir)
    for taken in folder.glob("*") if multirun else [folder]:
        refuse_taken(taken)


def help_text(overrides: Sequence[str]) -> str:
    """Usage, groups with the options chosen marked, and every setting with the value it would have."""
    cfg = compose(overrides, hydra_too=True)
    chosen = cfg.hydra.runtime.choices
    lines = [USAGE, "Groups (the option in use is marked *)"]
    for group, options in groups().items():
        marked = [f"{option}*" if option == chosen.get(group) else option for option in options]
        lines.append(f"  {group:<12}{'  '.join(marked)}")
    lines += ["", "Settings (KEY=VALUE now in use, limit, meaning)"]
    for setting in settings():
        value = OmegaConf.select(cfg, setting.key)
        written = "''" if value == "" else str(value).lower() if isinstance(value, bool) else str(value)
        limit = f"{describe(setting.limit)}: " if setting.limit else ""
        lines.append(f"  {setting.key + '=' + written:<40} {limit}{setting.doc}")
    return "\n".join(lines) + "\n"


def _parser() -> Parser:
    """Hydra's own flags, but for those that would leave `sim_configs` or load a pickle."""
    parser = Parser(
        prog="python -m sim run", add_help=False, usage="python -m sim run [overrides] [-m] [--cfg job]"
    )
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    parser.add_argument("--package", "-p")
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--info", "-i", nargs="?", const="all")
    parser.add_argument("--hydra-help", action="store_true")
    version = importlib.metadata.version("hydra-core")
    parser.add_argument("--version", action="version", version=f"Hydra {version}")
    return parser


def _search_path(config_dir: str | None) -> list[str]:
    if config_dir is None:
        return []
    folder = Path(config_dir).absolute()
    if not folder.is_dir():
        raise RequestError(f"--config-dir must be an existing folder, got {config_dir!r}")
    return [f"hydra.searchpath=['file://{folder}']"]


def _flags(asked: Namespace) -> list[str]:
    valued = [("--cfg", asked.cfg), ("--package", asked.package), ("--info", asked.info)]
    flags = [text for name, value in valued if value is not None for text in (name, str(value))]
    switches = [
        ("--multirun", asked.multirun),
        ("--resolve", asked.resolve),
        ("--hydra-help", asked.hydra_help),
    ]
    return [*flags, *(name for name, on in switches if on)]


def _hand_to_hydra(flags: Sequence[str], overrides: Sequence[str]) -> list[FedpinError]:
    """Let Hydra run the jobs; a job's failure is returned, so that a sweep goes on."""
    failures: list[FedpinError] = []
    single = "--multirun" not in flags

    def job(cfg: DictConfig) -> None:
        folder = Path(HydraConfig.get().runtime.output_dir)
        try:
            with only_driver(folder):
                _write_resolved(cfg, folder)
                experiment = build(cfg)
                validate(experiment)
                from sim.run import run_experiment  # torch, flwr, ray: only for a request that was checked

                done = run_experiment(experiment, folder, _as_typed(HydraConfig.get().overrides.task))
        except FedpinError as error:
            failures.append(error if single else RunError(f"{shortest(folder)}: {error}"))
        else:
            sys.stdout.write(f"{shortest(done)}\n")
            sys.stdout.flush()

    register()
    with _hydra_arguments([*flags, "--", *overrides]):
        try:
            hydra.main(f"pkg://{CONFIG_MODULE}", CONFIG_NAME, HYDRA_VERSION_BASE)(job)()
        except HydraException as error:
            raise explain(error, overrides) from error
    return failures


@contextmanager
def _hydra_arguments(arguments: Sequence[str]) -> Iterator[None]:
    """Hydra reads its command line from ``sys.argv``; and lets errors through only if told so."""
    before = sys.argv
    sys.argv = ["python -m sim run", *arguments]
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        yield
    finally:
        sys.argv = before


def _write_resolved(cfg: DictConfig, folder: Path) -> None:
    """Write the values, in place of the interpolations that Hydra keeps."""
    replace_text(folder / ".hydra" / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))


def _as_typed(overrides: Any) -> list[str]:
    """The job's overrides, interpolations and all."""
    typed = OmegaConf.to_container(overrides, resolve=False)
    return [str(item) for item in typed] if isinstance(typed, list) else []


def _sum_up(failures: Sequence[FedpinError], num_jobs: int) -> FedpinError:
    if num_jobs == 1:
        return failures[0]
    lines = "\n".join(f"  {error}" for error in failures)
    return RunError(f"{len(failures)} of {num_jobs} jobs failed\n{lines}")
