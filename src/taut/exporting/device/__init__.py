"""What exports to phones and boards share: a folded program, single samples, grids of weights."""
