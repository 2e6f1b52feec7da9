"""Differences of two models as one page that needs nothing else."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Final

from taut.analysis.differences import Differences, TensorDifference
from taut.container import AtomicFile
from taut.reporting.chart import Table
from taut.reporting.frame import document, facts_html, table_html
from taut.reporting.made import PageFacts
from taut.reporting.numbers import capital, count, digits, exact, percent, printable
from taut.reporting.origins import versions

HEAD: Final = ("tensor", "state", "dtype", "shape", "changed", "rel_mse", "ulps", "mean", "zeros")
_NO_FACTS: Final = PageFacts()


def row_of(tensor: TensorDifference) -> tuple[str, ...]:
    """A tensor as a table shows it, under `HEAD`."""
    name = f"{tensor.name} (was {tensor.old_name})" if tensor.old_name else tensor.name
    begin = (name, tensor.state, tensor.dtype, "x".join(map(str, tensor.shape)) or "-")
    if tensor.state != "changed":
        return (*begin, "", "", "", "", "")
    before, after = tensor.zeros
    zeros = str(before) if before == after else f"{before} -> {after}"
    share = f"{digits(100 * tensor.changed / max(1, tensor.values))} %"
    relative = f"{tensor.relative:.2e}"
    return (*begin, share, relative, count(tensor.ulps), digits(tensor.mean_ulps), zeros)


def told(found: Differences) -> str:
    """All tensors in a line.

    >>> told(Differences("a", "b", ()))
    'a -> b: no tensors'
    """
    states = ("changed", "same", "new", "missing", "reshaped", "renamed")
    counts = [(found.count(state), state) for state in states]  # type: ignore[arg-type]
    text = ", ".join(f"{number} {state}" for number, state in counts if number)
    return f"{found.first} -> {found.second}: {text or 'no tensors'}"


def write_difference_page(
    path: Path, found: Differences, facts: PageFacts = _NO_FACTS, *, force: bool = False
) -> None:
    """Write differences as one HTML file; what changed most stands first.

    Raises:
        ArgumentError: the file exists (and not `force`), or its folder does not.
    """
    names = Path(found.first).name, Path(found.second).name
    title, headline = " and ".join(names), _headline(found)
    made = [("First", names[0]), ("Second", names[1]), *facts.named]
    table = table_html(_table(found), "tensors", left="taut diff shows")
    body = f"""<main class="wrap">
<header><p class="brand"><b>Taut</b> · difference · {_text(title)}</p>
<div class="verdict"><h1>{_text(headline)}</h1><p class="because">{_text(_because(found))}</p>
</div></header>
{facts_html([*made, ("Versions", versions()["report written by"])])}
<section><h2>Tensors</h2><p>What changed most stands first.</p>
<div class="card">{table}</div></section>
<footer>The error is the squared difference over the squares of the first. Steps count the numbers
of the dtype that lie between, at most, and in the mean of what changed.</footer>
</main>"""
    with AtomicFile(path, force=force) as out:
        out.write(document(f"{title}: {headline}", body).encode())
        out.commit()


def _headline(found: Differences) -> str:
    """How many tensors differ, in a sentence.

    >>> _headline(Differences("a", "b", ()))
    'Neither has a tensor'
    """
    total, same = len(found.tensors), found.count("same")
    if not total:
        return "Neither has a tensor"
    if same == total:
        return f"All {exact(total)} tensors are the same, bit for bit"
    return f"{exact(total - same)} of {exact(total)} tensors differ"


def _because(found: Differences) -> str:
    """What became of them, and the one that changed most."""
    states = told(found).partition(": ")[2]
    changed = [tensor for tensor in found.tensors if tensor.state == "changed"]
    if not changed:
        return f"{capital(states)}."
    worst = max(changed, key=lambda tensor: tensor.relative)
    most = f"{capital(states)}. {worst.name} changed most: its error is {digits(worst.relative)}."
    return " ".join([most, *(f"{capital(note)}." for note in found.notes)])


def _table(found: Differences) -> Table:
    """The tensors that differ, or all where none does."""
    differ = [tensor for tensor in found.tensors if tensor.state != "same"]
    ordered = sorted(differ or found.tensors, key=lambda tensor: -tensor.relative)
    head = ("tensor", "state", "dtype", "shape", "changed", "error", "steps", "mean", "zeros")
    caption = "Tensors that differ" if differ else "Every tensor of the two"
    return Table(head, tuple(map(_row, ordered)), left=4, caption=caption)


def _row(tensor: TensorDifference) -> tuple[str, ...]:
    """A tensor as the page shows it, in the notation of all pages."""
    name = f"{tensor.name}\nwas {tensor.old_name}" if tensor.old_name else tensor.name
    begin = (name, tensor.state, tensor.dtype, "×".join(map(str, tensor.shape)) or "scalar")
    if tensor.state != "changed":
        return (*begin, *("-",) * 5)
    before, after = map(exact, tensor.zeros)
    zeros = before if before == after else f"{before}\n→ {after}"
    share = percent(tensor.changed / max(1, tensor.values))
    steps = count(tensor.ulps), count(round(tensor.mean_ulps))
    return (*begin, share, digits(tensor.relative), *steps, zeros)


def _text(text: str) -> str:
    return escape(printable(text))
