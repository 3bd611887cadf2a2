"""A workload: one network that infers or trains on one batch, for real or simulated without numbers."""

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from ccnn.conversion.dry_run import InputSize, skeleton
from ccnn.measuring.peak_memory import PeakMemory


@dataclass(frozen=True)
class Task:
    """What a network is to do.

    Attributes:
        batch: images.
        input_size: (C, H, W) of each.
        training: a whole training step (forward, cross-entropy, backward, SGD with Nesterov momentum) rather than
            inference.
        recommended: channels_last, and bf16 autocast where the device computes in it, rather than float32.
    """

    batch: int
    input_size: InputSize
    training: bool = False
    recommended: bool = False


def has_bf16(device: str) -> bool:
    """Whether a device computes in bf16: GPUs, processors with AVX512_BF16 or AMX; others are slow in it."""
    return device != "cpu" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


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
        model: as `prepared` makes it; it is put into the task's mode.
        task: what it does.
    """

    def __init__(self, model: nn.Module, task: Task) -> None:
        self.model, self.task = model.train(task.training), task
        device = next(model.parameters()).device
        layout = torch.channels_last if task.recommended else torch.contiguous_format
        self.images = torch.randn(task.batch, *task.input_size, device=device).contiguous(memory_format=layout)
        self.labels = torch.arange(task.batch, device=device) % 10
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4
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


def simulate(model: nn.Module, task: Task, block: int = 1) -> Simulated:
    """Runs a copy of a network on fake tensors, which have shapes but no numbers: in seconds, on any machine.

    The operations are those of PyTorch in eager mode and so the same on CPU and CUDA. What kernels need for
    themselves (cuDNN's workspaces) is not counted. Fake tensors of the CPU stand for both: where there is no GPU,
    torch 2.14 runs forward on fake CUDA tensors, and allocates the same, but its autograd refuses them.

    Args:
        model: left alone.
        task: what it does. In training there are two steps, since the optimizer has its state in the second only.
        block: as of `PeakMemory`: 512 for an estimate of what CUDA's allocator counts.
    """
    placed = prepared(model, task)
    # Copying draws nothing, but dropout does, even without numbers.
    with torch.random.fork_rng(devices=[]), FakeTensorMode(allow_non_fake_inputs=True):
        workload = Workload(skeleton(placed, "cpu"), task)
        with PeakMemory(workload.tensors(), block) as memory:
            workload()
            if task.training:
                workload()
        # Apart, as the counter keeps alive what gradient checkpointing would free.
        with FlopCounterMode(display=False) as counter:
            workload()
    return Simulated(memory.peak, int(counter.get_total_flops()) // 2)
