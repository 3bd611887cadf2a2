"""Multisampling (arXiv 1805.10766): the whole method, which needs torch alone and knows nothing else of ccnn.

The names below are imported when first used: a configuration is checked against the sampling methods before torch,
which takes seconds, is imported.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conversion import (
        ConversionError,
        ConversionReport,
        conversion_report,
        convert,
        is_converted,
        register_rule,
        set_sampling,
        unconvert,
    )
    from .convolution import CheckeredConv2d
    from .dilation import dilate
    from .inspection import multiply_adds, parameters, summary
    from .joint import JointAdaptiveAvgPool2d, JointAdaptiveMaxPool2d, JointDropout2d, ToDense
    from .pooling import CheckeredAvgPool2d, CheckeredLPPool2d, CheckeredMaxPool2d
    from .samplers import Sampling
    from .verification import verify

__all__ = [
    "CheckeredAvgPool2d",
    "CheckeredConv2d",
    "CheckeredLPPool2d",
    "CheckeredMaxPool2d",
    "ConversionError",
    "ConversionReport",
    "JointAdaptiveAvgPool2d",
    "JointAdaptiveMaxPool2d",
    "JointDropout2d",
    "Sampling",
    "ToDense",
    "conversion_report",
    "convert",
    "dilate",
    "is_converted",
    "multiply_adds",
    "parameters",
    "register_rule",
    "set_sampling",
    "summary",
    "unconvert",
    "verify",
]

# fmt: off
_HOMES = {
    "conversion": (
        "ConversionError", "ConversionReport", "conversion_report", "convert", "is_converted", "register_rule",
        "set_sampling", "unconvert",
    ),
    "convolution": ("CheckeredConv2d",),
    "dilation": ("dilate",),
    "inspection": ("multiply_adds", "parameters", "summary"),
    "joint": ("JointAdaptiveAvgPool2d", "JointAdaptiveMaxPool2d", "JointDropout2d", "ToDense"),
    "pooling": ("CheckeredAvgPool2d", "CheckeredLPPool2d", "CheckeredMaxPool2d"),
    "samplers": ("Sampling",),
    "verification": ("verify",),
}
# fmt: on


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
