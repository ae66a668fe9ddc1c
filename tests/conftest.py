"""What all tests share: checked annotations, no network, tiny models, groups for workers."""

import gc
import os

# Read by transformers and torch when they are imported.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before nnsight, which gives every object a method that beartype, when first imported, trips over.
import beartype  # noqa: F401
import hypothesis
import pytest

from support import checks, temporary_files

if TYPE_CHECKING:
    from support.command_line import Steer
    from support.ndif_server import NDIFServer
    from support.tiny_models import Tiny

# Shapes and types are checked at run time here and nowhere else.
checks.install()

# The same examples in every run, however long a busy machine takes over one of them. To look for
# others: `pytest --hypothesis-profile=default`.
hypothesis.settings.load_profile("ci")
# What must be started once only, by the fixture that starts it.
STARTED_ONCE = {"ndif": "ndif", "chromium": "browser"}
NDIF = pytest.StashKey[ExitStack]()
WHOLE_PROGRAMS = {"cli", "package", "report", "run"}
# Long ones first, so that no worker is left alone with one of them at the end.
FIRST = (
    # Before any test that listens to Python's audit (`support.kills`): CPython 3.11 lets no two
    # threads set a trace function while such a hook runs.
    "tests/adapters/nnsight/test_source_capture.py",
    "ndif",
    "demo",
    "tests/run/test_experiment.py",
    "browser",
)


def pytest_configure(config: pytest.Config) -> None:
    """Keep the order of the groups with pytest-xdist, and know its mark without it."""
    temporary_files.keep_in_memory()
    config.addinivalue_line("markers", "xdist_group(name): tests that one worker runs")
    config.option.loadscopereorder = False
    config.stash[NDIF] = ExitStack()


# First, since pytest-xdist reads the groups in this hook, too.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one worker run all tests of a server, a browser, or else a file: `--dist loadgroup`."""
    groups: dict[pytest.Item, str] = {}
    for item in items:
        marked = item.get_closest_marker("xdist_group")
        shared = [STARTED_ONCE[name] for name in STARTED_ONCE if name in item.fixturenames]
        groups[item] = marked.args[0] if marked else [*shared, item.nodeid.partition("::")[0]][0]
        if not marked:
            item.add_marker(pytest.mark.xdist_group(groups[item]))
    order = {group: place for place, group in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(groups[item], len(order)))


def pytest_collection_finish() -> None:
    """Spare Python to look for garbage among the modules, and to look so often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give paths of folders that are not there yet."""
    folder = tmp_path_factory.mktemp("caches")
    return (folder / str(number) for number in count())


@pytest.fixture(autouse=True)
def own_cache(caches: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what `find` keeps out of the user's cache, and apart from what other tests keep."""
    monkeypatch.setenv("STEER_PLUGIN_CACHE", str(next(caches)))


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    """See that nothing leaves torch more or fewer threads than it had."""
    import torch  # not above: it takes seconds, and pytest-xdist's main process runs no test

    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Run one test without checks of annotations."""
    with checks.without_checks():
        yield


@pytest.fixture(scope="module", autouse=True)
def checked_in_its_own_room(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave annotations unchecked where whole programs run, which takes them twice the time.

    What they call is checked in the tests of its room, and one whole run is, too (`support.runs`).
    """
    room = request.path.relative_to(Path(__file__).parent).parts[0]
    with checks.without_checks() if room in WHOLE_PROGRAMS else nullcontext():
        yield


@pytest.fixture
def steer(capsys: pytest.CaptureFixture[str]) -> "Steer":
    """Carry out a command in this process: its exit code, stdout and stderr."""
    from steer_plugin.cli.main import run_command

    def run(*arguments: Any) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run_command([str(argument) for argument in arguments])
        return (code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Give the tokenizer that an architecture's models would ship, loaded from a folder."""
    from support import tiny_models

    with_bos = tiny_models.tokenizer(tmp_path_factory.mktemp("with_bos"), adds_bos=True)
    without_bos = tiny_models.tokenizer(tmp_path_factory.mktemp("without_bos"), adds_bos=False)
    return lambda name: without_bos if name in tiny_models.WITHOUT_OWN_BOS else with_bos


@pytest.fixture(scope="session")
def tiny_model(shipped: Callable[[str], Any]) -> Callable[[str], "Tiny"]:
    """Give the tiny model of an architecture, made once; whoever changes it boots their own."""
    from support import tiny_models

    return cache(lambda name: tiny_models.boot(name, shipped(name)))


@pytest.fixture(scope="session")
def ndif(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> "NDIFServer":
    """Run a real NDIF server, with tiny models, until no test is left that wants it."""
    from support import ndif_fixture

    running = request.config.stash[NDIF]
    return running.enter_context(ndif_fixture.ndif_server(tmp_path_factory.mktemp("ndif")))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Check the first calls of every function in each test, and in the fixtures made for it."""
    checks.begin_test()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop the NDIF server after its group: it takes an eighth of a core to do nothing."""
    # Some ask for the server only as they run, so the group tells, and not the fixtures.
    if group_of(item) == "ndif" and (nextitem is None or group_of(nextitem) != "ndif"):
        item.config.stash[NDIF].close()


def group_of(item: pytest.Item) -> str:
    """Name the group that `pytest_collection_modifyitems` put a test into."""
    mark = item.get_closest_marker("xdist_group")
    assert mark is not None
    return str(mark.args[0])
