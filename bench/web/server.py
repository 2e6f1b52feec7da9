"""A web server that gives a folder at so many bits a second, and counts what it gave.

All connections share the line, as those of one browser do. Texts, scripts and WebAssembly are
compressed with brotli beforehand, as a server for the web does; so are models that ask for it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PIECE = 16_384  # bytes sent at a time
KINDS = {
    ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript",
    ".css": "text/css", ".json": "application/json", ".wasm": "application/wasm",
    ".txt": "text/plain",
}  # fmt: skip


class Line:
    """So many bytes a second for everybody together; `delay` seconds before each answer."""

    def __init__(self, bits: float, delay: float) -> None:
        self.rate, self.delay = bits / 8, delay
        self.sent: dict[str, int] = {}
        self._free = time.monotonic()
        self._lock = threading.Lock()

    def pass_on(self, path: str, nbytes: int) -> None:
        """Wait until so many bytes of a file went over the line."""
        with self._lock:
            self.sent[path] = self.sent.get(path, 0) + nbytes
            self._free = max(self._free, time.monotonic()) + nbytes / self.rate
            until = self._free
        time.sleep(max(0.0, until - time.monotonic()))


def serve(
    folder: Path, line: Line, page: str, told: Callable[[Any], None]
) -> tuple[ThreadingHTTPServer, str]:
    """Start a server in a thread; gives it and its address.

    `page` is put into each HTML page: it posts to /told, of which `told` gets the JSON. Files
    named x.br beside x are given in place of x, as its brotli encoding.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            found = folder / path.lstrip("/")
            if ".." in path or not found.is_file():
                self.send_error(404)
                return
            time.sleep(line.delay)
            coded = found.with_name(found.name + ".br")
            accepts = "br" in self.headers.get("accept-encoding", "")
            data = (coded if accepts and coded.is_file() else found).read_bytes()
            if found.suffix == ".html":
                data = data.replace(b"</html>", page.encode() + b"</html>")
            self.send_response(200)
            kind = KINDS.get(found.suffix, "application/octet-stream")
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            if accepts and coded.is_file():
                self.send_header("content-encoding", "br")
            kept = "max-age=3600" if "/runtime/" in path or "/taut/" in path else "no-store"
            self.send_header("cache-control", kept)
            self.end_headers()
            for begin in range(0, len(data), PIECE):
                piece = data[begin : begin + PIECE]
                line.pass_on(path, len(piece))
                self.wfile.write(piece)

        def do_POST(self) -> None:
            told(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://localhost:{server.server_address[1]}"
