"""NDIF: requests to a server that holds the model, made again where that can help."""

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import websocket
from nnsight.intervention.backends.display import StatusDisplay
from nnsight.intervention.backends.remote import RemoteBackend, RemoteError
from nnsight.modeling import huggingface
from nnsight.schema.config import CONFIG
from nnsight.schema.request import RequestModel
from nnsight.schema.response import ResponseModel, Status

from steer_plugin.errors import ModelError
from steer_plugin.storage.artifacts import one_line

Job = TypeVar("Job")
Answer = TypeVar("Answer")

PATIENCE_S = 120.0
# A server hands a result of up to 8 MiB straight back; a larger one needs its object store.
SESSION_BYTES = 6 << 20
# Long enough that a request's own cost is small, short enough that little is lost with one.
SESSION_S = 10.0
CONNECT_S = 10.0
# How long the server may say nothing before it is asked whether it is there, and a wait is told.
SILENCE_S = 30.0
TELL_AFTER_S = 5.0
POLL_S = 1.0
# How long a request may run. NDIF 0.1.2 limits that itself, but where it cut off a request just as
# that ended, its model runs no more, and whoever asks next is left waiting without a word.
LONGEST_RUN_S = 3600.0
LONGEST_PAUSE_S = 15.0

# In the words of NDIF 0.1.2: what is wrong with a key; what may pass; what took too long.
ABOUT_THE_KEY = "API key"
PASSING = ("try again", "evicted", "preempted", "reconnecting", "re-sending", "unavailable")
TIMED_OUT = "execution timeout"
# Where a block of ours has failed the server sends its traceback; else a sentence.
BLOCK_FAILED = "Traceback (most recent call last)"


class ServerTimeoutError(ModelError):
    """A request that the server stopped because it took too long."""


@dataclass
class Traffic:
    """What went over the wire.

    Attributes:
        requests: that were answered.
        sent: bytes of their payloads.
        received: bytes of their results.
        again: requests that failed and were made once more.
    """

    requests: int = 0
    sent: int = 0
    received: int = 0
    again: int = 0


