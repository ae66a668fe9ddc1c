"""From a TOML file, one of its variants and the command line's words to the settings of a run."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib.resources import as_file, files
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import ValidationError

from steer_plugin.analyses.run.settings import (
    GenerationSettings,
    PlanSettings,
    RunSettings,
    StepSettings,
)
from steer_plugin.errors import SettingsError
from steer_plugin.storage.artifacts import one_line

VARIANTS = "variants"
_SECTIONS: dict[type[Any], dict[str, type[Any]]] = {
    RunSettings: {"generation": GenerationSettings, "plans": PlanSettings},
    PlanSettings: {"steps": StepSettings},
}
"""The tables, and lists of tables, that each kind of settings holds."""

Checked = TypeVar("Checked")


def read_settings(
    path: str | Path, *, variant: str | None = None, changes: Sequence[str] = ()
) -> RunSettings:
    """Read a run file.

    What a variant says goes before what the file says for all, and a change before both.

    Args:
        path: a TOML file; the name of one that ships with the package stands for it where no such
            file is there.
        variant: one of the file's tables `[variants.NAME]`.
        changes: settings as `key=value`, the value in TOML, or as bare text; `section.key=value`
            for one in a section. A single number stands for a list of one, and nothing at all for a
            setting that is not given.

    Raises:
        SettingsError: it is not there, is not TOML, or says something that is not understood.
    """
    raw = _read(Path(path))
    variants = raw.pop(VARIANTS, {})
    if not isinstance(variants, dict) or not all(isinstance(v, dict) for v in variants.values()):
        raise SettingsError(f"{path}: {VARIANTS!r} must hold tables, such as [variants.small]")
    if variant is not None:
        if variant not in variants:
            known = ", ".join(variants) or "none"
            raise SettingsError(f"{path} has no variant {variant!r}; it has: {known}")
        raw = _over(raw, variants[variant])
    for change in changes:
        raw = _over(raw, _meant(_change(change), RunSettings))
    faults: list[str] = []
    settings = _checked(RunSettings, _tuples(raw), "", faults)
    if settings is None or faults:
        choose = f"; or choose a variant: {', '.join(variants)}" if variants and not variant else ""
        raise SettingsError(f"{path} cannot be run: {'; '.join(faults)}{choose}")
    return settings


def _checked(
    kind: type[Checked], given: dict[str, Any], section: str, faults: list[str]
) -> Checked | None:
    """Make settings of what is given and of the tables in it, or tell the faults of all."""
    whole, faulty = dict(given), set()
    for key in _SECTIONS.get(kind, {}).keys() & given.keys():
        before = len(faults)
        whole[key] = _section(
            _SECTIONS[kind][key], given[key], f"{section}.{key}".lstrip("."), faults
        )
        if len(faults) > before:
            faulty.add(key)
            del whole[key]
    try:
        return kind(**whole)
    except ValidationError as error:
        untold = [fault for fault in error.errors() if fault["loc"][0] not in faulty]
        faults += [_fault(fault, kind, section) for fault in untold]
        return None


def _section(kind: type[Any], given: Any, section: str, faults: list[str]) -> Any:
    """Make settings of a table, and of each table in a list."""
    if isinstance(given, tuple):
        return tuple(
            _section(kind, table, f"{section}.{number}", faults)
            for number, table in enumerate(given)
        )
    return _checked(kind, given, section, faults) if isinstance(given, dict) else given


def _read(path: Path) -> dict[str, Any]:
    shipped = files("steer_plugin.data") / path.name
    try:
        if not path.exists() and path.name == str(path) and shipped.is_file():
            with as_file(shipped) as file:
                return tomllib.loads(file.read_text(encoding="utf-8"))
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {one_line(error)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {one_line(error)}") from error


def _change(change: str) -> dict[str, Any]:
    key, equals, value = change.partition("=")
    if not equals or not key.strip():
        raise SettingsError(f"{change!r} changes no setting; give key=value, such as top_k=[100]")
    try:
        return tomllib.loads(f"{key} = {value}")
    except tomllib.TOMLDecodeError:
        section, dot, name = key.strip().rpartition(".")
        return {section: {name: value}} if dot else {name: value}


def _meant(change: Mapping[str, Any], kind: type[Any]) -> dict[str, Any]:
    """Make lists of single numbers, and None of empty text, where the setting takes these."""
    hints = get_type_hints(kind)
    made: dict[str, Any] = {}
    for name, value in change.items():
        kinds = _kinds(hints.get(name))
        if name in _SECTIONS.get(kind, {}) and isinstance(value, dict):
            made[name] = _meant(value, _SECTIONS[kind][name])
        elif value == "" and NoneType in kinds:
            made[name] = None
        elif isinstance(value, int | float) and _lists_alone(kinds):
            made[name] = [value]
        else:
            made[name] = value
    return made


def _kinds(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _lists_alone(kinds: tuple[Any, ...]) -> bool:
    return all(get_origin(kind) is tuple for kind in kinds if kind is not NoneType)


def _over(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay changes over settings, section by section."""
    merged = dict(base)
    for key, value in changes.items():
        below = merged.get(key, {}) if isinstance(value, dict) else None
        merged[key] = _over(below, value) if isinstance(below, dict) else value
    return merged


def _tuples(value: Any) -> Any:
    """Turn TOML's lists into tuples, as frozen settings hold them."""
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _fault(error: Any, kind: type[Any], section: str) -> str:
    setting, *_ = error["loc"]
    where = f" of [{section}]" if section else ""
    if error["type"] == "unexpected_keyword_argument":
        names = ", ".join(field.name for field in fields(kind))
        return f"{setting!r} is no setting{where}; the settings are {names}"
    if error["loc"] == (setting,) and error["type"] == "missing":
        return f"{setting!r}{where} is missing; it has no default"
    message = error["msg"].removeprefix("Value error, ")
    message = message.replace("Tuple", "List").replace("tuple", "list")  # as TOML calls them
    given = error["input"]
    if isinstance(given, tuple):
        given = [getattr(item, "name", item) for item in given]
    # Of several kinds that a setting may be, pydantic names the one it tried.
    path = [str(part) for part in error["loc"] if "[" not in str(part)]
    place = ".".join([section, *path] if section else path)
    return f"{place}: {message}, not {given!r}"
