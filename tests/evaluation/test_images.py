"""A data module of the user's own brings its test images to an evaluation."""

import pytest
import torch
from experiments import Compose

from ccnn.errors import UserError
from ccnn.evaluation.images import find_images


def test_some_images_of_a_plain_data_module_are_spread_over_all(compose: Compose) -> None:
    config = compose()
    config.data = {"_target_": "seams.PlainData"}
    images = find_images(config, None)
    assert (images.input_size, images.classes, images.total, images.batch_size) == ((1, 12, 20), 4, 96, 16)
    chosen = images.spread(20)
    every, some = (
        [torch.cat(parts) for parts in zip(*images.batches(indices, torch.device("cpu")), strict=True)]
        for indices in (torch.arange(96), chosen)
    )
    assert len(chosen) == 20
    for all_of_them, found in zip(every, some, strict=True):
        assert torch.equal(found, all_of_them[chosen])


def test_a_loader_that_does_not_count_its_images_is_an_error(compose: Compose) -> None:
    config = compose()
    config.data = {"_target_": "seams.ListedData"}
    with pytest.raises(UserError, match=r"data: ListedData.test_dataloader\(\) gives no number.*got list"):
        find_images(config, None)
