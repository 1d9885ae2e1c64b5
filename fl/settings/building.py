"""From plain values, of JSON or YAML, to the frozen dataclasses of settings; and back, to travel."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any, TypeVar, get_type_hints

from fl.errors import RequestError
from fl.settings.experiment import Experiment
from fl.settings.training import TeacherSettings

MAX_JSON_BYTES = 65_536
"""A whole experiment is about 3 KB; what is larger is not one of ours."""

T = TypeVar("T")


class UnknownSettingError(RequestError):
    """A key that no setting has.

    Attributes:
        key: dotted path.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"there is no setting {key}")
        self.key = key


def build_section(kind: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """The dataclass ``kind`` with these values, mappings as nested sections; others keep their default.

    Args:
        kind: a dataclass of settings.
        values: their types are not checked.
        prefix: dotted path of the section, with its last dot, for errors.

    Raises:
        UnknownSettingError: a key that ``kind`` has not.
    """
    hints = get_type_hints(kind)
    made: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            raise UnknownSettingError(prefix + name)
        if is_dataclass(hints[name]):
            made[name] = build_section(hints[name], value, f"{prefix}{name}.")
        else:
            made[name] = tuple(value) if isinstance(value, list) else value
    return kind(**made)


def to_json(experiment: Experiment) -> str:
    """All settings in one line of JSON."""
    return json.dumps(asdict(experiment), separators=(",", ":"))


def from_json(text: str) -> Experiment:
    """The experiment of a JSON object; what it does not name has its default.

    Raises:
        RequestError: too long, not JSON, a key that is no setting, or a value of another type.
    """
    if len(text) > MAX_JSON_BYTES:
        raise RequestError(f"experiment must be at most {MAX_JSON_BYTES} characters, got {len(text)}")
    try:
        values = json.loads(text)
    except ValueError as error:
        raise RequestError(f"experiment must be a JSON object, got {text[:40]!r}: {error}") from error
    wrong = next(mistyped(Experiment, values, ""), None)
    if wrong:
        raise RequestError(wrong)
    return build_section(Experiment, values)


def mistyped(kind: type, values: Any, prefix: str) -> Iterator[str]:
    """What is wrong with the types of values: a sentence each."""
    if not isinstance(values, dict):
        yield f"{prefix.rstrip('.') or 'experiment'} must be a JSON object, got {type(values).__name__}"
        return
    hints, defaults = get_type_hints(kind), {entry.name: entry.default for entry in fields(kind)}
    for name, value in values.items():
        key, hint = prefix + name, hints.get(name)
        if hint is None:
            yield str(UnknownSettingError(key))
        elif is_dataclass(hint):
            yield from mistyped(hint, value, key + ".")  # type: ignore[arg-type]
        elif not _is_like(value, hint, defaults[name]):
            yield f"{key} must be like {defaults[name]!r}, got {value!r}"


def _is_like(value: Any, hint: Any, default: Any) -> bool:
    if hint is float:
        return type(value) in (int, float)
    if isinstance(default, tuple):
        item = hint.__args__[0]
        return isinstance(value, list) and all(type(entry) is item for entry in value)
    return type(value) is hint


def without_places(experiment: Experiment) -> Experiment:
    """The same experiment without what names a place on this machine or a service of its owner.

    Run folder, cache, corpus, files of weights and trackers: nobody else needs or may know them.
    """
    own, system = Experiment(), experiment.system
    return replace(
        experiment,
        name=own.name,
        runs_dir=own.runs_dir,
        cache_dir=own.cache_dir,
        data=replace(experiment.data, root=own.data.root),
        system=replace(system, teacher_backbone="", student_backbone=""),
        teacher=replace(experiment.teacher, weights=TeacherSettings().weights),
        grid=own.grid,
        tracking=own.tracking,
    )
