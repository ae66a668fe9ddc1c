"""Parts that are chosen by name, ours and anybody's: names at once, parts as they are used.

A part of somebody else's is registered in a line of Python, or by an entry point of their package
in the group `steer_plugin.` and the axis's name, such as `steer_plugin.scores`. Ours are registered
alike. Names of entry points are read without importing what they name.
"""

import functools
import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import (
    EntryPoint,
    PackageNotFoundError,
    entry_points,
    packages_distributions,
    version,
)
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from steer_plugin.errors import SteerError

Properties = ParamSpec("Properties")
Part = TypeVar("Part")
Function = TypeVar("Function", bound=Callable[..., Any])

OURS = __name__.partition(".")[0]
# Names become folders, keys of run files and words of a command line.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def unknown(name: object, choices: Iterable[str], article_and_noun: str) -> str:
    """Say that a name is not among the choices, what these are, and which is nearest.

    Args:
        name: what was given.
        choices: what there is.
        article_and_noun: what it is no name of, such as "a score".
    """
    names = list(choices)
    near = get_close_matches(str(name), names, 1)
    closest = f"; did you mean {near[0]!r}?" if near else ""
    return f"{name!r} is not {article_and_noun}; choose one of: {', '.join(names)}{closest}"


class Registry(Mapping[str, Part], Generic[Properties, Part]):
    """The parts of one axis by name, ours first. A part is loaded when it is first asked for.

    Attributes:
        noun: what a part is called, such as "score".
        group: of the entry points that name parts.
        kind: makes a part of a function and its properties.
        error: what is raised for a name that there is not.
    """

    def __init__(
        self,
        noun: str,
        kind: "Callable[Concatenate[Any, Properties], Part]",
        error: type[SteerError],
    ) -> None:
        """Start without parts, but for those of installed packages."""
        self.noun, self.kind, self.error = noun, kind, error
        self.group = f"{OURS}.{noun.replace(' ', '_')}s"
        # Of each its module, and the part or where in the module it is.
        self._parts: dict[str, tuple[str, Part | str]] = {}

    def register(
        self, name: str, *args: Properties.args, **kwargs: Properties.kwargs
    ) -> Callable[[Function], Function]:
        """Make a decorator that gives a function a name.

        Args:
            name: letters, digits, `.`, `_` and `-`.
            args: properties of the part; see `kind`.
            kwargs: the same.

        Raises:
            SteerError: of the axis: the name is taken, or is no name.
        """

        def named(function: Function) -> Function:
            self.add(name, self.kind(function, *args, **kwargs))
            return function

        return named

    def add(self, name: str, part: Part | str) -> None:
        """Give a part a name; the same module may do so again, as a cell of a notebook does.

        Args:
            name: letters, digits, `.`, `_` and `-`.
            part: one, or where it is: "module:attribute".

        Raises:
            SteerError: of the axis: the name is taken, or is no name.
        """
        if not _NAME.fullmatch(name):
            raise self.error(
                f"{name!r} is no name for a {self.noun}; take letters, digits, '.', '_' and '-'"
            )
        module = _module(part) or _caller()
        before, _ = self._parts.get(name, (module, None))
        if before != module:
            raise self.error(
                f"{name!r} is already the {self.noun} of {before}; choose another name"
            )
        self._parts[name] = module, part

    def check(self, name: object, origin: Mapping[str, str] | None = None) -> str:
        """Give a name back that there is.

        Args:
            name: what was given.
            origin: what a saved result recorded of the part; see `origin`.

        Raises:
            SteerError: of the axis: there is no such name; where it is known whose part it was,
                what to install or import.
        """
        if name in self:
            return str(name)
        if origin is None:
            raise self.error(unknown(name, self, f"{_article(self.noun)} {self.noun}"))
        package, module = origin.get("package"), origin["module"]
        whose = module if package is None else f"{package} {origin['version']}"
        remedy = f"import {module}" if package is None else f"install {package} or import {module}"
        raise self.error(
            f"this was made with the {self.noun} {name!r} of {whose}, which is not registered "
            f"here; {remedy}"
        )

    def __getitem__(self, name: str) -> Part:
        """Load a part.

        Raises:
            SteerError: of the axis: there is no such part, two packages have one of that name, we
                among them, or it cannot be imported.
        """
        self.check(name)
        if name in self._parts:
            self._refuse_another(name)
        else:
            self._load(name, _entry_points(self.group)[name])
        module, part = self._parts[name]
        if isinstance(part, str):
            part = self._part(name, getattr(import_module(module), part.partition(":")[2]))
            self._parts[name] = module, part
        return part

    def get(self, name: str, default: Any = None) -> Any:
        """Load a part; give `default` where there is no such name."""
        return self[name] if name in self else default  # noqa: SIM401 (it is this)

    def __contains__(self, name: object) -> bool:
        """Tell whether there is such a name, without loading its part."""
        return name in self._parts or name in _entry_points(self.group)

    def __iter__(self) -> Iterator[str]:
        """List the names: ours, those that were registered, those of installed packages."""
        return iter(dict.fromkeys([*self._parts, *_entry_points(self.group)]))

    def __len__(self) -> int:
        """Count the names."""
        return len(list(iter(self)))

    def origin(self, name: str) -> dict[str, str] | None:
        """Say where a part is from, for what is made with it to record; None for ours.

        Returns:
            `module` and `source`, a hash of its text, so that what an edited part gives is told
            from what it gave before; where an installed package holds it, `package` and `version`.
        """
        part = self[name]
        module, _ = self._parts[name]
        if _package(module) == OURS:
            return None
        record = {"module": module, "source": _source_hash(module, part)}
        for package in _distributions().get(_package(module), ())[:1]:
            try:
                record |= {"package": package, "version": version(package)}
            except PackageNotFoundError:
                continue
        return record

    @contextmanager
    def calling(self, name: str) -> Iterator[None]:
        """Say whose part it was that failed inside the block.

        Raises:
            SteerError: of the axis, where a part that is not ours raised something else.
        """
        try:
            yield
        except SteerError:
            raise
        except Exception as error:
            module, _ = self._parts[name]
            if _package(module) == OURS:
                raise
            raise self.error(
                f"the {self.noun} {name!r} of {module} failed: {_one_line(error)}"
            ) from error

    def _refuse_another(self, name: str) -> None:
        """Refuse a name that an installed package has for another part."""
        module, _ = self._parts[name]
        for entry in _entry_points(self.group).get(name, ()):
            if _package(entry.module) != _package(module):
                other = entry.dist.name if entry.dist else entry.value
                raise self.error(
                    f"{other} has a {self.noun} {name!r}, which is already the {self.noun} of "
                    f"{module}; uninstall {other}, or rename its own"
                )

    def _load(self, name: str, named: list[EntryPoint]) -> None:
        """Import the entry point of a name, whose module may register the part itself."""
        whose = [entry.dist.name if entry.dist else entry.value for entry in named]
        if len(named) > 1:
            raise self.error(
                f"{' and '.join(whose)} each have a {self.noun} {name!r}; uninstall one of them"
            )
        try:
            loaded = named[0].load()
        except Exception as error:
            raise self.error(
                f"the {self.noun} {name!r} of {whose[0]} cannot be loaded from {named[0].value}: "
                f"{_one_line(error)}; mend or uninstall {whose[0]}"
            ) from error
        self._parts.setdefault(name, (named[0].module, self._part(name, loaded)))

    def _part(self, name: str, loaded: Any) -> Part:
        """Make a part of a bare function."""
        kind: Any = self.kind
        if isinstance(loaded, kind):
            return cast("Part", loaded)
        if callable(loaded) and "function" in kind.__dataclass_fields__:
            return cast("Part", kind(loaded))
        raise self.error(
            f"the {self.noun} {name!r} is of type {type(loaded).__name__}; give a "
            f"{kind.__module__}.{kind.__name__}, or a function where it is made of one"
        )


