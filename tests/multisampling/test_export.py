"""Converted networks outside of plain eager mode: traced, exported, compiled, in threads, with an empty batch."""

import copy
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from ccnn import convert

SIZE = (3, 17, 16)
SAMPLINGS = ["naive", "lattice"]
# A tracer warns of each size that becomes a constant; exporters and dynamo of what they use themselves.
pytestmark = pytest.mark.filterwarnings("ignore::Warning")


def network() -> nn.Sequential:
    """Every kind of strided and joint layer."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(8, 8, 1, 2),
        nn.AvgPool2d(2, ceil_mode=True), nn.GroupNorm(2, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 5),
    ).eval()  # fmt: skip


def images(number: int) -> Tensor:
    return torch.rand(number, *SIZE, generator=torch.Generator().manual_seed(number))


@pytest.fixture(params=SAMPLINGS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    return convert(network(), SIZE, request.param)


def test_a_trace_holds_for_other_batches(model: nn.Module) -> None:
    traced = torch.jit.trace(model, images(2))
    torch.testing.assert_close(traced(images(5)), model(images(5)))


@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_program_takes_any_batch(model: nn.Module, strict: bool) -> None:
    shapes = ({0: torch.export.Dim("images")},)
    program = torch.export.export(model, (images(2),), dynamic_shapes=shapes, strict=strict)
    torch.testing.assert_close(program.module()(images(5)), model(images(5)))


@pytest.mark.parametrize("dynamo", [False, True])
def test_onnx_takes_any_batch(model: nn.Module, dynamo: bool) -> None:
    import onnxruntime

    file: Any = io.BytesIO()
    dynamic: dict[str, Any] = {"dynamic_axes": {"x": {0: "images"}}}
    if dynamo:
        dynamic = {"dynamic_shapes": ({0: torch.export.Dim("images")},), "verbose": False}
    torch.onnx.export(model, (images(2),), file, dynamo=dynamo, input_names=["x"], **dynamic)
    (got,) = onnxruntime.InferenceSession(file.getvalue()).run(None, {"x": images(5).numpy()})
    torch.testing.assert_close(torch.from_numpy(got), model(images(5)))


def test_tensorboard_draws_the_graph(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_graph(convert(network(), SIZE), images(2))


def test_an_empty_batch_yields_no_rows(model: nn.Module) -> None:
    assert model(images(0)).shape == (0, 5)


def test_threads_may_share_a_network_in_evaluation(model: nn.Module) -> None:
    batches = [images(number) for number in range(1, 9)] * 10
    with ThreadPoolExecutor(8) as threads, torch.no_grad():
        expected = [model(batch) for batch in batches[:8]]
        got = list(threads.map(torch.no_grad()(model), batches))
    for output, wanted in zip(got, expected * 10, strict=True):
        torch.testing.assert_close(output, wanted)


@pytest.fixture
def graphs() -> Iterator[Any]:
    """Counts what torch compiles."""
    torch.compiler.reset()
    counters.clear()
    yield counters["stats"]
    torch.compiler.reset()


@pytest.mark.parametrize("name", ["random", "stochastic"])
def test_new_draws_compile_nothing_again(name: str, graphs: Any) -> None:
    model = convert(network(), SIZE, name).train()
    compiled, numbers = torch.compile(copy.deepcopy(model), backend="eager"), []
    for step in range(6):
        outputs = []
        for each in (model, compiled):
            torch.manual_seed(step)
            outputs.append(each(images(2)))
        torch.testing.assert_close(*outputs)
        numbers.append(graphs["unique_graphs"])
    assert numbers[0] > 0
    assert numbers[1:] == numbers[1:2] * 5
    torch.compiler.reset()
    fixed = torch.compile(model.eval(), backend="eager", fullgraph=True)  # evaluation draws nothing
    torch.testing.assert_close(fixed(images(3)), model(images(3)))
