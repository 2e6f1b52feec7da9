"""What folding batch norms is worth: the same file size, norms folded and as they are.

    python -m bench.frontier.norms [--mobile FILE] [--bits 3] [--data-free]

ResNet-20, and the MobileNet-like network whose weights `python -m bench.subjects.mobile FILE`
trains.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

import taut
from bench.measuring import report
from bench.subjects.images import ResNet20, decoded_images
from bench.subjects.mobile import MobileNetwork, normalised


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table of losses."""
    arguments = command_line().parse_args(argv)
    rows = []
    for name, network in _networks(arguments.mobile).items():
        for fold in (False, True):
            rows.append({"network": name, "norms": "folded" if fold else "as they are"})
            rows[-1] |= _row(network, arguments.bits, fold=fold, free=arguments.data_free)
    columns = {"network": "", "norms": "norms", "bits": "bits", "kl": "KL", "lost": "points lost"}
    print(report.table(columns, rows))
    print(report.footer())


def _networks(mobile: Path | None) -> dict[str, nn.Module]:
    found: dict[str, nn.Module] = {"ResNet-20": ResNet20(100).module()}
    if mobile is not None:
        found["MobileNet-like"] = MobileNetwork().eval()
        found["MobileNet-like"].load_state_dict(load_file(mobile))
    return found


def _row(network: nn.Module, bits: float, *, fold: bool, free: bool) -> dict[str, object]:
    """Compress, load into a copy, and judge it on all test images."""
    images, _ = decoded_images("train", 512)
    calib = [normalised(part) for part in torch.from_numpy(images).permute(0, 3, 1, 2).split(64)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.taut.safetensors")
        made = taut.compress(network, path, bits=bits, calib=None if free else calib, fold=fold)
        other = copy.deepcopy(network)
        taut.load(path, into=other)
    labels = decoded_images("test", None)[1]
    before, after = _logits(network), _logits(other.eval())
    right = [float((z.argmax(1) == labels).double().mean()) for z in (before, after)]
    kl = functional.kl_div(
        after.log_softmax(1), before.log_softmax(1), log_target=True, reduction="batchmean"
    )
    return {"bits": made.bits, "kl": float(kl), "lost": 100 * (right[0] - right[1])}


@torch.inference_mode()
def _logits(network: nn.Module) -> Tensor:
    images = torch.from_numpy(decoded_images("test", None)[0]).permute(0, 3, 1, 2)
    return torch.cat([network(normalised(part)) for part in images.split(200)])


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description="Batch norms folded, and as they are.")
    parser.add_argument("--mobile", type=Path, help="weights of the MobileNet-like network")
    parser.add_argument("--bits", type=float, default=3.0)
    parser.add_argument("--data-free", action="store_true", help="round without data")
    return parser


if __name__ == "__main__":
    main()
