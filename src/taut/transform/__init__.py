"""Changes of the weights: a tensor and a scheme in, what is coded of it out."""

from taut.transform.codebook import codebook, optimal_levels, vector_codebook
from taut.transform.grid import Grid
from taut.transform.lowbit import binary, fp8, integers, ternary
from taut.transform.mask import (
    blocks,
    cubic,
    global_masks,
    magnitude,
    n_of_m,
    regrow,
    unstructured,
    wanda,
)
from taut.transform.mask_order import order_columns
from taut.transform.obs import prune_and_round, prune_matrix
from taut.transform.quantize import (
    LAMBDA,
    Indices,
    finest_step,
    quantize,
    quantize_matrix,
    sample_rows,
)
from taut.transform.rounded import Rounded
from taut.transform.rounding import FactoredForms, factor_forms, finest_dial, round_matrix

__all__ = [
    "LAMBDA",
    "FactoredForms",
    "Grid",
    "Indices",
    "Rounded",
    "binary",
    "blocks",
    "codebook",
    "cubic",
    "factor_forms",
    "finest_dial",
    "finest_step",
    "fp8",
    "global_masks",
    "integers",
    "magnitude",
    "n_of_m",
    "optimal_levels",
    "order_columns",
    "prune_and_round",
    "prune_matrix",
    "quantize",
    "quantize_matrix",
    "regrow",
    "round_matrix",
    "sample_rows",
    "ternary",
    "unstructured",
    "vector_codebook",
    "wanda",
]
