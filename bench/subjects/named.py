"""The models that fidelity is measured on, by their names.

minilm_in          the MiniLM sentence encoder, calibrated on texts like the test's
minilm_blended     the same, some of Taut's own texts among them
minilm_out         the same, calibrated on few short texts of another kind
minilm_linear      the weights of its encoder's linear layers alone, all else as it was
minilm_linear_out  these, calibrated like minilm_out
resnet20           ResNet-20 on CIFAR-10
gpt2m              a GPT-2-style language model of 2.0 M parameters, head tied to the embedding
smollm2            SmolLM2-135M, its 4-bit GGUF decoded to float32
gemma3             Gemma-3-270M, likewise; five eighths of it are embeddings
"""

from __future__ import annotations

from bench.subjects.subject import Subject

_MINILM = ("minilm_in", "minilm_blended", "minilm_out", "minilm_linear", "minilm_linear_out")
NAMES = (*_MINILM, "resnet20", "gpt2m", "smollm2", "gemma3")


def subject(name: str, thin: int = 1) -> Subject:
    """Build one of `NAMES`, judged by every `thin`-th piece of its test data.

    RuntimeError says what data or package is missing.
    """
    try:
        if name.startswith("minilm"):
            from bench.subjects.sentences import MiniLM

            return MiniLM(name, thin)
        if name in ("smollm2", "gemma3"):
            from bench.subjects.language_models import LanguageModel

            return LanguageModel(name, thin)
        if name == "resnet20":
            from bench.subjects.images import ResNet20

            return ResNet20(thin)
        from bench.subjects.language import GPT2M

        return GPT2M(thin)
    except ImportError as error:
        raise RuntimeError(f"{name}: {error.name or error} is not installed") from None
