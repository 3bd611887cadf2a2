"""scripts/visualize.py and scripts/figures.py: options, names of files, mistakes, and what they draw."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from ccnn.config import CONF
from ccnn.errors import UserError
from ccnn.figures.figures import FIGURES
from ccnn.palette import CATEGORIES
from scripts import figures, visualize


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def draw(typed: pytest.MonkeyPatch, words: str) -> None:
    typed.setattr(sys, "argv", ["visualize.py", *words.split()])
    visualize.main()


def test_the_published_tools_command_line_works_as_typed(
    typed: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(typed, "--im_size 64 --steps 3 --method lattice")
    out = capsys.readouterr().out
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert [str(path) for path in files] == [f"outputs/figures/lattice_64_3.{end}" for end in ("gif", "png")]
    assert all(str(path) in out for path in files)
    assert re.findall(r"smallest distance (\S+)", out) == ["1.41", "1.41", "2.83"]
    assert re.findall(r"kept (\S+)", out) == ["1/2", "1/4", "1/8"]
    with Image.open(files[0]) as gif, Image.open(files[1]) as png:
        assert len(list(ImageSequence.Iterator(gif))) == 4  # before the first step, and after each
        pixels = np.asarray(png)
    ink = int((pixels == CATEGORIES[0]).all(-1).sum())
    # Squares of 6×6 pixels; the line around a panel covers some of them.
    assert ink == pytest.approx(36 * 64 * 64 * (1 / 2 + 1 / 4 + 1 / 8), rel=0.02)


@pytest.mark.parametrize("method", ["n-rooks", "three-quarters", "random", "complete"])
def test_other_methods_and_a_chosen_place(method: str, typed: pytest.MonkeyPatch, tmp_path: Path) -> None:
    draw(typed, f"--im_size 27 --steps 2 --color --method {method} --size 54 --output new/picture.png")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["picture.png"]


NAMES = {
    "": "random_27_1",
    "--stride 2 --size 384 --seed 0": "random_27_1",
    "--stride 3": "random_27_1_stride3",
    "--seed 7 --color": "random_27_1_seed7_color",
    "--size 100": "random_27_1_size100",
}


@pytest.mark.parametrize("words", NAMES)
def test_each_picture_has_a_name_of_its_own(words: str, typed: pytest.MonkeyPatch) -> None:
    typed.setattr(sys, "argv", ["x", "--im_size", "27", "--steps", "1", "--method", "random", *words.split()])
    assert visualize.parse().output == Path("outputs/figures") / NAMES[words]


def test_a_large_image_makes_its_panels_larger(typed: pytest.MonkeyPatch) -> None:
    typed.setattr(sys, "argv", ["visualize.py", "--im_size", "512"])
    assert visualize.parse().size == 512


MISTAKES = {
    "--im_size x": "--im_size: got 'x', expected a whole number from 2 to 1024",
    "--method latice": "--method: got 'latice'; did you mean 'lattice'? Choices: complete, lattice, ",
    "--metod lattice": "--metod: there is no such option; did you mean --method?",
    "--steps 7": "--im_size 64 does not show; use --steps 6 at most, or --im_size 128 at least",
    "--size 32": "--size: got 32, expected at least 64, the --im_size",
    "--output picture.jpg": "--output: got 'picture.jpg', expected a name ending in .png, .gif or neither",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line_and_writes_nothing(
    words: str, typed: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        draw(typed, words)
    assert ended.value.code == 2
    assert MISTAKES[words] in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_stride_that_a_method_does_not_support_is_a_users_error(typed: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"--stride: three_quarters .* not 3; use --stride 2"):
        draw(typed, "--stride 3 --method three_quarters")


@pytest.mark.slow
def test_figures_are_those_of_the_repository(typed: pytest.MonkeyPatch, tmp_path: Path) -> None:
    typed.setattr(sys, "argv", ["figures.py", "--output", str(tmp_path)])
    figures.main()
    kept = CONF.parent / "docs/figures"
    assert {path.name for path in tmp_path.iterdir()} == set(FIGURES) == {path.name for path in kept.iterdir()}
    for name in FIGURES:
        with Image.open(tmp_path / name) as new, Image.open(kept / name) as old:
            assert new.size == old.size
            for first, second in zip(ImageSequence.Iterator(new), ImageSequence.Iterator(old), strict=True):
                assert first.info.get("duration") == second.info.get("duration")
                pair = [np.asarray(image.convert("RGB"), dtype=int) for image in (first, second)]
                # Another matplotlib may draw letters differently.
                assert (np.abs(pair[0] - pair[1]).max(-1) > 24).mean() < 0.03, name
        if name.endswith(".gif"):
            assert (tmp_path / name).stat().st_size < 300_000
