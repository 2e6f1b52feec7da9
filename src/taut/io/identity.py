"""What a piece of long work was made from, as short texts that are equal only if it is the same."""

from __future__ import annotations

from collections.abc import Mapping

from taut.io import Source, check_unchanged
from taut.io.digest import Digest
from taut.io.dtypes import storage
from taut.io.tensor_pieces import pieces_of


def model_identity(source: Source) -> str:
    """An xxh3 of 128 bits over names, dtypes, shapes and bytes of all tensors, in their order.

    Of a file, a folder or a module alike: where the same tensors come from is not in it, nor
    which of them are tied. One tensor is held at a time, of a large one 64 MiB. Raises
    `VerifyError` if a file changed.

    >>> import numpy as np
    >>> from taut.io import open_source
    >>> model_identity(open_source({"w": np.zeros((2, 3), np.float32)}))
    'cbef52de7c8183392af4d760156fbe8c'
    """
    digest = Digest()
    for info in source.infos:
        # The dtype is safetensors' own: sub-byte values of all kinds are loaded as plain bytes.
        digest.add((info.name, info.dtype, info.shape), info.name)
        digest.add_pieces(storage(info.dtype, info.shape), pieces_of(source, info))
    check_unchanged(source.stamps)
    return digest.text()


def plan_identity(
    plan: str | Mapping[str, object] | None = None, /, **settings: str | float | bool | None
) -> str:
    """An xxh3 of 128 bits over a plan and the settings that decide beside it.

    `plan` is the text of a plan, where every character counts, or schemes by tensor name, whose
    order does not count. A setting that is not given differs from one that is None.

    >>> plan_identity({"a": "lossless", "b": "rd"}) == plan_identity({"b": "rd", "a": "lossless"})
    True
    >>> plan_identity(None, bits=2.5) == plan_identity(None, bits=2.25)
    False
    """
    digest = Digest()
    if isinstance(plan, Mapping):
        plan_parts = sorted((name, str(scheme)) for name, scheme in plan.items())
        digest.add(plan_parts, "plan")
    else:
        digest.add(plan, "plan")
    digest.add(sorted(settings.items()), "plan")
    return digest.text()
