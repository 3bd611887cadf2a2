"""The peak of what tensors occupy, counted as operations allocate and free, in forward and backward alike."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode


class PeakMemory(TorchDispatchMode):
    """Inside, every storage that an operation yields counts from then until it is freed.

    What a kernel allocates for itself alone is not seen. Works on tensors without numbers, too (fake tensors and
    those of the meta device), so that it tells what a step would take on a machine that has not the memory for it.

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
        for tensor in tensors:
            self._count(tensor)

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in pytree.tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._count(leaf)
        return out

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        address = storage._cdata  # tensors that share a storage have Python objects of their own, but one address
        if address in self._counted:
            return
        self._counted[address] = size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._free, address)

    def _free(self, address: int) -> None:
        self.live -= self._counted.pop(address)
