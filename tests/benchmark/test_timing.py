"""Timing side by side with a clock that tells what a test wants, and memory counted by hand."""

import copy
import gc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import ccnn
from ccnn.benchmark.baseline_5d import to_5d
from ccnn.benchmark.peak_memory import PeakMemory
from ccnn.benchmark.timing import Contender, Limits, Timing, race, ratio, spread
from ccnn.benchmark.workload import Task, Workload, prepared, simulate
from ccnn.models import checkpoint_stages, resnet
from ccnn.multisampling.conversion.meta import skeleton

LIMITS = Limits(rounds=3, seconds=1000.0, patience=1000.0)


class Track:
    """A clock that only work moves on, and the order in which work was done."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def __call__(self) -> float:
        return self.now

    def contender(self, name: str, *seconds: float, **options: Any) -> Contender:
        """Takes so many seconds in its calls, the last again and again."""
        left = list(seconds)

        def work() -> None:
            self.order.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return Contender(name, lambda: work, **options)


def test_contenders_take_turns_there_and_back_after_a_warm_up() -> None:
    track = Track()
    result = race([track.contender(name, 1.0) for name in "ABC"], LIMITS, clock=track)
    assert "".join(track.order) == "AABBCC" + "ABC" + "CBA" + "ABC"
    assert result == {name: Timing((1.0, 1.0, 1.0)) for name in "ABC"}


def test_the_warm_up_does_not_count() -> None:
    track = Track()
    (timing,) = race([track.contender("A", 9.0, 8.0, 1.0, 3.0, 2.0)], LIMITS, clock=track).values()
    assert timing.seconds == (1.0, 3.0, 2.0)
    assert timing.spread == (2.0, 1.5, 2.5)


def test_short_work_runs_several_times_in_a_row() -> None:
    track = Track()
    result = race([track.contender("A", 0.004), track.contender("B", 1.0)], LIMITS, clock=track)
    assert "".join(track.order) == "AABB" + "AAAAAB" + "BAAAAA" + "AAAAAB"
    assert result["A"].seconds == pytest.approx((0.004,) * 3)


def test_how_often_short_work_runs_is_not_taken_from_its_slow_first_call() -> None:
    track = Track()
    (timing,) = race([track.contender("A", 0.5, 0.004)], LIMITS, clock=track).values()
    assert len(track.order) == 2 + 3 * 5
    assert timing.seconds == pytest.approx((0.004,) * 3)


def test_rounds_collect_no_garbage_and_the_collector_is_left_as_it_was() -> None:
    seen: list[bool] = []
    (timing,) = race([Contender("A", lambda: lambda: seen.append(gc.isenabled()))], Limits(1, 1.0, 1.0)).values()
    assert timing.seconds
    assert seen[:2] == [True, True]
    assert not any(seen[2:])
    assert gc.isenabled()


def test_slow_work_leaves_the_race_early_and_the_slowest_runs_once() -> None:
    track = Track()
    entries = [track.contender("A", 1.0), track.contender("B", 4.0), track.contender("C", 11.0)]
    result = race(entries, Limits(rounds=3, seconds=10.0, patience=100.0), clock=track)
    assert "".join(track.order) == "AABBC" + "AB" + "BA" + "A"
    assert [len(timing.seconds) for timing in result.values()] == [3, 2, 1]
    assert result["C"] == Timing((11.0,), first_call_only=True)
    assert [timing.note for timing in result.values()] == ["", "", "first call only"]
    assert ratio(result["C"], result["A"]) is ratio(result["A"], result["C"]) is None
    assert ratio(result["B"], result["A"]) == (4.0, 4.0, 4.0)


def test_what_would_take_too_long_or_too_much_does_not_run() -> None:
    track = Track()
    entries = [
        track.contender("A", 2.0, cost=10.0),
        track.contender("B", 4.0, cost=499.0),
        track.contender("C", 4.0, cost=501.0),
        track.contender("D", 4.0, memory=3_000_000_000),
    ]
    result = race(entries, Limits(rounds=1, seconds=1000.0, patience=100.0, memory=2_000_000_000), clock=track)
    assert "".join(track.order) == "AABBAB"
    assert result["C"].problem == "not run: about 100 s a call, by its multiply-adds"
    assert result["D"].problem == "not run: needs 3.0 GB, 2.0 GB are free"
    assert result["D"].spread is None


def test_failures_are_told_and_the_others_go_on() -> None:
    track = Track()

    def unbuilt() -> Callable[[], object]:
        raise ValueError("no such layer\nand more")

    calls = iter([None] * 3)

    def breaks() -> None:
        next(calls)

    entries = [Contender("A", unbuilt), Contender("B", lambda: breaks), track.contender("C", 1.0)]
    result = race(entries, LIMITS, clock=track)
    assert result["A"] == Timing(problem="ValueError: no such layer")
    assert result["B"].problem.startswith("StopIteration")
    assert result["C"].seconds == (1.0, 1.0, 1.0)


def test_ratios_are_taken_within_rounds() -> None:
    slow, fast = Timing((2.0, 20.0, 6.0)), Timing((1.0, 10.0, 2.0, 5.0))
    assert ratio(slow, fast) == (2.0, 2.0, 2.5)
    assert ratio(Timing(problem="out of memory"), fast) is None
    assert spread([3.0]) == (3.0, 3.0, 3.0)


# --- memory ---------------------------------------------------------------------------------------------


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


def test_an_allocators_blocks_round_up() -> None:
    with PeakMemory([torch.zeros(1), torch.zeros(129)], block=512) as memory:
        pass
    assert memory.peak == 512 + 1024


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


@pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 14), reason="torch 2.6 aborts the whole process here"
)
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_simulated_forward_pass_allocates_the_same_on_cuda(kind: str) -> None:
    """Which is as far as fake CUDA tensors go without a GPU; the estimate takes the CPU's, in CUDA's blocks."""
    model, task = small(kind), Task(4, (3, 32, 32), training=True)
    seen = []
    for device in ("cpu", "cuda"):
        with FakeTensorMode(allow_non_fake_inputs=True):
            workload = Workload(skeleton(model, device), task)
            with PeakMemory(workload.tensors(), block=512) as memory:
                loss = workload.model(workload.images).sum()
            assert loss.device.type == device
            seen.append((memory.live, memory.peak))
    assert seen[0] == seen[1]


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


def test_an_estimate_for_cuda_has_its_optimizer_and_blocks() -> None:
    """SGD on all parameters at once keeps the decayed gradients of all and adds Nesterov's step in place.

    One by one it has both, decayed and stepped, of a single parameter.
    """
    size, task = 1000, Task(1, (3, 8, 8), training=True)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, size, bias=False), nn.Linear(size, size, bias=False))
    weights = [4 * 192 * size, 4 * size * size]
    on_cpu, on_cuda = (simulate(model, task, cuda).peak_bytes for cuda in (False, True))
    # At the peak there are parameters, gradients and momentum of both layers, and what the step adds.
    little = 5000
    assert 3 * sum(weights) + 2 * max(weights) <= on_cpu <= 3 * sum(weights) + 2 * max(weights) + little
    assert 4 * sum(weights) <= on_cuda <= 4 * sum(weights) + little


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
