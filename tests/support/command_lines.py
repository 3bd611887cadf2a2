"""Runs commands in this process, as if they were typed in an empty folder; fixtures of every test."""

import atexit
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from experiments import Run
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

from ccnn.cli.errors import run_command


class Outcome(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


Type = Callable[..., Outcome]
"""Calls a command's `main` with arguments, in an empty folder."""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def type_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Type]:
    """Calls a command's main function with arguments; what it changes in this process is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(logging, "raiseExceptions", logging.raiseExceptions)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    at_exit: list[Callable[[], object]] = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    root, handlers, level = logging.root, list(logging.root.handlers), logging.root.level

    def run(main: Callable[[], object], *arguments: str, program: str = "program.py") -> Outcome:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        capsys.readouterr()
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        finally:
            while at_exit:
                at_exit.pop()()
        printed = capsys.readouterr()
        assert isinstance(code, int)
        return Outcome(code, printed.out, printed.err)

    yield run
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
        handler.close()
    root.handlers, root.level = handlers, level


@pytest.fixture
def refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs what must fail, as train.py does; returns what a user would read. Nothing may be written."""

    def launch(*_: Any, **__: Any) -> None:
        raise AssertionError("the training began")

    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # which run_command sets
    for strategy in (SingleDeviceStrategy, DDPStrategy):
        monkeypatch.setattr(strategy, "setup_environment", launch)
    monkeypatch.setattr(_SubprocessScriptLauncher, "_call_children_scripts", launch)

    def run_and_explain(*overrides: str, folder: str = "run") -> str:
        before = contents(tmp_path)
        with pytest.raises(SystemExit) as caught:
            run_command(lambda: run(*overrides, folder=folder))
        message = capsys.readouterr().err
        assert caught.value.code == 1
        assert contents(tmp_path) == before
        assert message.startswith("\nError: ")
        assert message.count("\nError: ") == 1
        assert "Traceback" not in message
        assert "\n  File " not in message
        return message

    return run_and_explain