class NDIF:
    """A server that runs one model for us.

    Args:
        model: an nnsight model that has a name on the server; it may hold no weights.
        url: of the server; None takes nnsight's own setting.
        patience_s: how long a server that is gone is waited for, in seconds; None for 120.
        say: told, a line each, what takes long and what goes wrong; None tells nobody.

    The API key is nnsight's own setting (`nnsight.CONFIG.set_default_api_key`, or NDIF_API_KEY).

    Raises:
        ModelError: the model is known to this process only, or `url` is no URL.
    """

    def __init__(
        self,
        model: Any,
        *,
        url: str | None = None,
        patience_s: float | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """Name the model as the server does; nothing is sent yet."""
        self.url = (CONFIG.API.HOST if url is None else url).rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise ModelError(f"{self.url!r} is no URL of a server; it begins with http(s)://")
        self.traffic = Traffic()
        self._say = say
        self._patience_s = PATIENCE_S if patience_s is None else patience_s
        self._model_key = _model_key(model)
        self._env: dict[str, Any] = model._remoteable_get_env()
        self._seen = False

    def tell(self, line: str) -> None:
        """Say something to whoever listens."""
        if self._say is not None:
            self._say(line)

    def run(self, send: Callable[[RemoteBackend], Answer]) -> Answer:
        """Make a request, again and again while what is wrong may pass.

        Args:
            send: runs a block with the backend it is given.

        Raises:
            ServerTimeoutError: the server stopped it because it took too long.
            ModelError: the server refuses it, or cannot be reached for longer than `patience_s`.
        """
        deadline: float | None = None
        pause, lost = 1.0, False
        while True:
            try:
                answer = send(_Backend(self, self._model_key, self._env))
            except (RemoteError, OSError, httpx.HTTPError, websocket.WebSocketException) as error:
                reason = self._passing(error, lost)
                lost = lost or not isinstance(error, RemoteError)
                now = time.monotonic()
                deadline = now + self._patience_s if deadline is None else deadline
                # A server that never answered is more likely misspelt than gone for a moment.
                if not self._seen or now + pause > deadline:
                    raise ModelError(
                        f"NDIF at {self.url} cannot be reached: {reason}; see that the URL is "
                        "right and the server is up, then run the same again"
                    ) from error
                self.traffic.again += 1
                self.tell(f"NDIF: {reason}; trying again in {pause:.0f} s")
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
            else:
                self._seen = True
                self.traffic.requests += 1
                return answer

    def _passing(self, error: Exception, lost: bool) -> str:
        """Say what is wrong, where that may pass.

        Args:
            error: what went wrong.
            lost: whether the connection broke before. NDIF 0.1.2 then still runs the request whose
                client it lost, beside the next one, and either may fail for it.

        Raises:
            ServerTimeoutError: the request took too long.
            ModelError: it would fail again.
        """
        text = str(error)
        if self._secret:
            text = text.replace(self._secret, "...")
        if not isinstance(error, RemoteError):
            return one_line(text or type(error).__name__)
        cause = error.__cause__
        if isinstance(cause, httpx.HTTPStatusError):
            if ABOUT_THE_KEY in text:
                raise ModelError(
                    f"NDIF at {self.url} refuses the API key: {one_line(text)}; set it with "
                    "nnsight.CONFIG.set_default_api_key(...) or the variable NDIF_API_KEY"
                ) from None
            if cause.response.status_code < 500:
                raise ModelError(f"NDIF at {self.url} refuses: {one_line(text)}") from None
            self._seen = True
            return one_line(text)
        if isinstance(cause, httpx.HTTPError):
            return one_line(text)
        if TIMED_OUT in text:
            raise ServerTimeoutError(
                f"NDIF at {self.url}: {one_line(text)}; give fewer tokens a batch"
            ) from None
        if BLOCK_FAILED in text:
            *_, last = text.strip().splitlines()
            if lost:
                return f"the server failed after the connection was lost: {last[:300]}"
            raise ModelError(f"NDIF at {self.url} failed in the model: {last[:300]}") from None
        if not any(words in text.lower() for words in PASSING):
            raise ModelError(f"NDIF at {self.url} refuses: {one_line(text)[:300]}") from None
        self._seen = True
        return one_line(text)

    @property
    def _secret(self) -> str:
        return CONFIG.API.APIKEY or ""

    def in_sessions(
        self,
        jobs: Iterable[Job],
        run: Callable[[Sequence[Job]], Sequence[Answer]],
        result_bytes: Callable[[Job], int],
    ) -> Iterator[tuple[Job, Answer]]:
        """Do jobs, as many in one request as fit its size and time.

        Args:
            jobs: in order.
            run: does some of them in one request.
            result_bytes: how large the result of one is.

        Raises:
            ServerTimeoutError: one job alone takes the server too long.
            ModelError: as `run` does.
        """
        waiting = deque(jobs)
        count, most = 1, len(waiting)
        while waiting:
            session = [waiting[0]]
            size = result_bytes(session[0])
            for job in list(waiting)[1 : min(count, most)]:
                size += result_bytes(job)
                if size > SESSION_BYTES:
                    break
                session.append(job)
            started = time.monotonic()
            try:
                answers = run(session)
            except ServerTimeoutError:
                if len(session) == 1:
                    raise
                count = most = len(session) // 2
                continue
            if len(answers) != len(session):
                raise ModelError(
                    f"NDIF at {self.url} answered {len(answers)} of {len(session)} batches; run "
                    "the same again"
                )
            job_s = (time.monotonic() - started) / len(session)
            count = max(1, min(2 * len(session), int(SESSION_S / max(job_s, 1e-3))))
            for _ in session:
                waiting.popleft()
            yield from zip(session, answers, strict=True)


class _Backend(RemoteBackend):
    """nnsight's own, quiet, with bytes counted and an eye on whether the server is there."""

    def __init__(self, ndif: NDIF, model_key: str, env: dict[str, Any]) -> None:
        super().__init__(model_key, host=ndif.url, env=env)
        self.display = StatusDisplay(enabled=False)
        self._ndif = ndif
        self._last = "sent, and waiting for a first word"
        self._runs = False

    def _serialize(self, tracer: Any) -> bytes:
        blob: bytes = super()._serialize(tracer)
        self._ndif.traffic.sent += len(blob)
        return blob

    def finalize(self, content: bytes) -> Any:
        self._ndif.traffic.received += len(content)
        return super().finalize(content)

    def request(self, request: RequestModel, tracer: Any) -> Any:
        blob = self._serialize(tracer)
        connection = websocket.create_connection(
            f"{self.ws_host}/subscribe",
            timeout=CONNECT_S,
            header={"ndif-api-key": self.api_key} if self.api_key else None,
        )
        try:
            request.session_id = json.loads(connection.recv())["session_id"]
            self.send(request, blob)
            connection.settimeout(POLL_S)
            while True:
                response = self._next(connection)
                result = self.handle(response)
                if response.status == Status.COMPLETED:
                    return result
        finally:
            connection.close()

    def _next(self, connection: Any) -> ResponseModel:
        """Wait for the server's next word."""
        since = asked = time.monotonic()
        told = False
        while True:
            try:
                response = self.parse(connection.recv())
            except websocket.WebSocketTimeoutException:
                now = time.monotonic()
                if self._runs and now - since > LONGEST_RUN_S:
                    raise ModelError(
                        f"NDIF at {self._ndif.url} has run a request for {LONGEST_RUN_S / 60:.0f} "
                        "minutes without an answer; give fewer tokens a batch, or ask who runs the "
                        "server to deploy the model anew, then run the same again"
                    ) from None
                if not told and now - since > TELL_AFTER_S:
                    self._ndif.tell(f"NDIF: {self._last}")
                    told = True
                if now - asked > SILENCE_S:
                    httpx.get(f"{self.host}/ping", timeout=CONNECT_S).raise_for_status()
                    asked = time.monotonic()
            else:
                self._runs = response.status in (Status.RUNNING, Status.LOG)
                self._last = one_line(response.description or response.status.name.lower())
                return response


def _model_key(model: Any) -> str:
    """Name a model as NDIF does.

    nnsight asks the hub how a model's name is spelt. A folder is on no hub; a server of one's own
    finds it under the same path.
    """
    name = getattr(model, "repo_id", None)
    if name is None or not hasattr(model, "to_model_key"):
        raise ModelError(
            "only a model that a server can load by its name runs there; give a "
            "nnsight.modeling.transformers.TransformersModel made from a hub id"
        )
    if Path(name).is_dir():
        huggingface._ID_CACHE.setdefault(name, name)
    try:
        key: str = model.to_model_key()
    except (OSError, httpx.HTTPError) as error:
        raise ModelError(f"cannot find {name!r} on the hub: {one_line(error)}") from error
    return key
