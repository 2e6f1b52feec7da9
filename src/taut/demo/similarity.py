"""How near two sets of embeddings are: by direction, and by the order of their similarities."""

from __future__ import annotations

import numpy as np


def mean_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Mean cosine between the rows of `a` and `b`, both (n, d).

    >>> mean_cosine(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[3.0, 0.0], [1.0, 0.0]]))
    0.5
    """
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.mean(np.sum(a * b, axis=1, dtype=np.float64) / norms))


def similarity_spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman correlation of the pairwise dot products within `a` and within `b`, both (n, d).

    One means that every ranking "which pair is nearer" is kept. Ties are not averaged: dot
    products of embeddings are distinct but for identical rows.
    """
    upper = np.triu_indices(len(a), k=1)
    first, second = (_ranks((x @ x.T)[upper]) for x in (a.astype(np.float64), b.astype(np.float64)))
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    order = np.argsort(values, kind="stable")
    ranks = np.empty(len(values))
    ranks[order] = np.arange(len(values))
    return ranks
