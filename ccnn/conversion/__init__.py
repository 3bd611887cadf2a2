"""Conversion: a network is surveyed, its layers swapped and tried without numbers, and then changed in place."""

from ccnn.conversion.apply import ConversionReport, ConvertedLayer, conversion_report, convert
from ccnn.conversion.dry_run import ConversionError
from ccnn.conversion.rules import register_rule

__all__ = [
    "ConversionError",
    "ConversionReport",
    "ConvertedLayer",
    "conversion_report",
    "convert",
    "register_rule",
]
