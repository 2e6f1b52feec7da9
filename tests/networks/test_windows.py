"""Windows of tokens in batches, of which the logits fit into memory."""

import numpy as np
import pytest

from taut.networks.windows import window_batches


@pytest.mark.parametrize(
    "vocabulary, rows", [(None, 8), (65, 8), (30_000, 2), (49_152, 1), (1 << 30, 1)]
)
def test_batches_hold_fewer_windows_of_a_large_vocabulary(vocabulary, rows):
    tokens = np.arange(16 * 512).reshape(16, 512) % 64
    batches = window_batches(tokens, None, vocabulary)
    assert [len(one["input_ids"]) for one in batches] == [rows] * (16 // rows)
    assert np.concatenate([one["input_ids"] for one in batches]).tolist() == tokens.tolist()
