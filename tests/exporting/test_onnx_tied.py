"""One matrix that rows are looked up in and outputs are multiplied by is stored once."""

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from taut.exporting.onnx.graph import arrays  # noqa: E402
from taut.exporting.onnx.onnx_form import OnnxForm  # noqa: E402
from taut.exporting.onnx.trace import Traced, trace  # noqa: E402
from taut.exporting.onnx.write import export_onnx  # noqa: E402
from taut.networks.onnx_module import open_onnx  # noqa: E402

EXPORT = sys.modules["taut.exporting.onnx.write"]
ROWS, COLUMNS = 300, 64  # smaller matrices the exporter turns itself


class Tied(torch.nn.Module):
    """Tokens to scores of tokens, by the table that they came from."""

    def __init__(self, flat):
        super().__init__()
        self.flat = flat
        self.embed = torch.nn.Embedding(ROWS, COLUMNS)
        self.mix = torch.nn.Linear(COLUMNS, COLUMNS)

    def forward(self, ids):
        x = torch.tanh(self.mix(self.embed(ids)))
        x = x.mean(1) if self.flat else x  # of two axes: a Gemm, of three a MatMul
        return torch.nn.functional.linear(x, self.embed.weight)


@pytest.fixture(scope="module", params=["gemm", "matmul"])
def tied(request):
    torch.manual_seed(0)
    module = Tied(request.param == "gemm").eval()
    q = torch.randint(-127, 128, (ROWS, COLUMNS))
    q[:, 0], q[:, 1] = 127, 126
    scales = torch.rand(ROWS, 1) * 0.01 + 0.001
    module.embed.weight.data = q * scales
    ids = torch.randint(0, ROWS, (4, 6))
    return module, q.numpy(), ids, trace(module, ids)


@pytest.mark.parametrize("activations", ["none", "dynamic", "static"])
def test_int8_holds_a_tied_table_once_and_as_it_is(tied, tmp_path, monkeypatch, activations):
    module, q, ids, graph = tied
    model = type(graph.model).FromString(graph.model.SerializeToString())
    monkeypatch.setattr(EXPORT, "trace", lambda *_, **__: Traced(model, ()))
    path = tmp_path / "m.onnx"
    found = export_onnx(module, ids, path, OnnxForm(activations=activations), batches=[ids])
    held = arrays(onnx.load(path).graph)
    large = {name: values for name, values in held.items() if values.size == ROWS * COLUMNS}
    assert list(large) == ["embed.weight"]
    table = large["embed.weight"]
    assert np.array_equal(table.astype(int) - (128 if table.dtype == np.uint8 else 0), q)
    assert found.rounded == 1 and not found.notes  # `mix`
    more = torch.randint(0, ROWS, (3, 9))
    assert torch.cosine_similarity(open_onnx(path)(more), module(more), -1).min() > 0.98


def test_int4_looks_up_eight_bits_and_multiplies_by_four(tied, tmp_path, monkeypatch):
    module, q, ids, graph = tied
    model = type(graph.model).FromString(graph.model.SerializeToString())
    monkeypatch.setattr(EXPORT, "trace", lambda *_, **__: Traced(model, ()))
    path = tmp_path / "m.onnx"
    found = export_onnx(module, ids, path, OnnxForm(weights="int4"))
    held = arrays(onnx.load(path).graph)
    assert np.array_equal(held["embed.weight"], q)
    assert held["embed.weight_blocks"].nbytes == ROWS * COLUMNS // 2
    assert found.rounded == 2 and found.check.cosine > 0.97
