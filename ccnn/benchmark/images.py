"""Suite `input`: CIFAR's augmentation of whole batches against torchvision's of single images."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from ccnn.benchmark.suites import Options
from ccnn.benchmark.timing import Candidate, interleave
from ccnn.data.augment import Augmentation, normalise
from ccnn.data.batches import TrainingBatches
from ccnn.data.loaders import TrainingSet, resumable_loader
from ccnn.data.split import Split

MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
BATCH, WORKERS = 64, 2


def measure_input(options: Options) -> pd.DataFrame:
    """Images per second of both pipelines in an epoch of random images: crop, flip, normalise, move to the device.

    The workers of torchvision's DataLoader persist between epochs; ccnn needs none.
    """
    count = 256 if options.quick else 10_000
    split = Split(torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8), torch.randint(10, (count,)))
    pipelines = {
        f"torchvision, PIL images, {WORKERS} workers": lambda: _per_image(split, options.device),
        "ccnn, whole batches, no workers": lambda: _whole_batches(split, options.device),
    }
    timings = interleave([Candidate(*pipeline) for pipeline in pipelines.items()], options.limits)
    rows = []
    for name, timing in timings.items():
        lower, median, upper = (value and count / value for value in reversed(timing.quartiles))
        rows.append(
            {
                "pipeline": name, "images": count, "batch": BATCH, "images/s": median, "quartile 1": lower,
                "quartile 3": upper, "rounds": len(timing.seconds), "note": timing.note,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _whole_batches(split: Split, device: str) -> Callable[[], None]:
    """An epoch as `InMemoryData` provides it."""
    batches = TrainingBatches(len(split.labels), BATCH, seed=0)
    loader = resumable_loader(TrainingSet(split), batches, 0, device == "cuda")
    augmentation = Augmentation(crop_padding=4, flip=True, rotation=0.0)
    generator = torch.Generator()

    def epoch() -> None:
        for batch in loader:
            images = batch.images.to(device, non_blocking=True)
            generator.manual_seed(batch.epoch << 32 | batch.batch)
            normalise(augmentation(images, generator), MEAN, STD)

    return epoch


class _Images(Dataset[Any]):
    """Augments one PIL image after another, as torchvision's CIFAR10 does."""

    transform = transforms.Compose(
        [
            transforms.ToPILImage(), transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(),
            transforms.ToTensor(), transforms.Normalize(MEAN, STD),
        ]
    )  # fmt: skip

    def __init__(self, split: Split) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split.labels)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.transform(self.split.images[index]), self.split.labels[index]


def _per_image(split: Split, device: str) -> Callable[[], None]:
    workers: dict[str, Any] = {"num_workers": WORKERS, "persistent_workers": True, "pin_memory": device == "cuda"}
    loader: DataLoader[Any] = DataLoader(_Images(split), BATCH, shuffle=True, **workers)

    def epoch() -> None:
        for images, _ in loader:
            images.to(device, non_blocking=True)

    return epoch
