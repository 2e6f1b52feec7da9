"""Deep Compression without retraining (Han et al., 2015): k-means a tensor, then Huffman.

Centroids start evenly spread over the range, which the paper found best. One dimension makes
Lloyd's algorithm cheap: over sorted values, a cluster is a run and its mean a difference of sums.
"""

from __future__ import annotations

import heapq
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bench.data.tensors import Array
from bench.frontier.shelf import Coded, Peer, is_matrix, shelve, to_half

if TYPE_CHECKING:
    from bench.subjects.subject import Subject

_ROUNDS = 300


def peers() -> list[Peer]:
    """Return codebooks of 8, 16 and 32 values."""
    return [
        Peer(f"k-means {bits} bit + Huffman", "k-means + Huffman", partial(code, bits))
        for bits in (3, 4, 5)
    ]


def code(bits: int, subject: Subject) -> Coded:
    """Code every matrix, embedding and kernel with a codebook of its own; the rest is float16."""
    decoded: dict[str, Array] = {}
    stored: dict[str, Array] = {}
    for name, values in subject.weights.items():
        if is_matrix(values):
            codebook = cluster(values, 1 << bits)
            indices = assign(values, codebook)
            decoded[name] = codebook[indices]
            stored |= {f"{name}.{key}": part for key, part in _store(indices, codebook).items()}
        else:
            stored[name] = to_half(values)
            decoded[name] = stored[name].astype(np.float32)
    return shelve(decoded, stored)


def cluster(values: Array, count: int) -> Array:
    """Return `count` centroids, float32, ascending: Lloyd's algorithm until nothing moves."""
    ordered = np.sort(values, axis=None)
    sums = np.concatenate(([0.0], np.cumsum(ordered, dtype=np.float64)))
    centroids = np.linspace(ordered[0], ordered[-1], count, dtype=np.float64)
    for _ in range(_ROUNDS):
        middles = ((centroids[1:] + centroids[:-1]) / 2).astype(np.float32)
        ends = np.concatenate(([0], np.searchsorted(ordered, middles), [ordered.size]))
        sizes = np.diff(ends)
        # An empty cluster stays where it is.
        moved = np.where(sizes > 0, np.diff(sums[ends]) / np.maximum(sizes, 1), centroids)
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    return centroids.astype(np.float32)


def assign(values: Array, codebook: Array) -> Array:
    """Return the index of the nearest centroid of each value, uint8."""
    return np.searchsorted((codebook[1:] + codebook[:-1]) / 2, values).astype(np.uint8)


def huffman_lengths(counts: Array) -> Array:
    """Return the length in bits of each symbol's Huffman code, 0 where a symbol never occurs."""
    lengths = np.zeros(len(counts), np.uint8)
    heap = [(int(n), s, [s]) for s, n in enumerate(counts) if n]
    if len(heap) == 1:
        lengths[heap[0][2]] = 1
    heapq.heapify(heap)
    while len(heap) > 1:
        (few, _, left), (more, tie, right) = heapq.heappop(heap), heapq.heappop(heap)
        lengths[left + right] += 1
        heapq.heappush(heap, (few + more, tie, left + right))
    return lengths


def _store(indices: Array, codebook: Array) -> dict[str, Array]:
    """Return arrays of the sizes on disk: the code stream, a length a symbol, the codebook."""
    counts = np.bincount(indices.reshape(-1), minlength=len(codebook))
    lengths = huffman_lengths(counts)
    bits = int((counts * lengths).sum())
    return {
        "codes": np.zeros(-(-bits // 8), np.uint8),  # only its size is asked for
        "lengths": lengths,
        "codebook": codebook,
    }
