"""Follows the tensors of a trace: their lineage, what their dimensions hold, and what meets."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..windows import Pair
from . import axes as ax
from .functional import CONTRACTING, REDUCING, STRIDED, Call, described, reduced
from .lineage import Lineage, Policy
from .nodes import Frame, Node, Rows, Trace, Visit, node_of


class Follower(TorchFunctionMode):
    """What a `Tracer` knows of tensors.

    A mode rather than a tensor subclass: it sees functions wherever they are called, and tensors stay plain.

    Args:
        dry: the plain network without numbers.
        policy: which strided places keep submaps; the trace fills in why others do not.
    """

    def __init__(self, dry: nn.Module, policy: Policy) -> None:
        super().__init__()
        self.dry, self.policy, self.trace = dry, policy, Trace()
        self.frames: list[Frame] = []

    def where(self) -> str:
        """The module that runs, for messages."""
        name = next((frame.name for frame in reversed(self.frames) if frame.name), "")
        return repr(name) if name else "the model's own forward"

    def _problem(self, problem: str) -> None:
        if problem not in self.trace.problems:
            self.trace.problems.append(problem)

    def _visit(
        self, frame: Frame, place: str, what: str, x: Node, call: Call | None = None, how: str = "", size: Any = ()
    ) -> None:
        if x.lineage.steps and what != "plain" and ax.batch_at(x.axes) != 0:
            self._problem(
                f"the batch is not the first dimension of what reaches {place or 'the model'!r}, or is mixed with "
                "others: submaps of different images would be averaged"
            )
        self.trace.visits.append(Visit(place, what, x, frame, call, how, tuple(size)))

    def _place(self, frame: Frame, call: Call, family: str) -> str:
        """How a functional call is called: `Mixed_6a.max_pool2d[0]`, or as the layer whose forward it is in."""
        frame.counts[family] += 1
        if frame.name and family == "strided" and hasattr(frame.module, "stride"):
            return frame.name
        return f"{frame.name}.{call.kind}[{frame.counts[family] - 1}]".lstrip(".")

    def _contracts(self, frame: Frame, call: Call, args: tuple[Any, ...], x: Node, result: Tensor) -> None:
        """A product of matrices: a sum over the map where it leaves nothing of it."""
        out, place = node_of(result), self._place(frame, call, "joint")
        if not x.is_map or out is None:
            return
        if not out.is_map and ax.batch_at(out.axes) == 0 and not checkpointed():
            self._visit(frame, place, "joint", x, call, how=call.combined)
        elif x.axes is None or ax.SPACE in ax.labels(x.axes[-1]):
            self.trace.unseen[place] = x.lineage, f"{call.kind} mixes the places of each submap alone"

    def _normalizes(self, frame: Frame, call: Call, over: Any, x: Node, shape: tuple[int, ...]) -> None:
        """A normalisation or dropout by what a map holds."""
        channels_only = call.kind == "dropout2d"
        known = len(shape) == 4 or (len(shape) > 2 and x.is_map and not channels_only)
        if call.kind == "layer_norm":
            inner = [ax.SPACE in ax.labels(axis) for axis in (x.axes or ())[-len(over) :]]
            known = known and (len(over) == len(shape) - 1 or (len(shape) == 4 and inner == [True, True]))
            channels_only = not any(inner)
        place = self._place(frame, call, "joint")
        if known:
            self._visit(frame, place, "joint", x, call, how=call.kind)
        elif x.is_map and not channels_only:
            self.trace.unseen[place] = x.lineage, f"{call.kind} by the statistics of each submap alone"

    def _mark(
        self,
        tensor: Tensor,
        lineage: Lineage,
        axes: ax.Axes | None,
        parents: tuple[Node, ...] = (),
        size: Pair | None = None,
    ) -> Node:
        node = Node(lineage, axes, parents, size)
        if size is None and node.is_map and tensor.ndim == 4:
            node.size = (tensor.shape[2], tensor.shape[3])
        tensor.__dict__["_ccnn_node"] = node
        self.trace.nodes.append(node)
        return node

    def _becomes(self, results: list[Tensor], lineage: Lineage) -> None:
        for result in results:
            if (node := node_of(result)) is not None:
                node.lineage = lineage

    def _meet(self, nodes: list[Node]) -> Lineage:
        """The lineage of what is made of several tensors; those without a batch suit all."""
        batched = [node for node in nodes if node.is_batched] or nodes[:1]
        chosen = next((node for node in batched if node.is_map), batched[0]).lineage
        for node in batched:
            if node.lineage is not chosen and not self.policy.same(node.lineage, chosen):
                self.trace.meetings.append((node.lineage, chosen, self.where()))
                chosen = min(node.lineage, chosen, key=lambda lineage: len(lineage.steps))
        return chosen

    def _axes(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        parents: list[tuple[tuple[int, ...], Node]],
        shape: tuple[int, ...],
    ) -> ax.Axes | None:
        """What the dimensions of a result hold."""
        before, node = parents[0]
        name = ax.name_of(func)
        if node.axes is None:
            return None
        if (turned := ax.transposed(node.axes, func)) is not None:
            return turned
        if name in ax.PERMUTING:
            return ax.permuted(node.axes, name, args, kwargs)
        if name in ax.REGROUPING:
            return ax.regrouped(node.axes, shape)
        held = bool(node.lineage.steps) and node.is_batched
        if func is Tensor.__getitem__:
            if held and ax.takes_rows(node.axes, args[1]):
                self._problem(f"{self.where()} takes some rows of a batch that holds submaps")
            return ax.indexed(node.axes, before, args[1], shape)
        call = described(func, args, kwargs)
        known = [(size, other.axes) for size, other in parents if other.axes is not None]
        if func in STRIDED and len(shape) == len(before) == 4 and ax.batch_at(node.axes) == 0:
            # Whatever its input was made of, such as rows of pixels: what a convolution yields is a map.
            return node.axes[0], *(((label, size),) for label, size in zip(ax.MAP, shape[1:], strict=True))
        if func in CONTRACTING:
            return ax.contracted(shape, args[0] if isinstance(args[0], str) else "", known)
        dims = reduced(func, call.kind, args, kwargs) if call is not None and func in REDUCING else None
        if dims is not None:
            return ax.without(node.axes, dims, shape)
        at = ax.batch_at(node.axes)
        if name in ax.JOINING and held and at is not None:
            position = 2 if name in ("chunk", "split", "tensor_split", "roll") else 1
            dim = kwargs.get("dim", args[position] if len(args) > position else 0)
            if name == "stack" or (isinstance(dim, int) and dim % len(before) == at):
                return self._joined(name, dim, parents, shape)
        if len(shape) < len(before) and shape == before[: len(shape)]:
            return node.axes[: len(shape)]
        return ax.aligned(shape, known)

    def _joined(
        self, name: str, dim: Any, parents: list[tuple[tuple[int, ...], Node]], shape: tuple[int, ...]
    ) -> ax.Axes | None:
        axes = parents[0][1].axes
        if name == "stack" and axes is not None and isinstance(dim, int):
            dim %= len(shape)
            return (*axes[:dim], ((ax.OTHER, shape[dim]),), *axes[dim:])
        self._problem(f"{self.where()} splits or joins the images of a batch that holds submaps (torch.{name})")
        return None

    def _resized(
        self, func: Callable[..., Any], args: tuple[Any, ...], node: Node, before: Node, out: Tensor
    ) -> None:
        """Keeps the size of maps and the scale of their pixels, and notes what resizes them in another way."""
        if out.ndim != 4 or before.size is None or node.axes is None:
            return
        if ax.SPACE not in ax.labels(node.axes[2]) or ax.SPACE not in ax.labels(node.axes[3]):
            return
        size = node.size = (out.shape[2], out.shape[3])
        ratio = (_ratio(before.size[0], size[0]), _ratio(before.size[1], size[1]))
        if ratio == (1, 1) or func in STRIDED or _crops_or_pads(func, args):
            return
        node.lineage = node.lineage.scaled(ratio)
        if max(ratio) >= 2 and size != (1, 1) and not (self.frames and self.frames[-1].role.closed):
            where = (self.frames[-1].name if self.frames else "") or "the model's own forward"
            old, new = (f"{height}×{width}" for height, width in (before.size, size))
            self.trace.unseen[where] = (
                Lineage(resized=True),
                f"{_public_name(func)} from {old} to {new} stays as it is",
            )


def _crops_or_pads(func: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether a function leaves the pixels of a map as they are, however many it adds or removes."""
    if func is Tensor.__getitem__:
        items = args[1] if isinstance(args[1], tuple) else (args[1],)
        kept = [item for item in items if item is not None and item is not Ellipsis]
        return all(isinstance(item, slice) and item.step in (None, 1) for item in kept)
    return "pad" in ax.name_of(func) or ax.name_of(func) in ("narrow", "cat", "concat", "chunk", "split")