def with_origins(
    provenance: Mapping[str, Any], **names: tuple[Registry[Any, Any], str]
) -> dict[str, Any]:
    """Put into a provenance where its parts are from, if any is not ours.

    Args:
        provenance: of a result.
        names: by axis, its registry and the name of the part.

    Returns:
        The provenance with `parts`, the `Registry.origin` of each by axis; as it is where all are
        ours.
    """
    known = {axis: registry.origin(name) for axis, (registry, name) in names.items()}
    theirs = {axis: origin for axis, origin in known.items() if origin is not None}
    parts = {**provenance.get("parts", {}), **theirs}
    return {**provenance, **({"parts": parts} if parts else {})}


def whose(origin: Mapping[str, str]) -> str:
    """Print where a part is from: its package and version, module, and the hash of its source."""
    package = f"{origin['package']} {origin['version']}" if "package" in origin else ""
    about = f"{origin['module']}, source {origin['source']}"
    return f"{package} ({about})" if package else about


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def _package(module: str) -> str:
    return module.partition(".")[0]


def _module(part: object) -> str | None:
    """Name the module of a part's function, or of the reference to one."""
    if isinstance(part, str):
        return part.partition(":")[0]
    return getattr(getattr(part, "function", None), "__module__", None)


def _caller() -> str:
    """Name the module that calls `Registry.add`."""
    frame = sys._getframe(2)
    # Checks of annotations stand between.
    while _package(frame.f_globals["__name__"]) in ("beartype", "jaxtyping") and frame.f_back:
        frame = frame.f_back
    return str(frame.f_globals["__name__"])


def _source_hash(module: str, part: object) -> str:
    """Hash the text of a part's module, in which what it calls lies too; else its own code."""
    text = source_text(sys.modules.get(module))
    if text is None:
        code = getattr(getattr(part, "function", None), "__code__", None)
        text = repr(part) if code is None else f"{code.co_code!r} {code.co_consts!r}"
    return text_hash(text)[:16]


def source_text(part: Any) -> str | None:
    """Give the source of a module or function; None where it is not to be had."""
    try:
        return inspect.getsource(part)
    except (OSError, TypeError):
        return None


def text_hash(text: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


@functools.cache
def _all_entry_points() -> tuple[EntryPoint, ...]:
    every = entry_points()
    return tuple(
        entry
        for group in sorted(every.groups)
        if group.startswith(f"{OURS}.")
        for entry in every.select(group=group)
    )


@functools.cache
def _entry_points(group: str) -> dict[str, list[EntryPoint]]:
    """List what installed packages name in a group; the same line twice is one."""
    named: dict[str, list[EntryPoint]] = {}
    for entry in _all_entry_points():
        if entry.group == group and entry not in named.setdefault(entry.name, []):
            named[entry.name].append(entry)
    return named
