"""The arguments of convert(), and what undoes or changes a conversion."""

import copy
import inspect
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import ccnn
from ccnn.models import resnet
from ccnn.multisampling.submaps import merge, unfold

SIZE = (3, 32, 32)


class Net(nn.Module):
    """Two strided convolutions and a forward that a test chooses."""

    def __init__(self, run: Callable[["Net", Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1), nn.Linear(8, 5)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def usual(net: Net, x: Tensor) -> Tensor:
    return net.fc(net.b(net.a(x).relu()).amax((2, 3)))


def images(count: int = 2) -> Tensor:
    return torch.randn(count, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model() -> Net:
    torch.manual_seed(0)
    return Net(usual).double().eval()


@pytest.mark.parametrize("sampling", ["naive", "lattice", "random"])
def test_unconvert_gives_the_plain_network_back(model: Net, sampling: str) -> None:
    plain, types = copy.deepcopy(model), [type(module) for module in model.modules()]
    hooked: list[int] = []
    model.a.register_forward_hook(lambda module, args, out: hooked.append(len(out)))
    ccnn.convert(model, SIZE, sampling)
    assert ccnn.is_converted(model)
    assert not torch.allclose(model(images()), plain(images()))
    assert ccnn.unconvert(model) is model
    assert not ccnn.is_converted(model)
    assert [type(module) for module in model.modules()] == types
    hooked.clear()
    assert torch.equal(model(images()), plain(images()))
    assert hooked == [2]
    with pytest.raises(ValueError, match="not converted"):
        ccnn.unconvert(model)


def test_set_sampling_is_a_conversion_from_the_start(model: Net) -> None:
    plain = copy.deepcopy(model)
    ccnn.convert(model, SIZE, "naive")
    parameters = list(model.parameters())
    ccnn.set_sampling(model, "lattice")
    assert all(one is other for one, other in zip(model.parameters(), parameters, strict=True))
    assert torch.equal(model(images()), ccnn.convert(plain, SIZE, "lattice")(images()))


def test_a_sampling_that_does_not_fit_leaves_the_model_converted_as_it_was(model: Net) -> None:
    ccnn.convert(model, SIZE, "lattice")
    expected = model(images())
    with pytest.raises(ccnn.ConversionError, match="no strided layer matches"):
        ccnn.set_sampling(model, ccnn.Sampling("naive", only=["c"]))
    assert torch.equal(model(images()), expected)
    assert ccnn.conversion_report(model).sampling.name == "lattice"


def test_a_filter_chooses_layers_and_set_sampling_remembers_it(model: Net) -> None:
    ccnn.convert(model, SIZE, filter_fn=lambda module, name: name != "a")
    assert ccnn.conversion_report(model).traditional == {"a": "filter_fn"}
    ccnn.set_sampling(model, "lattice")
    assert [layer.name for layer in ccnn.conversion_report(model).layers] == ["b"]


def test_merge_none_returns_submaps_and_a_name_merges_at_that_module() -> None:
    torch.manual_seed(0)
    plain = resnet(18, channels=(8, 8, 8, 8)).double().eval()
    folded = ccnn.convert(copy.deepcopy(plain), SIZE, merge=None)(images())
    assert folded.shape == (16, 10)
    x = images()
    at_stage = ccnn.convert(copy.deepcopy(plain), SIZE, merge="pool")
    maps: list[Tensor] = []
    at_stage.get_submodule("stages").register_forward_hook(lambda module, args, out: maps.append(out))
    got = at_stage(x)
    expected = plain.classifier(merge(maps[0], 8).mean((2, 3)))
    torch.testing.assert_close(got, expected)
    assert ccnn.conversion_report(at_stage).merge == ("pool",)
    with pytest.raises(ccnn.ConversionError, match="no module named 'head'"):
        ccnn.convert(plain, SIZE, merge="head")


class TwoInputs(nn.Module):
    """Images of two kinds, one given by name, and a bilinear head."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(1, 8, 3, 2, 1), nn.Bilinear(8, 8, 5)

    def forward(self, x: Tensor, depth: Tensor) -> Tensor:
        return self.head(self.a(x).mean((2, 3)), self.b(depth).mean((2, 3)))


def test_several_inputs_are_given_as_examples() -> None:
    torch.manual_seed(0)
    plain = TwoInputs().double()
    x, depth = images(), images()[:, :1]
    model = ccnn.convert(copy.deepcopy(plain), example_inputs=((x[:1],), {"depth": depth[:1]}))
    assert ccnn.conversion_report(model).merge == ("head",)
    a, b = (
        merge(unfold(layer(part), 2).mean((3, 4)).flatten(0, 1), 2)
        for layer, part in ((model.a, x), (model.b, depth))
    )
    torch.testing.assert_close(model(x, depth=depth), plain.head(a, b))


@pytest.mark.parametrize("examples", [3, [], ({},)])
def test_malformed_examples_are_named(model: Net, examples: object) -> None:
    with pytest.raises(ValueError, match="example_inputs: expected"):
        ccnn.convert(model, example_inputs=examples)


def hourglass(net: Net, x: Tensor) -> Tensor:
    x = net.a(x)
    return net.fc((x * F.interpolate(net.b(x), scale_factor=2).sigmoid()).mean((2, 3)))


def test_a_side_branch_stays_traditional_or_is_an_error_if_strict() -> None:
    torch.manual_seed(0)
    model = Net(hourglass).double().eval()
    skipped = ccnn.convert(copy.deepcopy(model), SIZE, ccnn.Sampling("naive", skip=["b"]))
    with pytest.raises(ccnn.ConversionError, match=r"branches of 2 and 4 submaps meet.*'b' traditional"):
        ccnn.convert(model, SIZE, strict=True)
    assert torch.equal(ccnn.convert(model, SIZE)(images()), skipped(images()))
    assert "branches of 2 and 4 submaps meet" in ccnn.conversion_report(model).traditional["b"]


PROBLEMS: dict[str, tuple[Callable[[Net, Tensor], Tensor], str]] = {
    "integers": (lambda net, x: net.b(net.a(x)).argmax(1), "returns|integers"),
    "dense": (lambda net, x: F.interpolate(net.a(x), scale_factor=2), "ToDense"),
    "checkpointed": (
        lambda net, x: checkpoint(lambda y: net.fc(y.mean((2, 3))), net.a(x), use_reentrant=False),
        "checkpoint a module",
    ),
}


@pytest.mark.parametrize("kind", PROBLEMS)
def test_what_has_no_mean_over_submaps_is_refused(kind: str) -> None:
    run, message = PROBLEMS[kind]
    model = Net(run)
    with pytest.raises(ccnn.ConversionError, match=message):
        ccnn.convert(model, SIZE)
    assert type(model.a) is nn.Conv2d


def test_all_problems_are_reported_at_once() -> None:
    def run(net: Net, x: Tensor) -> Tensor:
        x = net.a(x)
        x = torch.cat([x[:1], x[1:]])
        return torch.cat(x.chunk(2))

    with pytest.raises(ccnn.ConversionError, match=r"3 problems:\n  - .*takes some rows.*\n  - .*splits or joins"):
        ccnn.convert(Net(run), SIZE)


@pytest.mark.parametrize("head", ["identity", "sequential", "wrapped"])
def test_heads_may_be_replaced_by_others_than_linear_layers(model: Net, head: str) -> None:
    class Wrapper(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner, self.extra = inner, nn.Linear(8, 5).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) + self.extra(x)

    ccnn.convert(model, SIZE)
    x, own = images(), model.fc
    rows: list[Tensor] = []
    handle = own.register_forward_pre_hook(lambda module, args: rows.append(args[0]))
    model(x)
    handle.remove()
    heads = {
        "identity": nn.Identity(),
        "sequential": nn.Sequential(nn.Flatten(), nn.ReLU()),
        "wrapped": Wrapper(own),
    }
    model.fc = heads[head]  # type: ignore[assignment]
    got = model(x)
    plain = copy.deepcopy(heads[head])
    for module in plain.modules():
        module._forward_pre_hooks.clear()
    torch.testing.assert_close(got, plain(rows[0]))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_quantized_copy_of_the_classifier_merges_too(model: Net) -> None:
    single = ccnn.convert(model.float(), SIZE)
    quantized = torch.ao.quantization.quantize_dynamic(copy.deepcopy(single), {nn.Linear})
    x = images().float()
    torch.testing.assert_close(quantized(x), single(x), rtol=0.05, atol=0.05)


def test_a_module_with_functions_keeps_its_name_and_signature(model: Net) -> None:
    before = inspect.signature(model.forward), inspect.signature(type(model))
    ccnn.convert(model, SIZE)
    assert type(model).__name__ == "Net"
    assert (inspect.signature(model.forward), inspect.signature(type(model))) == before