def _ratio(old: int, new: int) -> float:
    """How many old pixels a new one stands for, if a map was resized rather than cropped or padded."""
    if 2 * new <= old + 1:
        return max(1, round(old / new)) if new else 1
    return 1 / round(new / old) if new >= 1.5 * old and old else 1


def _public_name(func: Callable[..., Any]) -> str:
    name = ax.name_of(func)
    if name == "__getitem__":
        return "slicing"
    return f"F.{name}" if hasattr(torch.nn.functional, name) else name


def counted(node: Node | None, dims: tuple[Any, ...], result: Any) -> Any:
    """A size whose number of rows remembers where it was read."""
    at = None if node is None else ax.batch_at(node.axes)
    if node is None or at is None:
        return result

    def tagged(size: int) -> Rows:
        rows = Rows(size)
        rows.lineage = node.lineage
        return rows

    if isinstance(result, torch.Size):
        return torch.Size([tagged(size) if dim == at else size for dim, size in enumerate(result)])
    return tagged(result) if dims and dims[0] % len(node.axes or ()) == at else result


def checkpointed() -> bool:
    """Whether torch.utils.checkpoint, and no module within it, has called what runs now."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "_call_impl":
            return False
        if frame.f_code.co_filename == torch.utils.checkpoint.__file__:
            return True
        frame = frame.f_back
    return False
