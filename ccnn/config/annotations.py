"""Compares config values with Python type annotations, and describes in words what an annotation expects."""

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from ccnn.errors import choices

_WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "a text", list: "a list",
          dict: "a mapping", type(None): "null", Any: ""}  # fmt: skip
_PLURALS = {int: "integers", float: "numbers", str: "texts"}


class Bound(NamedTuple):
    """A condition on a value, for `Annotated[int, Bound("≥ 1", lambda value: value >= 1)]`."""

    text: str
    holds: Callable[[Any], bool]


def accepts(value: Any, annotation: Any) -> bool:
    """Tells whether `value` fits `annotation`; true for annotations that this module does not understand.

    An integer is a number too; true and false are neither. A list stands for any sequence.

    Example:
        >>> accepts(1, float), accepts(True, int), accepts([1, 2], tuple[int, ...]), accepts("a", list[int] | int)
        (True, False, True, False)
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return accepts(value, arguments[0]) and all(bound.holds(value) for bound in arguments[1:])
    if origin in (Union, types.UnionType):
        return any(accepts(value, argument) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if annotation in (bool, str, type(None)):
        return isinstance(value, annotation)
    if annotation in (int, float):
        return isinstance(value, int if annotation is int else Real) and not isinstance(value, bool)
    container = origin or annotation
    if isinstance(container, type) and issubclass(container, Mapping):
        return isinstance(value, Mapping)
    if isinstance(container, type) and issubclass(container, Iterable):
        if not isinstance(value, Sequence) or isinstance(value, str):
            return False
        if len(arguments) > 1 and arguments[-1] is not Ellipsis:
            return len(value) == len(arguments) and all(map(accepts, value, arguments))
        return not arguments or all(accepts(item, arguments[0]) for item in value)
    return True


def describe(annotation: Any) -> str:
    """Says in words what fits `annotation`.

    Example:
        >>> describe(Annotated[int, Bound("≥ 1", lambda value: value >= 1)] | None)
        'an integer ≥ 1 or null'
        >>> describe(tuple[float, float])
        'a list of 2 numbers'
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return " ".join(filter(None, [describe(arguments[0]), *(bound.text for bound in arguments[1:])]))
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(describe, arguments)))
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (list, tuple, Sequence) and len(set(arguments) - {...}) == 1:
        length = f"{len(arguments)} " if origin is tuple and ... not in arguments else ""
        inner = describe(arguments[0]).replace("a list", "lists", 1).removeprefix("one of ")
        return f"a list of {length}" + _PLURALS.get(arguments[0], inner)
    return _WORDS.get(origin or annotation, getattr(annotation, "__name__", str(annotation)))


def mismatch(key: str, value: Any, annotation: Any) -> str | None:
    """Returns the message for a `value` at `key` that does not fit `annotation`, None for one that does.

    Example:
        >>> mismatch("device", "gpuu", Literal["cpu", "gpu"] | None)
        "device: there is no choice 'gpuu'; did you mean 'gpu'? Choices: cpu, gpu."
    """
    if accepts(value, annotation):
        return None
    members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else [annotation]
    names = [name for m in members if get_origin(m) is Literal for name in get_args(m) if isinstance(name, str)]
    if isinstance(value, str) and names:
        return f"{key}: there is no choice {value!r}; {choices(value, names)}"
    return f"{key}: expected {describe(annotation)}, got {value!r}."
