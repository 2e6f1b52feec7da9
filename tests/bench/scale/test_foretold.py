"""Memory that is foretold is what a run takes."""

import sys

import pytest

pytest.importorskip("torch")

from bench.scale.observed import observe


@pytest.mark.skipif(sys.platform != "linux", reason="the system's own peak is read from /proc")
def test_what_is_foretold_is_what_is_taken():
    """Within 25 % where it was measured (docs/scale.md); allocators elsewhere keep more or less."""
    found = observe("bench.scale.foretold", "convolutions", "--alone")
    told = found.said["told"]
    assert told / 1.4 <= found.anonymous <= 1.4 * told, found
