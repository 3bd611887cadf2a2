import pytest
import torch

from ccnn.multisampling.samplers import STANDARD
from ccnn.multisampling.submaps import fold, merge, offsets, unfold


def test_submap_s_of_every_image_lies_together() -> None:
    maps = torch.arange(2 * 3).reshape(2, 3)  # 2 submaps of 3 images
    assert fold(maps).tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(unfold(fold(maps), 2), maps)
    assert merge(fold(maps).double(), 2).tolist() == [1.5, 2.5, 3.5]


def test_a_batch_that_is_no_multiple_is_refused() -> None:
    with pytest.raises(ValueError, match="a batch of 3 cannot hold 2 submaps"):
        unfold(torch.zeros(3, 1), 2)


def test_offsets_refuse_a_wrong_number_of_samplers() -> None:
    with pytest.raises(ValueError, match="expected 2 samplers, one per incoming submap, got 3"):
        offsets([(2, (STANDARD,)), (2, (STANDARD,) * 3)])
