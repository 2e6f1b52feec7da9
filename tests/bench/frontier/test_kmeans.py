"""k-means in one dimension and Huffman's code, each against what defines it."""

import numpy as np

from bench.frontier.kmeans import assign, cluster, huffman_lengths


def test_centroids_are_the_means_of_what_is_nearest_to_them():
    values = np.random.default_rng(3).standard_normal(5000).astype(np.float32)
    codebook = cluster(values, 8)
    indices = assign(values, codebook)
    nearest = np.abs(values[:, None] - codebook).argmin(axis=1)
    np.testing.assert_array_equal(indices, nearest)
    means = [values[indices == i].mean() for i in range(8)]
    np.testing.assert_allclose(codebook, means, atol=1e-5)


def test_clusters_that_stand_apart_are_found():
    values = np.repeat(np.array([-2.0, 0.5, 3.0], np.float32), [5, 10, 1])
    np.testing.assert_array_equal(
        np.unique(cluster(values, 4)[assign(values, cluster(values, 4))]), [-2.0, 0.5, 3.0]
    )


def test_huffman_of_powers_of_two_is_the_entropy():
    assert huffman_lengths(np.array([8, 4, 2, 1, 1])).tolist() == [1, 2, 3, 4, 4]
    assert huffman_lengths(np.array([0, 5, 0])).tolist() == [0, 1, 0]


def test_huffman_lengths_are_a_full_code_within_a_bit_of_the_entropy():
    counts = np.random.default_rng(4).integers(1, 1000, 32)
    lengths = huffman_lengths(counts)
    assert np.sum(0.5 ** lengths.astype(float)) == 1
    p = counts / counts.sum()
    assert 0 <= p @ lengths + p @ np.log2(p) < 1
