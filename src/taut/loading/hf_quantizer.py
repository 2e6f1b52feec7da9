"""`AutoModel.from_pretrained(folder)` on a Taut folder, after `import taut.hf`.

`taut compress MODEL_FOLDER OUT` writes into the config of `OUT` that its weights are Taut's.
Transformers then asks for what is registered here. It gets the weights as ordinary safetensors in a
temporary folder, reads them as it reads any others (prefixes, dtypes, tied weights, heads), and
ends up with an ordinary model: nothing is patched, and nothing of Taut stays in it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from taut.container import open_taut
from taut.container.model_folder import FILE_NAME, LOW_BIT_KEY
from taut.container.plain_file import write_tensors
from taut.container.shard_table import INDEX_NAME
from taut.errors import ArgumentError
from taut.loading.float_file import with_floats
from taut.loading.restore import decompress

_FLOATS = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}

if not hasattr(HfQuantizer, "update_attn_implementation"):
    raise ArgumentError("taut.hf takes a newer transformers: pip install -U 'taut[hf]'")


@register_quantization_config("taut")
class TautConfig(QuantizationConfigMixin):
    """What stands under `quantization_config` in the config of a Taut folder."""

    def __init__(self, quant_method: str = "taut", shards: bool = False) -> None:
        self.quant_method = quant_method  # type: ignore[assignment]
        self.shards = shards  # the weights are several files and an index
        self.dequantize = True  # the model is an ordinary one afterwards

    def to_dict(self) -> dict[str, object]:
        """As it stands in the config."""
        shards = {"shards": True} if self.shards else {}
        return {"quant_method": self.quant_method, **shards}


@register_quantizer("taut")
class TautQuantizer(HfQuantizer):
    """Puts decoded weights in the place of the Taut file, for transformers to read."""

    def __init__(self, quantization_config: TautConfig, **kwargs: object) -> None:
        super().__init__(quantization_config, **kwargs)
        self._decoded: tempfile.TemporaryDirectory[str] | None = None
        self._shards = quantization_config.shards

    def update_attn_implementation(self, config: PreTrainedConfig) -> PreTrainedConfig:
        """Called before the weights are looked for: names their file, and their dtype.

        Transformers would otherwise take the dtype of coded bytes where the config names none.
        """
        name = INDEX_NAME if self._shards else FILE_NAME
        config.transformers_weights = name
        path = Path(config._name_or_path, name)
        if getattr(config, "dtype", None) is None and path.is_file():
            config.dtype = _dtype(path)
        return config

    def update_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Refuse the dtype of coded bytes, where they were not in a folder of this machine."""
        if not dtype.is_floating_point:
            raise ArgumentError("config.json names no dtype: from_pretrained(..., dtype=...)")
        return dtype

    def _process_model_before_weight_loading(
        self, model: PreTrainedModel, checkpoint_files: list[str] | None = None, **kwargs: object
    ) -> None:
        """Decode into a temporary folder, and have transformers read that."""
        if not checkpoint_files:
            return
        file = Path(checkpoint_files[0])
        if self._shards:
            file = file.with_name(INDEX_NAME)
        self._decoded = tempfile.TemporaryDirectory(prefix="taut-", ignore_cleanup_errors=True)
        try:
            checkpoint_files[:] = [str(path) for path in _decode(file, Path(self._decoded.name))]
        except BaseException:
            self._decoded.cleanup()
            raise

    def _process_model_after_weight_loading(
        self, model: PreTrainedModel, **kwargs: object
    ) -> PreTrainedModel:
        """Clean up: what was read is in memory, or mapped and needs its names no more."""
        if self._decoded is not None:
            self._decoded.cleanup()
        for part in model.modules():
            config = getattr(part, "config", None)
            for name in ("transformers_weights", LOW_BIT_KEY):
                if isinstance(config, PreTrainedConfig) and hasattr(config, name):
                    delattr(config, name)
        return model

    def is_serializable(self) -> bool:
        """`save_pretrained` writes the model as the ordinary one that it is."""
        return True

    @property
    def is_trainable(self) -> bool:
        """As any model."""
        return True


def _dtype(path: Path) -> torch.dtype:
    """That of the first floats, as transformers has it of other files."""
    found = (_FLOATS[info.dtype] for info in open_taut(path).infos if info.dtype in _FLOATS)
    return next(found, torch.get_default_dtype())


def _decode(path: Path, folder: Path) -> list[Path]:
    """Write the safetensors of a Taut file into a folder; gives their paths."""
    file = open_taut(path)
    if file.modules:
        raise ArgumentError(
            f"{path}: channels were removed, which transformers cannot know: build the model from "
            "its config and taut.load(file, into=model)"
        )
    origin = file.index.origin
    if origin.quantization:  # transformers gets floats, which any class of the network takes
        floats, whole = with_floats(file), folder / "model.safetensors"
        write_tensors(whole, floats.infos, floats.pieces)
        return [whole]
    several = len(origin.files) > 1 or origin.texts
    restored = decompress(path, folder / ("model" if several else "model.safetensors"))
    return [one for one in restored.files if one.suffix == ".safetensors"]
