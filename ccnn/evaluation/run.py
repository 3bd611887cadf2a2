"""Scores the network of a configuration, plain and converted, in one pass over its test set."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig, OmegaConf

import ccnn
from ccnn.config import validate
from ccnn.config.targets import validate_targets
from ccnn.errors import UserError
from ccnn.evaluation.images import find_images
from ccnn.evaluation.intervals import paired_gain, wilson
from ccnn.evaluation.networks import Network, in_evaluation, networks
from ccnn.evaluation.record import RESULT, EvaluationRecord, NetworkScore
from ccnn.evaluation.scoring import Score, score
from ccnn.evaluation.weights import of_run, pretrained, trained_sampling
from ccnn.multisampling.samplers import Sampling
from ccnn.runs.folder import discard, environment
from ccnn.training.build import build, check_network, model_name
from ccnn.training.console import watch


def evaluate(
    config: DictConfig,
    folder: Path,
    overrides: Sequence[str] = (),
    run: Path | None = None,
    checkpoint: Path | None = None,
) -> EvaluationRecord:
    """Scores a network with given weights, plain and converted with each sampling method, without any training.

    Each batch is loaded once and shown to all networks. They share their weights, so ten take the memory of one.
    Nothing is written before all of them are known to work.

    Args:
        config: composed from conf/; the groups data, model, sampling and evaluation matter.
        folder: where evaluation.json is written.
        overrides: what was typed, for the record.
        run: a run of train.py whose weights are scored, with its configuration as `config`; the form that they
            were trained in is scored too.
        checkpoint: which of the run's weights; None: those of its best epoch, else of its last.

    Raises:
        UserError: configuration, data, weights or run are wrong or do not fit each other, or the folder already
            contains an evaluation.
    """
    validate(config)
    config = config.copy()
    OmegaConf.resolve(config)
    validate_targets(OmegaConf.masked_copy(config, ["data", "model", "sampling"]))
    if (folder / RESULT).exists():
        raise UserError(f"{folder}: already contains an evaluation; nothing was changed. Choose another output=….")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        record = _evaluate(config, overrides, run, checkpoint)
        record.write(folder)
    finally:
        discard(folder)
    return record


def _evaluate(
    config: DictConfig, overrides: Sequence[str], run: Path | None, checkpoint: Path | None
) -> EvaluationRecord:
    device = _device(config.evaluation.device)
    samplings = _samplings(config)
    trained = trained_sampling(run) if run else None
    if trained is not None and trained not in samplings:
        samplings.insert(0, trained)
    plain, weights = of_run(config, run, checkpoint) if run else (pretrained(config), str(config.model.weights))

    images = find_images(config, run)
    check_network(plain, images.input_size, config, images.classes)
    parameters = ccnn.parameters(plain)
    scored = networks(plain.to(device), samplings, trained, images.input_size, run is not None)
    shown = images.spread(config.evaluation.limit)
    record = EvaluationRecord(
        model=model_name(config),
        library=str(config.model._target_).rpartition(".")[2],
        weights=weights,
        published_weights=images.preprocessing.weights,
        run=str(run) if run else None,
        protocol=str(config.protocol) if run else None,
        data=str(config.data.get("name", config.data._target_)),
        classes=images.classes,
        preprocessing=images.preprocessing.text,
        input_size=list(images.input_size),
        images=len(shown),
        test_images=images.total,
        batch_size=images.batch_size,
        parameters=parameters,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        precision=config.evaluation.precision,
        networks=[],
        overrides=list(overrides),
        config=cast(dict[str, Any], OmegaConf.to_container(config)),
        environment=environment(config.seed),
    )
    print(f"{record.title} · {record.shown} · {record.device} · {record.precision}")
    print(f"Networks, on the same weights: {', '.join(network.name for network in scored)}")
    print(f"Preprocessing: {record.preprocessing}", flush=True)
    half = config.evaluation.precision == "bf16-mixed"
    with watch(len(shown)) as on_batch:
        scores = score(scored, images.batches(shown, device), device, half, on_batch)
    return replace(record, networks=_scores(scored, scores, record.classes))


def _scores(networks: Sequence[Network], scores: Sequence[Score], classes: int) -> list[NetworkScore]:
    """Turns the verdict on each image into errors, intervals and gains over the plain network, the first one."""
    result = []
    plain_wrong = torch.cat(scores[0].wrong)
    for network, seen in zip(networks, scores, strict=True):
        wrong, count = torch.cat(seen.wrong), len(plain_wrong)
        top1, top5 = int(wrong.sum()), int(torch.cat(seen.wrong5).sum())
        fixed, broken = int((plain_wrong & ~wrong).sum()), int((~plain_wrong & wrong).sum())
        gain, interval = paired_gain(fixed, broken, count)
        plain, with_top5 = network.sampling is None, classes > 5
        result.append(
            NetworkScore(
                network=network.name,
                sampling=None if plain else str(network.sampling),
                as_trained=network.as_trained,
                top1_error=100 * top1 / count,
                top1_interval=wilson(top1, count),
                top5_error=100 * top5 / count if with_top5 else None,
                top5_interval=wilson(top5, count) if with_top5 else None,
                top1_gain=None if plain else gain,
                top1_gain_interval=None if plain else interval,
                fixed=None if plain else fixed,
                broken=None if plain else broken,
                ms_per_image=seen.ms_per_image,
                peak_memory_mib=seen.peak,
                multiply_adds=network.multiply_adds,
                multiply_adds_ratio=network.multiply_adds / networks[0].multiply_adds,
                submaps=network.submaps,
            )
        )
    return result


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("evaluation.device: cuda is not available on this machine; use device=cpu.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _samplings(config: DictConfig) -> list[Sampling]:
    """Each method with each border, none twice; all other keys of `sampling` apply to every method.

    A method of the user's own comes first: `evaluation.samplings` cannot name it.
    """
    keys = cast(dict[str, Any], OmegaConf.to_container(config.sampling))
    shared = {key: keys[key] for key in ("skip_first", "only", "skip", "border") if key in keys}
    own = {key: keys[key] for key in ("samplers", "sequence") if key in keys}
    found: list[Sampling] = []
    if config.sampling._target_ != "ccnn.Sampling":
        found.append(in_evaluation(build(config, "sampling")))
    try:
        for name in config.evaluation.samplings:
            sampling = Sampling(name=name, **shared, **(own if name == "custom" else {}))
            borders = config.evaluation.borders or [sampling.border]
            found += [replace(sampling, border=border) for border in borders]
    except ValueError as error:
        raise UserError(str(error)) from error
    return list(dict.fromkeys(found))
