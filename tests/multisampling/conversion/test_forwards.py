"""Networks whose forward does more than call modules in a row, and what is done to a network afterwards."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torchvision
from experiments import randomised
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import ccnn
from ccnn.models import VGG, DenseNet, ResNet, resnet
from ccnn.models.library import torchvision_model
from ccnn.multisampling.conversion import ConversionError, conversion_report, convert
from ccnn.multisampling.pooling import CheckeredLPPool2d

SIZE = (3, 32, 32)


class Net(nn.Module):
    """Three convolutions, the first two with a stride, and a forward that a test chooses."""

    def __init__(self, run: Callable[["Net", Tensor], Tensor], channels: int = 8, features: int = 8) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, channels, 3, 2, 1), nn.Conv2d(channels, channels, 3, 2, 1)
        self.c, self.pool, self.fc = nn.Conv2d(channels, 8, 3, 1, 1), nn.MaxPool2d(2), nn.Linear(features, 5)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def usual(net: Net, x: Tensor) -> Tensor:
    return net.fc(net.c(net.b(net.a(x))).mean((2, 3)))


def converted_layers(model: nn.Module) -> list[str]:
    return [layer.name for layer in conversion_report(model).layers]


# --- submaps and images must not be mixed up -----------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda net, x: net.fc(net.a(x)[: len(x)].mean((2, 3))), "takes some rows of a batch that holds submaps"),
        (lambda net, x: net.fc(net.a(x).chunk(2)[0].mean((2, 3))), "splits or joins the images of a batch"),
        (
            lambda net, x: net.fc(net.a(x).mean((2, 3)).view(len(x), -1)),
            "by the batch size.*x.flatten",
        ),
    ],
    ids=["cut", "chunk", "view"],
)
def test_a_forward_that_splits_the_batch_is_refused(run: Any, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(Net(run), SIZE)


@pytest.mark.parametrize("sampling", ["naive", "lattice"])
def test_a_view_by_the_batch_size_of_the_input_merges_there(sampling: str) -> None:
    def run(net: Net, x: Tensor) -> Tensor:
        n = x.size(0)
        x = net.c(net.b(net.a(x))).relu()
        return net.fc(x.view(n, 8, -1).mean(-1))

    torch.manual_seed(0)
    model = Net(run).double().eval()
    other = Net(lambda net, x: net.fc(net.c(net.b(net.a(x))).relu().mean((2, 3)))).double().eval()
    other.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    expected = convert(other, SIZE, sampling)(x)
    torch.testing.assert_close(convert(model, SIZE, sampling)(x), expected, rtol=1e-12, atol=1e-12)
    assert conversion_report(model).merge == ("view[0]",)


LAYOUTS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "rows of pixels": (lambda x: x.flatten(1), lambda x: x.view(-1, 3, 32, 32)),
    "channels last": (lambda x: x.permute(0, 2, 3, 1), lambda x: x.permute(0, 3, 1, 2)),
    "clips": (lambda x: x.unflatten(0, (-1, 2)), lambda x: x.flatten(0, 1)),
    "grey": (lambda x: x[:, 0], lambda x: torch.stack([x, x, x], 1)),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_images_may_come_in_any_layout(name: str) -> None:
    """A reduction of the whole map is joint whatever the first convolution's input was made of."""
    laid_out, images = LAYOUTS[name]

    def rest(net: Net, x: Tensor) -> Tensor:
        return net.fc(torch.tanh(net.c(net.b(net.a(x)).relu()).mean((2, 3))))

    model = Net(lambda net, x: rest(net, images(x))).double().eval()
    other = Net(rest).double().eval()
    other.load_state_dict(model.state_dict())
    x = laid_out(torch.randn(4, 3, 32, 32, dtype=torch.float64))
    convert(model, sampling="lattice", example_inputs=x)
    torch.testing.assert_close(model(x), convert(other, SIZE, "lattice")(images(x)), rtol=1e-12, atol=1e-12)
    assert conversion_report(model).joint == ("mean[0]",)


