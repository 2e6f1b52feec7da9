"""The plan file: what is asked of a model, and the rules that say which tensor is stored how."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainSerializer,
    PlainValidator,
    StrictBool,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from laconic.coding import Effort
from laconic.container import AtomicFile
from laconic.errors import ArgumentError
from laconic.plan.document import MAX_BYTES, Document, read_document, write_document
from laconic.plan.match import REGEX
from laconic.plan.target import parse_target
from laconic.scheme import Scheme, parse_scheme

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

VERSION: Final = 1
_DROP: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,15})?)%")
_EXPECTED: Final = {
    "laconic": "1, the version of the schema",
    "target": "a mapping as {size: 12x}",
    "effort": " or ".join(get_args(Effort)),
    "seed": "a whole number from 0 on",
    "finish": "true or false",
    "rules": "a list of rules as {match: PATTERN, scheme: SCHEME}",
    "match": 'a glob as "*.weight", or "re:PATTERN"',
    "scheme": 'a text as rd, "int4:g64" or "2:4"',
    "weight": "a positive number, at most 1e6",
    "size": "a text as 12x, 4.2MB or 12%, or bytes",
    "bits": "a positive number, in bits per parameter",
    "max_drop": "0.5% of the score, or a number as 0.005 off it",
}


class _ToldError(ValueError):
    """An error whose message stands for itself; the key and value need not be added."""


def _number(value: object) -> float:
    """A finite int or float as it is: no text, and no bool, which Python counts as a number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e300:
        return value
    raise ValueError("no finite number")


def _scheme(value: object) -> Scheme:
    if isinstance(value, Scheme):
        return value
    if not isinstance(value, str):
        raise ValueError("no text")
    try:
        return parse_scheme(value)
    except ArgumentError as error:
        raise _ToldError(str(error)) from None


_Number = Annotated[float, PlainValidator(_number)]
_Scheme = Annotated[Scheme, PlainValidator(_scheme), PlainSerializer(str, return_type=str)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Rule(_Part):
    """The tensors that `match` names get `scheme`; `weight` multiplies the step that `rd` gets.

    `match` is a glob over the full name, or `re:` and a regular expression of it. Only `rd`
    without bits, whose step the one dial of the whole model sets, takes a weight.
    """

    match: Annotated[str, Field(strict=True, min_length=1)]
    scheme: _Scheme
    weight: _Number = 1.0

    @field_validator("match")
    @classmethod
    def _compiles(cls, match: str) -> str:
        try:
            re.compile(match.removeprefix(REGEX) if match.startswith(REGEX) else "")
        except (re.error, OverflowError, RecursionError) as error:
            raise _ToldError(f'match: "{match}" is no regular expression: {error}') from None
        return match

    @model_validator(mode="after")
    def _weighs(self) -> Rule:
        if not 0 < self.weight <= 1e6:
            raise _ToldError(f"weight: {self.weight:g} cannot be; give {_EXPECTED['weight']}")
        if self.weight != 1 and (self.scheme.kind != "rd" or self.scheme.bits is not None):
            raise _ToldError(
                f"weight: only rd, whose step the target sets, has one, not {self.scheme}"
            )
        return self


class Goal(_Part):
    """What is asked of the file: `size` or `bits` (per parameter), with or without `max_drop`.

    `max_drop` is what the score may lose: "0.5%" of it, or so much as a number says.
    """

    size: str | int | None = None
    bits: _Number | None = None
    max_drop: str | float | None = None

    @field_validator("size", mode="plain")
    @classmethod
    def _size(cls, size: object) -> object:
        if size is not None and (isinstance(size, bool) or not isinstance(size, (str, int))):
            raise ValueError("neither a text nor bytes")
        return size

    @field_validator("max_drop", mode="plain")
    @classmethod
    def _drop(cls, drop: object) -> object:
        if isinstance(drop, str):
            percent = _DROP.fullmatch(drop)
            good = percent is not None and float(percent[1]) <= 100
        else:
            good = drop is None or _number(drop) >= 0
        if not good:
            raise ValueError("neither a percentage nor a number")
        return drop

    @model_validator(mode="after")
    def _one(self) -> Goal:
        told = ""
        if self.size is not None and self.bits is not None:
            told = "size and bits ask for the same thing; keep one of the two"
        elif (self.size, self.bits, self.max_drop) == (None, None, None):
            told = "asks for nothing; give size, bits or max_drop, or leave target out"
        elif self.size is not None or self.bits is not None:
            try:  # the model is not known yet: as large as can be, so that no size is too small
                parse_target(bits=self.bits, size=self.size, original=2**62, parameters=1)
            except ArgumentError as error:
                told = str(error)
        if told:
            raise _ToldError(told)
        return self


class Plan(_Part):
    """How a model is to be stored; what is None is left to whoever carries the plan out.

    >>> plan = Plan(target={"size": "12x"}, rules=[{"match": "*.weight", "scheme": "rd"}])
    >>> print(dump_plan(plan), end="")
    laconic: 1
    target: {size: 12x}
    rules:
    - {match: '*.weight', scheme: rd}
    """

    laconic: Literal[1] = VERSION
    target: Goal | None = None
    effort: Effort | None = None
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] | None = None
    finish: StrictBool | None = None
    rules: tuple[Rule, ...] = ()

    @model_validator(mode="wrap")
    @classmethod
    def _explained(
        cls, values: object, handler: ModelWrapValidatorHandler[Plan], info: ValidationInfo
    ) -> Plan:
        """Turn pydantic's errors into one `ArgumentError`; the context is the `Document`."""
        try:
            return handler(values)
        except ValidationError as error:
            document = info.context
            if not isinstance(document, Document):
                document = Document("plan", {}, {})
            raise ArgumentError(_refusal(error, document)) from None

    @field_validator("laconic", mode="before")
    @classmethod
    def _version(cls, version: object) -> object:
        if isinstance(version, bool):
            raise ValueError("no number")
        if isinstance(version, int) and version > VERSION:
            raise _ToldError(f"laconic: {version} is of a later Laconic; this one reads {VERSION}")
        return version

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Write the plan as YAML, whole or not at all; replaces a file only if `force`."""
        with AtomicFile(Path(path), force=force) as file:
            file.write(dump_plan(self).encode())
            file.commit()


def dump_plan(plan: Plan) -> str:
    """The plan as YAML, keys in the schema's order, what is not said left out."""
    values = plan.model_dump(exclude_none=True)
    for rule in values["rules"]:
        if rule["weight"] == 1:
            del rule["weight"]
    values["rules"] = list(values["rules"])
    return write_document(values)


