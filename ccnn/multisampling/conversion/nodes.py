"""What a trace knows of tensors and calls."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..windows import Pair, strides
from . import axes as ax
from .functional import Call
from .lineage import Lineage
from .rules import Role


@dataclass(eq=False)
class Node:
    """What is known of a tensor of the trace.

    Attributes:
        lineage: the steps of subsampling that it went through.
        axes: what its dimensions hold; None after a reshape that cannot be followed.
        parents: the nodes that it was made of.
        size: height and width of the map that it is or comes from.
        partial: the place where the map was reduced along one of its sides.
    """

    lineage: Lineage
    axes: ax.Axes | None
    parents: tuple["Node", ...] = ()
    size: Pair | None = None
    partial: str = ""

    @property
    def is_map(self) -> bool:
        """Whether it holds several places of a map."""
        return ax.area(self.axes) > 1

    @property
    def is_batched(self) -> bool:
        """Whether it has a value for each image, as far as can be told."""
        return self.axes is None or ax.has(self.axes, ax.BATCH)

    @property
    def is_rows(self) -> bool:
        """Whether it is a vector for each image."""
        return self.axes is not None and len(self.axes) == 2 and ax.labels(self.axes[0]) == {ax.BATCH}


@dataclass(frozen=True)
class Visit:
    """One call of something that conversion changes, or that its run-time recognition must tell from that.

    Attributes:
        place: its name: a module's, or that of a function called in a module's own forward.
        what: `strided`, `joint`, `merge`, `placed`, or `plain` for what stays as it is.
        node: of the tensor that arrives.
        frame: the call of the module, or of the one in whose forward the function is called.
        call: the function that was called, None for a module.
        how: how a joint place sees all submaps.
        size: height and width of the result.
    """

    place: str
    what: str
    node: Node
    frame: "Frame"
    call: Call | None = None
    how: str = ""
    size: tuple[int, ...] = ()

    @property
    def stride(self) -> int:
        """The stride of what was called."""
        return (strides(self.frame.module) if self.call is None else self.call.strides)[0]

    @property
    def path(self) -> tuple[int, ...]:
        """The strides of the steps up to a strided place, its own last."""
        return (*self.node.lineage.path, self.stride)


@dataclass(eq=False)
class Frame:
    """A call of a module.

    Attributes:
        name, module, role: of the module.
        entered: the node of its first tensor that has a batch.
        leaf: that tensor's place among the arguments.
        inner: whether it runs within a layer that conversion changes as a whole.
        counts: how many functions of each kind were called in its own forward.
    """

    name: str
    module: nn.Module
    role: Role
    inner: bool = False
    entered: Node | None = None
    leaf: int = 0
    counts: Counter[str] = field(default_factory=Counter)


@dataclass
class Trace:
    """What one run of the plain network shows.

    Attributes:
        visits: what conversion changes or must recognise, in order.
        callers: modules that call functions of concern in their own forward.
        rows_in: calls of modules with vectors, one for each image: the module, and what its tensors are within it,
            by their place among the arguments.
        nodes: of all tensors, in order.
        outputs: node, data type and shape of each tensor of the output.
        meetings: what met at other positions: two lineages, and where.
        problems: what conversion cannot do right.
        unseen: what mixes the places of each submap alone, or resizes it, by place.
        last_map: the number of operations on maps up to each pooling that may end the network, and in all ("").
    """

    visits: list[Visit] = field(default_factory=list)
    callers: set[str] = field(default_factory=set)
    rows_in: list[tuple[str, dict[int, Node]]] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    outputs: list[tuple[Node | None, torch.dtype, tuple[int, ...]]] = field(default_factory=list)
    meetings: list[tuple[Lineage, Lineage, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unseen: dict[str, tuple[Lineage, str]] = field(default_factory=dict)
    last_map: Counter[str] = field(default_factory=Counter)


class Rows(int):
    """A batch size that a forward has read, and the lineage of the tensor it was read from."""

    lineage: Lineage


def node_of(tensor: Any) -> Node | None:
    """What the trace knows of a tensor."""
    return vars(tensor).get("_ccnn_node") if isinstance(tensor, Tensor) else None
