"""Arguments under the words that they had before: accepted for one release, with a warning."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from taut.errors import ArgumentError
from taut.networks.beside import importing

P = ParamSpec("P")
T = TypeVar("T")


def accepting(**words: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a verb take old keywords: `accepting(evaluate="score")`.

    While it runs, what lies beside the user's files can be imported.

    Raises:
        ArgumentError: when the verb is given an argument under both words.

    >>> @accepting(evaluate="score")
    ... def judge(*, score=None):
    ...     return score
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     judge(evaluate=3), [str(one.message) for one in said]
    (3, ['evaluate= is called score= now'])
    """

    def accept(verb: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(verb)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            for old in words.keys() & kwargs.keys():
                new = words[old]
                if new in kwargs:
                    raise ArgumentError(f"{new}: is given twice, as {old} too; keep one")
                warnings.warn(f"{old}= is called {new}= now", DeprecationWarning, stacklevel=2)
                kwargs[new] = kwargs.pop(old)
            with importing():
                return verb(*args, **kwargs)

        return call

    return accept
