"""The networks share weights and batches, and their numbers come with true intervals."""

from typing import Any

import pytest
import torch
import torchvision
from experiments import randomised
from torch import Tensor, nn

import ccnn
import ccnn.data.folder
from ccnn.errors import UserError
from ccnn.evaluation.intervals import paired_gain, wilson
from ccnn.evaluation.networks import Network, in_evaluation, networks, shared_copy
from ccnn.evaluation.scoring import Score, rank, score
from ccnn.multisampling.samplers import Sampling


def test_networks_share_their_weights_and_equal_those_converted_by_hand() -> None:
    model = randomised(torchvision.models.resnet18(num_classes=5)).eval()
    samplings = [Sampling("naive"), Sampling("lattice", border="replicate"), Sampling("complete", skip_first=3)]
    images = torch.randn(3, 3, 33, 33)
    byhand = [model, *(shared_copy(model) for _ in samplings)]
    byhand = [
        m if s is None else ccnn.convert(m, (3, 33, 33), s)
        for m, s in zip(byhand, [None, *samplings], strict=True)
    ]
    with torch.no_grad():
        expected = [network(images) for network in byhand]
    found = networks(model, samplings, None, (3, 33, 33), run=False)
    state = model.state_dict()
    assert len(state) == 122
    for network, outputs in zip(found, expected, strict=True):
        own = network.model.state_dict()
        assert own.keys() == state.keys()
        assert all(own[name].data_ptr() == state[name].data_ptr() for name in state)
        with torch.no_grad():
            assert network.model(images).equal(outputs)
    assert not any(expected[0].equal(outputs) for outputs in expected[1:])


class Recorded(nn.Module):
    """Writes its calls down; its scores are what it is told."""

    def __init__(self, name: str, calls: list[str], outputs: Tensor) -> None:
        super().__init__()
        self.name, self.calls, self.outputs = name, calls, outputs

    def forward(self, images: Tensor) -> Tensor:
        self.calls.append(self.name)
        return self.outputs[: len(images)]


def recorded(outputs: Tensor, names: str = "abc") -> tuple[list[Any], list[str]]:
    calls: list[str] = []
    return [Network(Recorded(name, calls, outputs), None, False, 1, 1) for name in names], calls


def test_networks_take_turns_after_one_look_to_warm_up() -> None:
    found, calls = recorded(torch.eye(4))
    batches = [(torch.zeros(4, 1), torch.tensor([0, 1, 2, 0]))] * 2 + [(torch.zeros(1, 1), torch.tensor([0]))]
    done: list[int] = []
    scores = score(found, iter(batches), torch.device("cpu"), False, done.append)
    assert "".join(calls) == "aabbcc" + "bca" + "cab"
    assert done == [4, 4, 1]
    for one in scores:
        assert torch.cat(one.wrong).tolist() == [False, False, False, True] * 2 + [False]
        assert [images for images, _ in one.times] == [4, 4, 1]
        assert one.peak is None


@pytest.mark.parametrize(("half", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_half_precision_is_used_if_asked_for(half: bool, expected: torch.dtype) -> None:
    model, dtypes = nn.Linear(3, 2), []
    model.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    batch = torch.randn(4, 3), torch.zeros(4, dtype=torch.int64)
    score([Network(model, None, False, 1, 1)], [batch], torch.device("cpu"), half, lambda images: None)
    assert set(dtypes) == {expected}


def test_the_time_is_the_median_of_the_batches_of_full_size() -> None:
    assert Score(times=[(4, 0.008), (4, 0.1), (4, 0.004), (1, 7.0)]).ms_per_image == pytest.approx(2.0)


def test_scores_that_are_no_numbers_are_an_error() -> None:
    found, _ = recorded(torch.full((2, 3), torch.nan), "a")
    with pytest.raises(UserError, match="CNN returned NaN or infinite scores"):
        score(found, [(torch.zeros(2, 1), torch.tensor([0, 1]))], torch.device("cpu"), False, lambda images: None)


def test_the_rank_of_a_label_is_its_place_in_the_order_of_scores() -> None:
    scores = torch.randint(0, 5, (200, 9), generator=torch.Generator().manual_seed(0)).float()  # with many ties
    labels = torch.randint(0, 9, (200,), generator=torch.Generator().manual_seed(1))
    order = scores.sort(dim=1, descending=True, stable=True).indices
    assert rank(scores, labels).equal((order == labels[:, None]).int().argmax(1))


def test_what_draws_in_training_is_named_as_what_it_is_in_evaluation() -> None:
    assert in_evaluation(Sampling("random", evaluation="naive", skip_first=1)) == Sampling("naive", skip_first=1)
    assert in_evaluation(Sampling("lattice")) == Sampling("lattice")


@pytest.mark.parametrize(("wrong", "count"), [(0, 10), (10, 10), (3, 7), (11935, 50000), (1, 1)])
def test_the_bounds_of_wilsons_interval_are_1_96_standard_errors_from_the_rate(wrong: int, count: int) -> None:
    rate = wrong / count
    low, high = (bound / 100 for bound in wilson(wrong, count))
    assert 0 <= low <= rate <= high <= 1
    for bound in (low, high):  # the standard error at the bound itself: that defines the interval
        error = (bound * (1 - bound) / count) ** 0.5
        assert abs(bound - rate) == pytest.approx(1.959964 * error, abs=1e-7)
    assert low < rate or wrong == 0
    assert high > rate or wrong == count


def test_the_interval_of_a_gain_holds_the_truth_in_95_of_100_cases() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(4000, 500, generator=generator)
    fixed, broken = (draws < 0.03).sum(1).tolist(), (draws > 0.98).sum(1).tolist()
    held = sum(
        low <= 1.0 <= high
        for _, (low, high) in (paired_gain(f, b, 500) for f, b in zip(fixed, broken, strict=True))
    )
    assert 0.935 < held / 4000 < 0.97
    assert paired_gain(30, 20, 1000)[0] == pytest.approx(1.0)