def load_plan(path: str | Path) -> Plan:
    """Read a plan from a YAML file.

    Raises:
        ArgumentError: the file cannot be read or is no plan; the message has the line, the key
            and the nearest key there is.
    """
    path, where = Path(path), str(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ArgumentError(f"{where}: over {MAX_BYTES:,} bytes; not a plan")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ArgumentError(f"{where}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{where}: byte {error.start} is not UTF-8; save it as such") from None
    return read_plan(text, where)


def read_plan(text: str, where: str = "plan") -> Plan:
    """Read a plan from YAML; `where` begins every message. Raises as `load_plan`."""
    document = read_document(text, where)
    if "laconic" not in document.values:
        raise ArgumentError(f'{where}: begin with "laconic: {VERSION}", the version of the schema')
    return Plan.model_validate(document.values, context=document)


def _refusal(error: ValidationError, document: Document) -> str:
    """The first mistake in the file's order: where, what, and what would do."""
    found = error.errors(include_url=False, include_input=True)
    first = min(found, key=lambda one: document.line(one["loc"]))
    others = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    place = document.where
    if document.lines:
        place += f", line {document.line(first['loc'])}"
    return f"{place}: {_owner(first)}{_complaint(first)}{others}"


def _owner(one: ErrorDetails) -> str:
    loc = one["loc"]
    if loc[:1] == ("rules",) and len(loc) > 1:
        return f"rule {int(loc[1]) + 1}: "
    whole = loc == ("target",) and not _told(one)  # the key is told with the value
    return "target: " if loc[:1] == ("target",) and not whole else ""


def _told(one: ErrorDetails) -> str:
    """The message of an error that stands for itself, or ""."""
    error = one.get("ctx", {}).get("error")
    return str(error) if isinstance(error, _ToldError) else ""


def _complaint(one: ErrorDetails) -> str:
    """What is wrong with one key or value."""
    key = str(one["loc"][-1]) if one["loc"] else ""
    if told := _told(one):
        return told
    if one["type"] == "missing":
        return f'has no "{key}"; give {_EXPECTED[key]}'
    if one["type"] == "extra_forbidden":
        owners: dict[int, type[_Part]] = {1: Plan, 2: Goal, 3: Rule}
        keys = owners[len(one["loc"])].model_fields
        return f'unknown key "{key}"{_nearest_key(key, keys)}; all: {", ".join(keys)}'
    if key not in _EXPECTED:  # an entry of the list of rules
        return f"{_quoted(one['input'])} is no mapping as {{match: PATTERN, scheme: SCHEME}}"
    words = get_args(Effort) if key == "effort" else ()
    near = _nearest_key(str(one["input"]), words)
    return f"{key}: {_quoted(one['input'])} cannot be; give {_EXPECTED[key]}{near}"


def _nearest_key(key: str, keys: Iterable[str]) -> str:
    near = get_close_matches(key.lower(), keys, n=1, cutoff=0.5)
    return f"; nearest: {near[0]}" if near else ""


def _quoted(value: object) -> str:
    if isinstance(value, (list, tuple, Mapping)):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    text = f'"{value}"' if isinstance(value, str) else f"{value}"
    return text if len(text) <= 80 else f"{text[:77]}..."
