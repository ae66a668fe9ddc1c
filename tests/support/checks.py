"""Checks of annotations at run time, as `tests/conftest.py` puts them on the package."""

import ast
import functools
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any, get_type_hints

import jaxtyping
from beartype import BeartypeConf, beartype

CALLS_OF_A_TEST = 20
"""How many calls of one function are checked in each test: a check is dearer than most calls."""

READ_THEIR_CALLER = ("Registry.add", "_caller")
"""What would take a check for the module that calls it."""

# The numeric tower lets an int stand where a float is annotated, as for mypy.
_typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))
_checked_calls: Counter[Callable[..., Any]] = Counter()
_checks = True


def install() -> None:
    """Check functions and dataclasses of what is imported of the package from now on.

    Under jaxtyping's own hook all that the package imports is compiled anew, torch and pandas too:
    17 s a process where Python may write no bytecode.
    """
    sys.meta_path.insert(0, _Finder())


def checked(call: Callable[..., Any]) -> Callable[..., Any]:
    """Check the first calls of a function in each test; of a property's examples, the simplest."""
    if call.__qualname__ in READ_THEIR_CALLER:
        return call

    @functools.wraps(call)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if not _checks or _checked_calls[call] >= CALLS_OF_A_TEST:
            return call(*args, **kwargs)
        _checked_calls[call] += 1
        return _check_of(call)(*args, **kwargs)

    return wrapper


@functools.cache
def _check_of(call: Callable[..., Any]) -> Callable[..., Any]:
    """Check a function, sizes having their names for one call.

    jaxtyping's own decorator looks at each argument three times, so it is left to what needs it.
    """
    if inspect.isgeneratorfunction(call) or not _has_all_names(call):
        # beartype alone would check a generator's arguments in whatever call is under way as it
        # begins, and stop at a name that is imported for type checkers only.
        thrice: Callable[..., Any] = jaxtyping.jaxtyped(call, typechecker=_typechecker)
        return thrice
    check: Callable[..., Any] = _typechecker(call)

    @functools.wraps(call)
    def scoped(*args: Any, **kwargs: Any) -> Any:
        with jaxtyping.jaxtyped("context"):
            return check(*args, **kwargs)

    return scoped


def _has_all_names(call: Callable[..., Any]) -> bool:
    try:
        get_type_hints(call)
    except NameError:
        return False
    return True


def begin_test() -> None:
    """Count calls anew."""
    _checked_calls.clear()


@contextmanager
def without_checks() -> Iterator[None]:
    """Call the package as its users do, for a block."""
    global _checks
    before, _checks = _checks, False
    try:
        yield
    finally:
        _checks = before


def _of_dataclass(kind: type) -> type:
    if "__dataclass_fields__" in vars(kind):
        kind.__init__ = checked(kind.__init__)  # type: ignore[misc]
    return kind


class _Finder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] != "steer_plugin":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def get_code(self, _: str) -> CodeType:
        tree = ast.parse(self.get_data(self.path), self.path)
        return compile(ast.fix_missing_locations(_Decorator().visit(tree)), self.path, "exec")

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(__checked__=checked, __of_dataclass__=_of_dataclass)
        super().exec_module(module)


class _Decorator(ast.NodeTransformer):
    """Decorates functions and classes, but for what is made anew at each call of a function."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.decorator_list.append(_name("__checked__", node))
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list.insert(0, _name("__of_dataclass__", node))
        return self.generic_visit(node)


def _name(name: str, node: ast.stmt) -> ast.expr:
    return ast.copy_location(ast.Name(name, ast.Load()), node)
