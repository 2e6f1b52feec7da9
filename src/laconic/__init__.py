"""Laconic: the parameters of an AI model in as few bytes as the accuracy you ask for allows."""

import sys
from typing import TYPE_CHECKING

from laconic._verbs import Verbs

if TYPE_CHECKING:
    from laconic.compress import compress
    from laconic.container.verify import verify
    from laconic.decompress import decompress
    from laconic.info import info
    from laconic.load import load

__version__ = "0.1.0"
__all__ = ["compress", "decompress", "info", "load", "verify"]

# From here on `laconic.compress` is the verb, imported when first used.
sys.modules[__name__].__class__ = Verbs
