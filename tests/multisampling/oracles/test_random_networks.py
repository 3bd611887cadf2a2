"""Random small networks against the 5-D reference in float64: outputs, gradients and running statistics."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import RandomNetwork, networks
from torch import Tensor, nn

import ccnn

SIZES = [(16, 16), (21, 26), (24, 20)]
CHECKS: Any = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck), "database": None}


def filled(model: nn.Module) -> None:
    """Random parameters and statistics, in float64."""
    generator = torch.Generator().manual_seed(0)
    model.double()
    with torch.no_grad():
        for tensor in model.parameters():
            values = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            tensor.copy_(values / max(1, tensor[0].numel()) ** 0.5)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-1, 1, generator=generator)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 2, generator=generator)  # type: ignore[union-attr]


def gradients(model: nn.Module, outputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    sum(output.square().sum() for output in outputs).backward()  # type: ignore[union-attr]
    return {name: tensor.grad for name, tensor in model.named_parameters() if tensor.grad is not None}


def agrees(network: RandomNetwork, size: tuple[int, int], training: bool) -> None:
    filled(network)
    reference = copy.deepcopy(network).train(training)
    converted = ccnn.convert(network, (3, *size), "lattice").train(training)
    x = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected, got = reference.reference(x), converted(x)
    close: Any = {"rtol": 1e-7, "atol": 1e-8}
    torch.testing.assert_close(got, expected, **close)
    torch.testing.assert_close(gradients(converted, got), gradients(reference, expected), **close)
    statistics = {name: buffer for name, buffer in converted.named_buffers() if "running" in name}
    for name, buffer in reference.named_buffers():
        if name in statistics:
            torch.testing.assert_close(statistics[name], buffer, **close)


@settings(max_examples=50, **CHECKS)
@given(networks(), st.sampled_from(SIZES), st.booleans())
def test_fifty_networks_agree_with_the_reference(
    network: RandomNetwork, size: tuple[int, int], training: bool
) -> None:
    agrees(network, size, training)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@settings(max_examples=1000, **CHECKS)
@given(networks(), st.sampled_from(SIZES), st.booleans())
def test_a_thousand_networks_agree_with_the_reference(
    network: RandomNetwork, size: tuple[int, int], training: bool
) -> None:
    agrees(network, size, training)
