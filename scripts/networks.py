"""Fills the tables of docs/networks.md: which networks of torchvision and timm convert, and what that costs."""

import re
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout's ccnn, even where another is installed

import ccnn
from ccnn.benchmark.output import fill, markdown
from ccnn.cli.arguments import Parser, choice, whole_number
from ccnn.models import torchvision_model

PAGE = Path(__file__).parents[1] / "docs/networks.md"
LIBRARIES = ["torchvision", "timm"]

ATTENTION = ("vit_", "swin_", "maxvit")
"""How torchvision's networks begin that are not convolutional."""

CONVOLUTIONAL = (
    "byobnet", "convmixer", "convnext", "cspnet", "cspnext", "densenet", "dla", "dpn", "efficientnet",
    "fasternet", "fastvit", "focalnet", "ghostnet", "hardcorenas", "hgnet", "hrnet", "inception_next",
    "inception_resnet_v2", "inception_v3", "inception_v4", "lcnetv2", "mambaout", "metaformer",
    "mobilenetv3", "nasnet", "nfnet", "pnasnet", "rdnet", "regnet", "repghost", "repvit", "res2net",
    "resnest", "resnet", "resnetv2", "rexnet", "selecsls", "senet", "sknet", "starnet", "tresnet", "vgg",
    "vovnet", "xception", "xception_aligned",
)  # fmt: skip
"""timm's modules whose networks are convolutional."""

WITH_ATTENTION = ("caformer", "fastvit_ma", "fastvit_mc", "fastvit_sa", "mobilenetv4_hybrid")
"""How networks of these modules begin that attend over space, and so are no CNNs all the same."""

_PREFIXES = "bat|dm|eca|ese|gc|gcre|legacy|nf|se|test|tf"


class Blank(TorchFunctionMode):
    """Inside, networks are built without numbers: their parameters are on the meta device.

    Unlike under `torch.device("meta")`, what a constructor computes to find its widths has values.
    """

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.empty, torch.ones, torch.zeros) and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def torchvision_names() -> list[str]:
    """All convolutional classification networks of torchvision."""
    models = import_module("torchvision.models")
    return [name for name in models.list_models(module=models) if not name.startswith(ATTENTION)]


def timm_families() -> dict[str, list[str]]:
    """The networks of each convolutional family of timm.

    A family is the word that a name begins with, within one of timm's modules.
    """
    timm = import_module("timm")
    families: dict[str, list[str]] = {}
    for module in CONVOLUTIONAL:
        for name in timm.list_models(module=module):
            if not name.startswith(WITH_ATTENTION):
                families.setdefault(f"{module}: {family(name)}", []).append(name)
    return families


def family(name: str) -> str:
    """The word that a network's name begins with.

    >>> [family(name) for name in ("resnet18d", "tf_efficientnetv2_b0", "eca_resnet33ts", "cs3darknet_l")]
    ['resnet', 'tf_efficientnetv2', 'eca_resnet', 'cs3darknet']
    """
    match = re.match(rf"(?:(?:{_PREFIXES})_)?(?:cs3|res2|wide_)?[a-z]+?(?:v\d)?(?=[_\d]|$)", name)
    return match.group() if match else name


