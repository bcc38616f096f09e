"""A Hugging Face hub on this machine: what its client asks of it, answered from folders."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final
from urllib.parse import unquote, urlsplit

import orjson

BRANCH: Final = "main"


@dataclass
class Hub:
    """Models by id, as folders that may change: each content is a commit of its own.

    `owner/name@v1` is what the tag v1 of `owner/name` has.
    """

    models: dict[str, Path] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)  # paths, in order
    url: str = ""
    breaks_off: str | None = None  # at this file

    def commit(self, model: str) -> str:
        """Forty letters, as Git's are."""
        digest = hashlib.sha1(usedforsecurity=False)
        for name, path in self.files(model).items():
            digest.update(name.encode() + path.read_bytes())
        return digest.hexdigest()

    def at(self, model: str, revision: str) -> str | None:
        """Which of them that is: by branch, tag or commit."""
        tags = [each for each in self.models if each.startswith(f"{model}@")]
        known = {self.commit(each): each for each in (*tags, model)}
        known |= {each.partition("@")[2]: each for each in tags}
        return (known | {BRANCH: model}).get(revision)

    def files(self, model: str) -> dict[str, Path]:
        """By their names there."""
        return {path.name: path for path in sorted(self.models[model].iterdir())}

    def environment(self, cache: Path) -> dict[str, str]:
        """What points a process at this hub, with nothing of it here yet."""
        return {"HF_ENDPOINT": self.url, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_XET": "1"}


@contextmanager
def running(**models: Path) -> Iterator[Hub]:
    """A hub with these; `owner__name` stands for `owner/name`."""
    hub = Hub({name.replace("__", "/"): folder for name, folder in models.items()})

    class Answers(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(path)
            if hub.breaks_off and path.endswith(hub.breaks_off):
                self.close_connection = True
                return
            status, headers, content = _answered(hub, path)
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(content))}).items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, daemon=True).start()
        yield hub
        server.shutdown()


Answer = tuple[int, dict[str, str], bytes]


def _answered(hub: Hub, path: str) -> Answer:
    api, _, rest = path.partition("/api/models/")
    owner, name, *place = (rest if not api else path.removeprefix("/")).split("/")
    model = f"{owner}/{name}"
    if model not in hub.models:
        return HTTPStatus.NOT_FOUND, {"X-Error-Code": "RepoNotFound"}, b""
    kind, revision, *file = place or ["revision", BRANCH]
    found = hub.at(model, revision)
    if not found:
        return HTTPStatus.NOT_FOUND, {"X-Error-Code": "RevisionNotFound"}, b""
    commit, files = hub.commit(found), hub.files(found)
    match kind, file:
        case "revision", []:
            names = [{"rfilename": name} for name in files]
            return _json({"id": model, "sha": commit, "siblings": names})
        case "tree", []:
            return _json([_entry(path) for path in files.values()])
        case "resolve", [name] if name in files:
            body = files[name].read_bytes()
            return HTTPStatus.OK, {"ETag": f'"{_hash(body)}"', "X-Repo-Commit": commit}, body
    missing = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
    return HTTPStatus.NOT_FOUND, missing, b""


def _json(told: object) -> Answer:
    return HTTPStatus.OK, {"Content-Type": "application/json"}, orjson.dumps(told)


def _entry(path: Path) -> dict[str, object]:
    body = path.read_bytes()
    return {"type": "file", "path": path.name, "size": len(body), "oid": _hash(body)}


def _hash(body: bytes) -> str:
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()
