"""Runs train.py in processes of its own, each forked from one that has imported the libraries already.

They behave as `python train.py …` typed in a folder, without the six seconds that the imports take.
"""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[2]

_NURSERY = """
import json, logging, os, runpy, sys
logging.getLogger().addHandler(logging.NullHandler())  # or Lightning adds a handler of its own
import matplotlib.pyplot, sklearn.datasets, torch, torchvision
import ccnn.training.run, ccnn.figures.callback

print("ready", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    process = os.fork()
    if process == 0:
        break
    print(process, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
else:
    sys.exit()
os.setpgid(0, 0)
os.chdir(request["folder"])
nothing = os.open(os.devnull, os.O_RDONLY)
os.dup2(nothing, 0)
for number, name in ((1, "out.txt"), (2, "err.txt")):
    os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
os.environ |= request["environment"]
sys.argv = [request["program"], *request["arguments"]]
runpy.run_path(request["program"], run_name="__main__")
"""


class Command:
    """A running `python train.py …`.

    Args:
        nursery: that forked it.
        folder: its working directory.
        process: its number.
    """

    def __init__(self, nursery: "subprocess.Popen[bytes]", folder: Path, process: int) -> None:
        self._nursery, self._folder, self.process = nursery, folder, process
        self.code: int | None = None

    def ends_within(self, seconds: float) -> bool:
        """Waits for the end; false if it does not come in time."""
        assert self._nursery.stdout is not None
        if self.code is None and select.select([self._nursery.stdout], [], [], seconds)[0]:
            self.code = int(self._nursery.stdout.readline())
        return self.code is not None

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, as `kill` does."""
        os.kill(self.process, number)

    def wait(self, seconds: float = 120) -> "Command":
        """Waits for the end.

        Raises:
            TimeoutError: it takes too long.
        """
        if not self.ends_within(seconds):
            self.signal(signal.SIGKILL)
            raise TimeoutError(self.out + self.err)
        return self

    @property
    def out(self) -> str:
        """What it printed."""
        return (self._folder / "out.txt").read_text()

    @property
    def err(self) -> str:
        """What it printed as errors."""
        return (self._folder / "err.txt").read_text()


class Nursery:
    """Starts train.py, one at a time."""

    def __enter__(self) -> Self:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", _NURSERY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            bufsize=0,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def start(self, folder: Path, *arguments: str, **environment: str) -> Command:
        """Types `python train.py …` in a folder."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {
            "folder": str(folder),
            "program": str(ROOT / "train.py"),
            "arguments": arguments,
            "environment": environment,
        }
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        return Command(self._process, folder, int(self._process.stdout.readline()))

    def train(self, folder: Path, *arguments: str, **environment: str) -> Command:
        """The same, and waits for the end."""
        return self.start(folder, *arguments, **environment).wait()
