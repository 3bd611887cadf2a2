"""A training that is killed at random moments, each time resumed, ends as one that was never killed."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from signal import SIGINT, SIGKILL, SIGTERM
from time import monotonic

import pytest
from experiments import KillIn
from processes import Command, Nursery
from run_results import assert_same_run, status

pytestmark = pytest.mark.slow

TINY = ("trainer=cpu", "trainer.max_epochs=3", "+trainer.limit_train_batches=8", "trainer.log_every_n_steps=3",
        "convert=true", "sampling=random", "hydra.run.dir=run", "callbacks.pictures=null")  # fmt: skip
SETTINGS = {
    "as it comes": (),
    "everything else": (
        "data.num_workers=2",
        "+trainer.accumulate_grad_batches=2",
        "optimizer=adamw",
        "scheduler=cosine",
    ),
}
KILLS = 3  # of each setting


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


def begun_to_write(command: Command, run: Path, seconds: float) -> bool:
    """Waits until a checkpoint is being written; false if the run ends first."""
    end = monotonic() + seconds
    while monotonic() < end and not command.ends_within(0):
        if list(run.glob("checkpoints/*.tmp")):
            return True
    return False


def broken_run(nursery: Nursery, folder: Path, arguments: tuple[str, ...], seconds: float, random: Random) -> int:
    """Trains with several kills; returns how many there were.

    Args:
        nursery: starts the processes.
        folder: an empty one.
        arguments: what to train.
        seconds: that it takes undisturbed.
        random: chooses the moments and the signals.
    """
    run, kills = folder / "run", 0
    while True:
        known = (run / "config.yaml").exists()
        command = nursery.start(folder, *(("resume=run", "hydra.run.dir=elsewhere") if known else arguments))
        number = random.choice([SIGKILL, SIGKILL, SIGKILL, SIGTERM, SIGINT])
        if kills == KILLS:
            moment = False  # it may end now
        elif random.random() < 0.3:
            moment = begun_to_write(command, run, 2 * seconds)
        else:
            moment = not command.ends_within(random.uniform(0.15, 0.9) * seconds)
        if moment:
            command.signal(number)
            kills += 1
        command.wait()
        if command.code == 0:
            return kills - moment
        assert moment, command.err
        assert command.code in (-number, 128 + number), command.err


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_run_killed_at_random_moments_ends_as_one_never_killed(
    setting: str, nursery: Nursery, tmp_path: Path
) -> None:
    arguments = (*TINY, *SETTINGS[setting])
    whole = tmp_path / "whole"
    whole.mkdir()
    begun = monotonic()
    command = nursery.train(whole, *arguments)
    assert command.code == 0, command.err
    seconds = monotonic() - begun
    random, kills, attempt = Random(setting), 0, 0
    while kills < KILLS:
        attempt += 1
        folder = tmp_path / str(attempt)
        folder.mkdir()
        kills += broken_run(nursery, folder, arguments, seconds, random)
        assert status(folder / "run")["state"] == "finished"
        assert_same_run(whole / "run", folder / "run")
        assert not (folder / "elsewhere").exists()
    print(f"{kills} kills in {attempt} runs")


def test_a_run_killed_at_the_worst_moments_ends_as_one_never_killed(nursery: Nursery, tmp_path: Path) -> None:
    """Each of these kills is known to hit: the process itself sends it there."""
    target = "+callbacks.kill._target_=experiments.KillIn"
    ends = {}
    for number, place in enumerate(("never", *KillIn.PLACES)):
        folder, mark = tmp_path / str(number), tmp_path / f"killed{number}"
        folder.mkdir()
        if place == "never":
            mark.touch()
        kill = (target, f"+callbacks.kill.place={place}", f"+callbacks.kill.mark={mark}")
        command = nursery.train(folder, *TINY, "trainer.max_epochs=2", *kill)
        if place != "never":
            assert command.code == -SIGKILL, command.err
            assert mark.exists()
            assert len(list(folder.glob("run/checkpoints/*.ckpt.tmp"))) == ("checkpoint" in place), place
            command = nursery.train(folder, "resume=run", target)
        assert command.code == 0, command.err
        ends[place] = folder / "run"
        assert status(ends[place])["state"] == "finished"
        assert_same_run(ends["never"], ends[place])
