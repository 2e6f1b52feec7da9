"""A model for phones and boards, from the Taut file to what was run against the original."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taut.container import TautFile, made_file, made_folder
from taut.exporting.check import size_words
from taut.exporting.device.as_module import answering_module
from taut.exporting.device.device_form import DeviceForm, FormChoice
from taut.exporting.device.folded_program import Folded, folded_program
from taut.exporting.device.single_samples import Samples, single_samples
from taut.exporting.filled_network import example_batches, filled_network
from taut.exporting.held_against import WrittenModel, held_against
from taut.exporting.onnx.answers import of_module
from taut.exporting.onnx.onnx_form import Placed
from taut.exporting.request import ExportRequest
from taut.exporting.result import Check, Export
from taut.exporting.safetensors import listed
from taut.exporting.scored import scored

if TYPE_CHECKING:
    from taut.networks import ModelSpec


@dataclass(frozen=True)
class DeviceFormat:
    """A format: `name` as `--to` has it, what writes it, and what opens a written file to run it.

    `need` raises where an extra is missing; `choice` says which numbers the format has;
    `folder` that it is several files.
    """

    name: str
    choice: FormChoice
    need: Callable[[], None]
    write: Callable[[Folded, Samples, DeviceForm, Path], Placed]
    opened: Callable[[Path, Samples, Folded], WrittenModel]
    folder: bool = False


@dataclass(frozen=True)
class NetworkOfFile:
    """The network of a file: `companions` is the folder that describes it, if one does."""

    described: ModelSpec
    companions: Path | None


def export_to_device(
    file: TautFile,
    request: ExportRequest,
    network: NetworkOfFile,
    form: DeviceForm,
    kind: DeviceFormat,
) -> Export:
    """Write a model, run it in its runtime against the network, and give it its name.

    Raises:
        ArgumentError: there is no example, or the network cannot be converted.
        VerifyError: the runtime's answers are others; the message has the figure.
    """
    out = request.out
    loaded = filled_network(file, out, network.described, network.companions)
    samples = single_samples(
        loaded.module, example_batches(loaded, request.calib, kind.choice.shown)
    )
    before = None if request.score is None else scored(loaded.module, request.score)
    folded = folded_program(loaded.module, samples.example)
    made = (
        made_folder(out, force=request.force, sole=True)
        if kind.folder
        else made_file(out, force=request.force)
    )
    with made as path:
        placed = kind.write(folded, samples, form, path)
        written = kind.opened(path, samples, folded)
        check = held_against(written, of_module(loaded.module), samples.checked)
        form.refuse_far(written, check)
        notes = [*samples.notes, *placed.notes, *_lost(check)]
        if before is not None and request.score is not None:
            module = answering_module(written, loaded.module, samples.example)
            name, after = scored(module, request.score)
            notes.append(f"{name} {before[1]:.4f} in PyTorch, {after:.4f} in {written.program}")
        size, files = listed(path, out) if kind.folder else (path.stat().st_size, (out,))
    words = size_words(file.index.origin.nbytes, file.size, size)
    norms = f", {folded.norms} batch norms in the weights" if folded.norms else ""
    return Export(
        path=out,
        format=kind.name,
        files=files,
        size=size,
        exact=placed.exact,
        rounded=placed.rounded,
        check=check,
        notes=(*notes, f"{form.told}{norms}: {words}"),
    )


def _lost(check: Check) -> list[str]:
    """A note on single samples whose answers are lost, where those of all together are not."""
    if not check.lost:
        return []
    return [
        f"the answers to {check.lost} of {check.samples} samples of the check are lost: they are "
        "much smaller than the others'; activations dynamic (--activations) takes each one's range"
    ]
