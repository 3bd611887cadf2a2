"""The paper's tables as data: test errors in percent, as published in arXiv 1805.10766."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Column(NamedTuple):
    """A data set as it was augmented: `data=… data.augment=…`."""

    data: str
    augment: str


class Errors(NamedTuple):
    """A model's published test errors on a column's data, in percent; None where the paper has no value."""

    cnn: float | None
    ccnn: float | None

    @property
    def gain(self) -> float | None:
        """The CNN's error minus the CCNN's, in percentage points."""
        return None if self.cnn is None or self.ccnn is None else round(self.cnn - self.ccnn, 2)


@dataclass(frozen=True)
class PaperTable:
    """A table of trained networks.

    Args:
        columns: in the paper's order.
        errors: for each model, in the paper's order, its errors in each column; None where there are none.
        others: published beside them but not ours to train: for each text the error in each column.
    """

    columns: tuple[Column, ...]
    errors: Mapping[str, tuple[Errors | None, ...]]
    others: Mapping[str, tuple[float | None, ...]]

    def at(self, model: str, column: Column) -> Errors | None:
        """The model's errors in this column, if the paper has any."""
        if model not in self.errors or column not in self.columns:
            return None
        return self.errors[model][self.columns.index(column)]


C10_PLAIN, C10, C100 = Column("cifar10", "none"), Column("cifar10", "standard"), Column("cifar100", "standard")
MNIST = Column("mnist", "none"), Column("mnist", "shift"), Column("mnist", "standard")

TABLES = {
    "table1": PaperTable(
        (C10_PLAIN, C10, C100),
        {
            "densenet_bc40": (Errors(9.13, 7.77), Errors(6.73, 6.49), Errors(29.32, 28.55)),
            "densenet_bc121": (Errors(6.56, 5.37), Errors(4.19, 3.95), Errors(20.32, 19.97)),
            "resnet18": (Errors(12.81, 9.90), Errors(5.49, 4.90), Errors(25.70, 24.95)),
            "resnet50": (Errors(12.11, 10.68), Errors(5.31, 5.17), Errors(24.75, 22.21)),
            "vgg11_bn": (Errors(14.62, 11.57), Errors(8.23, 7.47), Errors(29.93, 28.97)),
            "wide_resnet28_10": (None, Errors(3.80, 3.60), Errors(18.89, 18.74)),
            "wide_resnet28_10_2x3x3": (None, Errors(None, 3.51), None),
        },
        {},
    ),
    "table7": PaperTable(
        (C100,),
        {
            "resnet18": (Errors(25.70, 24.95),), "resnet18_tiny": (Errors(26.74, 25.68),),
            "resnet50": (Errors(24.75, 22.21),), "resnet50_tiny": (Errors(26.12, 24.17),),
        },
        {},
    ),
    "table8": PaperTable(
        MNIST,
        {
            "toy": (Errors(0.44, 0.39), Errors(0.42, 0.38), Errors(0.30, 0.28)),
            "toy_2x3x3": (Errors(None, 0.39), Errors(None, 0.35), Errors(None, 0.25)),
        },
        {
            "CNN baseline of the CapsNet paper, 35.4 M parameters": (None, 0.39, None),
            "CapsNet with reconstruction, 8.2 M parameters": (None, 0.25, None),
        },
    ),
}  # fmt: skip
"""The tables that `scripts/report.py --table` knows."""

SPREADS = {("toy_2x3x3", MNIST[2], True): 0.02}
"""The one ± that the paper gives: model, column, converted → percentage points."""

NAMES = {
    "densenet_bc40": "DenseNet-BC-40", "densenet_bc121": "DenseNet-BC-121", "resnet18": "ResNet-18",
    "resnet18_tiny": "ResNet-18-tiny", "resnet50": "ResNet-50", "resnet50_tiny": "ResNet-50-tiny",
    "vgg11_bn": "VGG-11-BN", "wide_resnet28_10": "Wide-ResNet-28x10",
    "wide_resnet28_10_2x3x3": "Wide-ResNet-28x10 + 2×3×3", "toy": "Tiny CNN (toy)",
    "toy_2x3x3": "Tiny CNN (toy) + 2×3×3",
}  # fmt: skip
"""What the paper calls our models; in the order of its tables."""

PARAMETERS = {
    "resnet18": "11.2 M", "resnet18_tiny": "2.1 M", "resnet50": "23.5 M", "resnet50_tiny": "3.3 M",
    "toy": "67,913", "toy_2x3x3": "93,833",
}  # fmt: skip
"""Published numbers of parameters (Tables 7 and 8), as printed."""

BASELINES = {"wide_resnet28_10_2x3x3": "wide_resnet28_10", "toy_2x3x3": "toy"}
"""Models that exist only converted, because they mix submaps, and whose CNN the paper compares them with."""

SAMPLING = "naive"
"""How the paper's CCNNs sample."""


def published(model: str, column: Column) -> Errors | None:
    """The errors of a model in a column of any of the tables."""
    return next((errors for table in TABLES.values() if (errors := table.at(model, column))), None)


IMAGENET = {
    "alexnet": Errors(43.48, 43.97), "densenet121": Errors(25.57, 25.55), "densenet161": Errors(22.86, 22.77),
    "densenet169": Errors(24.40, 24.00), "resnet18": Errors(30.24, 30.66), "resnet34": Errors(26.69, 26.85),
    "resnet50": Errors(23.87, 23.90), "resnet101": Errors(22.63, 22.47), "resnet152": Errors(21.87, 21.57),
    "fb_resnet152": Errors(22.61, 22.38), "squeezenet1_0": Errors(41.91, 41.64),
    "squeezenet1_1": Errors(41.82, 41.28), "vgg11": Errors(30.98, 31.39), "vgg19": Errors(27.62, 28.18),
}  # fmt: skip
"""Table 2: top-1 error, single crop, converted with no training. Names are torchvision's, but for fb_resnet152."""

IMAGENET_NAMES = {
    "alexnet": "AlexNet", "densenet121": "DenseNet-121", "densenet161": "DenseNet-161",
    "densenet169": "DenseNet-169", "resnet18": "ResNet-18", "resnet34": "ResNet-34", "resnet50": "ResNet-50",
    "resnet101": "ResNet-101", "resnet152": "ResNet-152", "fb_resnet152": "FB-ResNet-152",
    "squeezenet1_0": "SqueezeNet-1.0", "squeezenet1_1": "SqueezeNet-1.1", "vgg11": "VGG-11", "vgg19": "VGG-19",
}  # fmt: skip
"""What the paper calls them."""


class Cost(NamedTuple):
    """Inference of one batch of 4: seconds, memory in gigabytes, top-1 error in percent."""

    seconds: float
    gigabytes: float
    error: float


INFERENCE = {
    "squeezenet1_1": {
        "original": Cost(0.007, 0.6, 41.82), "dilated": Cost(0.15, 3.2, 41.31), "checkered": Cost(0.02, 0.7, 41.28)
    },
    "resnet152": {
        "original": Cost(0.02, 0.9, 21.87), "dilated": Cost(3.60, 10.1, 21.60), "checkered": Cost(0.25, 1.2, 21.57)
    },
    "densenet169": {
        "original": Cost(0.02, 0.8, 24.40), "dilated": Cost(1.67, 10.6, 23.98), "checkered": Cost(0.11, 2.2, 24.00)
    },
}  # fmt: skip
"""Table 3: cost on a GTX 1080 Ti."""
