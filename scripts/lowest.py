"""Prints the oldest versions that pyproject.toml admits, one a line, for `make lowest` to install."""

import re
import tomllib
from pathlib import Path

_NOT_RUN = ("mypy", "ruff")
"""Tools that check the source and are not part of what the tests run."""


def lowest(project: dict) -> list[str]:
    """The lower bound of each dependency, those of the extras included, as `name==version`."""
    requirements = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        requirements += extra
    pinned = {}
    for requirement in requirements:
        match = re.match(r"([A-Za-z0-9_-]+)>=([0-9.]+)", requirement)
        if match and match[1] not in _NOT_RUN:
            pinned[match[1]] = match[2]
    return [f"{name}=={version}" for name, version in pinned.items()]


if __name__ == "__main__":
    path = Path(__file__).parents[1] / "pyproject.toml"
    print("\n".join(lowest(tomllib.loads(path.read_text(encoding="utf-8"))["project"])))
