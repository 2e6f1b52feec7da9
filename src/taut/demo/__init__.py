"""The demo: a real sentence encoder made smaller, decoded, and measured against the original."""

from taut.demo.coder_speed import SpeedReport, SpeedRow, measure_speed
from taut.demo.minilm import SentenceEncoder, find_minilm, read_sentences
from taut.demo.run import DEMO_BITS, DemoReport, DemoRow, run_demo

__all__ = [
    "DEMO_BITS",
    "DemoReport",
    "DemoRow",
    "SentenceEncoder",
    "SpeedReport",
    "SpeedRow",
    "find_minilm",
    "measure_speed",
    "read_sentences",
    "run_demo",
]
