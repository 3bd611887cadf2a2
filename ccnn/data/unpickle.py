"""Unpickles arrays, numbers and text, and nothing else that a pickle can do."""

import io
import pickle
from typing import Any

import numpy as np

from ccnn.errors import UserError


def _encode(text: str, encoding: str) -> bytes:
    """What protocol 2 calls to write bytes, for the one encoding it uses."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes encoded as {encoding!r}, expected 'latin1'")
    return text.encode("latin1")


class _ArrayUnpickler(pickle.Unpickler):
    """Looks names up in one small table: nothing is imported, nothing foreign is called."""

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case "numpy", "ndarray":
                return np.ndarray
            case "numpy", "dtype":
                return np.dtype
            case "numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct":
                # Moved from numpy.core to numpy._core, and the old home warns; an array names its own.
                return np.empty(0).__reduce__()[0]
            case "_codecs", "encode":
                return _encode
        raise _ForbiddenError(f"{module}.{name}")


class _ForbiddenError(Exception):
    """A pickle asks for something that no array needs."""


def unpickle_arrays(content: bytes, origin: str) -> Any:
    """Unpickles dicts, lists, numbers, text, bytes and numpy arrays.

    Args:
        content: the pickle; text of Python 2 comes back as bytes, as the CIFAR files have it.
        origin: where it comes from, for the message.

    Raises:
        UserError: the pickle is damaged, or asks for anything else, which is never run.

    Example:
        >>> unpickle_arrays(pickle.dumps({"labels": [1, 2]}), "batch")
        {'labels': [1, 2]}
    """
    try:
        return _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except _ForbiddenError as error:
        raise UserError(
            f"{origin} asks for {error}, which was not run: expected arrays, numbers and text alone. This is no "
            "CIFAR file and may be an attack: delete it, and download the data again."
        ) from None
    except Exception as error:  # a damaged pickle can fail in any way at all
        raise UserError(
            f"{origin} is cut off or damaged ({type(error).__name__}: {error}), expected a pickle of arrays. "
            "Delete it, and download the data again, for instance with data.download=true."
        ) from error
