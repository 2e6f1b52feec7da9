"""Exports in the programs that they are made for: do they load, and give PyTorch's answers?

Every client has an environment of its own under `--home` (pins.toml names the versions); one that
is not there is skipped, and its line says so. Models are those of models.py: MiniLM, and the
language models of the assets where they are found.

python -m bench.clients.check                                    # what is installed
python -m bench.clients.check --install llama llama-node         # installs first
python -m bench.clients.check --client openvino --repeats 50     # with latencies to quote
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from bench.clients.answers import Answer, judged, reference
from bench.clients.exports import Export, exports_for
from bench.clients.install import Client, clients
from bench.clients.models import MODELS, ClientModel
from bench.measuring import report

HOME = Path("build/clients")


def main() -> None:
    """Ask every client, print a table, and end with 1 if one gives other answers."""
    asked = command_line().parse_args()
    torch.set_num_threads(1)
    found = clients(asked.home.resolve())
    for client in found:
        if client.name in asked.install or "all" in asked.install:
            client.install()
    rows = answers([client for client in found if client.name in asked.client], asked.repeats)
    print(shown(rows))
    sys.exit(any(row["verdict"] == "differs" for row in rows))


def answers(asked: Sequence[Client], repeats: int) -> list[report.Row]:
    """Rows of the clients, those that are not installed first."""
    rows = [row(client.name, "", "", client.missing, {}) for client in asked if client.missing]
    here = [client for client in asked if not client.missing]
    with tempfile.TemporaryDirectory() as folder:
        models = made(Path(folder)) if here else {}
        for client in here:
            rows += asking(client, models, Path(folder), repeats)
    return rows


def made(folder: Path) -> dict[str, ClientModel]:
    """The models whose data are here."""
    found = {}
    for name, make in MODELS.items():
        try:
            found[name] = make(folder / name)
        except RuntimeError as error:
            print(f"{name}: {error}", file=sys.stderr)
    return found


def asking(
    client: Client, models: dict[str, ClientModel], folder: Path, repeats: int
) -> list[report.Row]:
    """Rows of one client: each export of each model that goes with it."""
    rows = []
    floats: dict[str, float] = {}
    for export in exports_for(client.name, models, folder):
        print(f"{client.name}: {export.model.name}, {export.name}", file=sys.stderr)
        answer = ask(client, export, folder, repeats)
        if isinstance(answer, str):
            rows.append(
                row(client.name, export.model.name, export.name, "differs", {"why": answer})
            )
            continue
        wanted = reference(export)
        verdict, figures = judged(answer, wanted, export)
        base = floats.setdefault(export.model.name, answer.latency)
        if answer.latency:
            figures["faster"] = base / answer.latency
        rows.append(row(answer.client, export.model.name, export.name, verdict, figures))
    return rows


def ask(client: Client, export: Export, folder: Path, repeats: int) -> Answer | str:
    """What the client answers, or the end of what it said when it failed."""
    job = folder / "job.json"
    job.write_text(json.dumps({**export.job(), "client": client.name, "repeats": repeats}))
    done = subprocess.run(
        [*client.command, str(job)], cwd=client.folder, capture_output=True, text=True, timeout=600
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines or not lines[-1].startswith("{"):
        return f"ended with {done.returncode}: {_last_error(done.stderr + done.stdout)}"
    return Answer.of(json.loads(lines[-1]))


def _last_error(said: str) -> str:
    """The last line that names an error, else the last one."""
    told = [line.strip() for line in said.splitlines() if line.strip()]
    named = [line for line in told if "rror:" in line]
    return (named or told or ["it said nothing"])[-1][-200:]


def row(
    client: str, model: str, export: str, verdict: str, figures: dict[str, object]
) -> report.Row:
    """A line of the table."""
    return {"client": client, "model": model, "export": export, "verdict": verdict, **figures}


def shown(rows: Sequence[report.Row]) -> str:
    """The table in Markdown."""
    lines = []
    for one in rows:
        figures = []
        if "tokens" in one:
            figures.append("tokens " + ("same" if one["tokens"] else "DIFFER"))
        if "perplexity" in one:
            figures.append(
                f"perplexity {one['perplexity']:.4f}, PyTorch {one['wanted']:.4f} "
                f"({one['off']:+.3%} ± {one['told']:.3%}, {one['count']} tokens)"
            )
        if "cosine" in one:
            figures.append(f"cosine {one['cosine']:.6f}")
        if "why" in one:
            figures.append(str(one["why"]))
        faster = f"{one['faster']:.2f}" if "faster" in one else ""
        lines.append({**one, "figures": "; ".join(figures), "faster": faster})
    titles = ("client", "model", "export", "verdict", "figures", "faster")
    return report.table({title: title for title in titles}, lines)


def command_line() -> argparse.ArgumentParser:
    """The options."""
    names = [client.name for client in clients(HOME)]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--client", nargs="+", choices=names, default=names)
    parser.add_argument("--install", nargs="+", choices=[*names, "all"], default=[])
    parser.add_argument("--home", type=Path, default=HOME, help="where environments lie")
    parser.add_argument(
        "--repeats", type=int, default=10, help="calls, of whose processor times the least counts"
    )
    return parser


if __name__ == "__main__":
    main()
