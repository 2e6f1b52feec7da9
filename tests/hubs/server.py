"""A hub on this machine: what `huggingface_hub` asks the real one for, over HTTP.

It serves repositories at any commit (`api/models/...`, `resolve/...` with ETag, ranges and
X-Repo-Commit), takes commits (`preupload`, LFS objects, `commit`), and misbehaves when it is told.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 1 << 12  # bytes from which on a file is an LFS object
_KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}


@dataclass
class Repo:
    """Commits in order, each with all its files, and the names that stand for some of them."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    token: str | None = None  # who reads it needs this one
    gated: bool = False

    def commit(self, files: dict[str, bytes], ref: str = "main") -> str:
        """Make these files the newest commit of a branch."""
        number = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[number] = dict(files)
        self.refs[ref] = number
        return number

    @property
    def files(self) -> dict[str, bytes]:
        """Those of the newest commit of the main branch."""
        return self.commits[self.refs["main"]]


@dataclass
class Hub:
    """The state of the hub: repositories by (kind, name), and what goes wrong."""

    repos: dict[tuple[str, str], Repo] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    writers: set[str] = field(default_factory=lambda: {"hf_writer"})
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    fails: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    cuts: list[int] = field(default_factory=list)  # bytes after which a download breaks off
    ignored: set[str] = field(default_factory=set)  # by a repository's .gitignore
    damaged: set[str] = field(default_factory=set)  # files of which a byte comes otherwise
    url: str = ""
    elsewhere: str = ""  # where large files lie, if not at the hub's own address
    tokens: dict[str, set[str | None]] = field(default_factory=lambda: defaultdict(set))

    def add(self, name: str, files: dict[str, bytes], kind: str = "model", **more: Any) -> Repo:
        """Make a repository with one commit."""
        repo = self.repos[kind, name] = Repo(**more)
        repo.commit(files)
        return repo

    def ranges(self, name: str) -> list[str | None]:
        """The ranges of the downloads of a file, in order."""
        return [r for method, path, r in self.asked if method == "GET" and path.endswith(name)]


