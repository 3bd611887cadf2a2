"""Conversion: the plain network is traced once, a plan is made, the network changed in place."""

from .apply import convert, is_converted, set_sampling, unconvert
from .meta import ConversionError
from .report import ConversionReport, ConvertedLayer, conversion_report
from .rules import register_rule

__all__ = [
    "ConversionError",
    "ConversionReport",
    "ConvertedLayer",
    "conversion_report",
    "convert",
    "is_converted",
    "register_rule",
    "set_sampling",
    "unconvert",
]
