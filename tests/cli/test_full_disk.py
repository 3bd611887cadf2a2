"""A disk without room, or one that cannot be written, ends a run with a message and leaves no damaged file."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from processes import Nursery

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes a disk of as many KB."""
    path = tmp_path / "disk"
    path.mkdir()

    def mount(size: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(path)]
        if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("needs the right to mount a disk")
        return path

    yield mount
    subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True)


@pytest.mark.parametrize(
    ("size", "logger"),
    [(12, "csv"), (30, "none"), (40, "tensorboard"), (60, "csv"), (300, "csv"), (300, "tensorboard")],
)
def test_a_full_disk(
    size: int, logger: str, small_disk: Callable[[int], Path], nursery: Nursery, tmp_path: Path
) -> None:
    disk = small_disk(size)
    often = ("trainer.log_every_n_steps=1", "callbacks=none") if size < 300 else ()
    command = nursery.train(
        tmp_path, "trainer=cpu", "trainer.max_epochs=40", "+trainer.limit_train_batches=9",
        "+trainer.limit_val_batches=1", f"logger={logger}", *often, f"hydra.run.dir={disk}/run",
    )  # fmt: skip
    assert "Traceback" not in command.out + command.err
    if command.code == 0:  # without checkpoints there may be room enough
        assert size >= {"none": 30, "csv": 60}[logger]
        assert (disk / "run/metrics.json").exists()
        if logger == "csv":  # and every step is there
            lines = (disk / "run/metrics.csv").read_text().splitlines()
            steps = {line.split(",")[lines[0].split(",").index("step")] for line in lines[1:]}
            assert {str(step) for step in range(40 * 9)} <= steps
        return
    assert command.code == 1
    assert command.err.count("Error: ") == 1
    assert "No space left on device" in command.err or "cannot be written" in command.err
    assert f"{disk}/run" in command.err
    assert not list(disk.rglob("*.tmp"))
    assert not (disk / "run/metrics.json").exists()
    for path in disk.rglob("*.ckpt"):
        torch.load(path, weights_only=True)


def test_a_disk_that_cannot_be_written(
    small_disk: Callable[[int], Path], nursery: Nursery, tmp_path: Path
) -> None:
    disk = small_disk(300)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    command = nursery.train(tmp_path, "trainer=cpu", f"hydra.run.dir={disk}/run")
    assert command.code == 1
    assert "Traceback" not in command.err
    assert f"{disk}/run: cannot be used: Read-only file system" in command.err


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery
