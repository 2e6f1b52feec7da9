"""The bench's scripts are no package: what stands in their folder is imported by file name."""

import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[2] / "bench"

if BENCH.is_dir():
    sys.path.append(str(BENCH))
else:  # a source package has no bench
    collect_ignore_glob = ["test_*.py"]
