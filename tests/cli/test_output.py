"""A command survives a reader who leaves and an encoding without arrows; a closed terminal interrupts it."""

import os
import signal
import subprocess
import sys
from signal import SIGHUP

import pytest
from experiments import Run, signal_at
from processes import ROOT

from ccnn.runs.signals import Interrupted

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore::FutureWarning")


_PRINTS = """
import logging, os, sys
from rich.console import Console
from ccnn.cli.streams import protect_output
protect_output()
logging.basicConfig(stream=sys.stdout, level="INFO")
console = Console()
for number in range(3):
    print(number, flush=True)
    console.print(number)
    logging.info(number)
    if number == 0:
        sys.stdin.read()
os.write(1, b"a library's own")
print("the end →", file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("encoding", "end"), [("utf-8", "the end →\n"), ("cp1252", "the end ?\n"), ("ascii", "the end ?\n")]
)
def test_printing_survives_a_closed_pipe_and_an_encoding_without_arrows(encoding: str, end: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PRINTS],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": encoding},
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
        assert process.stderr.read().decode(encoding) == end
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
