"""Memory and multiply-adds of workloads: simulated steps against real ones and against counts by hand."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

import ccnn
from ccnn.benchmark.baseline_5d import to_5d
from ccnn.benchmark.peak_memory import PeakMemory
from ccnn.benchmark.workload import Task, Workload, prepared, simulate
from ccnn.models import checkpoint_stages, resnet


def test_peak_memory_is_what_a_hand_counts() -> None:
    x = torch.zeros(1000)  # 4,000 bytes
    with PeakMemory([x]) as memory:
        assert memory.live == 4000
        y = x + 1
        assert memory.live == 8000
        view = y.view(10, 100)
        y.relu_()
        assert memory.live == 8000
        del y
        assert memory.live == 8000  # the view holds it
        z = torch.cat([view, view])
        assert memory.live == 16000
        del view, z
        assert memory.live == 4000
    assert memory.peak == 16000


def test_peak_memory_of_a_training_step_is_what_a_hand_counts() -> None:
    """Two convolutions and a ReLU out of place; maps of 2·8·16·16 floats, 16,384 bytes, weights of 2,304."""
    model = nn.Sequential(
        nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, bias=False)
    )
    x = torch.randn(2, 8, 16, 16)
    map_bytes, weight = 4 * 2 * 8 * 16 * 16, 4 * 8 * 8 * 9
    with PeakMemory([x, *model.parameters()]) as memory:
        out = model(x)
        # ReLU's output is kept for its backward and is the next convolution's input; that of the first is not.
        assert memory.live == 2 * weight + 3 * map_bytes
        assert memory.peak == 2 * weight + 3 * map_bytes
        out.backward(torch.ones_like(out))
    # The output's gradient, the second convolution's input gradient and ReLU's are there together at the peak.
    assert memory.peak == 2 * weight + weight + 6 * map_bytes


NETWORKS = ("plain", "naive", "lattice", "checkpointed", "5-D")


def small(kind: str) -> nn.Module:
    torch.manual_seed(0)
    plain = resnet(18, channels=(8, 12, 16, 20))
    if kind == "5-D":
        return to_5d(plain)
    if kind == "plain":
        return plain
    model = ccnn.convert(plain, (3, 32, 32), "lattice" if kind == "lattice" else "naive")
    if kind == "checkpointed":
        checkpoint_stages(model)
    return model


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", NETWORKS)
def test_simulation_allocates_what_a_real_step_does(kind: str, training: bool) -> None:
    model, task = small(kind), Task(4, (3, 32, 32), training)
    workload = Workload(prepared(model, task), task)
    with PeakMemory(workload.tensors()) as memory:
        workload()
        workload()
    assert simulate(model, task).peak_bytes == memory.peak


def test_simulation_knows_channels_last_and_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ccnn.benchmark.workload.has_bf16", lambda device: True)
    model, task = small("naive"), Task(4, (3, 32, 32), True, "recommended")
    workload = Workload(prepared(model, task), task)
    with PeakMemory(workload.tensors()) as memory:
        workload()
        workload()
    simulated = simulate(model, task)
    assert simulated.peak_bytes == pytest.approx(memory.peak, rel=0.005)
    assert simulated.peak_bytes < 0.7 * simulate(model, Task(4, (3, 32, 32), True)).peak_bytes


@pytest.mark.slow
@pytest.mark.parametrize("training", [False, True])
def test_a_workload_compiles(training: bool) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    workload = Workload(model, Task(2, (3, 8, 8), training, "compiled"))
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    workload()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before + 1
    assert simulate(model, workload.task) == simulate(model, replace(workload.task, settings="recommended"))


def test_simulation_counts_multiply_adds_and_leaves_all_as_it_was() -> None:
    model = small("naive")
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    size = (3, 32, 32)
    once = simulate(model, Task(1, size)).multiply_adds
    assert once == ccnn.multiply_adds(model, size)
    assert simulate(model, Task(3, size)).multiply_adds == 3 * once
    # Backward computes the gradients of weights and of inputs, but not that of the images.
    assert 2.8 * once < simulate(model, Task(1, size, training=True)).multiply_adds < 3 * once
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_workload_trains_and_infers() -> None:
    model = small("naive")
    before = copy.deepcopy(model.state_dict())
    Workload(model, Task(2, (3, 32, 32)))()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    Workload(model, Task(2, (3, 32, 32), training=True))()
    assert not torch.equal(model.state_dict()["stem.0.weight"], before["stem.0.weight"])
