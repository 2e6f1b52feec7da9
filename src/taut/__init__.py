"""Taut: the parameters of an AI model in as few bytes as the accuracy you ask for allows."""

import sys
from typing import TYPE_CHECKING

from taut._verbs import Verbs

if TYPE_CHECKING:
    from taut.analysis import analyze
    from taut.compress import compress
    from taut.container.verify import verify
    from taut.decompress import decompress
    from taut.evaluation import evaluate
    from taut.exporting import export
    from taut.frontier import frontier
    from taut.info import info
    from taut.load import load
    from taut.planning import plan
    from taut.storytelling import report

__version__ = "0.1.0"
__all__ = ["analyze", "compress", "decompress", "evaluate", "export", "frontier", "info",
           "load", "plan", "report", "verify"]  # fmt: skip

# From here on `taut.compress` is the verb, imported when first used.
sys.modules[__name__].__class__ = Verbs
