"""Writes docs/cost.md: what each cell of the paper's tables costs, estimated from multiply-adds."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout's ccnn, even where another is installed

import ccnn
import ccnn.config.run_name  # registers the resolver that conf/config.yaml needs
from ccnn.cli.arguments import Parser
from ccnn.config import CONF
from ccnn.report.paper import BASELINES, IMAGENET, IMAGENET_NAMES, INFERENCE, TABLES
from ccnn.report.paper import NAMES as MODELS
from ccnn.training.build import build

PAGE = Path(__file__).parents[1] / "docs/cost.md"
IMAGES = {"cifar10": 50_000, "cifar100": 50_000, "mnist": 60_000, "imagenet": 50_000}
"""Those of an epoch; of ImageNet those of the one pass over the validation set."""
SEEDS = 3
SPEED = 30e12
"""Operations a second that a large GPU sustains in bf16, two a multiply-add: an assumption."""
STEP, LAYER = 1e-3, 50e-6
"""Seconds that a training step takes at least, and for each layer: starting its kernels, forward and backward."""

HEAD = f"""# What the tables cost

Written by `python scripts/cost.py`; do not edit. Multiply-adds are those of one image, forward, by shapes only.
Hours are an estimate, not a measurement, for a GPU such as an A100 or RTX 4090. A training step takes three times
the forward's work, two operations a multiply-add, at {SPEED / 1e12:.0f} · 10¹² operations a second in bf16. But it
takes no less than {STEP * 1e3:.0f} ms and {LAYER * 1e6:.0f} µs a layer, for the processor to start the work: with
batches of 16 or 64 that is what small networks and DenseNets cost. Such hours are marked \\*; a faster GPU does
not help them, `compile=true` may. All three numbers are assumptions.
"""

TRAINED = """
## Training: Tables 1, 7 and 8

All epochs of the paper's recipe, one seed. *+ 2×3×3* exists only converted; its CNN is that of the network that it
extends.

| table | network | data | CNN, multiply-adds | CCNN | CNN, GPU hours a run | CCNN |
|---|---|---|---:|---:|---:|---:|
"""

TABLE2 = f"""
## Table 2: ImageNet, no training

The forward passes of {IMAGES["imagenet"]:,} images through CNN, naive and lattice CCNN, at the same speed: with
`evaluation.precision=bf16-mixed`, if reading the photographs keeps up. float32, the default, takes several times
as long.

| network | CNN, multiply-adds | CCNN | GPU minutes |
|---|---:|---:|---:|
"""

TABLE3 = """
## Table 3: inference

Measured with few batches of 4: minutes, whatever the network; a form that would take too long is not run.

