"""Sets in memory: what is trained and validated on, and that any batch can be resumed at."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from archives import write_idx
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn

from ccnn.data import Augmentation, InMemoryData, load, normalise
from ccnn.errors import UserError

quiet = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",  # one process is what is wanted here
    "ignore:.*isinstance.treespec, LeafSpec.",  # PL's own
    "ignore:.*LeafSpec",
)


def data(**changes: Any) -> InMemoryData:
    arguments: dict[str, Any] = {
        "name": "digits",
        "root": "data",
        "download": False,
        "channels": 1,
        "image_size": 16,
        "num_classes": 10,
        "mean": [0.3047],
        "std": [0.3185],
        "batch_size": 128,
        "eval_batch_size": 200,
        "augmentation": {"crop_padding": 1, "flip": False, "rotation": 10.0},
        "validation_fraction": 0.1,
        "split_seed": 0,
        "seed": 3,
        "num_workers": 0,
    }
    return InMemoryData(**(arguments | changes))


def ready(**changes: Any) -> InMemoryData:
    module = data(**changes)
    module.prepare_data()
    module.setup()
    return module


class Linear(pl.LightningModule):
    """Learns a little and writes down what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(256, 10)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)
        self.seen: list[tuple[Tensor, Tensor]] = []
        self.validated: list[tuple[Tensor, Tensor]] = []
        self.tested: list[tuple[Tensor, Tensor]] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        self.seen.append(batch)
        return nn.functional.cross_entropy(self.layer(batch[0].flatten(1)), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.validated.append(batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.tested.append(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def trainer(root: Path, **options: Any) -> pl.Trainer:
    return pl.Trainer(
        default_root_dir=root,
        accelerator="cpu",
        logger=False,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **({"max_epochs": 2, "enable_checkpointing": False} | options),
    )


def test_the_validation_set_is_fixed_and_apart() -> None:
    first, second = ready(seed=1), ready(seed=2)
    assert first.validation_set is not None
    assert second.validation_set is not None
    assert torch.equal(first.validation_set.images, second.validation_set.images)
    assert len(first.validation_set.labels) == 130
    whole, test, _ = load("digits", Path())
    parts = torch.cat([first.train_set.images, first.validation_set.images]).flatten(1).tolist()
    assert sorted(parts) == sorted(whole.images.flatten(1).tolist())
    assert torch.equal(first.test_set.images, test.images)
    other = ready(split_seed=1).validation_set
    assert other is not None
    assert not torch.equal(other.images, first.validation_set.images)


def test_fewer_training_images_are_the_same_in_every_run_and_validation_stays() -> None:
    whole, some, fewer = ready(), ready(train_images=600, seed=1), ready(train_images=200, seed=2, batch_size=64)
    assert [len(module.train_set.labels) for module in (whole, some, fewer)] == [1167, 600, 200]
    images = [
        {tuple(image) for image in module.train_set.images.flatten(1).tolist()} for module in (fewer, some, whole)
    ]
    assert images[0] < images[1] < images[2]
    for module in (some, fewer):
        assert module.validation_set is not None
        assert whole.validation_set is not None
        assert torch.equal(module.validation_set.images, whole.validation_set.images)
    assert torch.equal(ready(train_images=600, seed=7).train_set.images, some.train_set.images)
    assert ready(train_images=1167).train_set.images.equal(whole.train_set.images)
    paper = ready(train_images=1297, protocol="paper")
    assert torch.equal(paper.train_set.images, load("digits", Path())[0].images)


@quiet
def test_a_run_sees_each_image_once_an_epoch_augmented_differently_each_time(tmp_path: Path) -> None:
    module, model = data(), Linear()
    trainer(tmp_path).fit(model, module)
    assert len(model.seen) == 2 * 10  # 1167 images in batches of 128; the last one of 15
    labels = [torch.cat([y for _, y in model.seen[10 * e : 10 * e + 10]]) for e in range(2)]
    for epoch in labels:
        assert epoch.bincount().tolist() == module.train_set.labels.bincount().tolist()
    assert not torch.equal(*labels)
    images, _ = model.seen[13]
    assert images.dtype == torch.float32
    assert torch.equal(images, module.training_batch(1, 3)[0])
    plain = data(augmentation={"crop_padding": 0, "flip": False, "rotation": 0.0})
    plain.setup()
    assert torch.equal(plain.training_batch(1, 3)[1], model.seen[13][1])
    assert not torch.equal(plain.training_batch(1, 3)[0], images)


@quiet
def test_evaluation_sees_the_images_as_they_are(tmp_path: Path) -> None:
    module, model = data(), Linear()
    runner = trainer(tmp_path, max_epochs=1)
    runner.fit(model, module)
    runner.test(model, module, verbose=False)
    for seen, split in ((model.validated, module.validation_set), (model.tested, module.test_set)):
        assert split is not None
        assert torch.equal(torch.cat([x for x, _ in seen]), normalise(split.images, [0.3047], [0.3185]))
        assert torch.equal(torch.cat([y for _, y in seen]), split.labels)


@quiet
@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_same_seed_gives_the_same_run(tmp_path: Path, num_workers: int) -> None:
    runs = []
    for seed, global_seed, workers in ((3, 0, 0), (3, 1, num_workers), (4, 0, 0)):
        torch.manual_seed(global_seed)
        model = Linear()
        trainer(tmp_path).fit(model, data(seed=seed, num_workers=workers))
        runs.append(model.layer.weight.detach())
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


@quiet
@pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint need to be provided")
@pytest.mark.parametrize(
    "options",
    [{}, {"accumulate_grad_batches": 3}, {"limit_train_batches": 4}, {"limit_train_batches": 0.5}],
    ids=str,
)
def test_a_run_resumed_at_any_step_ends_as_if_never_stopped(tmp_path: Path, options: dict[str, Any]) -> None:
    keep = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    straight = Linear()
    trainer(tmp_path, callbacks=[keep], enable_checkpointing=True, **options).fit(straight, data(batch_size=256))
    checkpoints = sorted(tmp_path.glob("*.ckpt"))
    assert len(checkpoints) > 3
    for checkpoint in checkpoints:
        resumed = Linear()
        trainer(tmp_path, **options).fit(
            resumed, data(batch_size=256), ckpt_path=str(checkpoint), weights_only=True
        )
        assert torch.equal(resumed.layer.weight, straight.layer.weight), checkpoint.name
        rest = straight.seen[len(straight.seen) - len(resumed.seen) :]
        for (images, labels), (expected_images, expected_labels) in zip(resumed.seen, rest, strict=True):
            assert torch.equal(images, expected_images)
            assert torch.equal(labels, expected_labels)


@quiet
@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")
def test_without_validation_split_all_images_are_trained_on(tmp_path: Path) -> None:
    module, model = data(validation_fraction=0.0), Linear()
    trainer(tmp_path, max_epochs=1).fit(model, module)
    assert module.validation_set is None
    assert module.val_dataloader() == []
    assert model.validated == []
    assert sum(len(y) for _, y in model.seen) == 1297


def test_idx_files_are_trained_on_alike(tmp_path: Path) -> None:
    arrays = write_idx(tmp_path)
    changes: dict[str, Any] = {"name": "mnist", "root": str(tmp_path), "image_size": 28, "batch_size": 4}
    module = ready(**changes, validation_fraction=0.0)
    batches = list(module.train_dataloader())
    assert [len(batch.labels) for batch in batches] == [4, 4, 4]
    seen = sorted(int(batch.images[i].sum()) for batch in batches for i in range(4))
    assert seen == sorted(int(image.sum()) for image in arrays["train-images-idx3-ubyte"])


def test_the_augmentation_is_of_the_config() -> None:
    assert data().augmentation == Augmentation(crop_padding=1, flip=False, rotation=10.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "data.batch_size is 0"),
        ({"batch_size": 1168}, "data.batch_size is 1168, but each process has 1167"),
        ({"eval_batch_size": -1}, "data.eval_batch_size is -1"),
        ({"train_images": 0}, "data.train_images is 0, expected 1 or more, or null"),
        ({"train_images": 1168}, "data.train_images is 1168, but there are 1167 .*at most"),
        ({"train_images": 100}, "data.batch_size is 128, but each process has 100 training images"),
        ({"validation_fraction": 1.0}, "data.validation_fraction is 1.0"),
        ({"validation_fraction": 1e-6}, "splits off 0 of 1297"),
        ({"mean": [0.1, 0.2]}, "data.mean has 2 numbers"),
        ({"std": [0.0]}, "data.std"),
        ({"channels": 3, "mean": [0.0] * 3, "std": [1.0] * 3}, "data.channels is 3"),
        ({"image_size": 8}, "data.image_size is 8"),
        ({"num_classes": 5}, "data.num_classes is 5"),
        ({"augmentation": {"crop": 4}}, "data.augmentation has the keys"),
        ({"name": "digit"}, "did you mean 'digits'"),
        ({"name": "cifar10"}, "cifar10 was not found"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_mistakes_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ready(**({"root": "/nonexistent"} | changes))
