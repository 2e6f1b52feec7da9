"""A hub of this machine, empty at the beginning of each test, and a cache of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .server import Hub, serve


@pytest.fixture(scope="session")
def running() -> Iterator[Hub]:
    """The hub, started once."""
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    hub, stop = serve()
    yield hub
    stop()


@pytest.fixture
def hub(running: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub, as `HF_ENDPOINT`; waits between tries take no time, and Xet is not spoken."""
    from huggingface_hub import constants

    fresh = Hub(url=running.url)
    running.__dict__.update(fresh.__dict__)
    monkeypatch.setenv("HF_ENDPOINT", running.url)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "0")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr("time.sleep", lambda _: None)
    return running
