"""A folder in ImageNet's layout, read as torchvision reads it, and cropped at random without hidden state."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from experiments import Compose
from image_folders import write_images
from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from ccnn.data import FolderData
from ccnn.data.crops import IMAGENET_MEAN, IMAGENET_STD, RandomCrop, SingleCrop
from ccnn.data.image_files import find, read
from ccnn.errors import UserError
from ccnn.training.run import run as run_experiment

STANDARD = {"area": [0.08, 1.0], "ratio": [0.75, 1.3333333], "flip": True}


def data(root: Path, **changes: Any) -> FolderData:
    arguments: dict[str, Any] = {
        "name": "imagenet",
        "root": str(root),
        "channels": 3,
        "image_size": 32,
        "num_classes": 3,
        "resize": None,
        "crop": None,
        "mean": None,
        "std": None,
        "batch_size": 4,
        "eval_batch_size": 5,
        "augmentation": STANDARD,
        "validation_fraction": 0.25,
        "split_seed": 0,
        "seed": 3,
        "num_workers": 0,
    }
    return FolderData(**(arguments | changes))


def ready(root: Path, **changes: Any) -> FolderData:
    module = data(root, **changes)
    module.setup("fit")
    return module


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("imagenet"))


def batches(module: FolderData, loader: Any) -> list[tuple[Tensor, Tensor]]:
    return [module.on_after_batch_transfer(batch, 0) for batch in loader]


def test_files_and_labels_are_those_of_torchvision(root: Path) -> None:
    for half in ("train", "val"):
        (paths, labels, classes), theirs = find(root, half, 3), ImageFolder(str(root / half))
        assert list(zip(paths, labels.tolist(), strict=True)) == theirs.samples
        assert list(classes) == theirs.classes


def test_test_images_are_prepared_as_by_torchvision(root: Path) -> None:
    module = ready(root, resize=40)
    prepare = v2.Compose([
        v2.Resize(40), v2.CenterCrop(32), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ])  # fmt: skip
    expected = ImageFolder(str(root / "val"), prepare)
    images, labels = map(torch.cat, zip(*batches(module, module.test_dataloader()), strict=True))
    torch.testing.assert_close(images, torch.stack([image for image, _ in expected]))
    assert labels.tolist() == expected.targets
    assert module.class_names == ("n00", "n01", "n02")


def test_train_and_validation_share_no_image_and_leave_none_out(root: Path) -> None:
    module = ready(root)
    assert module.validation_set is not None
    train, validation = (set(split.images.tolist()) for split in (module.train_set, module.validation_set))
    assert len(validation) == 3
    assert not train & validation
    assert train | validation == set(range(12))
    assert module.validation_set.images.equal(ready(root, seed=4).validation_set.images)  # type: ignore[union-attr]


def test_the_papers_protocol_validates_on_the_test_images(root: Path) -> None:
    module = ready(root, protocol="paper")
    assert len(module.train_set.labels) == 12
    (images, _), *_ = batches(module, module.val_dataloader())
    (expected, _), *_ = batches(module, module.test_dataloader())
    assert images.equal(expected)


def test_an_epoch_is_the_same_with_any_number_of_workers(root: Path) -> None:
    seen = []
    for workers in (0, 2):
        module = ready(root, num_workers=workers)
        loader = module.train_dataloader()
        seen.append([batches(module, loader) for _ in range(2)])
    for epoch in range(2):
        for (images, labels), (again, labels_again) in zip(seen[0][epoch], seen[1][epoch], strict=True):
            assert images.equal(again)
            assert labels.equal(labels_again)
    assert not seen[0][0][0][0].equal(seen[0][1][0][0])


def test_the_crop_of_an_image_depends_on_seed_epoch_and_file_alone(root: Path) -> None:
    def crops(epoch: int, **changes: Any) -> dict[int, Tensor]:
        module = ready(root, **changes)
        images = module.training_data()
        places = [(epoch, n, indices) for n, indices in enumerate(module._training_batches((0, 0)).batches(epoch))]
        found: dict[int, Tensor] = {}
        for place in places:
            batch = images[place]
            assert not isinstance(batch, UserError)
            found |= dict(zip(module.train_set.images[place[2]].tolist(), batch.images, strict=True))
        return found

    base = crops(5)
    assert len({image.numpy().tobytes() for image in base.values()}) == 9
    whole = crops(5, batch_size=3, validation_fraction=0, num_workers=1)  # in other batches, in another order
    assert all(base[n].equal(whole[n]) for n in base)
    assert not any(base[n].equal(image) for n, image in crops(6).items())
    assert not any(base[n].equal(image) for n, image in crops(5, seed=4).items() if n in base)


@pytest.mark.parametrize("further", [None, v2.RandAugment()])
def test_a_random_crop_is_torchvisions_and_leaves_the_global_generator_alone(further: Any) -> None:
    image = Image.effect_noise((60, 40), 99).convert("RGB")
    judge = transforms.Compose([
        transforms.RandomResizedCrop((24, 32), (0.2, 0.9), (0.5, 2.0)), transforms.RandomHorizontalFlip(),
        *filter(None, [further]), transforms.PILToTensor(),
    ])  # fmt: skip
    crop = RandomCrop((24, 32), [0.2, 0.9], [0.5, 2.0], flip=True, transform=further)
    state = torch.get_rng_state()
    ours = [crop(image, seed) for seed in range(20)]
    assert torch.equal(torch.get_rng_state(), state)
    for seed, pixels in enumerate(ours):
        torch.manual_seed(seed)
        assert torch.equal(pixels, judge(image))
    assert len({pixels.numpy().tobytes() for pixels in ours}) == 20


def test_images_need_not_be_square(root: Path) -> None:
    module = ready(root, image_size=[24, 40])
    (images, _), *_ = batches(module, module.train_dataloader())
    tests, _ = map(torch.cat, zip(*batches(module, module.test_dataloader()), strict=True))
    assert images.shape[1:] == tests.shape[1:] == (3, 24, 40)
    prepare = v2.Compose([
        v2.Resize((27, 45)), v2.CenterCrop((24, 40)), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ])  # fmt: skip
    torch.testing.assert_close(tests, torch.stack([image for image, _ in ImageFolder(str(root / "val"), prepare)]))


@pytest.mark.parametrize("name", ["deep.png", "deep.tiff"])
def test_16_bits_are_scaled_to_8(name: str, tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 400).astype(np.uint16).reshape(20, 20)
    Image.fromarray(deep).save(tmp_path / name)
    grey = np.asarray(read(str(tmp_path / name)))
    assert np.array_equal(grey, np.repeat(np.rint(deep / 257).astype(np.uint8)[..., None], 3, axis=2))


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_values_without_a_range_are_an_error_that_names_the_file(kind: type, tmp_path: Path) -> None:
    Image.fromarray(np.ones((8, 8), kind)).save(tmp_path / "raw.tiff")
    with pytest.raises(UserError, match=r"raw\.tiff: cannot be read as an image: its mode is [IF], 32-bit"):
        read(str(tmp_path / "raw.tiff"))


def test_without_augmentation_training_images_are_prepared_like_test_images(root: Path) -> None:
    module = ready(root, augmentation={"area": None, "ratio": None, "flip": False}, validation_fraction=0)
    images, labels = module.training_batch(0, 0)
    numbers = module._training_batches((0, 0)).batches(0)[0].tolist()
    files = ImageFolder(str(root / "train"), SingleCrop(round(32 * 256 / 224), 32))
    torch.testing.assert_close(images, torch.stack([files[n][0] for n in numbers]))
    assert labels.tolist() == [files[n][1] for n in numbers]


def test_train_py_trains_on_it(root: Path, compose: Compose, tmp_path: Path) -> None:
    config = compose(
        "data=imagenet", f"data.root={root}", "data.image_size=32", "data.num_classes=3", "data.batch_size=4",
        "data.num_workers=0", "trainer=cpu", "trainer.max_epochs=1", "convert=true",
    )  # fmt: skip
    metrics = run_experiment(config, tmp_path / "run")
    assert 0 <= metrics["test/error"] <= 100
    assert metrics["data"] == "imagenet"
    torch.use_deterministic_algorithms(False)  # the Trainer leaves it on


def _without_val(root: Path) -> None:
    (root / "val").rename(root / "validation")


def _unsorted(root: Path) -> None:
    for name in ("n00", "n01", "n02"):
        (root / "val" / name).rename(root / name)
    (root / "val" / "1.JPEG").write_bytes(b"")


def _empty(root: Path) -> None:
    for path in (root / "val" / "n01").iterdir():
        path.unlink()


def _other_classes(root: Path) -> None:
    (root / "train" / "n02").rename(root / "train" / "n03")


LAYOUTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no val": (_without_val, r"there is no folder val in it; expected images in .*val/<class folder>"),
    "no classes": (_unsorted, r"val: holds no class folders.*sorted into such folders"),
    "an empty class": (_empty, r"val: Found no valid file for the classes n01"),
    "a class too many": (lambda root: (root / "val/n07").mkdir(), r"4 class folders, data.num_classes is 3"),
    "other classes": (_other_classes, r"train and val have different class folders: n02 is in only one"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_another_layout_is_an_error(layout: str, tmp_path: Path) -> None:
    change, message = LAYOUTS[layout]
    change(write_images(tmp_path))
    with pytest.raises(UserError, match=message):
        data(tmp_path).setup("fit")


def test_no_folder_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.root: .*nowhere: there is no such folder"):
        data(tmp_path / "nowhere").setup("test")


def test_hidden_files_and_those_of_other_types_are_skipped_and_testing_needs_no_train(tmp_path: Path) -> None:
    write_images(tmp_path, train=0)
    for other in (".DS_Store", "._0.JPEG", "list.txt"):
        (tmp_path / "val/n01" / other).write_bytes(b"x")
    (tmp_path / "val/.cache").mkdir()
    module = data(tmp_path)
    module.setup("test")
    assert len(module.test_set.labels) == 6
    with pytest.raises(UserError, match=r"train: Found no valid file for the classes n00"):
        module.setup("fit")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("content", [b"no image", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_image_is_named(workers: int, content: bytes, tmp_path: Path) -> None:
    write_images(tmp_path)
    for half in ("train", "val"):
        (tmp_path / half / "n01/1.png").write_bytes(content)
    module = ready(tmp_path, num_workers=workers, validation_fraction=0)
    for half, loader in (("val", module.test_dataloader()), ("train", module.train_dataloader())):
        message = _refusal(module, loader)
        assert message.startswith(f"{tmp_path}/{half}/n01/1.png: cannot be read as an image: ")
        assert "\n" not in message


def _refusal(module: FolderData, loader: Any) -> str:
    """The message alone: the exception would keep the loader's processes alive, and those of the next waiting."""
    try:
        batches(module, loader)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 1}, "data.channels is 1"),
        ({"resize": 20}, "data.resize is 20, expected at least the crop of 32"),
        ({"augmentation": {**STANDARD, "area": None}}, "both null"),
        ({"augmentation": {**STANDARD, "area": [0.5, 1.5]}}, r"area: expected two numbers above 0, ascending, at"),
        ({"augmentation": {**STANDARD, "ratio": [2, 1]}}, r"ratio: expected two numbers .* got \[2, 1\]"),
        ({"augmentation": {"flip": True}}, "expected exactly"),
        ({"std": [1.0, 0.0, 1.0]}, "data.std"),
        ({"mean": [0.5]}, "data.mean has 1 numbers"),
    ],
)
def test_wrong_arguments_are_errors(changes: dict[str, Any], message: str, root: Path) -> None:
    with pytest.raises(UserError, match=message):
        data(root, **changes)


def test_a_batch_larger_than_the_training_set_is_an_error(root: Path) -> None:
    with pytest.raises(UserError, match=r"Set data.batch_size to 9 at most"):
        ready(root, batch_size=10)