| network | original, multiply-adds | dilated | checkered |
|---|---:|---:|---:|
"""


@dataclass(frozen=True)
class Trained:
    """A model on a data set: multiply-adds for an image, and the hours of a run, plain and converted.

    The plain network's are those that it is compared with: a model that exists only converted has no hours of it.
    """

    plain: int
    converted: int
    hours: tuple[float | None, float]
    bound: tuple[bool, bool]

    @property
    def cells(self) -> str:
        """The end of the row."""
        times = [
            "" if hours is None else f"{hours:.1f}" + (r"\*" if bound else "")
            for hours, bound in zip(self.hours, self.bound, strict=True)
        ]
        return f"{self.plain / 1e6:,.0f} M | × {self.converted / self.plain:.2f} | {' | '.join(times)} |"


def main() -> None:
    """Counts every cell and writes the page."""
    Parser(__doc__).parse_args()
    lines: list[str] = []
    totals: dict[str, float] = {}
    for name in TABLES:
        for model, data, runs in cells(name):
            found = trained(model, data)
            lines.append(row(name, model, data, found))
            hours = sum(SEEDS * count * (each or 0) for count, each in zip(runs, found.hours, strict=True))
            totals[name] = totals.get(name, 0.0) + hours
            if name == "table1" and not model.startswith("wide"):
                key = "table1 without the Wide-ResNets"
                totals[key] = totals.get(key, 0.0) + hours
    ends = [f"- {name}, three seeds: about {hours:,.0f} GPU hours" for name, hours in totals.items()]
    scored = [table2(model) for model in IMAGENET if model != "fb_resnet152"]
    minutes = sum(each for _, each in scored)
    text = [HEAD, TRAINED, *(f"{line}\n" for line in lines), "\n", *(f"{end}\n" for end in ends)]
    text += [TABLE2, *(f"{line}\n" for line, _ in scored), f"\n- table2: about {minutes / 60:.1f} GPU hours\n"]
    text += [TABLE3, *(f"{table3(model)}\n" for model in INFERENCE)]
    PAGE.write_text("".join(text), encoding="utf-8")


def cells(name: str) -> Iterator[tuple[str, str, tuple[int, int]]]:
    """Each model and data set of a table, and in how many augmentations the paper has its CNN and its CCNN."""
    table = TABLES[name]
    for model in table.errors:
        for data in dict.fromkeys(column.data for column in table.columns if table.at(model, column)):
            errors = [e for column in table.columns if column.data == data if (e := table.at(model, column))]
            yield model, data, (sum(e.cnn is not None for e in errors), sum(e.ccnn is not None for e in errors))


def row(name: str, model: str, data: str, found: Trained) -> str:
    """A line of the table of what is trained."""
    return f"| {name} | {MODELS[model]} | {data} | {found.cells}"


def trained(model: str, data: str) -> Trained:
    """What a model costs on a data set."""
    config = _config(f"model={model}", f"data={data}")
    size = _size(config)
    network = _network(config)
    base = network if model not in BASELINES else _network(_config(f"model={BASELINES[model]}", f"data={data}"))
    plain = ccnn.multiply_adds(base, size)
    layers = sum(not list(module.children()) for module in network.modules())
    converted = ccnn.multiply_adds(ccnn.convert(network, size), size)
    epochs, images = config.data.recipe.max_epochs, IMAGES[data]
    least = epochs * ceil(images / config.data.batch_size) * (STEP + layers * LAYER) / 3600
    work = 3 * 2 * images * epochs / SPEED / 3600
    hours = (None if model in BASELINES else max(plain * work, least)), max(converted * work, least)
    return Trained(plain, converted, hours, (plain * work < least, converted * work < least))


def table2(model: str) -> tuple[str, float]:
    """A line of Table 2, and its minutes."""
    config = _config("data=imagenet", "model=torchvision", f"model.name={model}")
    size = _size(config)
    network = _network(config)
    plain = ccnn.multiply_adds(network, size)
    converted = ccnn.multiply_adds(ccnn.convert(network, size), size)
    minutes = 2 * IMAGES["imagenet"] * (plain + 2 * converted) / SPEED / 60
    name = IMAGENET_NAMES[model]
    return f"| {name} | {plain / 1e6:,.0f} M | × {converted / plain:.2f} | {minutes:.1f} |", minutes


def table3(model: str) -> str:
    """A line of Table 3."""
    config = _config("data=imagenet", "model=torchvision", f"model.name={model}")
    size = _size(config)
    plain = ccnn.multiply_adds(_network(config), size)
    dilated = ccnn.multiply_adds(ccnn.dilate(_network(config), size), size)
    converted = ccnn.multiply_adds(ccnn.convert(_network(config), size), size)
    name = IMAGENET_NAMES[model]
    return f"| {name} | {plain / 1e6:,.0f} M | × {dilated / plain:,.1f} | × {converted / plain:.2f} |"


def _config(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=list(overrides))
    OmegaConf.resolve(config)
    return config


def _size(config: DictConfig) -> tuple[int, int, int]:
    return config.data.channels, config.data.image_size, config.data.image_size


def _network(config: DictConfig) -> nn.Module:
    with torch.device("meta"):
        network: nn.Module = build(config, "model")
    return network


if __name__ == "__main__":
    main()
