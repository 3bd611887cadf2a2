"""The command line: its words, and how a command ends where something is wrong with it."""

from ccnn.cli.errors import Tidy, attempt, attempt_job, left_out

__all__ = ["Tidy", "attempt", "attempt_job", "left_out"]
