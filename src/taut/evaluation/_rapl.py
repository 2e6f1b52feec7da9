"""The energy counters of processor packages: RAPL, as Linux shows it under /sys/class/powercap.

A zone `intel-rapl:N` is a package or the whole platform ("psys", which counts the packages again);
`intel-rapl:N:M` are parts of a package, in it already; `intel-rapl-mmio:N` are the same packages
through another door. AMD's processors show theirs under the same names. Counters are in microjoules
and begin again at `max_energy_range_uj`, which at 200 W is after five minutes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

_ZONE: Final = re.compile(r"intel-rapl:\d+")


@dataclass
class Packages:
    """The counters of all packages, read often enough to see each begin again."""

    zones: tuple[Path, ...]
    ranges: tuple[int, ...]
    what: str
    last: tuple[int, ...] = ()
    spent: int = 0
    source: Literal["rapl"] = "rapl"

    def start(self) -> None:
        """Count from now on."""
        self.last, self.spent = self._read(), 0

    def tick(self) -> None:
        """Add what was spent since the last reading; a counter may have begun again once."""
        now = self._read()
        for old, new, most in zip(self.last, now, self.ranges, strict=True):
            self.spent += new - old if new >= old else new - old + most
        self.last = now

    def stop(self) -> float | None:
        """Joules since the start; None where the counters stood still."""
        self.tick()
        return self.spent / 1e6 if self.spent else None

    def _read(self) -> tuple[int, ...]:
        return tuple(_number(zone / "energy_uj") for zone in self.zones)


def open_packages(powercap: Path) -> Packages | str:
    """The packages' counters, or why there are none to read."""
    try:
        packages = _packages(powercap)
        if not packages:
            return f"{powercap} has no RAPL meter of this processor (intel-rapl)"
        for zone in packages:
            _number(zone / "energy_uj")
        ranges = tuple(_number(zone / "max_energy_range_uj") for zone in packages)
    except PermissionError as error:
        return f"no permission to read {error.filename}; root has it, and may give it: chmod a+r"
    except (OSError, ValueError) as error:
        return f"RAPL cannot be read: {error}"
    count = len(packages)
    what = f"RAPL, {count} processor package{'s' if count > 1 else ''}, whatever else runs included"
    return Packages(packages, ranges, what)


def _packages(powercap: Path) -> tuple[Path, ...]:
    """The zones of whole packages, in order of their names."""
    entries = powercap.iterdir() if powercap.is_dir() else ()
    zones = sorted(entry for entry in entries if _ZONE.fullmatch(entry.name))
    return tuple(
        zone for zone in zones if (zone / "name").read_text().strip().startswith("package")
    )


def _number(path: Path) -> int:
    return int(path.read_text())
