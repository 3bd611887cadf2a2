"""Scores networks with given weights, plain and converted, in one pass over a test set (the paper's Table 2)."""
