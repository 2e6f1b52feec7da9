"""What a second worker of a Ray cluster is worth: a sharded folder by one, and by two.

    python -m bench.scale.cluster                         # 8 shards, 0.5 GB in all, lossless
    python -m bench.scale.cluster --shards 8 --bits 4     # 8 GB, rounded

The cluster is of this machine, of one processor a worker, and is up before the time is taken; so
each worker needs a processor that nobody else uses. Prints seconds of the wall clock, of the run
with its last look at the folder, and how many times as fast two workers are.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import taut
from bench.lossless.scale import sharded


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line for each number of workers."""
    asked = command_line().parse_args(argv)
    options = {} if asked.bits is None else {"bits": asked.bits}
    with tempfile.TemporaryDirectory() as name:
        source = sharded(Path(name, "shards"), asked.shards, 8)
        taken = {}
        for workers in (1, 2, 1, 2):
            seconds = _seconds(source, Path(name, "small"), workers, options)
            taken[workers] = min(seconds, taken.get(workers, seconds))
            print(f"{workers} workers: {seconds:.1f} s", flush=True)
    print(f"two are {taken[1] / taken[2]:.2f} times as fast as one")


def _seconds(source: Path, target: Path, workers: int, options: dict[str, float]) -> float:
    """One compression by so many workers, each of which has done something before."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": workers})
    try:
        import ray

        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
        began_once = ray.remote(num_cpus=1)(_imported)
        ray.get([began_once.remote() for _ in range(4 * workers)])
        os.sync()  # the model was written a moment ago, and the disk is not done with it
        began = time.perf_counter()
        taut.compress(source, target, ray=made.address, force=True, progress=False, **options)
        return time.perf_counter() - began
    finally:
        ray.shutdown()
        made.shutdown()


def _imported() -> str:
    """Import what a worker needs, for long enough that each worker gets one such task."""
    import taut.compression

    time.sleep(1)
    return taut.__version__ and taut.compression.__name__


def command_line() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--shards", type=float, default=0.5, help="GB of the sharded folder")
    options.add_argument("--bits", type=float, help="round to so many; lossless without")
    return options


if __name__ == "__main__":
    main()
