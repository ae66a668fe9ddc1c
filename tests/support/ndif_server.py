"""A real NDIF server on loopback, without a GPU: Redis, PostgreSQL, Ray, controller and API."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from support import ndif_patches

_HERE = Path(__file__).parent
_HOST = "127.0.0.1"
_SECONDS_TO_START = 300.0  # where nothing is compiled yet
_SECONDS_TO_STOP = 60.0
_LOG_TAIL = 3000
# What Ray is told the machine has for models; nothing is set aside.
_MODEL_BYTES = 8 << 30
# No files; and results above 8 MB, for which NDIF has an object store, go by Redis like the others.
_REDIS = "--save '' --appendonly no --client-output-buffer-limit pubsub 256mb 128mb 60"
_INSTALL = "apt-get install redis-server postgresql && make .venv-ndif/installed"
# What NDIF's API looks a key up in.
_TABLES = """
CREATE TABLE users (user_id UUID PRIMARY KEY, email TEXT);
CREATE TABLE keys (key_id UUID PRIMARY KEY, user_id UUID);
CREATE TABLE user_tags (user_tag_id INT PRIMARY KEY, name TEXT);
CREATE TABLE key_user_tag_assignments (key_id UUID, user_tag_id INT);
INSERT INTO users VALUES ('{key}', 'tests@localhost');
INSERT INTO keys VALUES ('{key}', '{key}'), ('{stranger}', '{key}');
INSERT INTO user_tags VALUES (1, 'trusted');
INSERT INTO key_user_tag_assignments VALUES ('{key}', 1);
"""


class NDIFServer:
    """A server that runs inside a `with` block, and of which nothing is left after it.

    Attributes:
        url: what `nnsight.CONFIG.API.HOST` is to be.
        models: the folders that are deployed at the start.
        execution_timeouts_s: how long a request to a model may take, where that is limited.
        key: an API key with NDIF's tag `trusted`.
        strangers_key: one without; its requests run in a sandbox, as on the public server.
        folder: logs and data, while the server runs.
    """

    def __init__(
        self,
        python: Path,
        models: Sequence[Path],
        *,
        execution_timeouts_s: Mapping[Path, float] | None = None,
    ) -> None:
        """Choose ports and a key; nothing is started.

        Args:
            python: the interpreter of an environment with NDIF installed.
            models: folders as `save_pretrained` makes them, deployed at the start. Any other folder
                is deployed by the first request to it.
            execution_timeouts_s: how many seconds a request to a model may take; no limit where a
                model is not named.
        """
        self.key, self.strangers_key = str(uuid.uuid4()), str(uuid.uuid4())
        self._python = python
        self.models = tuple(models)
        self.execution_timeouts_s = dict(execution_timeouts_s or {})
        self._api_port, self._redis, self._postgres, self._gcs, self._ray, *self._rest = _ports(10)
        self.url = f"http://{_HOST}:{self._api_port}"

    def __enter__(self) -> Self:
        """Start everything and wait until every model is ready."""
        programs = _programs(self._python)
        self.folder = Path(tempfile.mkdtemp(prefix="ndif"))
        # PostgreSQL runs as another user when this one is root.
        self.folder.chmod(0o711)
        self._actors = self.folder / "actors"
        self._actors.mkdir()
        self._processes: dict[str, int] = {}
        self._guard = subprocess.Popen(
            [sys.executable, str(_HERE / "ndif_guard.py"), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            self._start_all(programs)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything and remove the folder."""
        self._stop()

    def ready(self, model: Path) -> None:
        """Wait until a model is deployed and the API takes requests for it."""
        self._wait("the API has no connection to Ray", self._connected)
        self._wait(f"no actor holds {model}", lambda: bool(self.actors_of(model)))

    def actors_of(self, model: Path) -> list[int]:
        """Give the processes that hold a model."""
        key = model_key(model)
        return [
            int(actor.name)
            for actor in self._actors.iterdir()
            if actor.read_text(encoding="utf-8") == key and _runs(int(actor.name))
        ]

    def kill_actor(self, model: Path) -> None:
        """Kill the process that holds a model, as the kernel does when memory runs out."""
        actors = self.actors_of(model)
        if not actors:
            raise ValueError(f"no actor holds {model}; call ready() first")
        for actor in actors:
            os.kill(actor, signal.SIGKILL)
            self._wait("a killed actor runs on", lambda actor=actor: not _runs(actor))
            (self._actors / str(actor)).unlink()

    def kill_api(self) -> None:
        """Kill the API and its dispatcher, open connections and all."""
        process = self._processes.pop("api")
        os.killpg(process, signal.SIGKILL)
        self._wait("the API was killed and runs on", lambda: not _runs(process))
        # The API that comes next would pass this off as its own connection.
        with socket.create_connection((_HOST, self._redis)) as redis:
            redis.sendall(b"DEL ray:connected\r\n")
            redis.recv(64)

    def start_api(self) -> None:
        """Start the API, at the port where it always is, and wait until it takes requests."""
        self._spawn_api()
        self._wait("the API has no connection to Ray", self._connected)

    def _start_all(self, programs: "_Programs") -> None:
        self._environment = self._settings()
        self._spawn(
            "redis",
            [programs.redis, "--bind", _HOST, "--port", str(self._redis), *shlex.split(_REDIS)],
        )
        self._spawn_postgres(programs)
        self._spawn_ray()
        self._spawn_api()
        launch = f"import ndif_actor; ndif_actor.launch({_HOST!r}, {self._gcs}, {self._ray})"
        self._spawn("controller", [str(self._python), "-c", launch])
        self._wait("the API has no connection to Ray", self._connected)
        for model in self.models:
            self.ready(model)

    def _settings(self) -> dict[str, str]:
        code = self.folder / "code"
        code.mkdir()
        # Only these two: a server that could import the tests would hide what a request leaves out.
        for name in ("ndif_actor.py", "ndif_patches.py"):
            shutil.copy(_HERE / name, code)
        settings = ndif_patches.upload_without_save()
        (self.folder / "api.yaml").write_text(settings, encoding="utf-8")
        ours = ("NDIF_", "RAY_", "HF_", "PYTHON")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return kept | {
            "PATH": f"{self._python.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(code),
            "OMP_NUM_THREADS": "1",
            "HF_HOME": str(self.folder / "huggingface"),
            "HF_HUB_OFFLINE": "1",
            "NDIF_HOME": str(self.folder),
            "NDIF_REDIS_URL": f"redis://{_HOST}:{self._redis}",
            "NDIF_RAY_ADDRESS": f"ray://{_HOST}:{self._ray}",
            "NDIF_POSTGRES_URL": f"postgresql://postgres@{_HOST}:{self._postgres}/postgres",
            "NDIF_API_PORT": str(self._api_port),
            "NDIF_MODEL_IMPORT_PATH": "ndif_actor.CPUModelActor",
            "NDIF_CONTROLLER_IMPORT_PATH": "ndif_actor.CPUController",
            "NDIF_DEPLOYMENTS": "|".join(model_key(model) for model in self.models),
            "NDIF_STATUS_TTL_S": "1",
            "NDIF_DEFAULT_DTYPE": "float32",
            "NDIF_DEFAULT_PADDING_BIAS": "0",
            "STEER_NDIF_ACTORS": str(self._actors),
            "STEER_NDIF_TIMEOUTS": json.dumps(
                {model_key(model): seconds for model, seconds in self.execution_timeouts_s.items()}
            ),
            "GUNICORN_CMD_ARGS": f"--bind {_HOST}:{self._api_port}",
            "RAY_USAGE_STATS_ENABLED": "0",
            # By its name for other systems; it keeps Ray on loopback on this one too.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            # As NDIF's own start script: else Ray's client server dies at random as it starts.
            "GRPC_ENABLE_FORK_SUPPORT": "0",
        }

    def _spawn(self, name: str, command: list[str], **settings: Any) -> None:
        settings = {"env": self._environment} | settings
        order = {"name": name, "command": command, **settings}
        self._guard.stdin.write(json.dumps(order) + "\n")
        self._guard.stdin.flush()
        self._processes[name] = int(self._guard.stdout.readline())

    def _spawn_postgres(self, programs: "_Programs") -> None:
        home = self.folder / "postgres"
        home.mkdir()
        (home / "tables.sql").write_text(
            _TABLES.format(key=self.key, stranger=self.strangers_key), encoding="utf-8"
        )
        owner: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(home, "postgres", "postgres")
            owner = {"user": "postgres", "group": "postgres", "extra_groups": []}
        script = """
            "$1/initdb" --pgdata data --username postgres --auth trust --no-sync
            "$1/postgres" --single -j -D data postgres < tables.sql
            exec "$1/postgres" -D data -h "$2" -p "$3" -k "$PWD" -F \\
                -c shared_buffers=16MB -c dynamic_shared_memory_type=mmap
        """
        command = ["sh", "-ec", f'cd "$0"; {script}', str(home), str(programs.postgres)]
        # Killed, it would not give back its shared memory.
        owner["stop_signal"] = signal.SIGINT
        self._spawn("postgres", [*command, _HOST, str(self._postgres)], **owner)

    def _spawn_ray(self) -> None:
        resources = {"head": 1, "cuda_memory_bytes": _MODEL_BYTES, "cpu_memory_bytes": _MODEL_BYTES}
        objects, nodes, agent_grpc, agent_http, metrics = self._rest
        flags: dict[str, Any] = {
            "node-ip-address": _HOST,
            "port": self._gcs,
            "ray-client-server-port": self._ray,
            "object-manager-port": objects,
            "node-manager-port": nodes,
            "dashboard-agent-grpc-port": agent_grpc,
            "dashboard-agent-listen-port": agent_http,
            "metrics-export-port": metrics,
            "include-dashboard": "false",
            "include-log-monitor": "false",
            # Actors take no CPU here, and for each that there is Ray starts a worker ahead.
            "num-cpus": 0,
            # NDIF deploys to nodes with a GPU only; what it takes for one here is plain memory.
            "num-gpus": 1,
            "resources": json.dumps(resources),
            "object-store-memory": 100 << 20,
            "temp-dir": self.folder / "ray",
        }
        ray = str(self._python.parent / "ray")
        given = [f"--{name}={value}" for name, value in flags.items()]
        self._spawn("ray", [ray, "start", "--head", "--block", "--no-monitor", *given])

    def _spawn_api(self) -> None:
        gunicorn = str(self._python.parent / "gunicorn")
        command = [gunicorn, "--config", "python:ndif.services.api.gunicorn_conf"]
        settings = self._environment | {"NNSIGHT_CONFIG": str(self.folder / "api.yaml")}
        self._spawn("api", [*command, "ndif.services.api.app:app"], env=settings)

    def _connected(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/connected", timeout=5) as answer:  # noqa: S310
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def _wait(self, complaint: str, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _SECONDS_TO_START
        while not done():
            for name, process in self._processes.items():
                if self._died(name, process):
                    raise RuntimeError(f"NDIF: {name} has died\n{self._tail(name)}")
            if time.monotonic() > deadline:
                logs = "\n".join(map(self._tail, [*self._processes, *self._workers()]))
                raise TimeoutError(f"NDIF: {complaint} after {_SECONDS_TO_START:.0f} s\n{logs}")
            time.sleep(0.05)

    def _died(self, name: str, process: int) -> bool:
        exited = self.folder / f"{process}.exit"
        # The controller's launcher ends when Ray has the controller.
        return exited.exists() and (name != "controller" or exited.read_text() != "0")

    def _workers(self) -> list[str]:
        """Name the logs of Ray's workers that have complained."""
        logs = self.folder.glob("ray/session_latest/logs/worker-*.err")
        return [str(log.relative_to(self.folder).with_suffix("")) for log in logs]

    def _tail(self, name: str) -> str:
        log = self.folder / (f"{name}.log" if name in self._processes else f"{name}.err")
        return f"--- {name}\n{log.read_text(encoding='utf-8', errors='replace')[-_LOG_TAIL:]}"

    def _stop(self) -> None:
        self._guard.stdin.close()
        self._guard.wait(_SECONDS_TO_STOP)
        self._guard.stdout.close()


def model_key(model: Path) -> str:
    """Give the name of a model as nnsight's client and NDIF write it."""
    identity = json.dumps({"repo_id": str(model), "revision": None, "task": "text-generation"})
    return f"nnsight.modeling.transformers.TransformersModel:{identity}"


@dataclass(frozen=True)
class _Programs:
    redis: str
    postgres: Path


def _programs(python: Path) -> _Programs:
    redis = shutil.which("redis-server")
    postgres = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    wanted = {"redis-server": redis, "postgres": postgres}
    wanted |= {str(path): path.exists() for path in map(python.with_name, ("ray", "gunicorn"))}
    missing = [name for name, found in wanted.items() if not found]
    if redis is None or missing:
        raise FileNotFoundError(f"no {', no '.join(missing)}: {_INSTALL}")
    return _Programs(redis, postgres[-1].parent)


def _ports(count: int) -> list[int]:
    """Choose ports that are free, all at once so that no two are the same."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((_HOST, 0))
        return [one.getsockname()[1] for one in sockets]


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