def build(library: str, name: str, num_classes: int = 1000) -> tuple[nn.Module, tuple[int, int, int]]:
    """A network without numbers and its input size."""
    with Blank(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both libraries warn of changes in later versions
        if library == "timm":
            timm = import_module("timm")
            default = timm.models.get_pretrained_cfg(name)
            size = default.input_size if default else (3, 224, 224)
            return timm.create_model(name, pretrained=False, num_classes=num_classes), size
        side = 299 if name == "inception_v3" else 224
        options = {"init_weights": False} if name in ("inception_v3", "googlenet") else {}
        models = import_module("torchvision.models")
        return models.get_model(name, num_classes=num_classes, **options), (3, side, side)


def trains(name: str) -> bool:
    """Whether a converted network of torchvision gives finite scores and gradients at an even and an odd size."""
    even, odd = (96, 107) if name == "inception_v3" else (64, 75)
    model = ccnn.convert(torchvision_model(name, 10), (3, even, even), "lattice").train()
    if hasattr(model, "AuxLogits"):
        setattr(model, "AuxLogits", None)  # noqa: B010  # needs 299 pixels; a test has it
        setattr(model, "aux_logits", False)  # noqa: B010
    for side in (even, odd):
        output = model(torch.randn(2, 3, side, side))
        scores = list(output) if isinstance(output, tuple) else [output]
        if any(score.shape != (2, 10) or not score.isfinite().all() for score in scores):
            return False
        torch.stack([score.square().mean() for score in scores]).sum().backward()
    return all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def measure(task: tuple[str, str, list[str]]) -> dict[str, Any]:
    """Converts the network with the fewest parameters, on the meta device; those of torchvision train, too.

    Returns:
        The row of the table, with the layers that stay `traditional` and the `problem` if it does not convert.
    """
    library, word, names = task
    torch.set_num_threads(1)
    name = min(names, key=lambda name: ccnn.parameters(build(library, name)[0]))
    model, size = build(library, name)
    row: dict[str, Any] = {
        "family": word,
        "network": name,
        "input": "×".join(map(str, size)),
        "problem": "",
        "traditional": "",
    }
    try:
        plain = ccnn.multiply_adds(model, size)
        ccnn.convert(model, size, "lattice")
    except ccnn.ConversionError as error:
        text = str(error).removeprefix("convert: ").replace(" Layers that stay traditional: none.", "")
        return row | {"submaps": "", "layers": "", "cost": "", "problem": text}
    report = ccnn.conversion_report(model)
    cost = f"{ccnn.multiply_adds(model, size) / plain:.2f}"
    row |= {"submaps": report.submaps, "layers": len(report.layers), "cost": cost}
    row["traditional"] = "; ".join(f"{layer}: {why}" for layer, why in report.traditional.items())
    if library == "torchvision" and not trains(name):
        row["problem"] = "numbers that are not finite in training"
    return row


def table(rows: pd.DataFrame, library: str) -> str:
    """The page's part on a library."""
    version = f"{library} {import_module(library).__version__.partition('+')[0]}, torch {torch.__version__}"
    what = "families, by their smallest network," if library == "timm" else "convolutional networks"
    good = int((rows["problem"] == "").sum())
    columns = ["family", "network", "input", "submaps", "layers", "cost"]
    parts = [f"{good} of {len(rows)} {what} convert ({version}).", markdown(rows[columns], 3)]
    for title, column in (
        ("Do not convert", "problem"), ("Keep some strided layers as they are", "traditional"),
    ):  # fmt: skip
        noted = rows[rows[column] != ""]
        if not noted.empty:
            notes = (f"- {name}: {text}" for name, text in zip(noted["network"], noted[column], strict=True))
            parts += [f"### {title}", "\n".join(notes)]
    return "\n\n".join(parts)


def main() -> None:
    """Converts the networks and fills the page."""
    parser = Parser(__doc__)
    parser.add_argument("--libraries", nargs="+", type=choice(LIBRARIES), default=LIBRARIES, metavar="LIBRARY",
                        help=f"{' or '.join(LIBRARIES)} (default: both)")  # fmt: skip
    parser.add_argument("--workers", type=whole_number(1, 1024), default=2, metavar="N",
                        help="processes (default: 2)")  # fmt: skip
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.workers) as pool:
        for library in arguments.libraries:
            families = timm_families().items() if library == "timm" else [
                (family(name), [name]) for name in torchvision_names()
            ]  # fmt: skip
            rows = []
            for row in pool.map(measure, [(library, word, names) for word, names in families]):
                rows.append(row)
                print(library, row["network"], row["problem"] or f"{row['submaps']} submaps", flush=True)
            fill(PAGE, {library: table(pd.DataFrame(rows), library)})


if __name__ == "__main__":
    main()
