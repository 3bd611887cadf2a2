"""The digits inside scikit-learn: 1,797 handwritten digits that need no download."""

import numpy as np
import torch
from torch.nn import functional as F

from ccnn.data.split import Split

IMAGE_SIZE = 16
NUM_TEST = 500


def read() -> tuple[Split, Split]:
    """Reads (train, test): 1,297 and 500 images of 16x16 pixels, one channel, classes 0 to 9.

    The images are enlarged from 8x8 by bilinear interpolation, their 17 grey values spread over 0 to 255.
    The set has no split of its own. Ours is fixed: the images in an order drawn once with seed 0, sorted by
    class, of which 500 evenly spaced ones are the test set; so every class has its share, give or take one.
    The 13 people who wrote the digits occur in both halves: errors are lower than on unknown handwriting.
    """
    from sklearn.datasets import load_digits

    values, classes = load_digits(return_X_y=True)
    small = torch.from_numpy(values).reshape(-1, 1, 8, 8) * (255 / 16)
    large = F.interpolate(small, size=(IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", align_corners=False)
    digits = Split(large.round().to(torch.uint8), torch.from_numpy(classes).long())

    # RandomState, since its stream is frozen: the split stays the same whatever versions are installed.
    order = np.random.RandomState(0).permutation(len(classes))
    order = order[np.argsort(classes[order], kind="stable")]
    is_test = np.zeros(len(classes), dtype=bool)
    is_test[order[(2 * np.arange(NUM_TEST) + 1) * len(classes) // (2 * NUM_TEST)]] = True
    train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    return digits.select(torch.from_numpy(train)), digits.select(torch.from_numpy(test))
