"""Small models of real kinds, made on the spot, and code as a user writes it."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

WORDS = [
    "[PAD]",
    "[UNK]",
    *("the", "a", "cat", "dog", "sat", "ran"),
    *("on", "mat", "and", "far", "away", "home"),
]


@pytest.fixture
def code(tmp_path: Path) -> Callable[..., Path]:
    """Writes a Python file and gives its path."""

    def write(text: str, name: str = "build.py") -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return write


def save_tokenizer(folder: Path, **special: str) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    model = tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", **special
    ).save_pretrained(folder)


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with a masked-language head, and its tokenizer; 24 positions."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=24,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("bert")
    transformers.BertForMaskedLM(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 with a tied head, in bfloat16, without a tokenizer."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=32, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    folder = tmp_path_factory.mktemp("gpt2")
    transformers.GPT2LMHeadModel(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def lm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 96 positions with its tokenizer, which ends texts with "[END]"; no template."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS) + 2, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=96,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("lm")
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    save_tokenizer(folder, eos_token="[END]")
    return folder


RESNET = """
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.bn = nn.BatchNorm2d(channels)

        def forward(self, x):
            return torch.relu(self.bn(self.conv(x)) + x)

    def model():
        torch.manual_seed(0)
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
        return nn.Sequential(nn.Conv2d(3, 4, 3), Block(4), Block(4), head)

    def batches():
        generator = torch.Generator().manual_seed(1)
        return [torch.rand(5, 3, 8, 8, generator=generator) for _ in range(4)]

    def score(net):
        return -float(sum(net(x).square().mean() for x in batches()))

    ready = model()
"""


@pytest.fixture
def resnet(code: Callable[..., Path]) -> Path:
    """A file with a small residual network, its batches, and a score."""
    pytest.importorskip("torch")
    return code(RESNET)
