"""What `taut doctor` looks at: this installation, the machine under it, and what is missing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Final

from taut.reporting.numbers import size
from taut.reporting.plain_text import plural

# What each extra is for; those that only work on Taut itself takes are left out.
PURPOSES: Final = {
    "torch": "PyTorch modules and checkpoints (.pt, .bin)",
    "hf": "Hugging Face folders: calibration, training, loading with transformers",
    "prune": "removing whole channels",
    "train": "training on several processes or machines",
    "eval": "scores, intervals and tests",
    "report": "reports, charts, pages (--html)",
    "energy": "joules of a GPU",
    "gpu": "decoding in a GPU's memory",
    "onnx": "ONNX models: reading, running, writing",
    "gguf": "writing GGUF, and its blocks as numbers",
    "litert": "writing and checking .tflite files for phones and boards",
    "executorch": "writing and checking .pte files, which PyTorch runs on phones",
    "coreml": "writing .mlpackage for Apple's systems, which alone run it",
    "ct": "checking compressed-tensors",
    "datasets": "Parquet and Arrow files as calibration data",
    "hub": "the Hugging Face hub: hf://, taut push",
    "remote": "models in stores: s3://, hf://",
    "gs": "models in stores: gs://",
    "ray": "sharing the work among machines (--ray)",
    "demo": "taut demo",
}
_NEEDED: Final = re.compile(r"([A-Za-z0-9_.-]+).*extra\s*==\s*[\"']([a-z]+)[\"']")
_PACKAGES: Final = ("numpy", "torch", "transformers", "onnx", "onnxruntime")


def examined() -> dict[str, Any]:
    """All that there is to say, as JSON values: sizes in bytes."""
    import psutil

    from taut.machine import checked_threads
    from taut.version import __version__

    memory = psutil.virtual_memory()
    gpus, trouble = _gpus()
    return {
        "taut": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "program": sys.executable,
        "packages": {name: _version(name) for name in _PACKAGES},
        "core": _core(),
        "processor": _processor(),
        "cores": {"usable": checked_threads(None), "all": os.cpu_count()},
        "memory": {"total": memory.total, "available": memory.available},
        "temporary": _disk(Path(tempfile.gettempdir())),
        "here": _disk(Path.cwd()),
        "gpus": gpus,
        "extras": {
            name: {"missing": missing, "for": PURPOSES[name]} for name, missing in _extras()
        },
        "trouble": trouble,
    }


def machine_text(found: dict[str, Any]) -> str:
    """What was found, a line each; what is missing last, with how to have it."""
    core, cores, memory = found["core"], found["cores"], found["memory"]
    versions = ", ".join(f"{name} {one}" for name, one in found["packages"].items() if one)
    rows = [
        ("taut", f"{found['taut']}, Python {found['python']}, {found['platform']}"),
        ("packages", versions),
        ("core", _core_text(core)),
        ("processor", f"{found['processor']}; {_cores_text(cores)}"),
        ("memory", f"{size(memory['available'])} free of {size(memory['total'])}"),
        ("temporary", _disk_text(found["temporary"])),
        ("here", _disk_text(found["here"])),
        ("GPU", "; ".join(map(_gpu_text, found["gpus"])) or "none that PyTorch can use"),
    ]
    lines = [f"{label:<10} {text}" for label, text in rows]
    lines += [f"{'trouble':<10} {one}" for one in found["trouble"]]
    lines += ["", "extras"]
    lines += [_extra_text(name, one) for name, one in found["extras"].items()]
    return "\n".join(lines)


def _extra_text(name: str, extra: dict[str, Any]) -> str:
    state = "yes" if not extra["missing"] else "no"
    line = f"  {name:<10} {state:<4} {extra['for']}"
    if not extra["missing"]:
        return line
    return f"{line}: pip install 'taut[{name}]' (missing: {', '.join(extra['missing'])})"


def _extras() -> Iterator[tuple[str, list[str]]]:
    """Each extra, with its packages that are not installed."""
    needed: dict[str, list[str]] = {name: [] for name in PURPOSES}
    for line in requires("taut") or ():
        found = _NEEDED.match(line)
        if found and found[2] in needed:
            needed[found[2]].append(found[1])
    for name, packages in needed.items():
        yield name, [one for one in packages if _version(one) is None]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _core() -> dict[str, Any]:
    """The native core: the instructions that it can use here; why it cannot be loaded."""
    try:
        from taut import _core as core

        kernels = list(core.kernels())
    except ImportError as error:
        return {"kernels": [], "error": str(error)}
    return {"kernels": kernels, "error": None}


def _core_text(core: dict[str, Any]) -> str:
    if core["error"] is not None:
        return f"cannot be loaded ({core['error']}); install Taut anew"
    return f"native, with kernels for {', '.join(core['kernels'])}"


def _cores_text(cores: dict[str, Any]) -> str:
    usable, every = cores["usable"], cores["all"]
    return plural(usable, "core") + (f" of {every} for this process" if every != usable else "")


def _processor() -> str:
    """The processor as its maker calls it, where the system says it."""
    told = Path("/proc/cpuinfo")
    if told.is_file():
        for line in told.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _disk(folder: Path) -> dict[str, Any]:
    try:
        return {"folder": str(folder), "free": shutil.disk_usage(folder).free}
    except OSError:
        return {"folder": str(folder), "free": None}


def _disk_text(disk: dict[str, Any]) -> str:
    told = "cannot be read" if disk["free"] is None else f"{size(disk['free'])} free"
    return f"{disk['folder']}: {told}"


def _gpus() -> tuple[list[dict[str, Any]], list[str]]:
    """GPUs that PyTorch can use, with their memory; and what went wrong on the way."""
    if _version("torch") is None:
        return [], []
    try:
        import torch

        found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        gpus = [{"name": one.name, "memory": one.total_memory} for one in found]
        if torch.backends.mps.is_available():
            gpus.append({"name": "Apple GPU (mps)", "memory": None})
    except Exception as error:  # a torch that does not fit its driver, or this Python
        return [], [f"PyTorch is installed and does not work: {type(error).__name__}: {error}"]
    return gpus, []


def _gpu_text(gpu: dict[str, Any]) -> str:
    return gpu["name"] if gpu["memory"] is None else f"{gpu['name']}, {size(gpu['memory'])}"
