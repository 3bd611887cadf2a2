"""Networks with given weights are scored right, together, and beside the paper's numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from experiments import Compose, randomised
from image_folders import write_images
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor, nn
from torchvision.datasets import ImageFolder

import ccnn
import ccnn.data.folder
import ccnn.evaluation.run
from ccnn.data.image_files import read
from ccnn.errors import UserError
from ccnn.evaluation.record import EvaluationRecord
from ccnn.evaluation.run import evaluate
from ccnn.evaluation.scoring import score
from ccnn.multisampling.samplers import Sampling

CLASSES, RESIZE, CROP = 7, 54, 48
SMALL = ("data=imagenet", f"data.num_classes={CLASSES}", f"data.resize={RESIZE}", f"data.crop={CROP}",
         "data.num_workers=0", "data.eval_batch_size=4", "model=torchvision", "model.name=resnet50")  # fmt: skip
PREPARE = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms(crop_size=CROP, resize_size=RESIZE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 21 photographs in 7 classes, and a network that knows most of them."""
    folder = tmp_path_factory.mktemp("evaluation")
    write_images(folder / "imagenet", CLASSES, train=0, val=3)
    torch.manual_seed(0)
    model = randomised(torchvision.models.resnet18(num_classes=CLASSES)).eval()
    files = ImageFolder(str(folder / "imagenet/val"), PREPARE)
    taught = torch.tensor(files.targets)
    taught[::4] = (taught[::4] + torch.arange(1, 7)) % CLASSES  # six of them wrongly
    *layers, fc = model.children()
    assert isinstance(fc, nn.Linear)
    features = nn.Sequential(*layers, nn.Flatten())
    with torch.no_grad():
        seen = features(torch.stack([image for image, _ in files]))
        seen = torch.cat([seen, torch.ones(len(seen), 1)], dim=1)
        # Other scores than one and zero: the ranks of zeros would be those of their rounding errors.
        scores = 2 * nn.functional.one_hot(taught) + torch.rand(len(seen), CLASSES)
        solution = torch.linalg.lstsq(seen, scores, driver="gelsd").solution.T
        fc.weight.copy_(solution[:, :-1])
        fc.bias.copy_(solution[:, -1])
    torch.save(model.state_dict(), folder / "weights.pth")
    return folder


Small = Callable[..., DictConfig]


@pytest.fixture
def small(compose: Compose, place: Path) -> Small:
    def composed(*overrides: str) -> DictConfig:
        weights = f"model.weights={place / 'weights.pth'}"
        words = (*SMALL, "model.name=resnet18", f"data.root={place / 'imagenet'}", weights)
        return compose(*words, *overrides)

    return composed


def by_hand(place: Path, sampling: Sampling | None) -> tuple[float, float]:
    """Top-1 and top-5 error in percent, image by image, with torchvision's own tools."""
    model = torchvision.models.resnet18(num_classes=CLASSES).eval()
    model.load_state_dict(torch.load(place / "weights.pth", weights_only=True))
    if sampling:
        ccnn.convert(model, (3, CROP, CROP), sampling)
    images = ImageFolder(str(place / "imagenet/val"), PREPARE)
    wrong1 = wrong5 = 0
    with torch.no_grad():
        for image, label in images:
            order = model(image[None])[0].argsort(descending=True).tolist()
            wrong1 += label != order[0]
            wrong5 += label not in order[:5]
    return 100 * wrong1 / len(images), 100 * wrong5 / len(images)


@pytest.mark.slow
def test_errors_are_those_of_a_computation_by_hand(small: Small, place: Path, tmp_path: Path) -> None:
    result = evaluate(small("sampling.skip_first=2"), tmp_path / "out")
    found = {row.sampling: (row.top1_error, row.top5_error) for row in result.networks}
    assert list(found) == [None, "naive skip_first=2", "lattice skip_first=2"]
    for (name, errors), method in zip(found.items(), (None, "naive", "lattice"), strict=True):
        assert errors == pytest.approx(by_hand(place, Sampling(method, skip_first=2) if method else None)), name
    assert found[None][0] == pytest.approx(100 * 6 / 21)
    assert len(set(found.values())) == 3, "the methods cannot be told apart"
    assert result.images == result.test_images == 21


def test_gains_count_the_images_that_a_conversion_puts_right_and_breaks(small: Small, tmp_path: Path) -> None:
    config = small("evaluation.samplings=[naive]")
    plain, *converted = evaluate(config, tmp_path / "out").networks
    assert plain.top1_gain is None
    for row in converted:
        assert row.top1_gain == pytest.approx(plain.top1_error - row.top1_error)
        assert row.fixed is not None
        assert row.broken is not None
        assert row.top1_gain == pytest.approx(100 * (row.fixed - row.broken) / 21)
        assert row.multiply_adds_ratio == row.multiply_adds / plain.multiply_adds > 2
        assert row.submaps == 32