@pytest.mark.parametrize("pool", [nn.MaxPool2d(8), nn.AvgPool2d(8), F.max_pool2d])
def test_a_window_over_the_whole_map_is_told_when_it_no_longer_is(pool: Any) -> None:
    def run(net: Net, x: Tensor) -> Tensor:
        x = net.c(net.b(net.a(x)))
        return net.fc((pool(x, 8) if pool is F.max_pool2d else net.pool(x)).mean((2, 3)))

    model = Net(run).eval()
    if isinstance(pool, nn.Module):
        model.pool = pool  # type: ignore[assignment]
    convert(model, SIZE)
    model(torch.randn(1, 3, 32, 32))
    with pytest.raises(ValueError, match="leaves 2×2 of one; convert the network with an input_size"):
        model(torch.randn(1, 3, 64, 64))


@pytest.mark.parametrize("training", [False, True])
def test_a_forward_may_call_more_functions_in_training(training: bool) -> None:
    def run(net: Net, x: Tensor, whole: Callable[[Tensor], Tensor]) -> Tensor:
        x = net.a(x)
        if net.training:
            x = x * x.mean(3, keepdim=True).sigmoid()
        x = net.b(x * whole(x.mean(2, keepdim=True)).sigmoid())
        return net.fc(torch.tanh(net.c(x).mean((2, 3))))

    wholes: list[Callable[[Tensor], Tensor]] = [
        lambda x: x.mean(3, keepdim=True),
        lambda x: F.adaptive_avg_pool2d(x, 1),
    ]
    results = []
    for whole in wholes:
        torch.manual_seed(0)
        net = convert(Net(partial(run, whole=whole)).double(), SIZE, "lattice")
        results.append(net.train(training)(torch.randn(2, 3, 32, 32, dtype=torch.float64)))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_strided_layer_that_is_replaced_afterwards_is_told(name: str) -> None:
    model = convert(Net(usual), SIZE).eval()
    setattr(model, name, nn.Conv2d(3 if name == "a" else 8, 8, 3, 1, 1))
    with pytest.raises(ValueError, match=r"mean\[0\]: got \d+ rows, .*: was a layer replaced since"):
        model(torch.randn(8, 3, 32, 32))


@pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 14),
    reason="torch 2.6 cannot compile the search for it",
)
@pytest.mark.parametrize("head", ["linear", "wrapped"])
def test_a_replaced_classifier_is_merged_compiled_as_well(head: str) -> None:
    model = convert(Net(usual), SIZE).eval()
    model.fc = nn.Linear(8, 3) if head == "linear" else nn.Sequential(model.fc, nn.Linear(5, 3))  # type: ignore[assignment]
    x = torch.randn(2, 3, 32, 32)
    expected = model(x)
    assert expected.shape == (2, 3)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), expected)
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), expected)


def test_a_head_may_take_its_input_by_name() -> None:
    class Named(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(input=self.b(self.a(x)).mean((2, 3)))

    torch.manual_seed(0)
    model, other = Named(usual), Net(lambda net, x: net.fc(net.b(net.a(x)).mean((2, 3))))
    other.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(convert(model, SIZE)(x), convert(other, SIZE)(x))


def test_a_network_that_cannot_train_without_numbers_is_merged_in_training_too() -> None:
    def run(net: Net, x: Tensor) -> Tensor:
        x = net.b(net.a(x))
        return x * float(x.mean().item() > -1e9) if net.training else x

    model = convert(Net(run), SIZE)
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model.train()(x), model.eval()(x))
    assert model(x).shape[0] == 2
    with pytest.raises(ConversionError, match="draws in training, and the network does not run in training"):
        convert(Net(run), SIZE, "random")


# --- functional calls ----------------------------------------------------------------------------------


def test_own_poolings_are_told_from_those_of_submodules() -> None:
    """A forward that pools by function, then by module, then by function, as tutorials do."""

    def functions(net: Net, x: Tensor) -> Tensor:
        x = F.max_pool2d(net.a(x).relu(), 2)
        return net.fc(F.avg_pool2d(net.c(net.pool(x)), 2).mean((2, 3)))

    class Modules(Net):
        def __init__(self) -> None:
            super().__init__(usual)
            self.one, self.two = nn.MaxPool2d(2), nn.AvgPool2d(2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.two(self.c(self.pool(self.one(self.a(x).relu())))).mean((2, 3)))

    torch.manual_seed(0)
    model, reference = Net(functions), Modules()
    reference.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 64, 64)
    for sampling in ("naive", "lattice", "random"):
        one, two = (
            convert(copy.deepcopy(model), (3, 64, 64), sampling),
            convert(copy.deepcopy(reference), (3, 64, 64), sampling),
        )
        for training in (False, True):
            results = []
            for net in (one.train(training), two.train(training)):
                torch.manual_seed(3)
                results.append(net(x))
            assert torch.equal(*results)
    assert converted_layers(one) == ["a", "max_pool2d[0]", "pool", "avg_pool2d[1]"]


