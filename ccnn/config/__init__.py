"""The configuration: what a valid one looks like, checked before anything is built."""

from ccnn.config.schema import validate

__all__ = ["validate"]
