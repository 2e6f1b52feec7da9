"""The card of a compressed model on a hub: what was done, what it cost, how to load it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from taut.container.find import SUFFIX
from taut.container.info import Info, TensorReport
from taut.container.original_card import front_of, with_original
from taut.errors import ArgumentError
from taut.reporting import numbers as say
from taut.reporting.chart import Table
from taut.reporting.plain_text import plural
from taut.reporting.tables import fidelity_table, metric_table
from taut.scoring.results import Evaluation

_REPO: Final = re.compile(r"[\w.-]+/[\w.-]+")
# Of the original's alone: what it runs on, and scores that this one may not reach.
_ITS_OWN: Final = ("library_name", "model-index", "base_model_relation", "inference", "widget")


@dataclass(frozen=True)
class CardFacts:
    """What a card tells: the file, the repository that it goes to, and what is known beside.

    `original` is the original's own card, b"" if there is none; `base_model` and `license` go
    before what it says. `file` is the name of a single one, "" of a folder; `transformers` says
    whether the folder is one of that library, and `command` how it was made.
    """

    info: Info
    repo: str
    revision: str | None = None
    original: bytes = b""
    base_model: str | None = None
    license: str | None = None
    evaluation: Evaluation | None = None
    command: str | None = None
    file: str = ""
    transformers: bool = False


def model_card(facts: CardFacts) -> bytes:
    """The card as a README.md, in UTF-8.

    Raises:
        ArgumentError: the base model is no name of a repository.
    """
    tree = card_metadata(facts)
    front = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=1000)
    text = f"---\n{front}---\n\n" + "\n".join(_body(facts, _base(tree))).rstrip() + "\n"
    if facts.original:
        text += "\n## The original's card\n\n"
    return with_original(text.encode(), facts.original)


def card_metadata(facts: CardFacts) -> dict[str, Any]:
    """What hubs read of a card: the original's, where it holds of this one too."""
    found = _front(facts.original)
    kept = {key: value for key, value in found.items() if key not in _ITS_OWN}
    if facts.base_model is not None:
        kept["base_model"] = _repository(facts.base_model)
    if kept.get("base_model"):
        kept["base_model_relation"] = "quantized"
    if facts.license is not None:
        kept = {key: one for key, one in kept.items() if not key.startswith("license")}
        kept["license"] = facts.license
    tags = _tags(kept.pop("tags", None), exact=_is_exact(facts.info))
    return {**kept, "library_name": "taut", "tags": tags}


def _repository(name: str) -> str:
    if not _REPO.fullmatch(name):
        raise ArgumentError(f"base_model (--base-model): {name!r} is no ORG/NAME")
    return name


def _tags(found: object, *, exact: bool) -> list[str]:
    """The original's tags, then ours."""
    listed = found if isinstance(found, list) else [found] if isinstance(found, str) else []
    own = ["taut", "compressed", *(["lossless"] if exact else [])]
    return [*dict.fromkeys([*map(str, listed), *own])]


def _front(card: bytes) -> dict[str, Any]:
    """The YAML of a card; {} where it has none, or none that can be read."""
    lines = front_of(card).decode(errors="replace").splitlines()[1:-1]
    try:
        found = yaml.safe_load("\n".join(lines))
    except (yaml.YAMLError, RecursionError):
        return {}
    return {str(key): value for key, value in found.items()} if isinstance(found, dict) else {}


def _base(tree: Mapping[str, Any]) -> str | None:
    base = tree.get("base_model")
    base = base[0] if isinstance(base, list) and base else base
    return base if isinstance(base, str) and _REPO.fullmatch(base) else None


def _body(facts: CardFacts, base: str | None) -> Iterator[str]:
    info, name = facts.info, facts.repo.rpartition("/")[2]
    of = f"[{base}](https://huggingface.co/{base})" if base else "A model"
    exact = _is_exact(info)
    how = "bit for bit: what comes back is the original" if exact else "with loss"
    yield from (f"# {name}", "", f"{of}, compressed by Taut, {how}.", "", "## What was done", "")
    yield from _table(_sizes(info))
    yield from ("", *_table(_schemes(info)))
    tables = (metric_table(facts.evaluation), fidelity_table(facts.evaluation))
    for table in (one for one in tables if one is not None):
        yield from ("", *_table(table))
    yield from ("", "## How to load it", "", *_loading(facts), "", "## How it was made", "")
    yield from ("```", facts.command or _command(facts, base), "```", "")
    if facts.command is None:
        yield "(As far as the file tells: calibration data and further options are not in it.)"


