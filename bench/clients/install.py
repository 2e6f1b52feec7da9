"""Environments of clients: one each, with the versions that `pins.toml` names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Client:
    """A program that runs exports: what is installed for it, in `folder`, and what asks it.

    With `own` this package is too, as it is now: the program finds it by its entry points.
    """

    name: str
    folder: Path
    pip: tuple[str, ...]
    npm: tuple[str, ...]
    without: tuple[str, ...]
    own: bool
    runs: Path

    @property
    def missing(self) -> str:
        """Why it cannot run here; empty if it can."""
        if self.npm and shutil.which("node") is None:
            return "node is not installed"
        if not (self.folder / "ready").is_file():
            return f"not installed (--install {self.name})"
        if (self.folder / "ready").read_text(encoding="utf-8") != self._wanted:
            return f"installed in other versions (--install {self.name})"
        return ""

    @property
    def command(self) -> list[str]:
        """What starts it, but for the job."""
        return [str(self._python) if self.pip else "node", str(self.runs)]

    def install(self) -> None:
        """Make its environment anew.

        Raises:
            subprocess.CalledProcessError: pip or npm failed.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        if self.npm:
            npm = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
            subprocess.run([*npm, *self.npm], cwd=self.folder, check=True)
        else:
            subprocess.run([sys.executable, "-m", "venv", str(self.folder)], check=True)
            pip = [str(self._python), "-m", "pip"]
            subprocess.run([*pip, "install", "--quiet", *self.pip], check=True, env=_unpinned())
            if self.own:
                subprocess.run([*pip, "install", "--quiet", str(ROOT)], check=True, env=_unpinned())
            if self.without:
                subprocess.run([*pip, "uninstall", "--quiet", "--yes", *self.without], check=True)
        (self.folder / "ready").write_text(self._wanted, encoding="utf-8")

    @property
    def _python(self) -> Path:
        return self.folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"

    @property
    def _wanted(self) -> str:
        return " ".join((*self.pip, *self.npm, *(["taut"] if self.own else [])))


def _unpinned() -> dict[str, str]:
    """The environment without this project's lock, which `make` tells every pip of."""
    own = ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT")
    return {name: value for name, value in os.environ.items() if name not in own}


def clients(home: Path) -> list[Client]:
    """All clients, whose environments lie under `home`."""
    pins = tomllib.loads((HERE / "pins.toml").read_text(encoding="utf-8"))
    return [
        Client(
            name=name,
            folder=home / name,
            pip=tuple(pin.get("pip", ())),
            npm=tuple(pin.get("npm", ())),
            without=tuple(pin.get("without", ())),
            own=bool(pin.get("own", False)),
            runs=HERE / pin["runs"],
        )
        for name, pin in pins.items()
    ]
