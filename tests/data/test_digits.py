"""The digits inside scikit-learn."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from sklearn.datasets import load_digits

from ccnn.data import load

CONFIG = Path(__file__).parents[2] / "conf/data/digits.yaml"


def test_every_image_is_in_one_half_and_every_class_has_its_share() -> None:
    train, test, _ = load("digits", Path())
    assert (len(train.labels), len(test.labels)) == (1297, 500)
    expected = torch.from_numpy(load_digits().target).bincount()
    assert (train.labels.bincount() + test.labels.bincount()).tolist() == expected.tolist()
    assert ((test.labels.bincount() - expected * 500 / 1797).abs() <= 1).all()


def test_the_split_is_fixed() -> None:
    """A changed split would make results incomparable: this number may not change."""
    _, test, _ = load("digits", Path())
    assert test.labels[:20].tolist() == [0, 7, 2, 3, 6, 3, 4, 7, 8, 5, 5, 0, 9, 7, 8, 6, 3, 4, 6, 5]
    assert int(test.images.long().sum()) == 10_013_663


def test_images_are_the_8x8_ones_enlarged() -> None:
    """Pillow enlarges bilinearly too; the two differ only where a value lies half-way between two greys."""
    from PIL import Image

    enlarged = {}
    for image, label in zip(load_digits().images, load_digits().target, strict=True):
        small = Image.fromarray((image * 255 / 16).astype("float32"))
        large = torch.tensor(list(small.resize((16, 16), Image.Resampling.BILINEAR).tobytes()), dtype=torch.uint8)
        pixels = large.view(torch.float32).round().to(torch.uint8)
        enlarged[pixels.numpy().tobytes()] = int(label)
    for split in load("digits", Path())[:2]:
        exact = sum(enlarged.get(i.numpy().tobytes()) == int(n) for i, n in zip(*split, strict=True))
        assert exact > 0.95 * len(split.labels)


def test_the_config_normalises_to_mean_0_and_deviation_1() -> None:
    config = OmegaConf.load(CONFIG)
    pixels = load("digits", Path())[0].images.double() / 255
    assert config.mean == pytest.approx([pixels.mean().item()], abs=5e-5)
    assert config.std == pytest.approx([pixels.std(correction=0).item()], abs=5e-5)
