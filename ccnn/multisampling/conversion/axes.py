"""Axes of a traced tensor: which of its dimensions hold the batch, which the places of a map."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch

BATCH, SPACE, OTHER = "batch", "space", ""
MAP = (OTHER, SPACE, SPACE)
Atom = tuple[str, int]
"""A label and a size."""
Axis = tuple[Atom, ...]
"""The factors that a dimension is made of, the outermost first."""
Axes = tuple[Axis, ...]


def of_images(shape: Sequence[int]) -> Axes:
    """The axes of an input: the batch, then for (N, C, H, W) a map.

    >>> of_images((3, 10))
    ((('batch', 3),), (('', 10),))
    """
    labels = [BATCH, *MAP] if len(shape) == 4 else [BATCH, *[OTHER] * (len(shape) - 1)]
    return tuple(((label, size),) for label, size in zip(labels, shape, strict=False))


def labels(axis: Axis) -> set[str]:
    """The labels in a dimension."""
    return {label for label, _ in axis}


def has(axes: Axes | None, label: str) -> bool:
    """Whether a label is anywhere in a tensor."""
    return axes is not None and any(label in labels(axis) for axis in axes)


def area(axes: Axes | None) -> int:
    """The number of places of the map that a tensor holds; 1 where it holds none."""
    return prod(size for axis in axes or () for label, size in axis if label == SPACE)


def rows(axes: Axes | None) -> int:
    """The size of the first dimension."""
    return prod(size for _, size in axes[0]) if axes else 1


def batch_at(axes: Axes | None) -> int | None:
    """The dimension that the batch leads; None where it is spread out or not outermost in its dimension."""
    places = [i for i, axis in enumerate(axes or ()) if BATCH in labels(axis)]
    return places[0] if axes and len(places) == 1 and axes[places[0]][0][0] == BATCH else None


def whole_rows(axes: Axes) -> Axes:
    """The axes where all that the first dimension holds is the batch from now on."""
    rest = (tuple((OTHER if label == BATCH else label, size) for label, size in axis) for axis in axes[1:])
    return (((BATCH, rows(axes)),), *rest)


def regrouped(axes: Axes, shape: Sequence[int]) -> Axes | None:
    """The axes after a view or reshape; None where the new dimensions cut across the old ones.

    >>> regrouped(((("batch", 3),), (("", 8),), (("space", 4),), (("space", 4),)), (3, 8, 16))
    ((('batch', 3),), (('', 8),), (('space', 4), ('space', 4)))
    """
    waiting = [atom for axis in axes for atom in axis]
    result: list[Axis] = []
    for size in shape:
        room, group = size, list[Atom]()
        while waiting and (room > 1 or (size == 1 and not group and waiting[0][1] == 1)):
            label, own = waiting.pop(0)
            if own and room % own == 0:
                group.append((label, own))
                room //= own
            elif room and own % room == 0:
                group.append((label, room))
                waiting.insert(0, (label, own // room))
                room = 1
            else:
                return None
        if room > 1:
            return None
        result.append(tuple(group))
    if result and waiting:  # factors of 1, such as the sides of a 1×1 map
        result[-1] = (*result[-1], *waiting)
    return tuple(result)


def aligned(shape: Sequence[int], inputs: Sequence[tuple[Sequence[int], Axes]]) -> Axes:
    """The axes of a result whose dimensions are those of its inputs, matched from the last one on."""
    result: list[Axis] = []
    for place, size in enumerate(shape):
        axis: Axis = ((OTHER, size),)
        for other, axes in inputs:
            index = place - len(shape) + len(other)
            if index < 0 or not labels(axes[index]) - {OTHER}:
                continue
            if other[index] == size:
                axis = axes[index]
                break
            if len(labels(axes[index])) == 1 and axis[0][0] == OTHER and (size > 1 or other[index] > 1):
                axis = ((axes[index][0][0], size),)  # padded, pooled, concatenated
        result.append(axis)
    return tuple(result)


def contracted(shape: Sequence[int], equation: str, inputs: Sequence[tuple[Sequence[int], Axes]]) -> Axes:
    """The axes of a product of matrices, or of an einsum."""
    if "->" in equation and "." not in equation:
        terms, result = equation.replace(" ", "").split("->")
        letters = {
            letter: axis
            for term, (_, axes) in zip(terms.split(","), inputs, strict=False)
            for letter, axis in zip(term, axes, strict=False)
        }
        return tuple(letters.get(letter, ((OTHER, size),)) for letter, size in zip(result, shape, strict=False))
    axes: list[Axis] = [((OTHER, size),) for size in shape]
    for i, (sizes, own) in enumerate(inputs[:2]):
        inner = len(own) - 1 if i == 0 else max(len(own) - 2, 0)
        for dim, axis in enumerate(own):
            place = dim if dim < len(own) - 2 or i == 0 else len(shape) - len(own) + dim
            if (
                dim != inner
                and place < len(shape)
                and sizes[dim] == shape[place]
                and axes[place] == ((OTHER, shape[place]),)
            ):
                axes[place] = axis
    return tuple(axes)


def without(axes: Axes, dims: Sequence[int], shape: Sequence[int]) -> Axes:
    """The axes after some dimensions were reduced, to size 1 or altogether."""
    if len(shape) == len(axes):
        return tuple(() if dim in dims else axis for dim, axis in enumerate(axes))
    return tuple(axis for dim, axis in enumerate(axes) if dim not in dims)


def permuted(axes: Axes, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Axes:
    """The axes after `permute`, `transpose` and the like, found on the sizes of a tensor without numbers."""
    order = torch.empty(tuple(range(1, len(axes) + 1)), device="meta")
    moved = getattr(order, name)(*args[1:], **{key: value for key, value in kwargs.items() if key != "input"})
    return tuple(axes[size - 1] for size in moved.shape)


def indexed(axes: Axes, before: Sequence[int], index: Any, shape: Sequence[int]) -> Axes:
    """The axes after indexing by slices, numbers, None and an ellipsis; other indices keep what aligns."""
    items = list(index) if isinstance(index, tuple) else [index]
    if any(not (item is None or item is Ellipsis or isinstance(item, int | slice)) for item in items):
        return (
            aligned(shape, [(before, axes)]) if len(shape) == len(before) else tuple(((OTHER, n),) for n in shape)
        )
    missing = len(before) - sum(item is not None and item is not Ellipsis for item in items)
    at = next((i for i, item in enumerate(items) if item is Ellipsis), len(items))
    items[at : at + 1] = [slice(None)] * missing
    result: list[Axis] = []
    dim = 0
    for item in items:
        if item is None:
            result.append(())
            continue
        if isinstance(item, slice):
            size = len(range(*item.indices(before[dim])))
            own = labels(axes[dim])
            result.append(axes[dim] if size == before[dim] else ((own.pop() if len(own) == 1 else OTHER, size),))
        dim += 1
    return tuple(result)


def takes_rows(axes: Axes, index: Any) -> bool:
    """Whether an index takes some of the batch's rows by number, rather than all."""
    items = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in [item for item in items if not hasattr(item, "shape")]:
        return False
    dim = 0
    for item in items:
        if item is None:
            continue
        whole = (
            isinstance(item, slice) and item.start in (None, 0) and item.stop is None and item.step in (None, 1)
        )
        if dim < len(axes) and BATCH in labels(axes[dim]) and not whole:
            return True
        dim += 1
    return False


REGROUPING = (
    "view",
    "reshape",
    "flatten",
    "unflatten",
    "squeeze",
    "unsqueeze",
    "view_as",
    "reshape_as",
    "contiguous",
)
PERMUTING = ("permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims", "t")
JOINING = (
    "chunk",
    "split",
    "tensor_split",
    "narrow",
    "unbind",
    "cat",
    "concat",
    "concatenate",
    "roll",
    "flip",
    "stack",
)


def transposed(axes: Axes, function: Any) -> Axes | None:
    """The axes after `x.mT` and the like; None for all other functions."""
    name = getattr(getattr(function, "__self__", None), "__name__", "")  # of a property, by its getter
    if name == "T":
        return axes[::-1]
    if name in ("mT", "H", "mH") or name_of(function) == "adjoint":
        return (*axes[:-2], *axes[:-3:-1])
    return None


def name_of(function: Any) -> str:
    """A function's name."""
    return str(getattr(function, "__name__", function))
