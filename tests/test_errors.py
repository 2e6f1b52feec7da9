"""The exception tree: five of them, one root, and data that survives a process boundary."""

import pickle

import pytest

from taut import errors
from taut.errors import ArgumentError, FormatError, TargetError, TautError, VerifyError


def test_there_are_five_and_one_root() -> None:
    defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert defined == {"TautError", "FormatError", "ArgumentError", "TargetError", "VerifyError"}
    for kind in (FormatError, ArgumentError, TargetError, VerifyError):
        assert kind.__bases__ == (TautError,)


def test_target_error_carries_the_best_result() -> None:
    assert TargetError("8x not reached; best 7.1x", best={"ratio": 7.1}).best == {"ratio": 7.1}
    assert TargetError("nothing fits").best is None


def test_verify_error_names_tensor_and_chunk() -> None:
    error = VerifyError(
        "encoder.weight, chunk 3: checksum differs", tensor="encoder.weight", chunk=3
    )
    assert (error.tensor, error.chunk) == ("encoder.weight", 3)
    assert str(error) == "encoder.weight, chunk 3: checksum differs"


@pytest.mark.parametrize(
    "error", [TargetError("m", best=[1]), VerifyError("m", tensor="t", chunk=0), FormatError("m")]
)
def test_errors_cross_process_boundaries(error: TautError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert (str(back), vars(back)) == (str(error), vars(error))
