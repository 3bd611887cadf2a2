"""The configuration: what a valid one looks like, checked before anything is built."""

from pathlib import Path

from ccnn.config.schema import validate

CONF = Path(__file__).parents[2] / "conf"
"""The folder of Hydra's groups."""

__all__ = ["CONF", "validate"]
