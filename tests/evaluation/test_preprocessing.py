"""Images are prepared as torchvision and timm say that their weights want it."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from PIL import Image

from ccnn.errors import UserError
from ccnn.evaluation.preprocessing import preprocessing_of

NOTHING: dict[str, Any] = {"resize": None, "crop": None, "mean": None, "std": None}


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    pixels = torch.rand(3, 6, 9, generator=torch.Generator().manual_seed(0)).mul(255).byte()
    image: Image.Image = torchvision.transforms.functional.to_pil_image(pixels).resize((451, 300))
    return image


def torchvision_node(architecture: str, weights: str) -> dict[str, Any]:
    return {"_target_": "ccnn.models.torchvision_model", "architecture": architecture, "weights": weights}


@pytest.mark.parametrize(
    ("architecture", "weights", "member"),
    [
        ("resnet152", "DEFAULT", "IMAGENET1K_V2"),
        ("resnet152", "IMAGENET1K_V1", "IMAGENET1K_V1"),
        ("resnet152", "/some/where/resnet152-394f9c45.pth", "IMAGENET1K_V1"),
        ("resnet152", "my.pth", None),
        ("efficientnet_v2_l", "DEFAULT", "IMAGENET1K_V1"),
        ("regnet_y_16gf", "IMAGENET1K_SWAG_E2E_V1", "IMAGENET1K_SWAG_E2E_V1"),
    ],
)
def test_preprocessing_is_that_of_torchvisions_weights(
    architecture: str, weights: str, member: str | None, photograph: Image.Image
) -> None:
    found = preprocessing_of(torchvision_node(architecture, weights), NOTHING)
    known = torchvision.models.get_model_weights(architecture)
    expected = known[member or "DEFAULT"].transforms()(photograph)
    assert found is not None
    assert found.prepare(photograph).equal(expected)
    assert expected.shape == (3, found.size, found.size)
    assert found.weights == member
    assert ("a file does not tell" in found.text) == (member is None)


def test_what_is_given_comes_first_and_is_said(photograph: Image.Image) -> None:
    data = {"resize": 90, "crop": 80, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
    found = preprocessing_of(torchvision_node("resnet50", "DEFAULT"), data)
    preset = torchvision.models.ResNet50_Weights.DEFAULT.transforms(
        resize_size=90, crop_size=80, mean=[0.5] * 3, std=[0.2] * 3
    )
    assert found is not None
    assert found.prepare(photograph).equal(preset(photograph))
    assert "changed by data.resize, data.crop, data.mean, data.std" in found.text
    with pytest.raises(UserError, match=r"data.crop is 300, more than the shorter side of 232"):
        preprocessing_of(torchvision_node("resnet50", "DEFAULT"), {**NOTHING, "crop": 300})


@pytest.mark.parametrize("weights", ["DEFAULT", "a1_in1k", "gluon_in1k"])
def test_preprocessing_is_that_of_timms_weights(weights: str, photograph: Image.Image) -> None:
    timm = pytest.importorskip("timm")
    node = {"_target_": "ccnn.models.timm_model", "architecture": "resnet18", "weights": weights}
    name = "resnet18" if weights == "DEFAULT" else f"resnet18.{weights}"
    model = timm.create_model(name, pretrained=False)
    expected = timm.data.create_transform(**timm.data.resolve_model_data_config(model))(photograph)
    found = preprocessing_of(node, NOTHING)
    assert found is not None
    assert torch.as_tensor(found.prepare(photograph)).equal(expected)
    smaller = preprocessing_of(node, {**NOTHING, "crop": 93, "resize": 111})
    assert smaller is not None
    assert smaller.prepare(photograph).shape == (3, 93, 93)
    assert "shorter side to 111 pixels (bicubic)" in smaller.text


def test_a_local_file_for_timm_is_said_to_be_a_guess(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    (tmp_path / "w.pth").touch()
    node = {"_target_": "ccnn.models.timm_model", "architecture": "resnet18d", "weights": str(tmp_path / "w.pth")}
    found = preprocessing_of(node, NOTHING)
    assert found is not None
    assert (
        "assumed, as timm's resnet18d.ra4_e3600_r224_in1k" in found.text
        or "assumed, as timm's resnet18d" in found.text
    )