def test_every_image_is_loaded_once(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def counting(path: str) -> Image.Image:
        loaded.append(path)
        return read(path)

    monkeypatch.setattr(ccnn.data.folder, "read", counting)
    evaluate(small("evaluation.samplings=[traditional]"), tmp_path / "all")
    assert len(loaded) == len(set(loaded)) == 21
    loaded.clear()
    result = evaluate(small("evaluation.limit=7", "evaluation.samplings=[traditional]"), tmp_path / "some")
    assert sorted(Path(path).parent.name for path in loaded) == [f"n{label:02}" for label in range(CLASSES)]
    assert (result.images, result.test_images) == (7, 21)


def test_networks_see_what_their_weights_want_unless_told_otherwise(
    small: Small, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    def watched(networks: Any, batches: Any, *rest: Any) -> Any:
        shown = list(batches)
        seen.extend(images for images, _ in shown)
        return score(networks, shown, *rest)

    monkeypatch.setattr(ccnn.evaluation.run, "score", watched)
    config = small("data.resize=null", "data.crop=null", "data.image_size=32", "evaluation.limit=2",
                   "evaluation.samplings=[traditional]")  # fmt: skip
    result = evaluate(config, tmp_path / "out")
    files = ImageFolder(str(place / "imagenet/val"), torchvision.models.ResNet18_Weights.DEFAULT.transforms())
    assert torch.cat(seen).equal(torch.stack([files[0][0], files[10][0]]))
    assert result.input_size == [3, 224, 224]


def test_borders_multiply_and_shared_keys_apply_to_all_methods(small: Small, tmp_path: Path) -> None:
    config = small("evaluation.borders=[zeros,replicate]", "sampling.skip_first=4", "evaluation.limit=1")
    rows = evaluate(config, tmp_path / "out").networks
    assert [row.sampling for row in rows] == [
        None,
        "naive skip_first=4",
        "naive skip_first=4 border=replicate",
        "lattice skip_first=4",
        "lattice skip_first=4 border=replicate",
    ]
    assert {row.submaps for row in rows[1:]} == {2}


def test_evaluation_json_holds_the_record_and_is_not_overwritten(small: Small, tmp_path: Path) -> None:
    result = evaluate(small("evaluation.samplings=[traditional]"), tmp_path / "out", ["model=torchvision"])
    assert EvaluationRecord.read(tmp_path / "out/evaluation.json") == result
    assert result.overrides == ["model=torchvision"]
    assert result.config["data"]["crop"] == CROP
    assert {"packages", "git", "threads"} <= result.environment.keys()
    with pytest.raises(UserError, match="already contains an evaluation"):
        evaluate(small(), tmp_path / "out")


MISTAKES = {
    "model.weights=null": r"model.weights: resnet18 would be scored with random weights",
    "model.strict=false": r"model.strict: false leaves layers random",
    "model.weights=IMAGENET1K_V7": r"no weights of resnet18 by that name; did you mean 'IMAGENET1K_V1'",
    "model.name=resnet999": r"torchvision has no network 'resnet999'",
    "data.num_classes=9": r"val: holds 7 class folders, data.num_classes is 9|does not fit",
    "data.root=/nowhere": r"data.root: /nowhere: there is no such folder",
    "data.crop=99": r"data.resize is 54, expected at least the crop of 99",
    "evaluation.samplings=[latice]": r"evaluation.samplings: expected a list of traditional, .* got \['latice'\]",
    "evaluation.samplings=[random]": r"evaluation.samplings: expected a list of traditional, .* got \['random'\]",
    "evaluation.samplings=[custom]": r"sampling.samplers: name=custom needs",
    "evaluation.samplings=naive": r"evaluation.samplings: expected a list of traditional, .* got 'naive'",
    "evaluation.borders=[none]": r"evaluation.borders: expected a list",
    "evaluation.limit=0": r"evaluation.limit: expected an integer ≥ 1 or null, got 0",
    "evaluation.device=gpu": r"evaluation.device: there is no choice 'gpu'",
    "evaluation.precision=16": r"evaluation.precision: expected one of 32-true, bf16-mixed, got 16",
    "sampling.skip_first=9": r"cannot be converted with naive skip_first=9: nothing to convert",
    "sampling.skip_first=-1": r"sampling.skip_first: expected 0 or more levels",
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_explained_and_leaves_nothing_behind(mistake: str, small: Small, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=MISTAKES[mistake]):
        evaluate(small(mistake), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_so(small: Small, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cuda is not available on this machine; use device=cpu"):
        evaluate(small("evaluation.device=cuda"), tmp_path / "out")
