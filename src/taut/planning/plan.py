"""The plan file: what is asked of a model, and the rules that say which tensor is stored how."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

from pydantic import (
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

from taut.coding import Effort
from taut.container import AtomicFile
from taut.errors import ArgumentError, TautError
from taut.io.content import kind_of
from taut.planning._part import Number, PlanPart, ToldError, number, percentage
from taut.planning._refusal import refusal
from taut.planning.document import MAX_BYTES, Document, read_document, write_document
from taut.planning.pattern import REGEX
from taut.planning.preset import find_preset, preset_hint
from taut.planning.recipe import Recipe, check_steps, recipe_of, steps_of
from taut.planning.recipe_steps import Step
from taut.planning.target import parse_target
from taut.scheme import Scheme, parse_scheme
from taut.transform.settings import Channels, Masking, Training

VERSION: Final = 1


def _scheme(value: object) -> Scheme:
    if isinstance(value, Scheme):
        return value
    if not isinstance(value, str):
        raise ValueError("no text")
    try:
        return parse_scheme(value)
    except ArgumentError as error:
        raise ToldError(str(error)) from None


_Text = Annotated[str, Field(strict=True)]
_Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
_Scheme = Annotated[Scheme, PlainValidator(_scheme), PlainSerializer(str, return_type=str)]


class Rule(PlanPart):
    """The tensors that `match` names get `scheme`; `weight` multiplies the step that `rd` gets.

    `match` is a glob over the full name, or `re:` and a regular expression of it. Only `rd`
    without bits, whose step the one dial of the whole model sets, takes a weight.
    """

    entry: ClassVar[str] = "rule"
    shape: ClassVar[str] = "{match: PATTERN, scheme: SCHEME}"
    match: str = Field(
        strict=True, min_length=1, description='a glob as "*.weight", or "re:PATTERN"'
    )
    scheme: _Scheme = Field(description='a text as rd, "int4:g64" or "2:4"')
    weight: Number = Field(default=1.0, description="a positive number, at most 1e6")

    @field_validator("match")
    @classmethod
    def _compiles(cls, match: str) -> str:
        try:
            re.compile(match.removeprefix(REGEX) if match.startswith(REGEX) else "")
        except (re.error, OverflowError, RecursionError) as error:
            raise ToldError(f'match: "{match}" is no regular expression: {error}') from None
        return match

    @model_validator(mode="after")
    def _weighs(self) -> Rule:
        if not 0 < self.weight <= 1e6:
            want = Rule.model_fields["weight"].description
            raise ToldError(f"weight: {self.weight:g} cannot be; give {want}")
        if self.weight != 1 and (self.scheme.kind != "rd" or self.scheme.bits is not None):
            raise ToldError(
                f"weight: only rd, whose step the target sets, has one, not {self.scheme}"
            )
        return self


class Goal(PlanPart):
    """What is asked of the file: `size` or `bits` (per parameter), with or without `max_drop`.

    `max_drop` is what the score may lose: "0.5%" of it, or so much as a number says.
    """

    size: str | int | None = Field(
        default=None, description="a text as 12x, 4.2MB or 12%, or bytes"
    )
    bits: Number | None = Field(
        default=None, description="a positive number, in bits per parameter"
    )
    max_drop: str | float | None = Field(
        default=None, description="0.5% of the score, or a number as 0.005 off it"
    )

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
            good = percentage(drop) is not None
        else:
            good = drop is None or number(drop) >= 0
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
            raise ToldError(told)
        return self


class Plan(PlanPart):
    """How a model is to be stored; what is None is left to whoever carries the plan out.

    >>> plan = Plan(target={"size": "12x"}, rules=[{"match": "*.weight", "scheme": "rd"}])
    >>> print(dump_plan(plan), end="")
    taut: 1
    target: {size: 12x}
    rules:
    - {match: '*.weight', scheme: rd}
    """

    parts: ClassVar[dict[str, type[PlanPart]]] = {"target": Goal, "rules": Rule, "steps": Step}
    taut: Literal[1] = Field(default=VERSION, description="1, the version of the schema")
    about: _Text | None = Field(default=None, description="a text: what the plan does, and needs")
    target: Goal | None = Field(default=None, description="a mapping as {size: 12x}")
    effort: Effort | None = Field(default=None, description="fast or max")
    seed: _Seed | None = Field(default=None, description="a whole number from 0 on")
    finish: StrictBool | None = Field(default=None, description="true or false")
    rules: tuple[Rule, ...] = Field(
        default=(), description="a list of rules as {match: PATTERN, scheme: SCHEME}"
    )
    steps: tuple[Step, ...] = Field(
        default=(), description="a list of steps as {train: {epochs: 10}}"
    )

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
            raise ArgumentError(refusal(error, cls, document)) from None

    @field_validator("taut", mode="before")
    @classmethod
    def _version(cls, version: object) -> object:
        if isinstance(version, bool):
            raise ValueError("no number")
        if isinstance(version, int) and version > VERSION:
            raise ToldError(f"taut: {version} is of a later Taut; this one reads {VERSION}")
        return version

    @field_validator("steps", mode="before")
    @classmethod
    def _settings(cls, steps: object) -> object:
        """From Python, settings stand for their steps."""
        if not isinstance(steps, (list, tuple)):
            return steps
        listed: list[object] = []
        for step in steps:
            plain = isinstance(step, (Channels, Masking, Training))
            listed += steps_of(step) if plain else [step]
        return listed

    @field_validator("steps")
    @classmethod
    def _in_order(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        check_steps(steps)
        return steps

    @property
    def recipe(self) -> Recipe:
        """What the steps ask for together, as plain settings."""
        return recipe_of(self.steps)

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
    lists = {name: list(values.pop(name)) for name in ("rules", "steps")}
    values |= {"rules": lists["rules"]} | ({"steps": lists["steps"]} if lists["steps"] else {})
    return write_document(values)


def load_plan(path: str | Path) -> Plan:
    """Read a plan from a YAML file, or the preset of that name where there is no such file.

    Raises:
        ArgumentError: the file cannot be read or is no plan; the message has the line, the key
            and the nearest key there is.

    >>> load_plan("lossless").rules[0].scheme.kind
    'lossless'
    """
    where = str(path)
    path = find_preset(where) or Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ArgumentError(f"{where}: over {MAX_BYTES:,} bytes; not a plan")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ArgumentError(
            f"{where}: cannot be read ({error.strerror}){preset_hint(where)}"
        ) from None
    except UnicodeDecodeError as error:
        raise ArgumentError(_no_text(path, where, error.start)) from None
    return read_plan(text, where)


def _no_text(path: Path, where: str, byte: int) -> str:
    """What a file is that was to be a plan, and is no text."""
    with suppress(TautError):
        if (kind := kind_of(path)) is not None:
            return f"{where}: is a model ({kind}), and no plan; taut plan MODEL -o FILE writes one"
    return f"{where}: byte {byte} is not UTF-8; save it as such"


def read_plan(text: str, where: str = "plan") -> Plan:
    """Read a plan from YAML; `where` begins every message. Raises as `load_plan`."""
    document = read_document(text, where)
    if "taut" not in document.values:
        raise ArgumentError(f'{where}: begin with "taut: {VERSION}", the version of the schema')
    return Plan.model_validate(document.values, context=document)
