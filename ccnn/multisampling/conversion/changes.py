"""What conversion changes in a network, as planned before anything is changed."""

from dataclasses import dataclass, field

from torch import nn

from ..base import Placement
from ..draws import Draws
from ..samplers import Assignment
from .calls import CallTable
from .merge import MergeInput
from .report import ConvertedLayer


@dataclass
class Plan:
    """What conversion changes, by module name.

    Attributes:
        layers: what each layer that changes becomes, and what it is told.
        tables: the functions that modules call in their own forwards; empty for those that are to be told apart.
        heads: what merges the submaps at the input of a module.
        outputs: in training and in evaluation, the outputs that are merged; see `MergeOutputs`.
        counts: whether the network yields one tensor with a row for each image.
        draws: the draws of the network, for methods that draw in training.
        converted, joint, traditional, merge, steps, submaps: as the report has them.
        shapes: of the plain network's outputs, in the modes in which the converted skeleton is to be compared.
    """

    layers: dict[str, tuple[type[nn.Module], Placement]] = field(default_factory=dict)
    tables: dict[str, CallTable] = field(default_factory=dict)
    heads: dict[str, MergeInput] = field(default_factory=dict)
    outputs: dict[bool, dict[int, tuple[Placement, int]]] = field(default_factory=dict)
    counts: bool = False
    draws: Draws | None = None
    converted: list[ConvertedLayer] = field(default_factory=list)
    joint: list[str] = field(default_factory=list)
    traditional: dict[str, str] = field(default_factory=dict)
    merge: list[str] = field(default_factory=list)
    steps: tuple[tuple[int, Assignment], ...] = ()
    submaps: int = 1
    shapes: dict[bool, list[tuple[int, ...]]] = field(default_factory=dict)