def serve() -> tuple[Hub, Callable[[], None]]:
    """Start a hub; gives it, and what ends it."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    return hub, stop


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        """Tell of a file."""
        self._answer()

    def do_GET(self) -> None:
        """Tell of a repository, or give a file."""
        self._answer()

    def do_POST(self) -> None:
        """Take a part of a commit."""
        self._answer()

    def do_PUT(self) -> None:
        """Take an object."""
        self._answer()

    def _answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = self._chunked()
        path = unquote(urlsplit(self.path).path)
        self.hub.tokens[(self.headers.get("Host") or "").partition(":")[0]].add(self._token)
        self.hub.asked.append((self.command, path, self.headers.get("Range")))
        for part, codes in self.hub.fails.items():
            if part in f"{self.command} {path}" and codes:
                self._json(codes.pop(0), {"error": "as it was told to"})
                return
        for pattern, act in _ROUTES:
            if found := re.fullmatch(pattern, f"{self.command} {path}"):
                act(self, *found.groups())
                return
        self._json(404, {"error": f"no {self.command} {path}"})

    def _chunked(self) -> bytes:
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    @property
    def _token(self) -> str | None:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    def _json(self, status: int, tree: object, **headers: str) -> None:
        self._bytes(status, json.dumps(tree).encode(), **headers)

    def _bytes(self, status: int, data: bytes, **headers: str) -> None:
        self.send_response(status)
        length = headers.pop("Content_Length", str(len(data)))
        for name, value in {**headers, "Content_Length": length}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _repo(self, kind: str, name: str) -> Repo | None:
        """The repository, if this caller may see it; the refusal is sent otherwise."""
        repo = self.hub.repos.get((_KINDS[kind], name))
        hidden = repo is not None and repo.token not in (None, self._token)
        if repo is None or (hidden and not repo.gated):
            status = 404 if self._token else 401
            self._json(status, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
            return None
        if hidden:
            self._json(403, {"error": "Access is restricted"}, X_Error_Code="GatedRepo")
            return None
        return repo

    def _commit(self, repo: Repo, revision: str) -> str | None:
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            self._json(404, {"error": "no revision"}, X_Error_Code="RevisionNotFound")
            return None
        return commit

    def info(self, kind: str, name: str, revision: str | None = None) -> None:
        """api/models/NAME[/revision/REVISION]."""
        repo = self._repo(kind, name)
        commit = repo and self._commit(repo, revision or "main")
        if not repo or not commit:
            return
        blobs = "blobs" in parse_qs(urlsplit(self.path).query)
        siblings = [
            {"rfilename": path, **(_about(data) if blobs else {})}
            for path, data in repo.commits[commit].items()
        ]
        self._json(200, {"id": name, "sha": commit, "siblings": siblings, "tags": []})

    def tree(self, kind: str, name: str, revision: str) -> None:
        """api/models/NAME/tree/REVISION."""
        repo = self._repo(kind, name)
        commit = repo and self._commit(repo, revision)
        if repo and commit:
            files = repo.commits[commit].items()
            self._json(200, [_entry(path, data) for path, data in files])

    def resolve(self, kind: str | None, name: str, revision: str, path: str) -> None:
        """NAME/resolve/REVISION/PATH, whole or in part."""
        repo = self._repo(kind or "models", name)
        commit = repo and self._commit(repo, revision)
        if not repo or not commit:
            return
        data = repo.commits[commit].get(path)
        if data is None:
            self._json(
                404, {"error": "no file"}, X_Error_Code="EntryNotFound", X_Repo_Commit=commit
            )
            return
        about = _about(data)
        etag = about["lfs"]["sha256"] if "lfs" in about else about["blobId"]
        more = {"ETag": f'"{etag}"', "X_Repo_Commit": commit, "Accept_Ranges": "bytes"}
        if self.hub.elsewhere and "lfs" in about:
            more |= {"X_Linked_Etag": f'"{etag}"', "X_Linked_Size": str(len(data))}
            place = f"{self.hub.elsewhere}/lfs/{etag}"
            self.hub.objects[etag] = data
            self._bytes(302, b"", Location=place, **more)
            return
        if path in self.hub.damaged:
            data = bytes([data[0] ^ 1]) + data[1:]
        self._send(data, more)

    def lfs(self, oid: str) -> None:
        """A large file, elsewhere."""
        self._send(self.hub.objects[oid], {"ETag": f'"{oid}"'})

    def _send(self, data: bytes, headers: dict[str, str]) -> None:
        begin, end, status = 0, len(data), 200
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            begin, status = int(asked[1]), 206
            end = min(end, int(asked[2]) + 1) if asked[2] else end
            headers["Content_Range"] = f"bytes {begin}-{end - 1}/{len(data)}"
        part = data[begin:end]
        headers["Content_Length"] = str(len(part))
        if self.command == "GET" and len(part) > LARGE and self.hub.cuts:
            part = part[: self.hub.cuts.pop(0)]
            self.close_connection = True
        self._bytes(status, part, **headers)

    def preupload(self, kind: str, name: str, revision: str) -> None:
        """Which files are to come as LFS objects."""
        if not self._may_write(kind, name, revision):
            return
        files = json.loads(self.body)["files"]
        told = [
            {"path": f["path"], "shouldIgnore": f["path"] in self.hub.ignored}
            | {"uploadMode": "lfs" if f["size"] >= LARGE else "regular"}
            for f in files
        ]
        self._json(200, {"files": told})

    def batch(self, name: str) -> None:
        """Where LFS objects are to be put."""
        objects = []
        for one in json.loads(self.body)["objects"]:
            upload = {"href": f"{self.hub.url}/objects/{one['oid']}"}
            known = one["oid"] in self.hub.objects
            objects.append(one if known else {**one, "actions": {"upload": upload}})
        self._json(200, {"objects": objects, "transfer": "basic"})

    def put(self, oid: str) -> None:
        """An LFS object."""
        self.hub.objects[oid] = self.body
        self._json(200 if hashlib.sha256(self.body).hexdigest() == oid else 400, {})

    def take(self, kind: str, name: str, revision: str) -> None:
        """A commit: all of its files, or none."""
        repo = self._may_write(kind, name, revision)
        if repo is None:
            return
        files = dict(repo.commits[repo.refs[revision]])
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        oid = repo.commit(files, revision)
        url = f"{self.hub.url}/{name}/commit/{oid}"
        self._json(200, {"commitUrl": url, "commitOid": oid})

    def _may_write(self, kind: str, name: str, revision: str) -> Repo | None:
        repo = self._repo(kind, name)
        if repo is None:
            return None
        if self._token not in self.hub.writers:
            self._json(403 if self._token else 401, {"error": "no write"})
            return None
        if revision not in repo.refs:
            self._json(404, {"error": "no revision"}, X_Error_Code="RevisionNotFound")
            return None
        return repo

    def create(self) -> None:
        """api/repos/create."""
        asked = json.loads(self.body)
        if self._token not in self.hub.writers:
            self._json(403 if self._token else 401, {"error": "no write"})
            return
        name = "/".join(part for part in (asked.get("organization"), asked["name"]) if part)
        private = asked.get("private") or asked.get("visibility") == "private"
        repo = self.hub.add(name, {}, token=self._token if private else None)
        repo.files[".gitattributes"] = b"*.safetensors filter=lfs\n"
        self._json(200, {"url": f"{self.hub.url}/{name}", "name": name, "id": name})

    def yaml(self) -> None:
        """api/validate-yaml: every card is good."""
        self._json(200, {"errors": [], "warnings": []})


def _about(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {"size": len(data)}
    found["blobId"] = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
    if len(data) >= LARGE:
        sha = hashlib.sha256(data).hexdigest()
        found["lfs"] = {"sha256": sha, "size": len(data), "pointerSize": 134}
    return found


def _entry(path: str, data: bytes) -> dict[str, Any]:
    about = _about(data)
    entry = {"type": "file", "path": path, "size": about["size"], "oid": about["blobId"]}
    if "lfs" in about:
        entry["lfs"] = {"oid": about["lfs"]["sha256"], "size": about["size"], "pointerSize": 134}
    return entry


_REPO = r"((?:[\w.-]+/)?[\w.-]+)"
_AT = r"(refs/pr/\d+|[^/]+)"
_KIND = "(models|datasets|spaces)"
_ROUTES: list[tuple[str, Callable[..., None]]] = [
    (r"POST /api/repos/create", _Handler.create),
    (r"POST /api/validate-yaml", _Handler.yaml),
    (rf"POST /api/{_KIND}/{_REPO}/preupload/(.+)", _Handler.preupload),
    (rf"POST /api/{_KIND}/{_REPO}/commit/(.+)", _Handler.take),
    (rf"POST /(?:datasets/)?{_REPO}\.git/info/lfs/objects/batch", _Handler.batch),
    (r"(?:GET|HEAD) /lfs/([0-9a-f]{64})", _Handler.lfs),
    (r"PUT /objects/([0-9a-f]{64})", _Handler.put),
    (rf"GET /api/{_KIND}/{_REPO}/tree/([^/]+|refs/pr/\d+)/?", _Handler.tree),
    (rf"GET /api/{_KIND}/{_REPO}/revision/(.+)", _Handler.info),
    (rf"GET /api/{_KIND}/{_REPO}", _Handler.info),
    (
        rf"(?:GET|HEAD) /(?:(datasets|spaces)/)?{_REPO}/resolve/(refs/pr/\d+|[^/]+)/(.+)",
        _Handler.resolve,
    ),
]
