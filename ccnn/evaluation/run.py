"""evaluate(): from a configuration to the errors of a network, plain and converted, in a folder's files."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

import ccnn
from ccnn.config import validate
from ccnn.config.targets import validate_targets
from ccnn.data import FolderData, InMemoryData
from ccnn.data.loaders import ordered_loader
from ccnn.errors import UserError
from ccnn.evaluation.networks import networks
from ccnn.evaluation.preprocessing import Preprocessing, preprocessing_of
from ccnn.evaluation.scoring import score
from ccnn.evaluation.weights import of_run, pretrained, trained_sampling
from ccnn.multisampling.samplers import Sampling
from ccnn.report.evaluation import RESULT, describe, rows, show, write
from ccnn.runs.folder import discard, environment
from ccnn.training.build import build, check_network, model_name
from ccnn.training.console import watch


def evaluate(
    config: DictConfig,
    folder: Path,
    overrides: Sequence[str] = (),
    run: Path | None = None,
    checkpoint: Path | None = None,
) -> dict[str, Any]:
    """Scores a network with given weights, plain and converted with each sampling method, without any training.

    Every batch is loaded once and shown to all of them. They share their weights, so that many take the memory
    of one. Nothing is written before all of them are known to work.

    Args:
        config: composed from conf/; what is evaluated is in its groups data, model, sampling and evaluation.
        folder: for evaluation.json, evaluation.csv and evaluation.md.
        overrides: what was typed, for the record.
        run: a run of train.py, whose weights are taken, with its configuration as `config`. The form that they
            were trained in is evaluated too.
        checkpoint: which of the run's weights; None: those of its best epoch, else of its last.

    Returns:
        What evaluation.json holds.

    Raises:
        UserError: the configuration, the data, the weights or the run are wrong or do not fit each other, or the
            folder holds an evaluation already.
    """
    validate(config)
    config = config.copy()
    OmegaConf.resolve(config)
    validate_targets(OmegaConf.masked_copy(config, ["data", "model", "sampling"]))
    if (folder / RESULT).exists():
        raise UserError(f"{folder}: holds an evaluation already, which is left as it is; choose another output=….")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _evaluate(config, folder, overrides, run, checkpoint)
    finally:
        discard(folder)


def _evaluate(
    config: DictConfig, folder: Path, overrides: Sequence[str], run: Path | None, checkpoint: Path | None
) -> dict[str, Any]:
    device = _device(config.evaluation.device)
    samplings = _samplings(config)
    trained = trained_sampling(run) if run else None
    if trained is not None and trained not in samplings:
        samplings.insert(0, trained)
    plain, weights = of_run(config, run, checkpoint) if run else (pretrained(config), str(config.model.weights))

    data = _data(config)
    preprocessing = _preprocessing(config, data, run)
    input_size = (config.data.channels, preprocessing.size, preprocessing.size)
    check_network(plain, input_size, config)
    parameters = ccnn.parameters(plain)
    scored = networks(plain.to(device), samplings, trained, input_size, of_a_run=run is not None)
    images = _spread(len(data.test_set.labels), config.evaluation.limit)

    result: dict[str, Any] = {
        "model": model_name(config),
        "library": str(config.model._target_).rpartition(".")[2],
        "weights": weights,
        "published_weights": preprocessing.weights,
        "run": str(run) if run else None,
        "protocol": str(config.protocol) if run else None,
        "data": str(config.data.get("name", config.data._target_)),
        "classes": config.data.num_classes,
        "preprocessing": preprocessing.text,
        "input_size": list(input_size),
        "images": len(images),
        "test_images": len(data.test_set.labels),
        "batch_size": config.data.eval_batch_size,
        "parameters": parameters,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "precision": config.evaluation.precision,
    }
    describe(result, [network.name for network in scored])
    half = config.evaluation.precision == "bf16-mixed"
    with watch(len(images)) as on_batch:
        scores = score(scored, _batches(data, images, config, device), device, half, on_batch)
    result["networks"] = rows(scored, scores, result)
    result |= {
        "overrides": list(overrides),
        "config": OmegaConf.to_container(config),
        "environment": environment(config.seed),
    }
    write(folder, result)
    show(folder, result)
    return result


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("evaluation.device: cuda is not available on this machine; use device=cpu.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _samplings(config: DictConfig) -> list[Sampling]:
    """Each method with each border, with all other keys of `sampling` as they are; none twice."""
    keys = OmegaConf.to_container(config.sampling)
    assert isinstance(keys, dict)
    shared = {key: keys[key] for key in ("skip_first", "only", "skip", "border") if key in keys}
    own = {key: keys[key] for key in ("samplers", "sequence") if key in keys}
    found: list[Sampling] = []
    try:
        for name in config.evaluation.samplings:
            sampling = Sampling(name=name, **shared, **(own if name == "custom" else {}))
            borders = config.evaluation.borders or [sampling.border]
            found += [replace(sampling, border=border) for border in borders]
    except ValueError as error:
        raise UserError(str(error)) from error
    return list(dict.fromkeys(found))


def _data(config: DictConfig) -> InMemoryData:
    data: InMemoryData = build(config, "data")
    data.prepare_data()
    data.setup("test")
    return data


def _preprocessing(config: DictConfig, data: InMemoryData, run: Path | None) -> Preprocessing:
    """What is done to the images; where the weights say what they want, it is put into the data module."""
    size = config.data.image_size
    if not isinstance(data, FolderData):
        mean, std = (" ".join(f"{value:g}" for value in config.data[key]) for key in ("mean", "std"))
        return Preprocessing(_never, size, f"{size}×{size} pixels as stored, mean {mean}, std {std}", None)
    found = None if run else preprocessing_of(config.model, config.data)
    if found is not None:
        data.single_crop = found.prepare
        return found
    return Preprocessing(data.single_crop, config.data.crop or size, f"{data.single_crop}; as data.* says", None)


def _never(image: object) -> Tensor:
    raise NotImplementedError("images in memory are prepared batch by batch, by their data module")


def _spread(count: int, limit: int | None) -> Tensor:
    """Indices of the images: all, or `limit` evenly spaced ones, so that every class has its share."""
    most = min(count, limit or count)
    return torch.arange(most) * count // most


def _batches(
    data: InMemoryData, images: Tensor, config: DictConfig, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    loader = data.test_dataloader()
    batches = images.split(config.data.eval_batch_size)
    for batch in ordered_loader(loader.dataset, batches, loader.num_workers, device.type == "cuda"):
        yield data.on_after_batch_transfer(data.transfer_batch_to_device(batch, device, 0), 0)
