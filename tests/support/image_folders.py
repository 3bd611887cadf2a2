"""Writes photographs in ImageNet's layout."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZES = ((40, 56), (64, 48), (50, 50), (37, 81))  # height, width


def write_images(root: Path, classes: int = 3, train: int = 4, val: int = 2) -> Path:
    """Writes so many noisy images for each class, of several sizes and kinds of file; returns `root`."""
    random = np.random.default_rng(0)
    for half, count in (("train", train), ("val", val)):
        for label in range(classes):
            folder = root / half / f"n{label:02}"
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                height, width = SIZES[(label + i) % len(SIZES)]
                coarse = random.integers(0, 256, (5, 5, 3), np.uint8)
                image = Image.fromarray(coarse).resize((width, height))
                if i % 2:
                    image.convert("L").save(folder / f"{i}.png")  # grey, as a few of ImageNet's are
                else:
                    image.save(folder / f"{i}.JPEG", quality=95)
    return root
