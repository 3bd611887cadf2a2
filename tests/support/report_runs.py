"""Writes run folders as train.py leaves them, for tests of the report."""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf

from ccnn.report.cells import numbers
from ccnn.report.group import Grid, arrange
from ccnn.report.paper import TABLES
from ccnn.report.records import read_runs

CONFIG = """\
data:
  _target_: ccnn.data.InMemoryData
  name: {data}
  root: data
  batch_size: {batch_size}
  augment: {augment}
  augmentation: {augmentation}
model: {{_target_: {target}, name: {model}, in_channels: 3}}
sampling: {{_target_: ccnn.Sampling, name: {sampling}, skip_first: {skip_first}, only: []}}
optimizer: {{_target_: torch.optim.SGD, lr: {lr}, momentum: 0.9, nesterov: true, weight_decay: {weight_decay}}}
scheduler: {{_target_: ccnn.training.schedulers.multistep, max_epochs: {epochs},
  fractions: [0.5, 0.75], gamma: 0.1}}
trainer: {{_target_: pytorch_lightning.Trainer, max_epochs: {epochs}, accelerator: auto, devices: 1, num_nodes: 1}}
convert: {convert}
seed: {seed}
protocol: {protocol}
output_dir: {folder}
"""

NONE = "{crop_padding: 0, flip: false, rotation: 0.0}"
AUGMENTATIONS = {
    "shift": "{crop_padding: 2, flip: false, rotation: 0.0}",
    "standard": "{crop_padding: 2, flip: false, rotation: 15.0}",
}
"""Of MNIST."""

TARGETS = {
    "densenet": "ccnn.models.DenseNet",
    "vgg": "ccnn.models.VGG",
    "wide": "ccnn.models.WideResNet",
    "toy": "ccnn.models.Toy",
}
"""What builds a model, by how its name begins; others are ResNets."""


def write_run(
    folder: Path,
    error: float | None = None,
    *,
    model: str = "resnet18",
    data: str = "cifar10",
    augment: str = "standard",
    convert: bool = False,
    sampling: str = "naive",
    skip_first: int = 0,
    seed: int = 0,
    protocol: str | None = "paper",
    epochs: int = 300,
    trained_epochs: int | None = None,
    train_images: int = 50_000,
    batch_size: int = 64,
    lr: float = 0.1,
    multiply_adds: int = 1_000_000_000,
    seconds: float = 3600.0,
    state: str | None = None,
    problem: str | None = None,
    date: str = "2026-01-01T12:00:00+00:00",
    commit: str = "a" * 40,
    changed: bool = False,
    gpus: tuple[str, ...] = (),
    target: str | None = None,
    settings: Mapping[str, object] | None = None,
    parameters: int = 11_173_962,
    curve: tuple[float, ...] = (),
) -> Path:
    """Writes one run: finished if it has an error, else in `state`.

    It is trained by the paper's recipe, but for the arguments and what `settings` says, with dotted keys.
    """
    folder.mkdir(parents=True)
    ratio = 3 if convert else 1
    target = target or next((TARGETS[kind] for kind in TARGETS if model.startswith(kind)), "ccnn.models.resnet")
    weight_decay = 0.0 if data == "mnist" else 0.0001
    cifar = "{crop_padding: 4, flip: true, rotation: 0.0}"
    augmentation = NONE if augment == "none" else AUGMENTATIONS[augment] if data == "mnist" else cifar
    config = OmegaConf.create(CONFIG.format(**{**locals(), "convert": str(convert).lower()}))
    for key, value in (settings or {}).items():
        OmegaConf.update(config, key, value, force_add=True)
    OmegaConf.save(config, folder / "config.yaml")
    environment = {
        "date": date,
        "seed": seed,
        "packages": {"torch": "2.9.0", "numpy": "2.0.1"},
        "git": {"commit": commit, "changed": changed},
        "processor": "AVX2",
        "threads": 1,
        "gpus": list(gpus),
    }
    (folder / "environment.json").write_text(json.dumps(environment))
    status = {
        "state": state or ("running" if error is None else "finished"),
        "error": problem,
        "name": folder.name,
    }
    (folder / "status.json").write_text(json.dumps(status))
    if error is not None:
        text = f"{sampling} skip_first={skip_first}" if skip_first else sampling
        content = {
            "test/error": error,
            "test/loss": 0.5,
            "val/error": None,
            "best_epoch": None,
            "parameters": parameters,
            "plain_multiply_adds": multiply_adds,
            "multiply_adds": multiply_adds * ratio,
            "multiply_adds_ratio": float(ratio),
            "epochs": trained_epochs or epochs,
            "training_seconds": seconds,
            "model": model,
            "data": data,
            "augment": augment,
            "convert": convert,
            "sampling": text if convert else None,
            "seed": seed,
            "protocol": protocol,
            "train_images": train_images,
            "batch_size": batch_size,
        }
        (folder / "metrics.json").write_text(json.dumps(content))
    if curve:
        write_curve(folder, curve)
    return folder


def arranged(folder: Path, table: str | None = None) -> Grid:
    """The runs below a folder, none of which is damaged, in their cells."""
    runs, problems = read_runs([folder])
    assert problems == []
    return arrange(runs, TABLES[table] if table else None)


def lines(folder: Path, table: str | None = None) -> pd.DataFrame:
    """The numbers of all cells."""
    return numbers(arranged(folder, table))


def write_curve(folder: Path, curve: tuple[float, ...]) -> None:
    """Writes metrics.csv as Lightning's logger does: a row for each time that something was logged."""
    lines = ["epoch,lr,step,train/error,train/loss_step,val/error,val/loss"]
    for epoch, error in enumerate(curve):
        lines += [
            f"{epoch},,{epoch * 10 + 4},,0.5,,",
            f"{epoch},,{epoch * 10 + 9},,,{error},{error / 50}",
            f"{epoch},,{epoch * 10 + 9},{error * 0.7},,,",
        ]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
