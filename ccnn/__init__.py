"""Checkered CNNs: multisampling for any PyTorch CNN (arXiv 1805.10766)."""

from typing import TYPE_CHECKING, Any

from ccnn import multisampling
from ccnn.multisampling import __all__ as __all__  # the public names are the method's

if TYPE_CHECKING:
    from ccnn.multisampling import *  # noqa: F403


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(multisampling, name)  # imports torch, so only when used
    raise AttributeError(f"module 'ccnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
