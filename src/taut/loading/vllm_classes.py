"""The two classes of vLLM that open a Taut folder, made where vLLM is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from taut.loading.vllm_weights import METHOD, decoded, taut_folder

if TYPE_CHECKING:
    import torch


def config_class() -> type:
    """What stands under `quantization_config`: layers are ordinary ones, once it is decoded."""
    import torch
    from vllm.model_executor.layers.linear import LinearBase, UnquantizedLinearMethod
    from vllm.model_executor.layers.quantization.base_config import QuantizationConfig

    class TautVllmConfig(QuantizationConfig):  # type: ignore[misc]  # vLLM has no types here
        @classmethod
        def from_config(cls, config: dict[str, Any]) -> TautVllmConfig:
            return cls()

        def get_name(self) -> str:
            return METHOD

        def get_supported_act_dtypes(self) -> list[torch.dtype]:
            return [torch.float32, torch.float16, torch.bfloat16]

        @classmethod
        def get_min_capability(cls) -> int:
            return 0

        @staticmethod
        def get_config_filenames() -> list[str]:
            return []

        def get_quant_method(self, layer: torch.nn.Module, prefix: str) -> Any:
            # None says of all other layers that they are not quantised.
            return UnquantizedLinearMethod() if isinstance(layer, LinearBase) else None

    return TautVllmConfig


def loader_class() -> type:
    """The loader of vLLM itself, but for models that are Taut's: their tensors come decoded."""
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    class TautWeightsLoader(DefaultModelLoader):  # type: ignore[misc]
        def get_all_weights(
            self, model_config: Any, model: torch.nn.Module
        ) -> Iterator[tuple[str, torch.Tensor]]:
            if model_config.quantization != METHOD:
                yield from super().get_all_weights(model_config, model)
                return
            cache = self.load_config.download_dir
            yield from decoded(taut_folder(model_config.model, model_config.revision, cache))
            for source in getattr(model, "secondary_weights", ()):
                yield from self._get_weights_iterator(source)

    return TautWeightsLoader
