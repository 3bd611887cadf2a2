"""Networks with given weights, scored plain and converted in one pass over a test set (the paper's Table 2)."""

from ccnn.evaluation.run import evaluate

__all__ = ["evaluate"]
