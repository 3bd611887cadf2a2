"""Checkered CNNs: multisampling for any PyTorch CNN (arXiv 1805.10766).

The names below are imported when first used, so that `import ccnn` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ccnn.conversion import ConversionError, ConversionReport, conversion_report, convert, register_rule
    from ccnn.cost import multiply_adds, parameters
    from ccnn.dense import ToDense
    from ccnn.dilation import dilate
    from ccnn.joint import JointAdaptiveAvgPool2d, JointAdaptiveMaxPool2d, JointDropout2d
    from ccnn.layers import CheckeredAvgPool2d, CheckeredConv2d, CheckeredLPPool2d, CheckeredMaxPool2d
    from ccnn.network_summary import summary
    from ccnn.samplers import Sampling

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
    "multiply_adds",
    "parameters",
    "register_rule",
    "summary",
]

_HOMES = {
    "conversion": ("ConversionError", "ConversionReport", "conversion_report", "convert", "register_rule"),
    "cost": ("multiply_adds", "parameters"),
    "dense": ("ToDense",),
    "dilation": ("dilate",),
    "joint": ("JointAdaptiveAvgPool2d", "JointAdaptiveMaxPool2d", "JointDropout2d"),
    "layers": ("CheckeredAvgPool2d", "CheckeredConv2d", "CheckeredLPPool2d", "CheckeredMaxPool2d"),
    "network_summary": ("summary",),
    "samplers": ("Sampling",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"ccnn.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'ccnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
