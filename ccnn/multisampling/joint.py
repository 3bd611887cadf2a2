"""Joint layers: layers that mix a whole feature map, and so see all submaps of it at once."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import pair
from .draws import Folded
from .submaps import fold, stack, unfold, unstack


class Joint(Folded, nn.Module):
    """What the layers share that see all submaps of a feature map at once.

    Built by hand, they take the plain layer's arguments and then `submaps`, the number that reaches them.

    Attributes:
        wraps: whether the plain layer's own forward runs, whatever it is; otherwise the rule's replaces it.
    """

    wraps = False

    def __init__(self, *args: Any, submaps: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.submaps = self.submaps_training = submaps

    @classmethod
    def applies(cls, module: nn.Module) -> bool:
        """Whether the plain layer mixes a whole feature map as it is configured."""
        return True

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, submaps={self.submaps}"


class _JointPool(Joint):
    """Pools over submaps and space together; every submap receives the joint value.

    Shape: (S·N, C, H, W) → (S·N, C, 1, 1). It is what the paper's 3-D pooling does, and what lets
    squeeze-and-excitation see a whole feature map.
    """

    @classmethod
    def applies(cls, module: nn.Module) -> bool:
        return pair(module.output_size) == (1, 1)

    @staticmethod
    def _pool(maps: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        submaps = self.submaps_now
        joint = self._pool(unfold(x, submaps))
        return fold(joint.expand(submaps, -1, -1, -1, -1))


class JointAdaptiveAvgPool2d(_JointPool, nn.AdaptiveAvgPool2d):
    """AdaptiveAvgPool2d(1) over submaps and space together; see `_JointPool`."""

    @staticmethod
    def _pool(maps: Tensor) -> Tensor:
        return maps.mean((0, 3, 4), keepdim=True)


class JointAdaptiveMaxPool2d(_JointPool, nn.AdaptiveMaxPool2d):
    """AdaptiveMaxPool2d(1) over submaps and space together; see `_JointPool`."""

    @classmethod
    def applies(cls, module: nn.Module) -> bool:
        return super().applies(module) and not module.return_indices

    @staticmethod
    def _pool(maps: Tensor) -> Tensor:
        return maps.amax((0, 3, 4), keepdim=True)


class JointDropout2d(Joint, nn.Dropout2d):
    """Dropout2d that drops a channel in all submaps of an image at once, as Dropout3d on 5-D tensors does.

    Shape: (S·N, C, H, W) → the same.
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
        if submaps == 1 or x.ndim != 4:
            return super().forward(x)
        normalised: Tensor = super().forward(stack(x, submaps))
        return unstack(normalised, submaps)


class JointReduction(Joint):
    """A function that reduces a whole feature map, such as `x.mean((2, 3))`, over all its submaps together.

    Shape: (S·N, C, H, W) → what the function gives for one map, for every submap of the image alike.

    Attributes:
        where: the name of the call.
    """

    where: str

    def forward(self, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        submaps = self.submaps_now
        if submaps == 1:
            return function(x)
        joint = function(stack(x, submaps))
        return fold(joint.expand(submaps, *joint.shape))
