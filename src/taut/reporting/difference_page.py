"""Differences of two models as one page that needs nothing else."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Final

from taut.analysis.differences import Differences, TensorDifference
from taut.container import AtomicFile
from taut.reporting.numbers import count, digits

HEAD: Final = ("tensor", "state", "dtype", "shape", "changed", "rel_mse", "ulps", "mean", "zeros")
_ROWS: Final = 5000
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">
<meta name="generator" content="Taut"><title>{title}</title><style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem;
  padding: 0 1rem; font-variant-numeric: tabular-nums }}
div {{ overflow-x: auto }} table {{ border-collapse: collapse; width: 100% }}
th, td {{ padding: .25rem .75rem; border-bottom: 1px solid #8884; text-align: right }}
th:nth-child(-n+4), td:nth-child(-n+4) {{ text-align: left }}
</style></head><body><h1>{title}</h1><p>{told}</p>
<div tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>
{rows}
</tbody></table></div></body></html>
"""


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


def write_difference_page(path: Path, found: Differences, *, force: bool = False) -> None:
    """Write differences as one HTML file; what changed most stands first.

    Raises:
        ArgumentError: the file exists (and not `force`), or its folder does not.
    """
    ordered = sorted(found.tensors, key=lambda tensor: -tensor.relative)
    rows = [_row("td", row_of(tensor)) for tensor in ordered[:_ROWS]]
    if len(ordered) > _ROWS:
        rows.append(_row("td", (f"and {len(ordered) - _ROWS} more",)))
    text = _PAGE.format(
        title=escape(f"{Path(found.first).name} and {Path(found.second).name}"),
        told=escape(told(found)),
        head=_row("th", HEAD).removeprefix("<tr>").removesuffix("</tr>"),
        rows="\n".join(rows),
    )
    with AtomicFile(path, force=force) as out:
        out.write(text.encode())
        out.commit()


def _row(kind: str, cells: tuple[str, ...]) -> str:
    return "<tr>" + "".join(f"<{kind}>{escape(cell)}</{kind}>" for cell in cells) + "</tr>"
