"""Config values are compared with Python's annotations as a reader would expect."""

from typing import Annotated, Any, Literal

import pytest

from ccnn.config.annotations import Bound, accepts, describe, mismatch

COUNT = Annotated[int, Bound("≥ 1", lambda value: value >= 1)]


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (1, int), (1, float), (0.5, float), ("a", str), (True, bool), (None, int | None), (3, COUNT),
        ([1, 2], list[int]), ([1, 2], tuple[int, int]), ("cpu", Literal["cpu", "gpu"]), ({"a": 1}, dict[str, int]),
        (object(), Any), ("anything", "an annotation that was not evaluated"),
    ],
)  # fmt: skip
def test_fitting_values_are_accepted(value: object, annotation: object) -> None:
    assert accepts(value, annotation)
    assert mismatch("key", value, annotation) is None


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (True, int, "expected an integer, got True"),
        ("1", float, "expected a number, got '1'"),
        (1, bool, "expected true or false, got 1"),
        (0, COUNT, "expected an integer ≥ 1, got 0"),
        (None, COUNT, "expected an integer ≥ 1, got None"),
        ("ab", list[int], "expected a list of integers, got 'ab'"),
        ([1, "b"], list[int], "expected a list of integers"),
        ([1], tuple[int, int], "expected a list of 2 integers"),
        ("gpuu", Literal["cpu", "gpu"] | None, "did you mean 'gpu'?"),
        (3, dict, "expected a mapping, got 3"),
    ],
)
def test_other_values_are_named_with_what_was_expected(value: object, annotation: object, expected: str) -> None:
    message = mismatch("some.key", value, annotation)
    assert message is not None
    assert message.startswith("some.key: ")
    assert expected in message


def test_a_union_is_described_by_its_members() -> None:
    assert describe(COUNT | None) == "an integer ≥ 1 or null"
