"""Joint layers: layers that mix a whole feature map, which see all its submaps at once."""

from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Folded, Multisampling, Placement
from .submaps import fold, stack, to_dense, unfold, unstack
from .windows import pair


class Joint(Folded, nn.Module):
    """Base of the layers that see all submaps of a feature map at once.

    Built by hand, they take the plain layer's arguments and then `submaps`, the number that reaches them.

    Attributes:
        wraps: whether the plain layer's own forward runs, whatever it is; otherwise the rule's replaces it.
    """

    wraps = False

    def __init__(self, *args: Any, submaps: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.placement = Placement(submaps)

    @property
    def submaps_now(self) -> int:
        """The number of submaps in this pass."""
        return self.placement.submaps_now(self.training)

    @classmethod
    def applies(cls, module: nn.Module) -> bool:
        """Whether the plain layer mixes a whole feature map as it is configured."""
        return True

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, submaps={self.submaps}"


class JointAdaptiveAvgPool2d(Joint, nn.AdaptiveAvgPool2d):
    """AdaptiveAvgPool2d(1) over submaps and space together, as the paper's 3-D pooling.

    Every submap receives the joint value, which lets squeeze-and-excitation see a whole feature map.
    Shape: (S·N, C, H, W) → (S·N, C, 1, 1).

    Example:
        >>> x = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)  # two submaps of one image
        >>> JointAdaptiveAvgPool2d(1, submaps=2)(x).flatten().tolist()
        [2.0, 2.0]
    """

    @classmethod
    def applies(cls, module: nn.Module) -> bool:
        return pair(module.output_size) == (1, 1)

    def forward(self, x: Tensor) -> Tensor:
        submaps = self.submaps_now
        joint = unfold(x, submaps).mean((0, 3, 4), keepdim=True)
        return fold(joint.expand(submaps, -1, -1, -1, -1))


class JointAdaptiveMaxPool2d(Joint, nn.AdaptiveMaxPool2d):
    """AdaptiveMaxPool2d(1) over submaps and space together; every submap receives the joint value.

    Shape: (S·N, C, H, W) → (S·N, C, 1, 1).

    Example:
        >>> x = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)  # two submaps of one image
        >>> JointAdaptiveMaxPool2d(1, submaps=2)(x).flatten().tolist()
        [3.0, 3.0]
    """

    @classmethod
    def applies(cls, module: nn.Module) -> bool:
        return pair(module.output_size) == (1, 1) and not module.return_indices

    def forward(self, x: Tensor) -> Tensor:
        submaps = self.submaps_now
        joint = unfold(x, submaps).amax((0, 3, 4), keepdim=True)
        return fold(joint.expand(submaps, -1, -1, -1, -1))


class JointDropout2d(Joint, nn.Dropout2d):
    """Dropout2d that drops a channel in all submaps of an image at once, as Dropout3d on 5-D tensors does.

    Shape: (S·N, C, H, W) → the same.

    Example:
        >>> maps = JointDropout2d(0.5, submaps=2)(torch.ones(2, 4, 1, 1))
        >>> torch.equal(maps[0], maps[1])
        True
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        maps = unfold(x, self.submaps_now)
        mask = F.dropout2d(torch.ones_like(maps[0, :, :, :1, :1]), self.p)
        return fold(maps * mask)


class JointStochasticDepth(Joint):
    """Stochastic depth (drop path) that drops a branch for all submaps of an image at once.

    A rule for torchvision's StochasticDepth and timm's DropPath, whose own forward it calls with the images
    first: (S·N, C, H, W) → (N, S, C, H, W) and back.
    """

    wraps = True

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        dropped: Tensor = super().forward(unfold(x, self.submaps_now).transpose(0, 1))
        return fold(dropped.transpose(0, 1))


class JointNorm(Joint):
    """Group or instance normalisation with the statistics of a whole feature map, all its submaps together.

    A rule for nn.GroupNorm, nn.InstanceNorm2d and their subclasses. Shape: (S·N, C, H, W) → the same.
    """

    wraps = True

    def forward(self, x: Tensor) -> Tensor:
        submaps = self.submaps_now
        if submaps == 1 or x.ndim < 3:
            return super().forward(x)
        normalised: Tensor = super().forward(stack(x, submaps))
        return unstack(normalised, submaps)


class ToDense(Multisampling):
    """Puts the submaps of a map back to their places, for heads that predict something for every pixel.

    Put it where the backbone ends, then convert: `convert` tells it which submaps arrive. In a network that is not
    converted it does nothing. It has no parameters. See `ccnn.multisampling.submaps.to_dense`.

    Shape: (S·N, C, H, W) → (N, C, H·k, W·k), k being the product of the strides of the multisampling steps.

    Example:
        >>> import ccnn
        >>> backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), ToDense())
        >>> ccnn.convert(backbone, (3, 32, 32))(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 8, 32, 32])
    """

    stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.placement = Placement(method="dense")

    @property
    def submaps_out(self) -> int:
        """One: the map of the image."""
        return 1

    def multisample(self, x: Tensor, placement: Placement) -> Tensor:
        return to_dense(x, placement.offsets, prod(placement.path)) if placement.submaps > 1 else x
