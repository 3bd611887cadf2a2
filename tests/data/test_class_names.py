"""Names of classes."""

import pytest
from experiments import Compose

from ccnn.data.class_names import CLASS_NAMES
from ccnn.training.build import build


@pytest.mark.parametrize("name", ["digits", "mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_each_class_has_a_name_of_its_own(name: str, compose: Compose) -> None:
    config = compose(f"data={name}")
    names = build(config, "data").class_names
    assert len(set(names)) == len(names) == config.data.num_classes
    assert (names[0] == "0") == (name not in CLASS_NAMES)


def test_cifar100s_are_in_the_order_of_its_labels() -> None:
    """Its labels number the names in alphabetical order."""
    assert list(CLASS_NAMES["cifar100"]) == sorted(CLASS_NAMES["cifar100"])
