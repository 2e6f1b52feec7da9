"""What more states in the trellis would be worth: bits above the bound with 4 to 64 of them.

    python -m bench.lossy.states [--rows 256] [--columns 512] [--states 4 8 16 32 64]

Ungerboeck's codes of rate 1/2 for amplitude modulation in front of an ideal entropy coder that
knows the quantiser, on independent weights of a Gaussian: prices and steps settle together, in
turns, and of a few values of lambda the best counts. Eight states are what Taut has: they leave
what `bench.lossy.bound` finds, less what its scales, tables and coder take.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bench.data.tensors import Array
from bench.measuring import report

_BITS = (1.0, 1.5, 2.0, 3.0)
_LAMBDAS = (0.3, 0.4, 0.5)  # squared distances of two neighbouring levels per bit
_TURNS = 16
_LARGEST = 40  # magnitudes beyond are cut; at 3 bits they are not met

# Parity checks h0 and h1 (Ungerboeck 1982, table I).
_CHECKS = {4: (0o5, 0o2), 8: (0o13, 0o4), 16: (0o23, 0o4), 32: (0o45, 0o10), 64: (0o103, 0o24)}


class Machine(NamedTuple):
    """Which quantiser each state uses, (states,), and where each parity leads, (states, 2)."""

    quantiser: Array
    following: Array


class Turn(NamedTuple):
    """Indices and which quantiser each is of, (rows, columns), and the mean squared error."""

    indices: Array
    quantisers: Array
    error: float


def machine_of(states: int) -> Machine:
    """Return the code's systematic encoder with feedback: its last bit picks the quantiser."""
    h0, h1 = _CHECKS[states]
    state = np.arange(states)
    last = state >> (states.bit_length() - 2)
    moved = (state << 1) & (states - 1)
    moved = moved ^ np.where(last == 1, h0 & (states - 1), 0)
    return Machine(last, np.stack([moved, moved ^ h1], 1))


def settled(weights: Array, states: int, asked: float, lam: float) -> tuple[float, float]:
    """Return bits a weight and the mean squared error once prices and step agree."""
    machine = machine_of(states)
    step = 3.0 * 2.0**-asked
    prices = np.stack([1.0 + 1.5 * np.log2(1.0 + np.arange(_LARGEST + 1.0))] * 2)
    bits = error = 0.0
    for _ in range(_TURNS):
        found = searched(weights / np.float32(step), machine, (lam * prices).astype(np.float32))
        error = found.error * step**2
        bits, prices = priced(found)
        step *= 2.0 ** (0.8 * (bits - asked))
    return bits, error


def searched(levels: Array, machine: Machine, prices: Array) -> Turn:
    """Viterbi's search along each row of float32 (rows, columns), from state 0."""
    rows, columns = levels.shape
    states = len(machine.quantiser)
    cost = np.full((rows, states), np.inf, np.float32)
    cost[:, 0] = 0
    # A state is entered from two others, each by one parity.
    entered = np.argsort(machine.following.reshape(-1), kind="stable").reshape(states, 2)
    came, parity = entered // 2, entered % 2
    branch = machine.quantiser[came] * 2 + parity
    chosen = np.empty((columns, rows, states), np.int8)
    indices = np.empty((columns, rows, 4), np.int8)
    for column in range(columns):
        indices[column], branches = _branches(levels[:, column], prices)
        both = cost[:, came] + branches[:, branch]
        second = both[..., 1] < both[..., 0]
        chosen[column] = second
        cost = np.where(second, both[..., 1], both[..., 0])
    at, every = cost.argmin(1), np.arange(rows)
    path, used = np.empty((2, rows, columns), np.int8)
    for column in range(columns - 1, -1, -1):
        way = chosen[column, every, at].astype(np.intp)
        taken = branch[at, way]
        path[:, column], used[:, column] = indices[column, every, taken], taken // 2
        at = came[at, way]
    missed = levels - _level(path.astype(np.float32), used)
    return Turn(path, used, float(np.mean(np.square(missed, dtype=np.float64))))


def _branches(wanted: Array, prices: Array) -> tuple[Array, Array]:
    """The best index of each quantiser and parity, int8 (rows, 4), and what it costs, float32."""
    size, sign = np.abs(wanted), np.where(wanted < 0, -1, 1)
    indices = np.empty((len(wanted), 4), np.int8)
    costs = np.empty((len(wanted), 4), np.float32)
    for quantiser in (0, 1):
        real = (size + quantiser) / 2
        for parity in (0, 1):
            near = (2 * np.rint((real - parity) / 2) + parity).astype(np.intp)
            tried = np.clip(np.stack([near, near - 2, np.full_like(near, parity)]), 0, _LARGEST - 1)
            tried += (tried + parity) % 2
            cost = np.square(size - _level(tried.astype(np.float32), np.full(1, quantiser)))
            cost += prices[quantiser][tried]
            best = cost.argmin(0)
            every = np.arange(len(wanted))
            indices[:, 2 * quantiser + parity] = sign * tried[best, every]
            costs[:, 2 * quantiser + parity] = cost[best, every]
    return indices, costs


def _level(indices: Array, quantisers: Array) -> Array:
    """Even levels of the first quantiser, odd ones and zero of the second."""
    levels: Array = 2 * indices - quantisers * np.sign(indices)
    return levels


def priced(found: Turn) -> tuple[float, Array]:
    """Return an ideal coder's bits a weight, and what each magnitude costs, (2, magnitudes)."""
    total, prices = 0.0, np.empty((2, _LARGEST + 1))
    for quantiser in (0, 1):
        sizes = np.abs(found.indices[found.quantisers == quantiser])
        counts = np.bincount(sizes, minlength=_LARGEST + 1) + 0.01
        prices[quantiser] = -np.log2(counts / counts.sum()) + (np.arange(_LARGEST + 1) > 0)
        total += float(prices[quantiser][sizes].sum())
    return total / found.indices.size, prices


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table of gaps and write `bench/results/states.json`."""
    arguments = command_line().parse_args(argv)
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((arguments.rows, arguments.columns))
    weights = (weights / weights.std()).astype(np.float32)
    rows, table = [], []
    for states in arguments.states:
        line: dict[str, object] = {"states": states}
        for asked in _BITS:
            gaps = {}
            for lam in _LAMBDAS:
                bits, error = settled(weights, states, asked, lam)
                gaps[lam] = bits + 0.5 * np.log2(error)
            best = min(gaps, key=lambda lam: gaps[lam])
            rows.append({"states": states, "asked": asked, "lambda": best, "gap": gaps[best]})
            line[f"{asked:g}"] = gaps[best]
        table.append(line)
    report.save("states", rows, weights=list(weights.shape))
    print("Bits a weight above a Gaussian's bound, at so many bits a weight\n")
    print(report.table({"states": "states"} | {f"{b:g}": f"{b:g}" for b in _BITS}, table))
    print(report.footer())


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description="What more states in the trellis would be worth.")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--columns", type=int, default=512)
    parser.add_argument("--states", type=int, nargs="+", default=[*_CHECKS], choices=_CHECKS)
    return parser


if __name__ == "__main__":
    main()
