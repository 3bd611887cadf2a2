"""A workload: one network that infers or trains on one batch, for real or simulated without numbers."""

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
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
"""Float32; or channels_last, and bf16 autocast where the device computes in it; or that with torch.compile."""


@dataclass(frozen=True)
class Task:
    """What a network is to do.

    Attributes:
        batch: images.
        input_size: (C, H, W) of each.
        training: a whole training step (forward, cross-entropy, backward, SGD with Nesterov momentum) rather than
            inference.
        settings: of speed.
    """

    batch: int
    input_size: InputSize
    training: bool = False
    settings: Settings = "float32"

    @property
    def recommended(self) -> bool:
        """Whether the settings are other than float32."""
        return self.settings != "float32"


@cache
def has_bf16(device: str) -> bool:
    """Whether a device computes in bf16: GPUs, processors with AVX512_BF16 or AMX; others are slow in it."""
    return device != "cpu" or computes_in_bf16()


def autocast(device: str, recommended: bool) -> AbstractContextManager[object]:
    """The precision of the recommended settings on a device, or float32."""
    return torch.autocast(device, torch.bfloat16) if recommended and has_bf16(device) else nullcontext()


def prepared(model: nn.Module, task: Task, device: str = "cpu") -> nn.Module:
    """A copy of a network, on a device and in the memory format of a task."""
    placed = copy.deepcopy(model).to(device)
    return placed.to(memory_format=torch.channels_last) if task.recommended else placed


class Workload:
    """A network together with what it works on; calling it does the work once.

    Args:
        model: as `prepared` makes it; it is put into the task's mode, and compiled in its first call if the task
            says so.
        task: what it does.
        foreach: whether the optimizer treats all parameters at once; None: as PyTorch does on the device.
    """

    def __init__(self, model: nn.Module, task: Task, foreach: bool | None = None) -> None:
        self.model, self.task = model.train(task.training), task
        if task.settings == "compiled":
            self.model.compile()
        device = next(model.parameters()).device
        layout = torch.channels_last if task.recommended else torch.contiguous_format
        self.images = torch.randn(task.batch, *task.input_size, device=device).contiguous(memory_format=layout)
        self.labels = torch.arange(task.batch, device=device) % 10
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4, foreach=foreach
        )

    def __call__(self) -> None:
        if not self.task.training:
            with torch.no_grad(), self._precision():
                self.model(self.images)
            return
        self.optimizer.zero_grad()
        with self._precision():
            loss = F.cross_entropy(self.model(self.images), self.labels)
        loss.backward()
        self.optimizer.step()

    def _precision(self) -> AbstractContextManager[object]:
        return autocast(self.images.device.type, self.task.recommended)

    def tensors(self) -> Iterator[Tensor]:
        """All tensors that exist before the first call."""
        yield from (*self.model.parameters(), *self.model.buffers(), self.images, self.labels)


CUDA_BLOCK = 512
"""Bytes to whose multiples CUDA's allocator rounds up."""


@dataclass(frozen=True)
class Simulated:
    """What a workload would take.

    Attributes:
        peak_bytes: the most that parameters, inputs, activations, gradients and the optimizer's state occupy
            at once.
        multiply_adds: of convolutions and linear layers, backward included in training, for the whole batch.
    """

    peak_bytes: int
    multiply_adds: int


def simulate(model: nn.Module, task: Task, cuda: bool = False) -> Simulated:
    """Runs a copy of a network on fake tensors, which have shapes but no numbers: in seconds, on any machine.

    The operations are those that PyTorch's eager mode runs on the CPU. Most allocate the same on CUDA: where there
    is no GPU, torch 2.14 runs forward on fake CUDA tensors, which confirms it for that, but its autograd refuses
    them. So an estimate for CUDA counts fake tensors of the CPU, in the blocks of CUDA's allocator, with the
    optimizer as it is on CUDA: all parameters at once, which takes one more list of them for the weight decay.
    What kernels need for themselves (cuDNN's workspaces) is not counted, nor what `torch.compile` changes.

    Args:
        model: left alone.
        task: what it does. In training there are two steps, since the optimizer has its state in the second only.
        cuda: whether to estimate what CUDA's allocator would count.
    """
    task = replace(task, settings="recommended") if task.settings == "compiled" else task
    placed = prepared(model, task)
    # Copying draws nothing, but dropout does, even without numbers.
    with torch.random.fork_rng(devices=[]), FakeTensorMode(allow_non_fake_inputs=True):
        workload = Workload(skeleton(placed, "cpu"), task, foreach=cuda or None)
        with PeakMemory(workload.tensors(), CUDA_BLOCK if cuda else 1) as memory:
            workload()
            if task.training:
                workload()
        # Apart, as the counter keeps alive what gradient checkpointing would free.
        with FlopCounterMode(display=False) as counter:
            workload()
    return Simulated(memory.peak, int(counter.get_total_flops()) // 2)
