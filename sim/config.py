"""From Hydra's overrides to a frozen `Experiment`, refusing a wrong request in one line.

The defaults and types live in `fl.settings`; the YAML files of `sim_configs` hold only what differs.
Hydra composes those files over a schema made of the same dataclasses, so that an unknown key or a
wrong type is refused wherever it is written. Nothing heavy is imported here.
"""

import re
from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime
from functools import cache
from importlib import resources

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from fl.errors import RequestError
from fl.settings import Experiment
from fl.settings.building import UnknownSettingError, build_section
from sim.checks import check_consistency
from sim.schema import KIND_NAMES, check_limits, mutable, sections, settings, shown, suggest

CONFIG_MODULE = "sim_configs"
CONFIG_NAME = "config"
HYDRA_VERSION_BASE = "1.3"


@cache
def register() -> None:
    """Make the schema and the resolver of run folder names known to Hydra, once in a process."""
    ConfigStore.instance().store("schema", mutable(Experiment), provider="fl.settings")
    OmegaConf.register_new_resolver("run_folder", _run_folder, use_cache=True, replace=True)


def _run_folder(name: str) -> str:
    """``name``, or the date and time to the millisecond: two runs never meet in one folder."""
    return str(name) or f"{datetime.now():%Y-%m-%d_%H-%M-%S.%f}"[:-3]


def groups() -> dict[str, list[str]]:
    """Every group of `sim_configs` and its options, both sorted."""
    folders = [entry for entry in resources.files(CONFIG_MODULE).iterdir() if entry.is_dir()]
    options = {
        folder.name: sorted(file.name[:-5] for file in folder.iterdir() if file.name.endswith(".yaml"))
        for folder in folders
    }
    return {name: options[name] for name in sorted(options) if options[name]}


def compose(overrides: Sequence[str], *, hydra_too: bool = False) -> DictConfig:
    """Compose one job's configuration.

    Args:
        overrides: Hydra's, without sweeps.
        hydra_too: keep Hydra's own ``hydra`` section.

    Raises:
        RequestError: an unknown key, group or option, a wrong type, or a request that cannot be read.
    """
    register()
    try:
        with initialize_config_module(CONFIG_MODULE, version_base=HYDRA_VERSION_BASE):
            return hydra_compose(CONFIG_NAME, overrides=list(overrides), return_hydra_config=hydra_too)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise explain(error, overrides) from error


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """The jobs of a sweep (``-m``): every combination of the values given, in Hydra's order.

    Raises:
        RequestError: an override cannot be read, or asks for a sweep that Hydra's sweeper has not.
    """
    register()
    try:
        with initialize_config_module(CONFIG_MODULE, version_base=HYDRA_VERSION_BASE):
            parser = OverridesParser.create(GlobalHydra.instance().config_loader())
            parsed = parser.parse_overrides(list(overrides))
            base = [item.input_line or "" for item in parsed if not item.is_sweep_override()]
            params = hydra_compose(CONFIG_NAME, overrides=base, return_hydra_config=True).hydra.sweeper.params
            swept = [f"{key}={value}" for key, value in (params or {}).items()]
            return BasicSweeper.split_arguments(parser.parse_overrides([*swept, *overrides]), None)[0]
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise explain(error, overrides) from error


def build(cfg: DictConfig) -> Experiment:
    """Turn a composed configuration into frozen dataclasses, interpolations resolved.

    Raises:
        RequestError: a key that `fl.settings` has not, an interpolation that cannot be resolved.
    """
    try:
        values = OmegaConf.to_container(_without_hydra(cfg), resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise explain(error, ()) from error
    if not isinstance(values, dict):
        raise RequestError(f"the configuration must be a mapping, got {type(values).__name__}")
    try:
        return build_section(Experiment, {str(key): value for key, value in values.items()})
    except UnknownSettingError as error:
        raise _unknown(error.key, [setting.key for setting in settings()]) from error


def validate(experiment: Experiment) -> None:
    """Hold an experiment against every limit, against itself and against the disk.

    Raises:
        RequestError: the first thing wrong; key, limit, value and remedy are in the message.
    """
    check_limits(experiment)
    check_consistency(experiment)


def _without_hydra(cfg: DictConfig) -> DictConfig:
    """A copy without Hydra's own section, some of whose values are known only once a job runs."""
    ours = deepcopy(cfg)
    with read_write(ours), open_dict(ours):
        ours.pop("hydra", None)
    return ours


def explain(error: Exception, overrides: Sequence[str]) -> RequestError:
    """What went wrong in Hydra, in one line of ours."""
    if isinstance(error, MissingConfigException):
        return _missing_option(error)
    if isinstance(error, OverrideParseException):
        return RequestError(
            f"{error.override!r} cannot be read; write key=value, with quotes round spaces: 'key=\"a b\"'"
        )
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__ or error.__context__
    key = getattr(cause, "full_key", None) or ""
    if not isinstance(cause, OmegaConfBaseException) or not key:
        return _other(error, overrides)
    first = str(cause).splitlines()[0]
    if " not in '" in first or "not in struct" in first:
        return _unknown(_as_asked(key, overrides), _known_keys())
    kinds = {setting.key: setting.kind for setting in settings()}
    key = re.sub(r"\[\d+\]$", "", key)
    kind = kinds.get(key)
    if kind is not None and ("convert" in first or "valid" in first or "Optional" in first):
        value = getattr(cause, "value", None)
        return RequestError(f"{key} must be {KIND_NAMES[kind]}, got {shown(value)}")
    if key in sections():
        return RequestError(f"{key} is a section, not a setting; set one of its keys: {key}.KEY=VALUE")
    return RequestError(f"{key}: {first}")


def _missing_option(error: MissingConfigException) -> RequestError:
    group, _, option = (error.missing_cfg_file or "").rpartition("/")
    options = list(error.options or ()) or groups().get(group, [])
    if not group or not options:
        return _other(error, ())
    return RequestError(
        f"{group} must be one of {', '.join(options)}, got {option!r}{suggest(option, options)}"
    )


def _other(error: Exception, overrides: Sequence[str]) -> RequestError:
    text = str(error)
    ambiguous = re.match(r"Ambiguous value for argument '(.*)'", text)
    if ambiguous:
        key, _, values = ambiguous[1].partition("=")
        return RequestError(
            f"{key} must be one value, got {values!r}; add -m for a sweep, "
            f"or write {key}=[{values}] for a list"
        )
    if text.startswith("Config group override must be"):
        wrong = [item for item in overrides if item.partition("=")[0] in ("", *groups())]
        return RequestError(f"{' '.join(wrong)!r} cannot be read; a group takes the name of an option")
    return RequestError(" ".join(text.split("\nSee https")[0].split()))


def _unknown(key: str, known: Sequence[str]) -> RequestError:
    hint = suggest(key, known) or "; `python -m sim run --help` lists them"
    return RequestError(f"there is no setting {key}{hint}")


def _known_keys() -> list[str]:
    return [*(setting.key for setting in settings()), *sections(), *groups()]


def _as_asked(key: str, overrides: Sequence[str]) -> str:
    """The whole key of the override that failed at ``key``, which may be only its first part."""
    asked = [override.lstrip("+~").partition("=")[0] for override in overrides]
    return next((name for name in asked if name == key or name.startswith(key + ".")), key)
