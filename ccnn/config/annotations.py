"""Whether a value from a config fits a Python type annotation, and how to say in words what would."""

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from ccnn.errors import choices

_WORDS = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a mapping",
    type(None): "null",
}


class Bound(NamedTuple):
    """A condition on a value, for `Annotated[int, Bound("≥ 1", lambda value: value >= 1)]`."""

    text: str
    holds: Callable[[Any], bool]


def accepts(value: Any, annotation: Any) -> bool:
    """Tells whether `value` fits `annotation`, true for annotations this module does not understand.

    An integer is a number too; true and false are neither. A list stands for any sequence.

    >>> accepts(1, float), accepts(True, int), accepts([1, 2], tuple[int, ...]), accepts("a", list[int] | int)
    (True, False, True, False)
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kind, *bounds = arguments
        return accepts(value, kind) and all(b.holds(value) for b in bounds if isinstance(b, Bound))
    if origin in (Union, types.UnionType):
        return any(accepts(value, argument) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if annotation in (bool, str, type(None)):
        return isinstance(value, annotation)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation is float:
        return isinstance(value, Real) and not isinstance(value, bool)
    container = origin or annotation
    if isinstance(container, type) and issubclass(container, Mapping):
        return isinstance(value, Mapping)
    if isinstance(container, type) and issubclass(container, Iterable):
        return isinstance(value, Sequence) and not isinstance(value, str) and _items_fit(value, arguments)
    return True


def _items_fit(values: Sequence[Any], arguments: tuple[Any, ...]) -> bool:
    if not arguments:
        return True
    if len(arguments) == 1 or arguments[-1] is Ellipsis:
        return all(accepts(value, arguments[0]) for value in values)
    return len(values) == len(arguments) and all(map(accepts, values, arguments))


def describe(annotation: Any) -> str:
    """Says in words what fits `annotation`.

    >>> describe(Annotated[int, Bound("≥ 1", lambda value: value >= 1)] | None)
    'an integer ≥ 1 or null'
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kind, *bounds = arguments
        return " ".join([describe(kind), *(bound.text for bound in bounds if isinstance(bound, Bound))])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(describe, arguments)))
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (list, tuple, Sequence) and len(set(arguments) - {...}) == 1:
        length = "" if origin is not tuple or ... in arguments else f"{len(arguments)} "
        plurals = {int: "integers", float: "numbers", str: "texts"}
        inner = describe(arguments[0]).replace("a list", "lists", 1)
        return f"a list of {length}" + plurals.get(arguments[0], inner if get_origin(arguments[0]) else "values")
    return _WORDS.get(origin or annotation, getattr(annotation, "__name__", str(annotation)))


def mismatch(key: str, value: Any, annotation: Any) -> str | None:
    """Returns the message for a `value` at `key` that does not fit `annotation`, None for one that does."""
    if accepts(value, annotation):
        return None
    names = _literals(annotation)
    if isinstance(value, str) and names:
        return f"{key}: there is no choice {value!r}; {choices(value, names)}"
    return f"{key}: expected {describe(annotation)}, got {value!r}."


def _literals(annotation: Any) -> list[str]:
    """The texts that a (union of) `Literal` accepts."""
    if get_origin(annotation) is Literal:
        return [name for name in get_args(annotation) if isinstance(name, str)]
    if get_origin(annotation) in (Union, types.UnionType):
        return [name for argument in get_args(annotation) for name in _literals(argument)]
    return []
