"""The trace: one run of the plain network without numbers, whose tensors know how they were subsampled."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..convolution import CheckeredConv2d
from ..joint import ToDense
from ..windows import Pair, strides
from . import axes as ax
from .follow import Follower, checkpointed, counted
from .functional import (
    ALONG,
    ATTENTION,
    CONTRACTING,
    MIXING,
    STRIDED,
    VIEWS,
    Call,
    described,
    first,
    of_layer,
    reduced,
)
from .lineage import Lineage
from .meta import Inputs
from .nodes import Frame, Node, Rows, Trace, node_of
from .rules import Role, own_forward, role_of


class Tracer(Follower):
    """Runs a skeleton, and decides of every call what conversion does with it; arguments as of `Follower`."""

    def run(self, inputs: Inputs, training: bool) -> Trace:
        """Runs the network in one mode."""
        handles = []
        for name, module in self.dry.named_modules():
            enter = self._enter(name, role_of(module))
            handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
            handles.append(module.register_forward_hook(self._leave))
        try:
            args, kwargs = inputs.blank(self.dry)
            for leaf in pytree.tree_leaves((args, kwargs)):
                if isinstance(leaf, Tensor):
                    self._mark(leaf, Lineage(), ax.of_images(leaf.shape))
            self.dry.train(training)
            with torch.no_grad(), torch.device("meta"), self:
                output = self.dry(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()
        for leaf in pytree.tree_leaves(output):
            if isinstance(leaf, Tensor):
                self.trace.outputs.append((node_of(leaf), leaf.dtype, tuple(leaf.shape)))
        return self.trace

    # --- modules -------------------------------------------------------------------------------------------

    def _enter(self, name: str, role: Role) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            above = self.frames[-1] if self.frames else None
            frame = Frame(name, module, role, inner=above is not None and (above.inner or above.role.closed))
            self.frames.append(frame)
            leaves, structure = pytree.tree_flatten((args, kwargs))
            rows = []
            for place, leaf in enumerate(leaves):
                node = node_of(leaf)
                if node is None or not node.is_batched:
                    continue
                if frame.entered is None:
                    frame.entered, frame.leaf = node, place
                if (node.is_rows or name in self.policy.heads) and node.lineage.steps:
                    rows.append((place, node))
            if not rows or frame.inner:
                return None
            within: dict[int, Node] = {}
            self.trace.rows_in.append((name, within))
            for place, node in rows:
                # Another tensor inside than outside: only what is inside is merged, if this is a head.
                with torch._C.DisableTorchFunction():
                    leaves[place] = leaves[place].view_as(leaves[place])
                lineage = node.lineage.merged() if name in self.policy.heads else node.lineage
                within[place] = self._mark(leaves[place], lineage, node.axes, (node,), node.size)
                if frame.entered is node:
                    frame.entered = within[place]
            return pytree.tree_unflatten(leaves, structure)

        return hook

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        frame = self.frames.pop()
        x, role = frame.entered, frame.role
        if frame.inner or x is None or not (role.kind or role.reason):
            return
        results = [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]
        size = tuple(results[0].shape[2:]) if results else ()
        if role.kind == "strided":
            self._strided(frame, frame.name, of_layer(module), strides(module), x, results)
        elif role.reason:
            self.policy.seen[frame.name] = None
            self.policy.traditional[frame.name] = role.reason
        elif role.kind == "joint":
            self._visit(frame, frame.name, "joint", x, size=size)
        else:
            self._visit(frame, frame.name, "placed", x, size=size)
            lineage = x.lineage
            if isinstance(module, ToDense):
                lineage = Lineage(skipped=x.lineage.skipped)
            elif isinstance(module, CheckeredConv2d):
                lineage = self.policy.across(frame.name, module.depth, module.wrap, x.lineage)
            for result in results:
                if node_of(result) is x:  # handed through as it is
                    self._mark(result, lineage, x.axes, (x,), x.size)
            self._becomes(results, lineage)

    # --- functions -----------------------------------------------------------------------------------------

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.size or func == _SHAPE or func is Tensor.__len__:
            return counted(node_of(args[0]), args[1:] or tuple(kwargs.values()), func(*args, **kwargs))
        before = [(leaf, node_of(leaf)) for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        parents = [(tuple(leaf.shape), node) for leaf, node in before if node is not None]
        result = func(*args, **kwargs)
        results = [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]
        if func is Tensor.__setitem__:
            results = [args[0]]
        if not parents or not results:
            return result
        x = first(args, kwargs)
        node = next((node for leaf, node in before if leaf is x), None)
        shape = next((shape for shape, known in parents if known is node), ())
        source = node or parents[0][1]
        lineage = self._meet([known for _, known in parents])
        for out in results:
            axes = self._axes(func, args, kwargs, parents, tuple(out.shape))
            made = self._mark(out, lineage, axes, tuple(known for _, known in parents), source.size)
            self._resized(func, args, made, source, out)
        if self.frames:
            self._call(func, args, kwargs, source, shape or parents[0][0], results)
        return result

    def _call(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        x: Node,
        shape: tuple[int, ...],
        results: list[Tensor],
    ) -> None:
        """Decides what conversion does with a function that a module calls in its own forward."""
        frame, call = self.frames[-1], described(func, args, kwargs)
        if call is not None:
            self.trace.callers.add(frame.name)
        if func in STRIDED and call is not None and (x.is_map or call.window != (1, 1)):
            self.trace.last_map[""] += 1
        if frame.role.closed or frame.inner:
            return
        if call is None:
            self._mixes(func, args, kwargs, x, node_of(results[0]))
            return
        before = len(self.trace.visits)
        if func in VIEWS:
            self._view(frame, call, x, args, results)
        elif func in STRIDED:
            place = self._place(frame, call, "strided")
            if len(shape) == 4:
                self._strided(frame, place, call, call.strides, x, results)
        elif func in CONTRACTING:
            self._contracts(frame, call, args, x, results[0])
        elif func in MIXING:
            self._normalizes(frame, call, args[1] if len(args) > 1 else kwargs.get("normalized_shape"), x, shape)
        else:
            self._reduce(frame, call, reduced(func, call.kind, args, kwargs), x, results[0])
        if len(self.trace.visits) == before:  # It stays as it is: to be told from the same call of what changes.
            self._visit(frame, self._place(frame, call, "plain"), "plain", x, call)

    def _strided(
        self, frame: Frame, place: str, call: Call | None, stride: Pair, x: Node, results: list[Tensor]
    ) -> None:
        """A place that subsamples: a step of the lineage, or a reduction if its one window is the whole map."""
        function = call if not frame.role.closed else None
        size = tuple(results[0].shape[2:])
        if call is not None and x.size is not None and call.combined and call.covers(x.size):
            # A 2×2 window on a 2×2 map is the usual step, as the paper's VGG has it; larger ones reduce the map.
            if call.reduces(x.size) or place in self.policy.reduced:
                self._visit(frame, place, "joint", x, function, how=call.combined, size=size)
                self._becomes(results, x.lineage)
                return
            if call.combined == "mean":
                self.trace.last_map[place] = self.trace.last_map[""]
        step = None
        if stride == (1, 1):
            self._visit(frame, place, "plain", x, function, size=size)
            return
        if function is not None and checkpointed():
            self.policy.seen[place] = None
            self.policy.traditional[place] = (
                "gradient checkpointing calls this function itself; checkpoint a module that calls it"
            )
        else:
            step = self.policy.step(place, frame.module, stride, x.lineage)
        if step is None:
            self._visit(frame, place, "plain", x, function, size=size)
            self._becomes(results, self.policy.scaled(place, stride, x.lineage))
            return
        self._visit(frame, place, "strided", x, function, size=size)
        self._becomes(results, x.lineage.through(step))
        for result in results:
            node = node_of(result)
            if node is not None and node.axes and not x.lineage.steps:
                node.axes = ax.whole_rows(node.axes)

    def _reduce(self, frame: Frame, call: Call, dims: tuple[int, ...] | None, x: Node, result: Tensor) -> None:
        """A reduction: joint where it leaves nothing of a map."""
        place = self._place(frame, call, "joint")
        out = node_of(result)
        if dims is None or x.axes is None or out is None:
            return
        gone = {label for dim in dims for label in ax.labels(x.axes[dim])}
        if ax.SPACE not in gone or ax.BATCH in gone:
            return
        rest = [axis for dim, axis in enumerate(x.axes) if dim not in dims]
        if any(ax.SPACE in ax.labels(axis) for axis in rest):
            out.partial = place
            self.trace.unseen[place] = x.lineage, f"{call.kind} along one side of each submap alone"
            return
        how = call.combined
        if not how:
            self.trace.unseen[place] = x.lineage, f"{call.kind} over each submap alone"
        elif checkpointed():
            self._problem(
                f"{place!r} is called by gradient checkpointing itself, which would call it outside of the "
                "network in the backward pass; checkpoint a module that calls it"
            )
        elif own_forward(frame.module):
            self.trace.unseen[place] = x.lineage, "its forward belongs to the instance: over each submap alone"
        else:
            self.trace.unseen.pop(x.partial, None)
            self._visit(frame, place, "joint", x, call, how=how)

    def _view(self, frame: Frame, call: Call, x: Node, args: tuple[Any, ...], results: list[Tensor]) -> None:
        """A view by a batch size that was read before subsampling: there the submaps are merged."""
        stale = [
            n for n in pytree.tree_leaves(args[1:]) if isinstance(n, Rows) and n.lineage.steps != x.lineage.steps
        ]
        if not stale or not x.lineage.steps:
            return
        if any(size.lineage.steps for size in stale) or own_forward(frame.module):
            self._problem(
                f"{self.where()} reshapes by a batch size that was read elsewhere; x.flatten(1) needs none"
            )
        else:
            self._visit(frame, self._place(frame, call, "view"), "merge", x, call)
            self._becomes(results, x.lineage.merged())

    def _mixes(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], x: Node, out: Node | None
    ) -> None:
        """Notes a function that mixes the places of a map and is left to each submap alone."""
        name = ax.name_of(func)
        if not x.is_map or x.axes is None:
            return
        if name in ALONG:
            given = kwargs.get("dim", kwargs.get("dims", args[-1] if len(args) > 1 else None))
            dims = [n for n in pytree.tree_leaves(given) if isinstance(n, int) and -len(x.axes) <= n < len(x.axes)]
        elif name == "normalize":
            given = kwargs.get("dim", args[2] if len(args) > 2 else 1)
            dims = [given] if isinstance(given, int) else list(given)
        elif name == "rms_norm":
            dims = list(range(-len(args[1] if len(args) > 1 else kwargs["normalized_shape"]), 0))
        elif name.startswith("fft_"):
            dims = [dim for dim, axis in enumerate(x.axes) if ax.SPACE in ax.labels(axis)]
        else:
            dims = [-1] if name == "linear" and ax.labels(x.axes[-1]) == {ax.SPACE} else []
        place = f"{self.frames[-1].name}.{name}".lstrip(".")
        if any(ax.SPACE in ax.labels(x.axes[dim]) for dim in dims) or name in ATTENTION:
            self.trace.unseen[place] = x.lineage, f"{name} mixes the places of each submap alone"
        elif out is not None and not out.is_map and out.is_batched and name != "linear":
            self.trace.unseen[place] = x.lineage, f"{name} reduces each submap alone"


_SHAPE = Tensor.shape.__get__  # type: ignore[attr-defined]
