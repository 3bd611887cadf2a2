"""The scripts that draw, in processes of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from ccnn.config import CONF
from ccnn.palette import CATEGORIES
from scripts import visualize

pytestmark = pytest.mark.slow

SCRIPTS = CONF.parent / "scripts"


def script(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Types `python scripts/name …` in an empty folder."""
    environment = {**os.environ, "PYTHONPATH": str(CONF.parent), "PYTHONWARNINGS": "default", "COLUMNS": "110"}
    command = [sys.executable, str(SCRIPTS / name), *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment, timeout=300, check=False
    )


def test_the_published_tools_command_line_works_as_typed(tmp_path: Path) -> None:
    result = script(tmp_path, "visualize.py", "--im_size", "64", "--steps", "3", "--method", "lattice")
    assert (result.returncode, result.stderr) == (0, "")
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert [str(path) for path in files] == [f"outputs/figures/lattice_64_3.{end}" for end in ("gif", "png")]
    for path in files:
        assert str(path) in result.stdout
    assert re.findall(r"smallest distance (\S+)", result.stdout) == ["1.41", "1.41", "2.83"]
    assert re.findall(r"kept (\S+)", result.stdout) == ["1/2", "1/4", "1/8"]
    with Image.open(tmp_path / files[0]) as gif, Image.open(tmp_path / files[1]) as png:
        assert len(list(ImageSequence.Iterator(gif))) == 4  # before the first step, and after each
        assert png.width > 3 * 384
        colours = png.convert("RGB").getcolors(2**16) or []
    ink = {colour: count for count, colour in colours}[CATEGORIES[0]]
    assert ink == 36 * 64 * 64 * (1 / 2 + 1 / 4 + 1 / 8)  # squares of 6×6 pixels


@pytest.mark.parametrize("method", ["n-rooks", "three-quarters", "random", "complete"])
def test_other_methods_and_a_chosen_place(method: str, tmp_path: Path) -> None:
    result = script(
        tmp_path, "visualize.py", "--im_size", "27", "--steps", "2", "--color", "--method", method, "--output",
        "new/picture.png",
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["picture.png"]


@pytest.mark.parametrize("size", [385, 512])
def test_a_large_image_makes_its_panels_larger(size: int, tmp_path: Path) -> None:
    """With the defaults of all else, and each of its pixels sharp."""
    result = script(tmp_path, "visualize.py", "--im_size", str(size), "--method", "complete", "--steps", "1")
    assert (result.returncode, result.stderr) == (0, "")
    with Image.open(tmp_path / f"outputs/figures/complete_{size}_1.png") as png:
        colours = {colour: count for count, colour in png.convert("RGB").getcolors(2**16) or []}
    assert colours[CATEGORIES[0]] == size**2


NAMES = {
    "": "random_27_1",
    "--stride 2 --size 384 --seed 0": "random_27_1",
    "--stride 3": "random_27_1_stride3",
    "--seed 7 --color": "random_27_1_seed7_color",
    "--size 100": "random_27_1_size100",
}


@pytest.mark.parametrize("typed", NAMES)
def test_each_picture_has_a_name_of_its_own(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--im_size", "27", "--steps", "1", "--method", "random", *typed.split()]
    monkeypatch.setattr(sys, "argv", ["visualize.py", *arguments])
    assert visualize.parse().output == Path("outputs/figures") / NAMES[typed]


MISTAKES = {
    "--im_size x": "--im_size: got 'x', expected a whole number from 2 to 1024",
    "--steps 0": "--steps: got '0', expected a whole number from 1 to 10",
    "--method latice": "--method: got 'latice'; did you mean 'lattice'? Choices: complete, lattice, ",
    "--metod lattice": "--metod: there is no such option; did you mean --method?",
    "--steps 7": "--im_size 64 does not show; use --steps 6 at most, or --im_size 128 at least",
    "--stride 3 --method three_quarters": "--stride: three_quarters is for strides that are powers of two, not 3",
    "--size 32": "--size: got 32, expected at least 64, the --im_size",
    "--output picture.jpg": "--output: got 'picture.jpg', expected a name ending in .png, .gif or neither",
    "--output /dev/null/picture": "/dev/null/picture.png: cannot be written: /dev/null is no folder",
    "--seed": "--seed: expected one argument",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_writes_nothing(mistake: str, tmp_path: Path) -> None:
    result = script(tmp_path, "visualize.py", *mistake.split())
    assert result.returncode == 2
    assert result.stdout == ""
    assert MISTAKES[mistake] in result.stderr
    assert re.fullmatch(r"Error: --?\w+.*\n|Error: /dev/null/.*\n", result.stderr)
    assert list(tmp_path.iterdir()) == []


def test_help_shows_every_option_and_examples_that_work_without_importing_torch(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(CONF.parent)}
    command = [sys.executable, "-X", "importtime", str(SCRIPTS / "visualize.py"), "--help"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)
    modules = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "argparse" in modules
    assert not {"torch", "PIL"} & modules
    for option in ("--im_size", "--steps", "--method", "--stride", "--color", "--size", "--seed", "--output"):
        assert option in result.stdout
    examples = re.findall(r"^  python scripts/visualize.py (.*)$", result.stdout, re.MULTILINE)
    assert len(examples) >= 3
    for example in examples:
        assert script(tmp_path, "visualize.py", *example.split()).returncode == 0


def differing(new: Image.Image, old: Image.Image) -> float:
    """The part of the pixels that differ by more than 24 of 255 in a colour."""
    pair = [np.asarray(image.convert("RGB"), dtype=int) for image in (new, old)]
    return float((np.abs(pair[0] - pair[1]).max(-1) > 24).mean())


def test_figures_are_made_again_as_they_are_in_the_repository(tmp_path: Path) -> None:
    """Frame by frame; half a percent of the pixels may differ, where another FreeType draws letters."""
    result = script(tmp_path, "figures.py", "--output", "made")
    assert (result.returncode, result.stderr) == (0, "")
    made = {path.name: path for path in (tmp_path / "made").iterdir()}
    kept = {path.name: path for path in (CONF.parent / "docs/figures").iterdir()}
    assert set(made) == set(kept)
    for name, path in made.items():
        with Image.open(path) as new, Image.open(kept[name]) as old:
            assert new.size == old.size
            assert getattr(new, "n_frames", 1) == getattr(old, "n_frames", 1)
            milliseconds = 0
            for first, second in zip(ImageSequence.Iterator(new), ImageSequence.Iterator(old), strict=True):
                assert differing(first, second) < 0.005, name
                assert first.info.get("duration") == second.info.get("duration")
                milliseconds += first.info.get("duration", 0)
        if name.endswith(".gif"):
            assert path.stat().st_size < 300_000
            assert milliseconds == 5000


def test_figures_that_cannot_be_written_are_a_mistake(tmp_path: Path) -> None:
    result = script(tmp_path, "figures.py", "--output", "/dev/null/figures")
    assert result.returncode == 2
    assert re.fullmatch(r"Error: /dev/null/figures/.*: cannot be written: .*\n", result.stderr)
