"""Unpickles arrays of numbers and text, and refuses everything else a pickle can do."""

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from ccnn.errors import UserError


def _encode(text: str, encoding: str) -> bytes:
    """What protocol 2 calls to write bytes, for the one encoding it uses."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes encoded as {encoding!r}, expected 'latin1'")
    return text.encode("latin1")


# The function's home moved from numpy.core to numpy._core, and the old one warns; an array names its own.
_reconstruct: Any = np.empty(0).__reduce__()[0]
_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("_codecs", "encode"): _encode,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Looks names up in the table above and nowhere else: nothing is imported, nothing foreign is called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise _RefusedError(f"{module}.{name}")
        return _ADMITTED[module, name]


class _RefusedError(Exception):
    """A pickle asks for something that no array needs."""


def unpickle_arrays(content: bytes, origin: str) -> Any:
    """Unpickles dicts, lists, numbers, text, bytes and numpy arrays.

    Text of Python 2 comes back as bytes, as the CIFAR files have it.

    Args:
        content: the pickle.
        origin: where it comes from, for the message.

    Raises:
        UserError: if the pickle is damaged, or asks for anything else, which is never run.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except _RefusedError as error:
        raise UserError(
            f"{origin} was refused, and {error} that it asks for was not run: expected arrays, numbers and "
            "text alone. This is no CIFAR file and may be an attack: delete it, and download the data anew."
        ) from None
    except Exception as error:  # a damaged pickle can fail in any way at all
        raise UserError(
            f"{origin} is cut off or damaged ({type(error).__name__}: {error}), expected a pickle of arrays. "
            "Delete it, and download the data set anew, for instance with data.download=true."
        ) from error
