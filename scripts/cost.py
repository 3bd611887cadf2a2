"""Writes docs/cost.md: what each cell of the paper's tables costs to train, estimated from multiply-adds."""

from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import ccnn
import ccnn.config.run_name  # registers the resolver that conf/config.yaml needs
from ccnn.building import build
from ccnn.command_line.arguments import Parser
from ccnn.command_line.explain import CONF
from ccnn.data.sources import NAMES
from ccnn.report.published import NAMES as MODELS
from ccnn.report.published import TABLES

IMAGES = {"cifar10": 50_000, "cifar100": 50_000, "mnist": 60_000}
SPEED = 30e12
"""Operations a second that training sustains on a large GPU in bf16, two a multiply-add: an assumption."""

HEAD = f"""# What the tables cost

Written by `python scripts/cost.py`; do not edit. Multiply-adds are those of one image, forward, by shapes only.
GPU hours are an estimate, not a measurement: three times the forward's work for a training step, two operations
a multiply-add, every epoch of the paper's recipe, at {SPEED / 1e12:.0f} · 10¹² operations a second, assumed
for an A100 or RTX 4090 in bf16. Batches of 64 leave such a GPU idle on small networks: expect more for toy
networks and DenseNet-BC-40.

| table | network | data | CNN, multiply-adds | CCNN | CNN, GPU hours a run | CCNN |
|---|---|---|---:|---:|---:|---:|
"""


def main() -> None:
    """Counts every cell and writes the page."""
    Parser(__doc__).parse_args()
    lines, total = [], {}
    for name, table in TABLES.items():
        for model in table.errors:
            for data in dict.fromkeys(column.data for column in table.columns if table.at(model, column)):
                plain, converted, hours = cell(model, data)
                runs = [e for c in table.columns if c.data == data for e in (table.at(model, c) or ())]
                spent = sum(hours[i % 2] for i, error in enumerate(runs) if error is not None)
                total[name] = total.get(name, 0.0) + 3 * spent
                ratio = f"{plain / 1e6:,.0f} M | × {converted / plain:.2f}"
                lines.append(f"| {name} | {MODELS[model]} | {data} | {ratio} | {hours[0]:.1f} | {hours[1]:.1f} |")
    ends = [f"- {name}, three seeds: about {hours:,.0f} GPU hours" for name, hours in total.items()]
    page = HEAD + "\n".join([*lines, "", *ends, ""])
    (Path(__file__).parents[1] / "docs/cost.md").write_text(page, encoding="utf-8")


def cell(model: str, data: str) -> tuple[int, int, tuple[float, float]]:
    """Multiply-adds for an image, plain and converted, and the hours of a run."""
    assert data in NAMES
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=[f"model={model}", f"data={data}"])
    OmegaConf.resolve(config)
    size = (config.data.channels, config.data.image_size, config.data.image_size)
    with torch.device("meta"):
        network = build(config, "model")
    plain = ccnn.multiply_adds(network, size)
    converted = ccnn.multiply_adds(ccnn.convert(network, size), size)
    work = 3 * 2 * IMAGES[data] * config.data.recipe.max_epochs / SPEED / 3600
    return plain, converted, (plain * work, converted * work)


if __name__ == "__main__":
    main()
