"""Conversion: a network is surveyed, its layers swapped and tried without numbers, and then changed in place."""

from .apply import ConversionReport, ConvertedLayer, conversion_report, convert
from .meta import ConversionError
from .rules import register_rule

__all__ = [
    "ConversionError",
    "ConversionReport",
    "ConvertedLayer",
    "conversion_report",
    "convert",
    "register_rule",
]
