"""From a scheme for every tensor to few rules: tensors of repeated layers share one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from taut.planning.pattern import REGEX, is_name, matching
from taut.planning.plan import Rule
from taut.scheme import Scheme

_NUMBER: Final = re.compile(r"\d+")


def collapse(schemes: Mapping[str, Scheme]) -> tuple[Rule, ...]:
    """Rules that give each tensor its scheme, in the order of the tensors, each deciding some.

    A glob is used only where every tensor that it matches has the rule's scheme, so that the
    order of the rules does not matter and one can be changed by hand without touching another.

    >>> rules = collapse({f"h.{i}.w": Scheme("rd") for i in range(3)} | {"h.b": Scheme("fp16")})
    >>> [(rule.match, str(rule.scheme)) for rule in rules]
    [('h.*.w', 'rd'), ('h.b', 'fp16')]
    """
    if len(schemes) > 1 and len(set(schemes.values())) == 1:
        return (Rule(match="*", scheme=next(iter(schemes.values()))),)
    covers = _remembered(schemes)
    rules: list[Rule] = []
    decided: set[str] = set()
    for name, scheme in schemes.items():
        if name in decided:
            continue
        for pattern in _patterns(name, scheme):
            found = covers(pattern)
            if len(found) > 1 and all(schemes[one] == scheme for one in found):
                break
        else:
            pattern, found = _literal(name), [name]
        rules.append(Rule(match=pattern, scheme=scheme))
        decided.update(found)
    return tuple(rules)


def _patterns(name: str, scheme: Scheme) -> Iterator[str]:
    """Globs that match the name, the widest first; none for names that look like globs."""
    if not is_name(name):
        return
    parts = name.split(".")
    if scheme.kind != "rd":  # the same bits for all, so nothing is lost by taking many together
        for count in range(1, min(3, len(parts))):
            yield "*." + ".".join(parts[-count:])
    for pattern in (
        _NUMBER.sub("*", name),
        ".".join("*" if _NUMBER.fullmatch(part) else part for part in parts),
    ):
        if pattern != name:
            yield pattern


def _literal(name: str) -> str:
    return name if is_name(name) else REGEX + re.escape(name)


def _remembered(names: Mapping[str, Scheme]) -> Callable[[str], Sequence[str]]:
    """What each pattern matches; the tensors of a layer's kind all ask for the same one."""
    found: dict[str, Sequence[str]] = {}

    def covers(pattern: str) -> Sequence[str]:
        if pattern not in found:
            found[pattern] = matching(pattern, names)
        return found[pattern]

    return covers
