"""Laconic: the parameters of an AI model in as few bytes as the accuracy you ask for allows."""

import sys
from typing import TYPE_CHECKING

from laconic._verbs import Verbs

if TYPE_CHECKING:
    from laconic.analysis import analyze
    from laconic.compress import compress
    from laconic.container.verify import verify
    from laconic.decompress import decompress
    from laconic.evaluation import evaluate
    from laconic.exporting import export
    from laconic.frontier import frontier
    from laconic.info import info
    from laconic.load import load
    from laconic.planning import plan
    from laconic.storytelling import report

__version__ = "0.1.0"
__all__ = ["analyze", "compress", "decompress", "evaluate", "export", "frontier", "info",
           "load", "plan", "report", "verify"]  # fmt: skip

# From here on `laconic.compress` is the verb, imported when first used.
sys.modules[__name__].__class__ = Verbs