def test_a_pooling_that_depends_on_the_images_size_is_told() -> None:
    def run(net: Net, x: Tensor) -> Tensor:
        x = net.a(x)
        return net.fc(net.c(F.max_pool2d(x, x.shape[-1] // 4)).mean((2, 3)))

    model = convert(Net(run), (3, 16, 16)).eval()
    model(torch.randn(2, 3, 16, 16))
    with pytest.raises(ValueError, match=r"max_pool2d\[0\]: converted as .*\(2, 2\).*now called with .*\(4, 4\)"):
        model(torch.randn(2, 3, 32, 32))
    plain = Net(run).eval()
    control = convert(copy.deepcopy(plain), (3, 16, 16), "traditional")
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(control(x), plain(x))


def test_more_poolings_than_in_the_dry_run_are_told() -> None:
    def run(net: Net, x: Tensor) -> Tensor:
        x = net.a(x)
        while x.shape[-1] > 4:
            x = F.max_pool2d(x, 2)
        return net.fc(net.c(x).mean((2, 3)))

    model = convert(Net(run), (3, 16, 16))
    with pytest.raises(ValueError, match=r"max_pool2d\[0\]: got 8 rows, which fits no call .* called more often"):
        model(torch.randn(2, 3, 32, 32))


@pytest.mark.parametrize(
    ("shrink", "named"),
    [
        (lambda x: F.interpolate(x, size=(8, 8)), "F.interpolate"),
        (lambda x: F.interpolate(x, scale_factor=(0.5, 0.5)), "F.interpolate"),
        (lambda x: F.adaptive_avg_pool2d(x, 8), "F.adaptive_avg_pool2d"),
        (lambda x: F.pixel_unshuffle(x, 2)[:, ::4], "F.pixel_unshuffle"),
        (lambda x: x[..., ::2, ::2], "slicing"),
        (lambda x: F.fractional_max_pool2d(x, 2, 8), "F.fractional_max_pool2d"),
    ],
)
def test_functions_that_subsample_are_named(shrink: Callable[[Tensor], Tensor], named: str) -> None:
    model = convert(Net(lambda net, x: net.fc(net.c(shrink(net.a(x))).mean((2, 3)))), SIZE)
    (reason,) = conversion_report(model).traditional.values()
    assert reason == f"{named} from 16×16 to 8×8 stays as it is"


def test_slices_of_channels_and_crops_subsample_nothing() -> None:
    model = convert(Net(lambda net, x: net.fc(net.c(net.a(x)[:, :, 1:-1, 1:-1])[:, ::1].mean((2, 3)))), SIZE)
    assert conversion_report(model).traditional == {}
    model = convert(Net(lambda net, x: net.fc(net.c(net.a(x))[:, ::2].mean((2, 3))), features=4), SIZE)
    assert conversion_report(model).traditional == {}


def test_a_reduction_in_the_networks_own_forward_sees_all_submaps() -> None:
    def run(net: Net, x: Tensor) -> Tensor:
        x = net.a(x)
        x = net.c(x * x.mean((2, 3), keepdim=True).sigmoid())
        return net.fc(x.mean((2, 3)))

    assert conversion_report(convert(Net(run), SIZE)).joint == ("mean[0]", "mean[1]")


# --- levels --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "submaps"), [(VGG(11), 32), (DenseNet((1, 1, 1, 1, 1, 1), 4), 32)])
def test_poolings_of_small_maps_are_no_heads(model: nn.Module, submaps: int) -> None:
    """The last pooling of VGG at 32×32 pixels, or of a deep DenseNet, leaves a single position."""
    assert conversion_report(convert(model, SIZE)).submaps == submaps


def test_skip_first_counts_levels_and_not_sizes() -> None:
    class Branches(nn.Module):
        """One branch cuts its border before it subsamples."""

        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, 2, 1))
            self.two = nn.Conv2d(3, 8, 5, 2, 1)
            self.last, self.fc = nn.Conv2d(8, 8, 3, 2, 1), nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.last(self.one(x) + self.two(x)).mean((2, 3)))

    model = convert(Branches(), SIZE, ccnn.Sampling("lattice", skip_first=1))
    assert converted_layers(model) == ["last"]
    shared = Net(lambda net, x: net.fc(net.c(net.pool(net.pool(net.a(x)))).mean((2, 3))))
    with pytest.raises(ConversionError, match="'pool' is called at the levels 2 and 3 of the network"):
        convert(copy.deepcopy(shared), SIZE, ccnn.Sampling("naive", skip_first=2))
    assert converted_layers(convert(shared, SIZE, ccnn.Sampling("naive", skip_first=1))) == ["pool", "pool"]


