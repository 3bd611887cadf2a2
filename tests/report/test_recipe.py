"""Whatever sets a training apart from the paper's is named, and nothing else."""

from pathlib import Path
from typing import Any

import pytest
from experiments import Compose
from omegaconf import OmegaConf
from report_runs import lines, write_run


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        ({"optimizer._target_": "torch.optim.AdamW", "optimizer.lr": 1e-3}, ("optimizer", "AdamW", "SGD")),
        ({"optimizer.momentum": 0}, ("optimizer.momentum", 0, 0.9)),
        ({"optimizer.nesterov": False}, ("optimizer.nesterov", False, True)),
        ({"optimizer.dampening": 0.1}, ("optimizer.dampening", 0.1, None)),
        (
            {"scheduler": {"_target_": "ccnn.training.schedulers.constant"}},
            ("schedule", "constant", "multistep"),
        ),
        ({"scheduler.fractions": [0.3, 0.6]}, ("scheduler.fractions", "[0.3, 0.6]", "[0.5, 0.75]")),
        ({"data.augmentation.crop_padding": 0}, ("data.augmentation.crop_padding", 0, 4)),
        ({"data.mean": [0.5] * 3}, ("data.mean", "[0.5, 0.5, 0.5]", "[0.5071, 0.4867, 0.4408]")),
        ({"trainer.limit_train_batches": 1}, ("trainer.limit_train_batches", 1, 1.0)),
        ({"trainer.accumulate_grad_batches": 4}, ("trainer.accumulate_grad_batches", 4, 1)),
        ({"trainer.devices": 2}, ("trainer.devices", 2, 1)),
        ({"trainer.limit_train_batches": 1.0, "trainer.precision": "bf16-mixed", "trainer.devices": [3]}, None),
        ({"optimizer.fused": True}, None),
    ],
)
def test_whatever_changes_the_training_is_a_difference_to_the_paper(
    settings: dict[str, object], difference: tuple[str, object, object] | None, tmp_path: Path
) -> None:
    folder = write_run(tmp_path / "a", 6.0)
    config = OmegaConf.load(folder / "config.yaml")
    for key, value in settings.items():
        OmegaConf.update(config, key, value, merge=False, force_add=True)
    OmegaConf.save(config, folder / "config.yaml")
    [[_, cell]] = lines(tmp_path).iterrows()
    assert cell["unlike"] == (() if difference is None else (difference,))
    assert cell["published"] == 5.49


@pytest.mark.parametrize(
    ("override", "difference"),
    [
        (None, None),
        ("loss=label_smoothing", ("loss.label_smoothing", 0.1, None)),
        ("mix=mixup", ("mix", "MixUp", None)),
        ("callbacks=[default,ema]", ("callbacks.ema", "decay=0.999", None)),
    ],
)
def test_conf_with_the_papers_protocol_is_the_papers_recipe(
    override: str | None, difference: tuple[str, object, object] | None, compose: Compose, tmp_path: Path
) -> None:
    config = compose("data=cifar10", "protocol=paper", "model=resnet18", *([override] if override else []))
    config.output_dir = str(tmp_path)
    OmegaConf.save(config, write_run(tmp_path / "a", 6.0) / "config.yaml", resolve=True)
    [[_, cell]] = lines(tmp_path).iterrows()
    assert (cell["published"], cell["unlike"]) == (5.49, (difference,) if difference else ())


@pytest.mark.parametrize("augment", ["none", "shift", "standard"])
def test_each_augmentation_of_mnist_is_the_papers(augment: str, tmp_path: Path) -> None:
    mnist: dict[str, Any] = {"data": "mnist", "epochs": 100, "train_images": 60_000, "batch_size": 16}
    normal = {"data.mean": [0.1307], "data.std": [0.3081], "data.image_size": 28}
    write_run(tmp_path / "a", 0.5, model="toy", augment=augment, settings=normal, **mnist)
    write_run(tmp_path / "b", 0.5, model="toy", augment=augment, settings={"data.image_size": 32}, **mnist)
    assert sorted(lines(tmp_path)["unlike"]) == [(), (("data.image_size", 32, 28),)]
