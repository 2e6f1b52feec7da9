"""Fidelity for bits: Taut beside its peers on real models, everything on disk counted.

    python -m bench.frontier.fidelity [--subject minilm_in ...] [--peers | --taut] [--update]
                                      [--quick]

Bits count the whole file over all values of the weights. `--peers` or `--taut` measures only
these; `--update` keeps the other rows of bench/results/fidelity.json; `--show` measures nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence

from bench.frontier import (
    awq,
    entropack_peer,
    fixed,
    flagship,
    gguf_peer,
    golf,
    gptq,
    hqq_peer,
    kmeans,
    standard,
)
from bench.frontier.curves import by_curve, comparison
from bench.frontier.shelf import Coded, Peer
from bench.measuring import report
from bench.subjects.named import NAMES, subject
from bench.subjects.subject import Subject

_OWN = (2.0, 3.0, 4.0)  # bits, beside those that are asked for


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table and a comparison a subject, write `bench/results/NAME.json`."""
    arguments = command_line().parse_args(argv)
    rows = _kept(arguments.name) if arguments.update or arguments.show else []
    peers, missing = _peers(arguments.codecs, quick=arguments.quick)
    known: dict[tuple[str, str], dict[str, object]] = {}
    for name in arguments.subject:
        try:
            judged = subject(name, 8 if arguments.quick else 1)
        except RuntimeError as error:
            missing.append(str(error))
            report.say(str(error))
            continue
        if not arguments.show:
            for row in _measured(judged, peers, arguments, known):
                rows = _put(rows, row)
                report.save(arguments.name, rows, missing=missing)
        _print(judged, [row for row in rows if row["subject"] == name])
    print(report.footer() + "".join(f"\nMissing: {m}" for m in missing))


def _measured(
    judged: Subject,
    peers: Sequence[Peer],
    arguments: argparse.Namespace,
    known: dict[tuple[str, str], dict[str, object]],
) -> Iterator[dict[str, object]]:
    """Yield a row for each codec; `known` holds rows that do not depend on calibration."""
    if arguments.peers or not arguments.taut:
        for peer in peers:
            key = (judged.network, peer.name)
            if key not in known or peer.calibrated:
                report.say(f"{judged.name}: {peer.name}")
                start = time.perf_counter()
                coded = peer.code(judged)
                known[key] = row_of(judged, peer.name, peer.curve, coded, start)
            yield known[key] | {"subject": judged.name}
    if arguments.taut or not arguments.peers:
        asked = [goal.bits for goal in judged.asked if goal.bits]
        widths = arguments.bits or sorted({*(asked if arguments.quick else (*asked, *_OWN))})
        chosen = arguments.modes or flagship.modes()
        for name, curve, made, seconds in flagship.points(judged, widths, chosen):
            report.say(f"{judged.name}: {name}, {seconds:.0f} s")
            if isinstance(made, str):
                yield {"subject": judged.name, "codec": name, "curve": curve, "error": made}
            else:
                start = time.perf_counter() - seconds
                yield row_of(judged, name, curve, made, start)


def row_of(
    judged: Subject, codec: str, curve: str, coded: Coded, start: float
) -> dict[str, object]:
    """Judge what came back; `seconds` are the codec's, decoding included."""
    seconds = time.perf_counter() - start
    return {
        "subject": judged.name,
        "codec": codec,
        "curve": curve,
        "bytes": coded.nbytes,
        "bits": 8 * coded.nbytes / judged.parameters,
        "ratio": 4 * judged.parameters / coded.nbytes,
        **judged.fidelity(coded.decoded),
        "seconds": seconds,
    }


def _peers(codecs: Sequence[str], *, quick: bool) -> tuple[list[Peer], list[str]]:
    """Return the peers that are there, and what is missing; `quick`: one of each curve."""
    found, missing = [*fixed.peers(), *gptq.peers(), *awq.peers(), *kmeans.peers()], []
    for peers in (
        golf.peers,
        standard.peers,
        gguf_peer.peers,
        hqq_peer.peers,
        entropack_peer.peers,
    ):
        try:
            found += peers()
        except ImportError as error:
            missing.append(str(error))
    found = [peer for peer in found if not codecs or any(c in peer.name for c in codecs)]
    if quick:
        found = list({peer.curve: peer for peer in reversed(found)}.values())[::-1]
    return found, missing


def _kept(name: str) -> list[dict[str, object]]:
    path = report.RESULTS / f"{name}.json"
    if not path.is_file():
        return []
    rows: list[dict[str, object]] = json.loads(path.read_text())["rows"]
    return rows


def _put(rows: list[dict[str, object]], row: dict[str, object]) -> list[dict[str, object]]:
    """Put a row in the place of the one for the same subject and codec, or at the end."""
    key = (row["subject"], row["codec"])
    places = [i for i, old in enumerate(rows) if (old["subject"], old["codec"]) == key]
    if not places:
        return [*rows, row]
    return [*rows[: places[0]], row, *rows[places[0] + 1 :]]


def _print(judged: Subject, rows: Sequence[report.Row]) -> None:
    print(f"\n### {judged.name}: {judged.about}\n")
    heads = {"codec": "codec", "bits": "bits", "ratio": "x smaller"}
    print(report.table(heads | dict(judged.measures) | {"seconds": "seconds"}, by_curve(rows)))
    if judged.asked:
        print()
        print(report.table(*comparison(rows, judged.loss, judged.asked, judged.floor)))


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description="Fidelity for bits, beside peers.")
    parser.add_argument("--subject", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--peers", action="store_true", help="measure the peers")
    parser.add_argument("--taut", action="store_true", help="measure Taut")
    parser.add_argument("--codecs", nargs="+", default=[], help="peers whose names hold these")
    parser.add_argument("--update", action="store_true", help="keep the other rows of the file")
    parser.add_argument("--show", action="store_true", help="print what the file holds")
    parser.add_argument(
        "--quick", action="store_true", help="a row a curve, an eighth of the tests"
    )
    parser.add_argument("--bits", nargs="+", type=float, help="of Taut's rows")
    modes = [flagship.DATA_FREE, flagship.CALIBRATED, flagship.FINISHED]
    parser.add_argument("--modes", nargs="+", choices=modes, help="of Taut's rows")
    parser.add_argument("--name", default="fidelity", help="of the file in bench/results")
    return parser


if __name__ == "__main__":
    main()
