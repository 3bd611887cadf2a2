"""The peak of what tensors occupy, counted as operations allocate and free, in forward and backward alike."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode


class PeakMemory(TorchDispatchMode):
    """Inside, every storage that an operation yields counts until it is freed; what kernels allocate is not seen.

    Works on fake and meta tensors, too, and so tells what a step would take on a machine that lacks the memory.

    Args:
        tensors: that exist already: parameters, buffers, inputs.

    Attributes:
        live: bytes now.
        peak: the most so far, in bytes.
    """

    def __init__(self, tensors: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._counted: dict[int, int] = {}
        self._count(list(tensors))

    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self._count(out)
        return out

    def _count(self, values: Any) -> None:
        for leaf in pytree.tree_leaves(values):
            if not isinstance(leaf, Tensor):
                continue
            storage = leaf.untyped_storage()
            address = storage._cdata  # the same for all tensors that share it, whose Python objects differ
            if address not in self._counted:
                self._counted[address] = size = storage.nbytes()
                self.live += size
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self._free, address)

    def _free(self, address: int) -> None:
        self.live -= self._counted.pop(address)