def test_a_custom_method_of_one_position_uses_each_levels_sampler() -> None:
    samplers = ([[1, 0], [0, 0]], [[0, 0], [0, 1]])
    model = convert(Net(usual), SIZE, ccnn.Sampling("custom", samplers=samplers, sequence=[[0], [1]]))
    layers: list[Any] = [model.a, model.b]
    assert [layer.placement.samplers for layer in layers] == [(((0, 0),),), (((1, 1),),)]


def test_stochastic_may_be_evaluated_as_the_plain_network() -> None:
    plain = randomised(Net(usual)).eval()
    model = convert(copy.deepcopy(plain), SIZE, ccnn.Sampling("stochastic", evaluation="traditional"))
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model(x), plain(x))
    model.train()
    assert model(x).shape == (2, 5)
    torch.manual_seed(0)
    assert len({tuple(model(x)[0].tolist()) for _ in range(20)}) > 1


def test_traditional_is_the_plain_network_to_the_last_bit() -> None:
    torch.manual_seed(0)
    plain = resnet(18, channels=(8, 8, 8, 8))
    control = convert(copy.deepcopy(plain), SIZE, "traditional")
    x = torch.randn(4, 3, 32, 32)
    for model in (plain, control):
        model(x).square().sum().backward()
    for one, two in zip(plain.parameters(), control.parameters(), strict=True):
        assert torch.equal(one.grad, two.grad)  # type: ignore[arg-type]
    assert len(conversion_report(control).layers) == 6


# --- draws ---------------------------------------------------------------------------------------------


def test_parts_of_a_network_sample_as_in_evaluation_outside_of_its_passes() -> None:
    model: Any = convert(ResNet([1, 1, 1, 1], bottleneck=False, channels=(8, 8, 8, 8)), SIZE, "stochastic")
    x = torch.randn(2, 3, 32, 32)
    model.eval()
    assert model.stages(model.stem(x)).shape[0] == 16  # right after the conversion, whose dry run has trained
    model.train()(x).sum().backward()
    model.eval()
    assert model.stages(model.stem(x)).shape[0] == 16


def test_data_parallel_replicas_of_drawing_networks_are_refused() -> None:
    model = convert(Net(usual), SIZE, "random")
    replica = model._replicate_for_data_parallel()
    with pytest.raises(RuntimeError, match="use DistributedDataParallel"):
        replica(torch.randn(2, 3, 32, 32))


# --- details -------------------------------------------------------------------------------------------


def test_power_pooling_has_no_gradient_but_0_where_all_is_0() -> None:
    x = torch.zeros(1, 1, 5, 5, requires_grad=True)
    CheckeredLPPool2d(2, 2, 2, ceil_mode=True)(x).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_strides_of_one_number_and_inputs_without_a_batch() -> None:
    layer = ccnn.CheckeredConv2d(3, 4, 3, stride=(2,))  # type: ignore[arg-type]
    assert layer(torch.randn(1, 3, 8, 8)).shape[0] == 2
    for strided in (layer, ccnn.CheckeredMaxPool2d(2)):
        with pytest.raises(ValueError, match=r"expected a batch of feature maps .* got the shape \(3, 8, 8\)"):
            strided(torch.randn(3, 8, 8))


def test_a_checkpointed_part_that_pools_by_function_is_a_part_with_modules() -> None:
    """What the documentation promises: modules may be checkpointed, also those that pool by function."""

    class Part(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.max_pool2d(x, 2)

    class Whole(Net):
        def __init__(self) -> None:
            super().__init__(usual)
            self.part = Part()

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.c(checkpoint(self.part, self.a(x), use_reentrant=False)).mean((2, 3)))

    model = convert(Whole(), SIZE)
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    assert model.a.weight.grad is not None


