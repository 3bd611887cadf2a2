"""hydra/launcher=subprocess: each job of a sweep in a process of its own, so that none ends the others."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

_log = logging.getLogger(__name__)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


class SubprocessLauncher(Launcher):
    """Forks before each job, when nothing is imported yet that would not survive it."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Takes what Hydra hands to each launcher."""
        self._context, self._task, self._config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the jobs one after the other.

        Raises:
            SystemExit: a signal asked the sweep to stop; the job has had its time to save its state.
        """
        from ccnn.errors import UserError

        if "fork" not in get_all_start_methods():
            raise UserError("hydra/launcher=subprocess: needs Linux or macOS; leave it out.")
        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        Path(self._config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        _log.info(f"Launching {len(job_overrides)} jobs, each in a process of its own")
        return [self._run(number, overrides) for number, overrides in enumerate(job_overrides, initial_job_idx)]

    def _run(self, number: int, overrides: Sequence[str]) -> JobReturn:
        _log.info(f"\t#{number} : {' '.join(filter_overrides(overrides))}")
        config = self._context.config_loader.load_sweep_config(self._config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        fork = get_context("fork")
        receiver, sender = fork.Pipe(duplex=False)
        process = fork.Process(target=self._job, args=(config, sender))
        received: list[int] = []

        def forward(signal_number: int, frame: FrameType | None) -> None:
            received.append(signal_number)
            if process.pid:
                os.kill(process.pid, signal_number)

        with _handled_by(forward):
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # until each process knows what to do with them
            process.start()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            sender.close()
            try:
                result: JobReturn | None = receiver.recv()
            except EOFError:  # it died
                result = None
            process.join()
        if received:
            sys.exit(128 + received[-1])
        return result or _lost(number, process.exitcode or 0, overrides)

    def _job(self, config: DictConfig, sender: Connection) -> None:
        """Is run in the job's process."""
        from ccnn.cli import attempt

        os.setpgid(0, 0)  # Ctrl-C goes to the first process, which hands it on, once
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        attempt(lambda: sender.send(self._result(config)), debug=config.get("debug") is True)

    def _result(self, config: DictConfig) -> JobReturn:
        result = run_job(
            hydra_context=self._context,
            task_function=self._task,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        if result.status is JobStatus.FAILED:
            result.return_value = _told(f"{type(result._return_value).__name__}: {result._return_value}")
        return result


def _lost(number: int, code: int, overrides: Sequence[str]) -> JobReturn:
    """The result of a job whose process ended without one."""
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    why = " (out of memory?)" if code == -signal.SIGKILL else ""
    print(f"\nError: the process of job {number} {how}{why}; the sweep goes on.", file=sys.stderr)
    return JobReturn(overrides=overrides, status=JobStatus.FAILED, _return_value=_told(how))


def _told(message: str) -> Exception:
    """An error that the job's process has shown; its own may not survive the way here."""
    from ccnn.errors import UserError

    error = UserError(message)
    error.told = True  # type: ignore[attr-defined]
    return error


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, known in before.items():
        if known is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, known in before.items():
            signal.signal(number, known)
