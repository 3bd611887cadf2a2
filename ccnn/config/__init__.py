"""The configuration: what a valid one looks like, checked before anything is built."""

from pathlib import Path

from ccnn.config.schema import validate

CONF = (Path(__file__).parents[1] / "conf").resolve()
"""The folder of Hydra's groups: conf/ of a checkout, to which ccnn/conf is a link; a copy in a wheel."""

__all__ = ["CONF", "validate"]
