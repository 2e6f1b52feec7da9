"""The formats of phones and boards by their names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from taut.exporting.device.device_export import DeviceFormat
from taut.exporting.device.device_form import FormChoice
from taut.exporting.device.folded_program import Folded
from taut.exporting.device.single_samples import Samples
from taut.exporting.held_against import WrittenModel


def device_format(kind: str) -> DeviceFormat:
    """The format that `--to` names."""
    return {"litert": _litert, "executorch": _executorch, "coreml": _coreml}[kind]()


def _litert() -> DeviceFormat:
    from taut.exporting.litert.interpreter import LiteRunner
    from taut.exporting.litert.litert_packages import LITERT
    from taut.exporting.litert.write import write_litert

    def opened(path: Path, samples: Samples, folded: Folded) -> WrittenModel:
        return LiteRunner(path).written(path.name)

    choice = FormChoice("LiteRT", ("float32", "float16", "int8"), ("dynamic", "static", "none"))
    return DeviceFormat("litert", choice, LITERT.need_all, write_litert, opened)


def _executorch() -> DeviceFormat:
    from taut.exporting.executorch.executorch_packages import EXECUTORCH
    from taut.exporting.executorch.program_runner import ProgramRunner
    from taut.exporting.executorch.write import write_executorch

    def opened(path: Path, samples: Samples, folded: Folded) -> WrittenModel:
        named = samples.example if isinstance(samples.example, Mapping) else {}
        return ProgramRunner(path, tuple(map(str, named))).written(path.name)

    choice = FormChoice("ExecuTorch", ("float32", "int8"), ("dynamic", "static"))
    return DeviceFormat("executorch", choice, EXECUTORCH.need_all, write_executorch, opened)


def _coreml() -> DeviceFormat:
    from taut.exporting.coreml.coreml_packages import COREML
    from taut.exporting.coreml.write import opened_coreml, write_coreml

    def opened(path: Path, samples: Samples, folded: Folded) -> WrittenModel:
        return opened_coreml(path, folded)

    choice = FormChoice("Core ML", ("float32", "float16", "int8"), ("none",))
    return DeviceFormat("coreml", choice, COREML.need_all, write_coreml, opened, folder=True)
