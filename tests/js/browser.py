"""A page in Chromium on a server of this machine, with ranges, and what the page tells it."""

from __future__ import annotations

import json
import queue
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--enable-logging=stderr", "--v=0", "--remote-debugging-port=0"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost",
)
KINDS = {
    ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript",
    ".css": "text/css", ".wasm": "application/wasm",
}  # fmt: skip
WAIT = 180  # seconds: a page that hangs is a failure


class Answers:
    """Starts the server, and holds what pages tell it."""

    def __init__(self, folder: Path) -> None:
        told: queue.Queue[Any] = queue.Queue()
        self.told, self.requests = told, (requests := [])

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.split("?")[0]
                requests.append(f"{path} {self.headers.get('range', '')}".strip())
                found = folder / path.lstrip("/")
                if not found.is_file():
                    self.send_error(404)
                    return
                data, status = found.read_bytes(), 200
                asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", ""))
                if asked:
                    begin, end = int(asked[1]), min(int(asked[2]) + 1, len(data))
                    place, status = f"bytes {begin}-{end - 1}/{len(data)}", 206
                    data = data[begin:end]
                self.send_response(status)
                if asked:
                    self.send_header("content-range", place)
                kind = KINDS.get(found.suffix, "application/octet-stream")
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_POST(self) -> None:
                told.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://localhost:{self.server.server_address[1]}"


@contextmanager
def browsed(folder: Path, page: str) -> Iterator[Answers]:
    """Open a page of a folder in a browser of its own."""
    assert CHROMIUM is not None
    answers = Answers(folder)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", f"{answers.address}/{page}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield answers
        finally:
            browser.terminate()
            try:
                browser.wait(20)
            except subprocess.TimeoutExpired:
                browser.kill()
                browser.wait()
            answers.server.shutdown()


def told(folder: Path, page: str) -> tuple[Any, list[str]]:
    """What a page posts to /told, and what it asked the server for."""
    with browsed(folder, page) as answers:
        return answers.told.get(timeout=WAIT), answers.requests
