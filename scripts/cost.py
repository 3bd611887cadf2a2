"""Fills the tables of docs/cost.md: what each cell of the paper's tables costs, estimated from multiply-adds."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout's ccnn, even where another is installed

import ccnn
from ccnn.benchmark.output import fill, markdown
from ccnn.cli.arguments import Parser
from ccnn.config.composition import compose
from ccnn.data.crops import height_and_width
from ccnn.report.paper import BASELINES, IMAGENET, IMAGENET_NAMES, INFERENCE, NAMES, TABLES
from ccnn.training.build import build

PAGE = Path(__file__).parents[1] / "docs/cost.md"
IMAGES = {"cifar10": 50_000, "cifar100": 50_000, "mnist": 60_000, "imagenet": 50_000}
"""Images of an epoch; for ImageNet, of the validation set."""
SEEDS = 3
# The page states these assumptions: operations per second in bf16 (two per multiply-add), and the least time of a
# training step and of each layer in it, in seconds.
SPEED, STEP, LAYER = 30e12, 1e-3, 50e-6


def cells(table: str) -> Iterator[tuple[str, str, int, int]]:
    """Model, data set, and the numbers of CNN and CCNN runs (augmentations) in the paper, for one seed."""
    published = TABLES[table]
    for model in published.errors:
        for data in dict.fromkeys(column.data for column in published.columns if published.at(model, column)):
            columns = [column for column in published.columns if column.data == data]
            errors = [error for column in columns if (error := published.at(model, column))]
            yield model, data, sum(e.cnn is not None for e in errors), sum(e.ccnn is not None for e in errors)


def trained(model: str, data: str) -> dict[str, Any]:
    """Multiply-adds per image, and hours per run, of a model's CNN and CCNN.

    A model that exists only converted has no hours of a CNN; its multiply-adds are compared with its baseline's.
    """
    config = _config(f"model={model}", f"data={data}")
    only_converted = model in BASELINES
    plain = _multiply_adds(_config(f"model={BASELINES[model]}", f"data={data}") if only_converted else config)
    converted = _multiply_adds(config, "naive")
    layers = sum(not list(module.children()) for module in _network(config).modules())
    epochs, images = config.data.recipe.max_epochs, IMAGES[data]
    least = epochs * ceil(images / config.data.batch_size) * (STEP + layers * LAYER) / 3600
    # Backward takes twice the work of forward.
    cnn, ccnn_ = (3 * 2 * images * epochs * count / SPEED / 3600 for count in (plain, converted))
    return {
        "cnn": plain, "ccnn": converted,
        "cnn hours": None if only_converted else max(cnn, least), "ccnn hours": max(ccnn_, least),
        "cnn bound": cnn < least, "ccnn bound": ccnn_ < least,
    }  # fmt: skip


def row(table: str, model: str, data: str, cost: dict[str, Any]) -> dict[str, str]:
    """A row of the first table."""
    hours = []
    for form in ("cnn", "ccnn"):
        value = cost[f"{form} hours"]
        hours.append("" if value is None else f"{value:.1f}" + r"\*" * cost[f"{form} bound"])
    return {
        "table": table, "network": NAMES[model], "data": data, "CNN, multiply-adds": _millions(cost["cnn"]),
        "CCNN": f"× {cost['ccnn'] / cost['cnn']:.2f}", "CNN, GPU hours a run": hours[0],
        "CCNN, GPU hours a run": hours[1],
    }  # fmt: skip


def table2(model: str) -> tuple[dict[str, str], float]:
    """A row of Table 2, and the minutes of forward passes through CNN, naive and lattice CCNN."""
    config = _config("data=imagenet", "model=torchvision", f"model.name={model}")
    plain, converted = _multiply_adds(config), _multiply_adds(config, "naive")
    minutes = 2 * IMAGES["imagenet"] * (plain + 2 * converted) / SPEED / 60
    return {
        "network": IMAGENET_NAMES[model], "CNN, multiply-adds": _millions(plain),
        "CCNN": f"× {converted / plain:.2f}", "GPU minutes": f"{minutes:.1f}",
    }, minutes  # fmt: skip


def table3(model: str) -> dict[str, str]:
    """A row of Table 3."""
    config = _config("data=imagenet", "model=torchvision", f"model.name={model}")
    plain = _multiply_adds(config)
    return {
        "network": IMAGENET_NAMES[model], "original, multiply-adds": _millions(plain),
        "dilated": f"× {_multiply_adds(config, 'dilated') / plain:,.1f}",
        "checkered": f"× {_multiply_adds(config, 'naive') / plain:.2f}",
    }  # fmt: skip


def main() -> None:
    """Counts every cell and fills the page."""
    Parser(__doc__).parse_args()
    rows: list[dict[str, str]] = []
    totals: dict[str, float] = defaultdict(float)
    for name in TABLES:
        for model, data, cnn_runs, ccnn_runs in cells(name):
            cost = trained(model, data)
            rows.append(row(name, model, data, cost))
            hours = SEEDS * (cnn_runs * (cost["cnn hours"] or 0) + ccnn_runs * cost["ccnn hours"])
            totals[name] += hours
            if name == "table1" and not model.startswith("wide"):
                totals["table1 without the Wide-ResNets"] += hours
    training = [f"- {name}, three seeds: about {hours:,.0f} GPU hours" for name, hours in totals.items()]
    scored, minutes = zip(*(table2(model) for model in IMAGENET if model != "fb_resnet152"), strict=True)
    pages = {
        "training": "\n".join([markdown(pd.DataFrame(rows), 3), "", *training]),
        "table2": f"{markdown(pd.DataFrame(scored))}\n\n- table2: about {sum(minutes) / 60:.1f} GPU hours",
        "table3": markdown(pd.DataFrame([table3(model) for model in INFERENCE])),
    }
    fill(PAGE, pages)


def _config(*overrides: str) -> DictConfig:
    config = compose("config", overrides)
    OmegaConf.resolve(config)
    return config


def _network(config: DictConfig) -> torch.nn.Module:
    with torch.device("meta"):
        network: torch.nn.Module = build(config, "model")
    return network


def _multiply_adds(config: DictConfig, form: str = "plain") -> int:
    size = (config.data.channels, *height_and_width(config.data.image_size))
    network = _network(config)
    if form == "dilated":
        network = ccnn.dilate(network, size)
    elif form != "plain":
        network = ccnn.convert(network, size, form)
    return ccnn.multiply_adds(network, size)


def _millions(count: int) -> str:
    return f"{count / 1e6:,.0f} M"


if __name__ == "__main__":
    main()
