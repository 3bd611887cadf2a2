"""Builds the network of a configuration with published weights, a file's, or a run's."""

from pathlib import Path

from omegaconf import DictConfig
from torch import nn

from ccnn.errors import UserError
from ccnn.evaluation.networks import in_evaluation
from ccnn.multisampling.samplers import Sampling
from ccnn.runs.checkpoints import read_checkpoint
from ccnn.runs.folder import saved_config
from ccnn.runs.record import RunRecord
from ccnn.training.build import build, model_name

_PREFIX = "model."  # of the network's names within the LightningModule


def pretrained(config: DictConfig) -> nn.Module:
    """Builds the network with the weights that `model.weights` names.

    Raises:
        UserError: it names none, or they do not fit.
    """
    if config.model.get("weights") is None:
        raise UserError(
            f"model.weights: {model_name(config)} would be scored with random weights. Name some: "
            "model=torchvision model.name=resnet50 model.weights=DEFAULT, a file, or run=outputs/runs/…"
        )
    if config.model.get("strict") is False:
        raise UserError("model.strict: false leaves layers random whose weights do not fit; expected true.")
    model: nn.Module = build(config, "model")
    return model


def of_run(config: DictConfig, run: Path, checkpoint: Path | None = None) -> tuple[nn.Module, str]:
    """Builds the network of a run's configuration with the weights of its best epoch, else of its last.

    Args:
        config: of the run.
        run: its folder.
        checkpoint: one of its files, if not that of the best epoch.

    Returns:
        The plain network, and the name of the checkpoint.

    Raises:
        UserError: there is no checkpoint, or it cannot be used.
    """
    record = RunRecord.read(run)
    tested = record.checkpoint if record else None  # save_top_k and other file names: what the run itself tested
    names = (tested or "best.ckpt", "last.ckpt")
    files = [checkpoint] if checkpoint else [run / "checkpoints" / name for name in names]
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        raise UserError(
            f"run: {run} holds neither checkpoints/best.ckpt nor checkpoints/last.ckpt; it was trained with "
            "callbacks=none, or stopped before the end of its first epoch."
        )
    model = _without_weights(config)
    state = read_checkpoint(path)["state_dict"]
    own = {name.removeprefix(_PREFIX): value for name, value in state.items() if name.startswith(_PREFIX)}
    try:
        model.load_state_dict(own)
    except RuntimeError as error:
        raise UserError(
            f"run: {path} does not fit the network of {run / 'config.yaml'}, {model_name(config)}: "
            f"{' '.join(str(error).split())[:500]}"
        ) from error
    return model, path.name


def trained_sampling(run: Path) -> Sampling | None:
    """How a run's network samples in evaluation; None for a plain one."""
    config = saved_config("run", run)
    return in_evaluation(build(config, "sampling")) if config.get("convert") else None


def _without_weights(config: DictConfig) -> nn.Module:
    """The run's network, whose pretrained weights the checkpoint replaces: they need not be downloaded again."""
    config = config.copy()
    published = config.model.get("weights")
    if published is not None:
        config.model.weights = None
    model: nn.Module = build(config, "model")
    if published is not None and not Path(published).suffix and hasattr(model, "transform_input"):
        model.transform_input = config.data.channels == 3  # as in torchvision_model
    return model
