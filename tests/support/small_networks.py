"""Every choice of conf/model/, as small as its keys allow."""

from ccnn.config import CONF

NAMED = {
    "torchvision": ["model.name=resnet50"],
    "timm": ["model.name=resnet18d"],
    **{key: ["model.name=resnet152"] for key in ("table2", "table3", "table3_quick")},  # an axis of these sweeps
}
"""What the models and experiments that need a network's name are tested with."""

MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))

# At least 8 channels: below that, torch corrupts the heap on AVX2 in the backward of strided 1×1 convolutions.
_TINY, _BASIC, _BOTTLENECK = "model.channels=[8,8,12,12]", "model.depth=18", "model.depth=50"
_SMALLER = {
    "densenet": ("model.depths=[2,2]", "model.growth=4"),
    "resnet18": (_TINY, _BASIC),
    "resnet34": (_TINY, _BASIC),
    "resnet": (_TINY, _BOTTLENECK, "model.expansion=2"),
    "timm": ("model.name=resnet18d",),
    "torchvision": ("model.name=resnet18",),
    "toy": ("model.depth=1",),
    "toy_2x3x3": ("model.depth=2",),
    "vgg": ("model.depth=11",),
    "wide_resnet": ("model.depth=10", "model.width=1", "model.dropout=0.3"),
    "wide_resnet28_10_2x3x3": ("model.depth=10", "model.width=1", "model.submap_depth=2"),
}
"""Overrides by the beginning of a model's name; the longest beginning counts."""


def smaller(name: str) -> tuple[str, ...]:
    """The overrides that make a model small; a new one has to say how."""
    known = [start for start in _SMALLER if name.startswith(start)]
    assert known, f"conf/model/{name}.yaml: say in _SMALLER how to make it small"
    return _SMALLER[max(known, key=len)]


FORMS = sorted({smaller(name): name for name in reversed(MODELS)}.values())
"""One model for each small network: those that differ in depth or width alone have one form."""
