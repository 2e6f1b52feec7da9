"""Options under the words that they had before: accepted for one release, with a warning."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

_ALL: Final = {"--eval": "--score"}
_OF_COMMAND: Final = {
    "eval": {"--against": "--original", "--data": "--calib"},
    "export": {"--model": "--into"},
}


def in_new_words(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command line with the options' words of now; says on stderr what changed.

    >>> in_new_words(["info", "--json", "x"])
    ['info', '--json', 'x']
    """
    command = next((one for one in arguments if not one.startswith("-")), "")
    words = {**_ALL, **_OF_COMMAND.get(command, {})}
    found = []
    for argument in arguments:
        option, sign, value = argument.partition("=")
        if option in words:
            print(f"taut: {option} is called {words[option]} now", file=sys.stderr)
        found.append(words.get(option, option) + sign + value)
    return found
