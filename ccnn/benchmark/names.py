"""Names of the suites and of the networks they measure, apart from what has to import torch."""

SUITES = {
    "speed": "speed",
    "layers": "layers",
    "methods": "methods",
    "profile": "profile",
    "table3": "table3",
    "input": "images",
}
"""The suites, with their modules."""

SMALL = ("resnet18", "resnet50_tiny", "vgg11_bn", "densenet_bc40")
"""The paper's networks for images of 32×32, that train."""

LARGE = ("squeezenet1_1", "resnet50")
"""torchvision's networks for images of 224×224, that infer."""

TABLE3 = ("squeezenet1_1", "resnet152", "densenet169")
"""The networks of the paper's Table 3."""

STUDIED = ("toy", "resnet18_narrow")
"""The networks of our study, docs/results."""

NAMES = (*SMALL, *dict.fromkeys((*LARGE, *TABLE3)), *STUDIED)

PROFILED = ("resnet18", "resnet50_tiny", "densenet_bc40")
"""The networks whose training is profiled."""
