"""The configurations of the data sets."""

import inspect
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torchvision.transforms import v2

from ccnn.data import NAMES, Augmentation, FolderData, InMemoryData
from ccnn.data.crops import RandomCrop

CONF = Path(__file__).parents[2] / "conf"
NOT_ARGUMENTS = {"_target_", "augment", "augmentations", "recipe"}


def config(name: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(overrides=[f"+data={name}", "+seed=5", "+protocol=honest", *overrides])


def test_there_is_a_config_for_every_data_set() -> None:
    assert {path.stem for path in (CONF / "data").glob("*.yaml")} == {*NAMES, "_base", "imagenet"}


@pytest.mark.parametrize("augment", ["none", "shift", "standard"])
@pytest.mark.parametrize("name", NAMES)
def test_the_config_is_exactly_what_the_constructor_takes(name: str, augment: str) -> None:
    section = config(name, f"data.augment={augment}").data
    values = OmegaConf.to_container(section, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    arguments = {str(key): value for key, value in values.items() if key not in NOT_ARGUMENTS}
    assert arguments.keys() == inspect.signature(InMemoryData).parameters.keys()
    module = InMemoryData(**arguments)
    assert module.augmentation == Augmentation(**values["augmentations"][augment])
    assert (name, 5) == (arguments["name"], arguments["seed"])
    assert values["recipe"].keys() == {"max_epochs", "lr", "weight_decay"}


@pytest.mark.parametrize("augment", ["none", "standard"])
def test_that_of_imagenet_is_exactly_what_the_folder_takes(augment: str) -> None:
    section = config("imagenet", f"data.augment={augment}").data
    values = OmegaConf.to_container(section, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    arguments = {str(key): value for key, value in values.items() if key not in NOT_ARGUMENTS}
    assert arguments.keys() == inspect.signature(FolderData).parameters.keys()
    module = FolderData(**arguments)
    assert module.random_crop == RandomCrop((224, 224), **values["augmentations"][augment])
    recipe = section.recipe
    assert (recipe.max_epochs, recipe.lr, recipe.weight_decay, section.batch_size) == (90, 0.1, 1e-4, 256)


@pytest.mark.parametrize("name", [*NAMES, "imagenet"])
def test_randaugment_follows_the_standard_augmentation(name: str) -> None:
    augmentation = instantiate(config(name, "data.augment=randaugment").data.augmentation, _convert_="all")
    transform = augmentation.pop("transform")
    assert (type(transform), transform.num_ops, transform.magnitude) == (v2.RandAugment, 2, 9)
    assert augmentation == config(name).data.augmentation


def test_the_papers_recipes() -> None:
    mnist, cifar = config("mnist").data, config("cifar100").data
    assert (mnist.recipe.max_epochs, mnist.batch_size, mnist.recipe.lr, mnist.recipe.weight_decay) == (
        100,
        16,
        0.1,
        0,
    )
    assert (cifar.recipe.max_epochs, cifar.batch_size, cifar.recipe.lr, cifar.recipe.weight_decay) == (
        300,
        64,
        0.1,
        1e-4,
    )
    assert mnist.augmentation == {"crop_padding": 2, "flip": False, "rotation": 15}
    assert cifar.augmentation == {"crop_padding": 4, "flip": True, "rotation": 0}


def test_the_root_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CCNN_DATA", raising=False)
    assert config("digits").data.root == "data"
    monkeypatch.setenv("CCNN_DATA", "/elsewhere")
    assert config("digits").data.root == "/elsewhere"


def test_the_base_is_no_data_set() -> None:
    with pytest.raises(OmegaConfBaseException, match=r"[Mm]issing mandatory value"):
        OmegaConf.to_container(config("_base").data, resolve=True, throw_on_missing=True)
