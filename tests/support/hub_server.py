"""A hub on this machine that huggingface_hub asks over HTTP, and what goes wrong at one."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "5" * 40


@dataclass(frozen=True)
class Fault:
    """What a repository answers in place of its files.

    Attributes:
        status: of every answer.
        headers: beside the usual ones.
        share: of a file's bytes that arrive before the connection ends, where the status is 200.
        of: the file that it is about; every one where it is empty.
        anonymous: whether no answer says that a hub gave it.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    share: float = 1.0
    of: str = ""
    anonymous: bool = False


@dataclass(frozen=True)
class HubServer:
    """A hub that answers.

    Attributes:
        url: as HF_ENDPOINT has it.
        repositories: hub id -> the folder of its main branch.
        faults: hub id -> what goes wrong with it.
        commits: hub id -> the commit that its main branch is at, where that is not `COMMIT`.
        sent: file -> how many times it was sent, or began to be.
    """

    url: str
    repositories: dict[str, Path]
    faults: dict[str, Fault]
    commits: dict[str, str]
    sent: Counter[str]


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """Serve repositories of models until the block ends."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        hub = HubServer(f"http://127.0.0.1:{server.server_port}", {}, {}, {}, Counter())
        server.hub = hub  # type: ignore[attr-defined]
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        hub: HubServer = self.server.hub  # type: ignore[attr-defined]
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        api = parts[:2] == ["api", "models"]
        owner, name, *rest = parts[2:] if api else parts
        hub_id = f"{owner}/{name}"
        file = "" if api else "/".join(rest[2:])
        fault = hub.faults.get(hub_id, Fault(200))
        concerned = not fault.of or fault.of == file
        if fault.status != 200 and concerned:
            return self._send(fault.status, b"", fault.headers)
        folder = hub.repositories.get(hub_id)
        if folder is None:
            return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        commit = hub.commits.get(hub_id, COMMIT)
        if api:
            return self._send(200, json.dumps(_told(folder, hub_id, commit, rest)).encode())
        path = folder / file
        if not path.is_file():
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        hub.sent[f"{hub_id}/{file}"] += self.command == "GET"
        content = path.read_bytes()
        if fault.anonymous:
            return self._send(200, content)
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": commit}
        return self._send(200, content, headers, fault.share if concerned else 1.0)

    def _send(
        self,
        status: int,
        content: bytes,
        headers: Mapping[str, str] | None = None,
        share: float = 1.0,
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(content[: int(share * len(content))])
        if share < 1:
            self.close_connection = True


def _told(folder: Path, hub_id: str, commit: str, rest: list[str]) -> Any:
    """Give what the API says of a repository, or of its tree."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = [str(path.relative_to(folder)) for path in files]
    if rest[:1] == ["tree"]:
        below = "/".join(rest[2:])
        return [
            {"type": "file", "path": name, "size": path.stat().st_size, "oid": "0" * 40}
            for name, path in zip(names, files, strict=True)
            if name.startswith(below)
        ]
    return {
        "id": hub_id,
        "sha": commit,
        "tags": [],
        "siblings": [{"rfilename": name} for name in names],
    }
