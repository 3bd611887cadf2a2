"""Functions in the forwards of a converted network, recognised at run time by what they are called with."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import log
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from ..base import Placement
from ..convolution import conv2d
from ..joint import Joint
from ..pooling import Windows, avg_pool2d, lp_pool2d, max_pool2d
from ..submaps import fold, merge, stack, unfold, unstack
from ..windows import pair
from .functional import KINDS, STRIDED, VIEWS, Call, described, first, of_layer, reduced

Function = Callable[..., Any]


@dataclass(frozen=True)
class Action:
    """What takes the place of a function's call.

    Attributes:
        what: `strided`, `joint` or `merge`.
        call: as it was when the network was converted.
        how: of a joint call, how it sees all submaps.
        placement: where in the network it is.
    """

    what: str
    call: Call
    how: str
    placement: Placement

    def __call__(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], training: bool) -> Any:
        x = first(args, kwargs)
        if not isinstance(x, Tensor):
            raise TypeError(f"{self.call.kind}: expected a tensor, got {type(x).__name__}")
        if self.what == "strided":
            return self.placement.run(lambda x, placement: self._sample(x, placement, args, kwargs), x, training)
        submaps = self.placement.submaps_now(training)
        rest = {name: value for name, value in kwargs.items() if name != "input"}
        if submaps == 1:
            return function(*args, **kwargs)
        if self.what == "merge":
            return function(merge(x, submaps), *args[1:], **rest)
        if self.how in ("group_norm", "instance_norm"):
            return unstack(function(stack(x, submaps), *args[1:], **rest), submaps)
        if self.how == "layer_norm":
            return self._layer_norm(x, submaps, *args[1:], **rest)
        if self.how == "dropout2d":
            maps = unfold(x, submaps)
            return fold(maps * function(torch.ones_like(maps[0, :, :, :1, :1]), *args[1:], **rest))
        if self.how == "stack":
            dims = reduced(function, self.call.kind, args, kwargs) or (0,)
            joint = function(_stacked(x, submaps, min(dims)), *args[1:], **rest)
            if self.call.kind == "logsumexp":
                joint = joint - log(submaps)
            return pytree.tree_map(lambda leaf: fold(leaf.expand(submaps, *leaf.shape)), joint)
        each = function(*args, **kwargs)
        if self.call.kind in STRIDED.values():
            _check_whole(each, self.call)
        return pytree.tree_map(
            lambda leaf: combined(leaf, submaps, self.how) if leaf.is_floating_point() else leaf, each
        )

    def _layer_norm(
        self, x: Tensor, submaps: int, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
    ) -> Tensor:
        """Normalises by the statistics of the whole map; weight and bias belong to the places of each submap."""
        groups = 1 if len(shape) == x.ndim - 1 else x.shape[1]
        x = unstack(F.group_norm(stack(x, submaps), groups, eps=eps), submaps)
        x = x if weight is None else x * weight
        return x if bias is None else x + bias

    def _sample(self, x: Tensor, placement: Placement, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        call = self.call
        kernel, stride, dilation = call.window, call.strides, pair(call["dilation"] or 1)
        if call.kind == "conv2d":
            weight = args[1] if len(args) > 1 else kwargs["weight"]
            bias = args[2] if len(args) > 2 else kwargs.get("bias")
            below = [(side // 2, side - side // 2) for side in _missing(call["padding"] or 0, kernel, dilation)]
            pads = (below[0], below[1])
            return conv2d(x, placement, weight, bias, stride, pads, dilation, call["groups"] or 1)
        vertical, horizontal = pair(call["padding"] or 0)
        pads = ((vertical, vertical), (horizontal, horizontal))
        windows = Windows(kernel, stride, pads, dilation, bool(call["ceil_mode"]))
        if call.kind == "max_pool2d":
            out = max_pool2d(x, placement, windows)
            # A forward that pads with −inf itself can have windows of nothing else, beyond the border.
            return out.masked_fill(out == -torch.inf, 0.0)
        if call.kind == "lp_pool2d":
            return lp_pool2d(x, placement, call["norm_type"], windows)
        counted = call["count_include_pad"]
        return avg_pool2d(x, placement, windows, counted is not False, call["divisor_override"])


def _missing(padding: Any, kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int]:
    """How many rows and columns a convolution pads in all."""
    if isinstance(padding, str):
        return tuple(dilation[i] * (kernel[i] - 1) if padding == "same" else 0 for i in (0, 1))  # type: ignore[return-value]
    return 2 * pair(padding)[0], 2 * pair(padding)[1]


def _stacked(x: Tensor, submaps: int, dim: int) -> Tensor:
    """(S·N, …, L, …) → (N, …, S·L, …): all submaps one after the other along a dimension."""
    return unfold(x, submaps).movedim(0, dim).flatten(dim, dim + 1)


def combined(reduced: Tensor, submaps: int, how: str) -> Tensor:
    """What each submap was reduced to, (S·N, …), as one value of all, for each of them again: (S·N, …)."""
    each = unfold(reduced, submaps)
    if how == "max":
        joint = each.amax(0)
    elif how == "min":
        joint = each.amin(0)
    elif how == "rms":
        joint = each.square().mean(0).sqrt()
    else:
        joint = each.mean(0)
    return fold(joint.expand(submaps, *joint.shape))


def _check_whole(pooled: Any, call: Call) -> None:
    """Raises if a pooling that reduced the whole map at conversion now leaves a map."""
    size = tuple(pytree.tree_leaves(pooled)[0].shape[2:])
    if size != (1, 1):
        raise ValueError(
            f"{call.kind}: its one window was the whole map when the network was converted, and now leaves "
            f"{size[0]}×{size[1]} of one; convert the network with an input_size like that of these images"
        )


class JointPool(Joint):
    """A pooling whose one window is the whole map: over all submaps of it together."""

    wraps = True

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = super().forward(x)
        call = of_layer(self)
        submaps = self.submaps_now
        if submaps == 1 or call is None:
            return pooled
        _check_whole(pooled, call)
        return combined(pooled, submaps, call.combined)


@dataclass(frozen=True)
class Entry:
    """A call that was seen, and what takes its place.

    Attributes:
        place: its name.
        rows: rows in its batch and in that of what entered the module, as evaluated.
        rows_drawn: the same in a training pass that draws.
        action: None if it stays as it is.
        training: whether it was seen in training.
    """

    place: str
    rows: tuple[int, int]
    rows_drawn: tuple[int, int]
    action: Action | None
    training: bool


@dataclass
class CallTable:
    """The calls of functions in a module's own forward.

    Attributes:
        draws: a placement that knows of the network's draws.
        leaf: the place, among the module's arguments, of the tensor whose rows tell how many images there are.
        entries: by what was called.
    """

    draws: Placement
    leaf: int = 0
    entries: dict[Call, list[Entry]] = field(default_factory=dict)

    def rows(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """The rows of what enters the module."""
        leaves = pytree.tree_leaves((args, kwargs)) if kwargs or self.leaf else args
        entered = leaves[self.leaf] if self.leaf < len(leaves) else None
        return _rows(entered) if isinstance(entered, Tensor) and entered.ndim else 0

    def find(self, call: Call, rows: int, entered: int, training: bool) -> list[Entry]:
        """The entries that fit a call.

        Raises:
            ValueError: if only calls with other settings or other numbers of submaps were seen.
        """
        known = self.entries.get(call, [])
        drawn = self.draws.drawn(training)
        fitting = [
            entry
            for entry in known
            if not entered or _fits(entry.rows_drawn if drawn else entry.rows, rows, entered)
        ]
        if fitting or call.kind in VIEWS.values():
            return [entry for entry in fitting if entry.training == training] or fitting
        changed = [entry for entry in known if entry.action is not None]
        if changed:
            raise ValueError(
                f"{changed[0].place}: got {rows} rows, which fits no call at conversion: was a layer replaced "
                "since, or is it called more often with images of this size? Convert the network as it is "
                "now, with such images"
            )
        other = next((e for e in self._all() if e.action is not None and e.action.call.kind == call.kind), None)
        if other is not None and other.action is not None and not known and call.strides != (1, 1):
            raise ValueError(
                f"{other.place}: converted as {other.action.call}, now called with {call}; convert the network "
                "with an input_size for which it is called so"
            )
        return []

    def _all(self) -> Iterator[Entry]:
        return (entry for entries in self.entries.values() for entry in entries)


def _rows(x: Tensor) -> int:
    """The rows of a batch, as a number where tracing hands out tensors."""
    return int(x.shape[0]) if torch.jit.is_tracing() else x.shape[0]  # type: ignore[attr-defined]


def _fits(seen: tuple[int, int], rows: int, entered: int) -> bool:
    return bool(rows * seen[1] == entered * seen[0])


class Recognition(TorchFunctionMode):
    """While a module's forward runs: replaces the calls of its table, and hides it from the modules around."""

    def __init__(self, table: CallTable, entered: int, training: bool) -> None:
        super().__init__()
        self.table, self.entered, self.training = table, entered, training
        self.counts: Counter[tuple[Call, int]] = Counter()

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in KINDS:
            return func(*args, **kwargs)
        # What happens here concerns neither this table nor that of a module further out.
        with torch._C.DisableTorchFunction():
            call, x = described(func, args, kwargs), first(args, kwargs)
            if call is None or not self.table.entries or not isinstance(x, Tensor) or not x.ndim:
                return func(*args, **kwargs)
            if func in STRIDED and x.ndim == 4 and call.reduces((x.shape[2], x.shape[3])):
                call = call.whole if call.whole in self.table.entries else call
            fitting = self.table.find(call, _rows(x), self.entered, self.training)
            if not fitting:
                return func(*args, **kwargs)
            entry = fitting[0]
            if len({entry.action for entry in fitting}) > 1:
                # Alike in all that can be seen, as with one position drawn at each level: they take turns.
                turn = call, _rows(x)
                entry = fitting[min(self.counts[turn], len(fitting) - 1)]
                self.counts[turn] += 1
            return (
                func(*args, **kwargs) if entry.action is None else entry.action(func, args, kwargs, self.training)
            )


class Calling(nn.Module):
    """A module whose forward calls functions that need to know of submaps; what it is otherwise comes after it.

    Attributes:
        _calls: the table of these functions. It is no submodule, so names and state stay as they are.
    """

    transparent = True
    _calls: CallTable

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with Recognition(self._calls, self._calls.rows(args, kwargs), self.training):
            return super().forward(*args, **kwargs)
