"""Suite `input`: CIFAR's augmentation of whole batches against torchvision's of single images."""

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from ccnn.benchmark.networks import Options
from ccnn.benchmark.tables import Bar, Cell, Result, Table
from ccnn.benchmark.timing import Contender, ratio
from ccnn.data.augment import Augmentation, normalise
from ccnn.data.batches import TrainingBatches
from ccnn.data.loaders import TrainingSet, resumable_loader
from ccnn.data.split import Split

COLUMNS = ("pipeline", "images", "batch", "images/s", "quartile 1", "quartile 3", "rounds", "note")
MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
BATCH, WORKERS, LIMIT = 64, 2, 10

TEXT = (
    "Crop of 32×32 after padding by 4, horizontal flip and normalisation of made-up images of CIFAR's size, from "
    "uint8 images in memory to batches of float32 tensors on the device, a whole epoch without a network. "
    "torchvision's transforms work on PIL images in a DataLoader with 2 workers that live on between epochs."
)


class _Pictures(Dataset[tuple[Tensor, int]]):
    """What torchvision's CIFAR10 does for an image."""

    def __init__(self, split: Split) -> None:
        self.images = split.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = split.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def run(options: Options) -> Result:
    """Measures both pipelines side by side."""
    count = 256 if options.quick else 10_000
    generator = torch.Generator().manual_seed(0)
    split = Split(
        torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator),
        torch.randint(10, (count,), generator=generator),
    )
    options.say(f"{count} images")
    timings = options.race(
        [
            Contender("torchvision", lambda: _per_image(split, options.device)),
            Contender("ccnn", lambda: _whole_batches(split, options.device)),
        ]
    )
    rows: list[tuple[Cell, ...]] = []
    for name, what in (
        ("ccnn", "whole batches, no worker"), ("torchvision", f"single PIL images, {WORKERS} workers")
    ):  # fmt: skip
        found = timings[name].spread
        speeds = (count / found[0], count / found[2], count / found[1]) if found else (None, None, None)
        rows.append((f"{name}: {what}", count, BATCH, *speeds, len(timings[name].seconds), timings[name].note))
    note = timings["ccnn"].note or timings["torchvision"].note
    bar = Bar(
        "CIFAR's augmentation", "ccnn : torchvision, images/s", ratio(timings["torchvision"], timings["ccnn"]),
        LIMIT, at_least=True, note=note,
    )  # fmt: skip
    return Result("input", "The input pipeline", TEXT, [Table("input", "The measurements.", COLUMNS, rows)], [bar])


def _whole_batches(split: Split, device: str) -> Callable[[], None]:
    """An epoch as `InMemoryData` gives it to a network."""
    loader = resumable_loader(
        TrainingSet(split), TrainingBatches(len(split.labels), BATCH, seed=0), 0, device == "cuda"
    )
    augmentation = Augmentation(crop_padding=4, flip=True, rotation=0.0)
    generator = torch.Generator()

    def epoch() -> None:
        for batch in loader:
            images = batch.images.to(device, non_blocking=True)
            generator.manual_seed(batch.epoch << 32 | batch.batch)
            normalise(augmentation(images, generator), MEAN, STD)

    return epoch


def _per_image(split: Split, device: str) -> Callable[[], None]:
    loader: DataLoader[Any] = DataLoader(
        _Pictures(split), BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True,
        pin_memory=device == "cuda",
    )  # fmt: skip

    def epoch() -> None:
        for images, _ in loader:
            images.to(device, non_blocking=True)

    return epoch