@pytest.mark.parametrize("weights", [None, "DEFAULT"])
def test_inception_adapts_its_input_with_torchvisions_own_weights(
    weights: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.device("meta"):
        state = torchvision.models.inception_v3(weights=None, init_weights=False).state_dict()
    enum = torchvision.models.get_model_weights("inception_v3")
    monkeypatch.setattr(enum["DEFAULT"].__class__, "get_state_dict", lambda *args, **kwargs: state)
    with torch.device("meta"):
        model = torchvision_model("inception_v3", 1000, weights=weights)
    assert vars(model)["transform_input"] is (weights == "DEFAULT")


@pytest.mark.parametrize(
    ("model", "size", "message"),
    [
        ((3, 32, 32), nn.Conv2d(3, 4, 3), r"convert: expected a model \(an nn.Module\), got tuple"),
        (nn.Conv2d(3, 4, 3, 2), torch.zeros(1, 3, 32, 32), r"without the batch, got \(1, 3, 32, 32\)"),
        (nn.Conv2d(3, 4, 3, 2), (1, 3, 32, 32), "without the batch"),
        (nn.Conv2d(3, 4, 3, 2), (32, 32, 3), r"\(channels, height, width\)"),
        (torch.compile(nn.Conv2d(3, 4, 3, 2), backend="eager"), SIZE, "convert the model first, then compile it"),
    ],
)
def test_wrong_arguments_are_told(model: Any, size: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        convert(model, size)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"skip_first": 1.5}, r"sampling.skip_first: expected 0 or more levels, got 1.5"),
        ({"skip_first": True}, "sampling.skip_first"),
        ({"only": [4]}, r"sampling.only: expected globs of layer names, such as \['layer1.\*'\], got \[4\]"),
        ({"skip": None}, "sampling.skip: expected globs"),
        ({"name": "custom", "samplers": [[1, 0], [0, 1]]}, r"sampling.samplers\[0\]\[0\]: expected a list, got 1"),
        (
            {"name": "custom", "samplers": [[[1]]], "sequence": [0]},
            r"sampling.sequence\[0\]: expected a list",
        ),
    ],
)
def test_settings_of_the_wrong_type_are_told_with_their_place(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ccnn.Sampling(**settings)


def test_offsets_are_those_of_strides_that_the_method_takes() -> None:
    for strides in (4, (0,), (2, 1)):
        with pytest.raises(ValueError, match="strides: expected those of each step"):
            ccnn.multisampling.submaps.offsets_of("lattice", strides)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="strides: three_quarters is for strides that are powers of two"):
        ccnn.multisampling.submaps.offsets_of("three_quarters", (3,))


def test_custom_samplers_in_evaluation_alone() -> None:
    sampling = ccnn.Sampling("random", evaluation="custom", samplers=[[[0, 1], [1, 0]]])
    assert str(sampling).startswith("random evaluation=custom samplers=")
    assert convert(Net(usual), SIZE, sampling).a.placement.samplers == (((0, 1), (1, 0)),)  # type: ignore[union-attr]


def test_to_dense_in_a_network_refuses_samplers_that_are_drawn() -> None:
    class Dense(Net):
        def __init__(self) -> None:
            super().__init__(usual)
            self.dense = ccnn.ToDense()

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.dense(self.b(self.a(x))).mean((2, 3)))

    with pytest.raises(ConversionError, match="'dense' puts submaps back to their places"):
        convert(Dense(), SIZE, "random")
    model = convert(Dense(), SIZE, "complete")
    assert (model.dense.placement.path, len(model.dense.placement.offsets)) == ((2, 2), 16)
    assert conversion_report(model).merge == ()


def test_a_copy_of_a_graph_keeps_the_merge() -> None:
    """As an average of weights (EMA) copies a feature extractor: torch.fx makes copies of the graph alone."""
    graph = torch.fx.symbolic_trace(Net(lambda net, x: net.b(net.a(x).relu()))).eval()
    convert(graph, SIZE)
    x = torch.randn(2, 3, 32, 32)
    expected = graph(x)
    assert expected.shape == (2, 8, 8, 8)
    for copied in (copy.deepcopy(graph), copy.deepcopy(copy.deepcopy(graph))):
        torch.testing.assert_close(copied(x), expected)
        assert conversion_report(copied) == conversion_report(graph)
