"""Chromium without a window, on pages of this machine alone."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--enable-logging=stderr", "--v=0"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)


@contextmanager
def opened(url: str) -> Iterator[list[str]]:
    """A browser with a profile of its own at `url`; gives the lines of its console as they come."""
    assert CHROMIUM is not None
    lines: list[str] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0", url],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

        def listen() -> None:
            assert browser.stderr is not None
            lines.extend(line for line in browser.stderr if "CONSOLE" in line)

        threading.Thread(target=listen, daemon=True).start()
        try:
            yield lines
        finally:
            browser.terminate()
            with suppress(subprocess.TimeoutExpired):
                browser.wait(20)
            browser.kill()
            browser.wait()
