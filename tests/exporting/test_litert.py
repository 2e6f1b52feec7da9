"""Networks as .tflite files in LiteRT: their own integers, the same answers, what is refused."""

import numpy as np
import pytest

pytest.importorskip(
    "litert_torch", reason="litert-torch is not installed: make clients INSTALL=litert runs this"
)
from tests.exporting.device_networks import (
    batches,
    convolutions,
    in_a_file,
    integers_of,
    refusals,
)

import taut
from taut.exporting.litert.interpreter import LiteRunner

torch = pytest.importorskip("torch")
INT8 = 9


def weights_of(path):
    """The int8 constants of a file, as rows of outputs, and their scales."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(path))
    found = []
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if tensor.type == INT8 and data is not None and len(data):
            axis = tensor.quantization.quantizedDimension
            values = np.frombuffer(bytes(data), np.int8).reshape(tuple(tensor.shape))
            found.append((np.moveaxis(values, axis, 0), np.array(tensor.quantization.scale)))
    return found


@pytest.mark.parametrize("activations", ["dynamic", "static", "none"])
def test_integers_are_the_networks_own_and_answers_the_same(tmp_path, activations):
    net = convolutions()
    file = in_a_file(net, tmp_path)
    done = taut.export(
        file, tmp_path / "n.tflite", into=net, calib=batches(), activations=activations
    )
    assert done.rounded == 0 and done.check.relative < 0.05
    assert done.check.runtime.startswith("ai-edge-litert") and done.check.samples >= 24
    wanted = [sorted(row.tolist()) for one in integers_of(net).values() for row in one]
    held = weights_of(tmp_path / "n.tflite")
    assert len(held) == 4 and min(int(values.min()) for values, _ in held) >= -127
    found = [sorted(np.abs(row.astype(int)).reshape(-1).tolist()) for one, _ in held for row in one]
    assert sorted(found) == sorted(wanted)
    assert "3 batch norms in the weights" in done.notes[-1]
    x = batches()[0][:1]
    assert torch.allclose(
        torch.from_numpy(LiteRunner(tmp_path / "n.tflite")(x)[0]), net(x), atol=0.2
    )


def test_floats_of_other_widths_and_a_score(tmp_path):
    net = convolutions()
    file = in_a_file(net, tmp_path)
    x = torch.cat(batches())
    same = net(x).argmax(1)
    done = {
        weights: taut.export(
            file, tmp_path / f"{weights}.tflite", into=net, calib=batches(), weights=weights,
            score=lambda module: float((module(x).argmax(1) == same).float().mean()),
        )
        for weights in ("float32", "float16")
    }  # fmt: skip
    assert done["float32"].check.relative < 1e-5 and done["float32"].rounded == 0
    assert (
        0 < done["float16"].check.relative < 2e-3 and done["float16"].rounded == 4
    )  # not the biases
    assert any("score 1.0000 in PyTorch, 1.0000 in ai" in note for note in done["float32"].notes)


def test_inputs_by_name_and_several_outputs(tmp_path):
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.out = torch.nn.Embedding(50, 64), torch.nn.Linear(64, 24)

        def forward(self, input_ids, attention_mask):
            x = self.words(input_ids) * attention_mask[..., None]
            return {"states": x, "pooled": self.out(x.sum(1))}

    torch.manual_seed(0)
    net = Two().eval()
    ids = torch.randint(1, 50, (4, 40))
    given = [{"input_ids": ids, "attention_mask": torch.ones_like(ids)}]
    done = taut.export(in_a_file(net, tmp_path), tmp_path / "n.tflite", into=net, calib=given)
    assert done.check.relative < 0.05 and "takes texts of 64 tokens" in done.notes[0]


def test_what_is_refused_leaves_nothing(tmp_path):
    refusals(tmp_path, "n.tflite")
