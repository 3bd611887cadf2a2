"""A command goes on when nobody reads what it prints any more, and ends well when its terminal is closed."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from signal import SIGHUP

import pytest
from experiments import SMALL, Run, signal_at
from processes import ROOT

from ccnn.runs.signals import Interrupted

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore::FutureWarning")


@pytest.mark.slow
def test_a_reader_that_leaves_does_not_stop_a_sweep(tmp_path: Path) -> None:
    arguments = ["-m", *SMALL, "trainer.max_epochs=1", "seed=0,-1,1", "sweep=s", "callbacks.pictures=null"]
    command = [sys.executable, str(ROOT / "train.py"), *arguments]
    with (
        (tmp_path / "err.txt").open("w") as err,
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=err) as process,
    ):
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(180) == 1  # for the seed -1
    said = (tmp_path / "err.txt").read_text()
    assert "Traceback" not in said
    assert "BrokenPipe" not in said
    assert "1 job of the sweep failed" in said
    assert len(list(tmp_path.glob("outputs/sweeps/s/*/metrics.json"))) == 2


_PRINTS = """
import logging, os, sys
from rich.console import Console
from ccnn.cli.broken_pipe import keep_printing
keep_printing()
logging.basicConfig(stream=sys.stdout, level="INFO")
console = Console()
for number in range(3):
    print(number, flush=True)
    console.print(number)
    logging.info(number)
    if number == 0:
        sys.stdin.read()
os.write(1, b"a library's own")
print("the end", file=sys.stderr)
"""


def test_print_rich_and_logging_survive_a_closed_pipe() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PRINTS],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == b"the end\n"
        assert process.wait(60) == 0


def test_a_closed_terminal_interrupts(run: Run) -> None:
    if os.name != "posix":
        pytest.skip("there is no SIGHUP")
    before = signal.signal(SIGHUP, signal.SIG_DFL)  # or nohup, under which these tests may run, has it ignored
    try:
        with pytest.raises(Interrupted) as stopped:
            run(*signal_at(5, SIGHUP), "callbacks.pictures=null")
    finally:
        signal.signal(SIGHUP, before)
    assert stopped.value.signal_number == SIGHUP
    assert stopped.value.saved
