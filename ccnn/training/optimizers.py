"""Optimizer and schedule of a configuration."""

from collections.abc import Callable
from inspect import signature
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig
from torch import nn

from ccnn.config.targets import TOTAL_STEPS
from ccnn.errors import UserError, choices
from ccnn.training.build import build
from ccnn.training.classifier import LOGGED, Configure


def build_optimizers(config: DictConfig, validates: bool, total_steps: Callable[[], int]) -> Configure:
    """Returns a function that gives Lightning optimizer and schedule of a network.

    Args:
        config: its `optimizer.decay_norm_and_bias`, `scheduler.interval`, `.frequency` and `.monitor` are for us.
        validates: whether there are validation images.
        total_steps: counts the optimizer steps of the training, for a schedule that has such an argument.

    Raises:
        UserError: the schedule monitors something unknown; the function it returns: a value is wrong.
    """
    optimizer, scheduler, group = build(config, "optimizer"), build(config, "scheduler"), config.scheduler
    check_monitor("scheduler.monitor", group.get("monitor"), validates)
    wants_steps = TOTAL_STEPS in signature(get_object(group._target_)).parameters and TOTAL_STEPS not in group
    options = {key: group[key] for key in ("interval", "frequency", "monitor") if group.get(key) is not None}

    def configure(model: nn.Module) -> Any:
        steps = {TOTAL_STEPS: total_steps()} if wants_steps else {}
        try:
            built = optimizer(parameter_groups(model, config.optimizer.get("decay_norm_and_bias", True)))
            return {"optimizer": built, "lr_scheduler": {"scheduler": scheduler(built, **steps), **options}}
        except (ValueError, TypeError) as error:
            raise UserError(f"optimizer, scheduler: {error} (debug=true shows where)") from error

    return configure


def parameter_groups(model: nn.Module, decay_norm_and_bias: bool = True) -> list[Any]:
    """Returns a model's parameters for an optimizer, those of norms and biases in a group without weight decay.

    Args:
        model: the model.
        decay_norm_and_bias: true, as in the paper: all parameters decay.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8))
        >>> [(len(group["params"]), group.get("weight_decay")) for group in parameter_groups(model, False)]
        [(1, None), (3, 0.0)]
    """
    if decay_norm_and_bias:
        return list(model.parameters())
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]


def check_monitor(key: str, monitor: str | None, validates: bool = True) -> None:
    """Raises if `monitor` is not logged; names with a prefix of their own may come from a user's callback."""
    if monitor is None or ("/" in monitor and not monitor.startswith(("train/", "val/", "test/"))):
        return
    if monitor not in LOGGED:
        raise UserError(f"{key}: there is no {monitor!r}; {choices(monitor, LOGGED)}")
    if not validates and monitor.startswith("val/"):
        raise UserError(f"{key}: {monitor} needs validation images; monitor {monitor.replace('val', 'train')}.")
