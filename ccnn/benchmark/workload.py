"""A workload: one network that infers or trains on one batch, on real or on simulated tensors."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from ccnn.benchmark.peak_memory import PeakMemory
from ccnn.config.processor import computes_in_bf16
from ccnn.multisampling.conversion.meta import InputSize, skeleton

Settings = Literal["float32", "recommended", "compiled"]
"""Plain float32; channels_last with bf16 autocast where the device supports it; the latter with torch.compile."""


@dataclass(frozen=True)
class Task:
    """What a network has to do.

    Attributes:
        batch: images per step.
        input_size: (C, H, W) of each.
        training: a whole training step (forward, cross-entropy, backward, SGD with Nesterov momentum) instead of
            inference.
        settings: of speed.
    """

    batch: int
    input_size: InputSize
    training: bool = False
    settings: Settings = "float32"

    @property
    def name(self) -> str:
        """`training` or `inference`."""
        return "training" if self.training else "inference"


@cache
def has_bf16(device: str) -> bool:
    """Whether a device is fast in bf16: GPUs, and processors with AVX512_BF16 or AMX."""
    return device != "cpu" or computes_in_bf16()


def autocast(device: str, settings: Settings) -> torch.autocast:
    """The precision of some settings on a device."""
    return torch.autocast(device, torch.bfloat16, enabled=settings != "float32" and has_bf16(device))


def memory_format(settings: Settings) -> torch.memory_format:
    """The memory format of some settings."""
    return torch.contiguous_format if settings == "float32" else torch.channels_last


class Workload:
    """A network with its batch and optimizer; each call is one step.

    Args:
        model: is put into the task's mode, and compiled in its first call if the settings say so.
        task: what it does.
    """

    def __init__(self, model: nn.Module, task: Task) -> None:
        self.model, self.task = model.train(task.training), task
        if task.settings == "compiled":
            self.model.compile()
        device = next(model.parameters()).device
        images = torch.randn(task.batch, *task.input_size, device=device)
        self.images = images.contiguous(memory_format=memory_format(task.settings))
        self.labels = torch.arange(task.batch, device=device) % 10
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4
        )

    def __call__(self) -> None:
        precision = autocast(self.images.device.type, self.task.settings)
        if not self.task.training:
            with torch.no_grad(), precision:
                self.model(self.images)
            return
        self.optimizer.zero_grad()
        with precision:
            loss = F.cross_entropy(self.model(self.images), self.labels)
        loss.backward()
        self.optimizer.step()

    def tensors(self) -> Iterator[Tensor]:
        """All tensors that exist before the first call."""
        yield from (*self.model.parameters(), *self.model.buffers(), self.images, self.labels)


def prepared(model: nn.Module, task: Task, device: str = "cpu") -> nn.Module:
    """A copy of a network on a device, in the task's memory format."""
    placed = copy.deepcopy(model).to(device)
    return placed.to(memory_format=memory_format(task.settings))


@dataclass(frozen=True)
class Simulated:
    """The cost of one step.

    Attributes:
        peak_bytes: the most that parameters, inputs, activations, gradients and optimizer state occupy at once.
        multiply_adds: of convolutions and linear layers for the whole batch, in training with backward.
    """

    peak_bytes: int
    multiply_adds: int


def simulate(model: nn.Module, task: Task) -> Simulated:
    """Runs a copy of a network on fake tensors, which have shapes but no values: seconds, on any machine.

    The operations are those of PyTorch's eager mode on the CPU. Not counted: what kernels allocate for themselves,
    and what `torch.compile` saves.

    Args:
        model: is not changed.
        task: in training it runs two steps, since the optimizer allocates its state at the end of the first.

    Example:
        >>> simulate(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1)), Task(2, (3, 8, 8))).multiply_adds
        27648
    """
    task = replace(task, settings="recommended") if task.settings == "compiled" else task
    placed = prepared(model, task)
    # Dropout draws random numbers even on fake tensors; the caller's random state must not change.
    with torch.random.fork_rng(devices=[]), FakeTensorMode(allow_non_fake_inputs=True):
        workload = Workload(skeleton(placed, "cpu"), task)
        with PeakMemory(workload.tensors()) as memory:
            workload()
            if task.training:
                workload()
        # In a pass of its own: the counter keeps tensors alive that gradient checkpointing would free.
        with FlopCounterMode(display=False) as counter:
            workload()
    return Simulated(memory.peak, int(counter.get_total_flops()) // 2)
