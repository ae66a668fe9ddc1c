"""What each part may know of the others, read from the source."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import steer_plugin

ROOT = Path(__file__).parents[2]
PARTS = {
    "steer_plugin": ROOT / "steer_plugin",
    "steer_plugin.adapters": ROOT / "adapters",
    "steer_plugin.analyses": ROOT / "analyses",
    "steer_plugin.data": ROOT / "steer_plugin" / "data",
}
FILES = sorted(path for folder in PARTS.values() for path in folder.glob("*.py"))
# The public facade and the command line put the parts together.
FACADE = {
    "__init__",
    "__main__",
    "cli",
    "cli_cache",
    "cli_choices",
    "cli_finding",
    "cli_measuring",
    "cli_output",
    "cli_running",
    "cli_storing",
}
CORE = [path for path in FILES if path.parent == ROOT / "steer_plugin" and path.stem not in FACADE]
HOSTS = {"transformer_lens", "nnsight"}
OF_A_HOST = {
    "transformer_lens": {"bridge.py", "bridge_hooks.py", "loading.py"},
    "nnsight": {"in_trace.py", "loading.py", "ndif.py", "portable.py", "sessions.py", "trace.py"},
}
MAX_LINES = 400

PUBLIC = [
    "SITES",
    "Adapter",
    "Choice",
    "ExpertTable",
    "Intervention",
    "ParallelCorpus",
    "Reading",
    "SteerError",
    "adapt",
    "apply_in_trace",
    "embed",
    "embed_layers",
    "find_experts",
    "find_vectors",
    "probe_units",
    "score_units",
    "steered",
]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.AST) -> set[str]:
    """List what is imported anywhere in the code: modules, and names in modules."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def within(names: set[str], packages: set[str]) -> set[str]:
    return {
        name
        for name in names
        if any(name == package or name.startswith(f"{package}.") for package in packages)
    }


def in_folder(part: str) -> list[Path]:
    return sorted(PARTS[part].glob("*.py"))


def test_there_is_code_in_every_part() -> None:
    assert all(in_folder(part) for part in PARTS)
    assert {"scores.py", "experts.py", "interventions.py"} <= {path.name for path in CORE}


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_the_core_knows_no_host_no_adapter_and_no_analysis(path: Path) -> None:
    names = imported(tree_of(path))
    forbidden = within(names, {*HOSTS, "steer_plugin.adapters", "steer_plugin.analyses"})
    lazily = {
        "steer_plugin.adapters.transformer_lens.hooks",
        "steer_plugin.adapters.transformer_lens.hooks.fwd_hooks",
    }
    assert forbidden == (lazily if path.name == "interventions.py" else set())


def test_the_one_import_of_an_adapter_in_the_core_waits_for_fwd_hooks() -> None:
    tree = tree_of(ROOT / "steer_plugin" / "interventions.py")
    methods = {
        node.name: within(imported(node), {"steer_plugin.adapters"})
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }
    assert [name for name, names in methods.items() if names] == ["fwd_hooks"]


@pytest.mark.parametrize("path", in_folder("steer_plugin.analyses"), ids=name_of)
def test_an_analysis_knows_no_host_and_no_adapter(path: Path) -> None:
    assert within(imported(tree_of(path)), {*HOSTS, "steer_plugin.adapters"}) == set()


@pytest.mark.parametrize("path", in_folder("steer_plugin.adapters"), ids=name_of)
def test_an_adapter_knows_no_analysis(path: Path) -> None:
    assert within(imported(tree_of(path)), {"steer_plugin.analyses"}) == set()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_its_own_adapter_imports_a_host(path: Path) -> None:
    for host, its_own in OF_A_HOST.items():
        if path.parent.name != "adapters" or path.name not in its_own:
            assert within(imported(tree_of(path)), {host}) == set()


def test_a_model_is_loaded_without_importing_the_other_host() -> None:
    code = (
        "import sys; from steer_plugin.adapters.loader import load_adapter; "
        f"print([name for name in {sorted(HOSTS)} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_are_absolute(path: Path) -> None:
    assert {name for name in imported(tree_of(path)) if name.startswith(".")} == set()


def test_the_public_names_are_these_and_each_is_there() -> None:
    assert steer_plugin.__all__ == PUBLIC
    assert dir(steer_plugin) == sorted(PUBLIC)
    for name in PUBLIC:
        assert getattr(steer_plugin, name) is not None
    with pytest.raises(AttributeError, match="module 'steer_plugin' has no attribute 'experts_of'"):
        steer_plugin.experts_of  # noqa: B018


def test_type_checkers_see_the_same_public_names() -> None:
    tree = tree_of(ROOT / "steer_plugin" / "__init__.py")
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    homes = {
        alias.name: node.module
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(homes) == sorted(PUBLIC)
    for name, home in homes.items():
        assert getattr(steer_plugin, name) is getattr(sys.modules[str(home)], name)


@pytest.mark.parametrize("module", ["steer_plugin", "steer_plugin.cli.main"])
def test_importing_the_package_imports_nothing_slow(module: str) -> None:
    slow = ["torch", "pandas", "altair", "transformers", *sorted(HOSTS)]
    code = f"import sys, {module}; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public(node: ast.Module | ast.ClassDef, where: str) -> Iterator[tuple[str, Definition]]:
    for child in node.body:
        if isinstance(child, Definition):
            if any(ast.unparse(one) == "overload" for one in child.decorator_list):
                continue
            special = child.name.startswith("__") and child.name.endswith("__")
            if child.name.startswith("_") and not special:
                continue
            yield f"{where}.{child.name}", child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{where}.{child.name}")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_everything_public_says_what_it_does(path: Path) -> None:
    tree = tree_of(path)
    assert ast.get_docstring(tree)
    silent = [name for name, node in public(tree, path.stem) if not ast.get_docstring(node)]
    assert silent == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_file_is_longer_than_a_sitting(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= MAX_LINES


def test_every_folder_of_code_is_built_into_the_wheel() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    build = settings["tool"]["setuptools"]
    folders = {
        "steer_plugin" if folder == ROOT / "steer_plugin" else f"steer_plugin.{folder.name}"
        for folder in (ROOT / "steer_plugin", *(ROOT / "steer_plugin").iterdir())
        if (folder / "__init__.py").is_file()
    }
    assert folders == set(build["packages"]) == set(PARTS)
    assert {name: ROOT / folder for name, folder in build["package-dir"].items()} == PARTS


@pytest.mark.parametrize("name", ["adapters", "analyses"])
def test_the_folders_at_the_root_are_linked_into_the_package(name: str) -> None:
    link = ROOT / "steer_plugin" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name