def _sizes(info: Info) -> Table:
    exact = sum(not tensor.rel_mse for tensor in info.tensors)
    rows = (
        ("original", say.size(info.original_size)),
        ("this", say.size(info.size)),
        ("ratio", f"{say.digits(info.ratio)}x"),
        ("bits a parameter", say.digits(info.bits)),
        ("parameters", say.count(info.parameters)),
        (
            "tensors, bit-exact",
            f"{exact} of {len(info.tensors)}",
        ),
        ("largest relative squared error", say.digits(max(t.rel_mse for t in info.tensors))),
    )
    return Table(("", ""), rows)


def _schemes(info: Info) -> Table:
    """Tensors, bytes and losses by scheme, the most bytes first."""
    found: dict[str, list[TensorReport]] = {}
    for tensor in info.tensors:
        found.setdefault(tensor.scheme, []).append(tensor)
    ordered = sorted(found.items(), key=lambda item: -sum(t.bytes for t in item[1]))
    rows = []
    for scheme, tensors in ordered:
        nbytes = sum(t.bytes for t in tensors)
        worst = max(t.rel_mse for t in tensors)
        mean = sum(t.rel_mse for t in tensors) / len(tensors)
        rows.append(
            (scheme, str(len(tensors)), say.size(nbytes), say.digits(mean), say.digits(worst))
        )
    head = ("scheme", "tensors", "bytes", "relative squared error, mean", "largest")
    return Table(head, tuple(rows))


def _loading(facts: CardFacts) -> Iterator[str]:
    url = f"hf://{facts.repo}" + (f"@{facts.revision}" if facts.revision else "")
    base = ', base="BASE"' if facts.info.base else ""
    if base:
        name = "" if facts.info.base == "?" else f", `{facts.info.base}`"
        yield from (f"It is a delta: BASE is the model that it stands on{name}.", "")
    yield from ("```python", "import taut", "", f'tensors = taut.load("{url}"{base})', "```")
    if facts.transformers:
        more = f', revision="{facts.revision}"' if facts.revision else ""
        yield from ("", "With transformers:", "", "```python", "import taut.hf")
        yield from ("from transformers import AutoModel", "")
        yield from (f'model = AutoModel.from_pretrained("{facts.repo}"{more})', "```")
    out = facts.repo.rpartition("/")[2] + "-original"
    if facts.file:
        url, out = f"{url}/{facts.file}", f"{facts.file.removesuffix(SUFFIX)}.safetensors"
    exact = "the original, byte for byte" if _is_exact(facts.info) else "ordinary files"
    yield from ("", f"Back to {exact}:", "", "```", "pip install 'taut[hub]'")
    yield from (f"taut decompress {url} -o {out}" + (" --base BASE" if base else ""), "```")


def _command(facts: CardFacts, base: str | None) -> str:
    source = f"hf://{base}" if base else "MODEL"
    out = facts.file or facts.repo.rpartition("/")[2]
    asked = "" if _is_exact(facts.info) else f" --bits {facts.info.bits:.2f}"
    stands = " --base BASE" if facts.info.base else ""
    return f"taut compress {source} -o {out}{stands}{asked}"


def _is_exact(info: Info) -> bool:
    return not any(tensor.rel_mse for tensor in info.tensors)


def _table(table: Table) -> Iterator[str]:
    """A table in Markdown."""
    sides = ["---"] * table.left + ["---:"] * (len(table.head) - table.left)
    for row in (table.head, sides, *table.rows):
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"


def card_line(card: bytes) -> str:
    """A card in a line, for those who do not read all of it."""
    tree = _front(card)
    known = [f"{key} {tree[key]}" for key in ("base_model", "license") if tree.get(key)]
    return ", ".join([plural(len(card.splitlines()), "line"), *known])
