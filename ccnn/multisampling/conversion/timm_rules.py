"""Rules for the strided layers of timm, by dotted name, so that timm itself is never imported."""

from torch import Tensor
from torch.nn import functional as F

from ..base import Multisampling, Placement, at_positions
from ..convolution import CheckeredConv2d
from ..pooling import CheckeredAvgPool2d, CheckeredMaxPool2d, Windows, avg_pool2d
from ..samplers import Position
from ..windows import Pads, Pair, cut, output_size, pair, reach_of, strides


def same_padding(size: Pair, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Pads:
    """TensorFlow's SAME padding: as little as gives ⌈size / stride⌉ windows, the odd pixel below and right.

    Returns:
        Rows above and below, columns left and right.
    """
    windows = (-(-size[0] // stride[0]), -(-size[1] // stride[1]))
    reach = reach_of(windows, kernel, stride, dilation)
    total = (max(reach[0] - size[0], 0), max(reach[1] - size[1], 0))
    return (total[0] // 2, total[0] - total[0] // 2), (total[1] // 2, total[1] - total[1] // 2)


class CheckeredConv2dSame(CheckeredConv2d):
    """A multisampling convolution with SAME padding."""

    same_pad: bool = True
    """timm's layers with standardized weights have it False where fixed padding does the same."""

    def _padding(self, x: Tensor) -> Pads:
        if not self.same_pad:
            return super()._padding(x)
        size, kernel, dilation = (x.shape[2], x.shape[3]), pair(self.kernel_size), pair(self.dilation)
        return same_padding(size, kernel, strides(self), dilation)


class CheckeredStdConv2d(CheckeredConv2d):
    """A multisampling convolution whose kernels have mean 0 and variance 1 (weight standardization)."""

    eps: float

    def _kernel(self) -> Tensor:
        flat = self.weight.flatten(1)
        return F.layer_norm(flat, flat.shape[1:], eps=self.eps).view_as(self.weight)


class CheckeredScaledStdConv2d(CheckeredStdConv2d):
    """The same with a learned gain for each kernel, times 1/√fan-in (NF-Nets)."""

    gain: Tensor
    scale: float

    def _kernel(self) -> Tensor:
        return super()._kernel() * (self.gain * self.scale)


class CheckeredStdConv2dSame(CheckeredConv2dSame, CheckeredStdConv2d):
    """Standardized kernels and SAME padding."""


class CheckeredScaledStdConv2dSame(CheckeredConv2dSame, CheckeredScaledStdConv2d):
    """Scaled standardized kernels and SAME padding."""


class CheckeredMaxPool2dSame(CheckeredMaxPool2d):
    """Multisampling max pooling with SAME padding."""

    def _padding(self, x: Tensor) -> Pads:
        size, kernel, dilation = (x.shape[2], x.shape[3]), pair(self.kernel_size), pair(self.dilation)
        return same_padding(size, kernel, strides(self), dilation)


class CheckeredAvgPool2dSame(CheckeredAvgPool2d):
    """Multisampling average pooling with SAME padding, which counts as in timm's layer: always."""

    def multisample(self, x: Tensor, placement: Placement) -> Tensor:
        kernel = pair(self.kernel_size)
        pads = same_padding((x.shape[2], x.shape[3]), kernel, strides(self))
        return avg_pool2d(x, placement, Windows(kernel, strides(self), pads))


class CheckeredBlurPool2d(Multisampling):
    """A multisampling blur: a fixed depthwise kernel with a stride (arXiv 1904.11486)."""

    filt: Tensor
    padding: list[int]
    pad_mode: str

    def multisample(self, x: Tensor, placement: Placement) -> Tensor:
        channels, stride = x.shape[1], strides(self)
        weight = self.filt.expand(channels, -1, -1, -1)
        kernel = (weight.shape[2], weight.shape[3])
        left, right, above, below = self.padding
        padded = (x.shape[2] + above + below, x.shape[3] + left + right)
        windows = output_size(padded, kernel, stride, (0, 0), (1, 1), ceil_mode=False)

        reach = reach_of(windows, kernel, stride, (1, 1))

        def blur(x: Tensor, shift: Position) -> Tensor:
            padded = F.pad(x, self.padding, mode=self.pad_mode)
            return F.conv2d(cut(padded, shift, reach), weight, None, stride, groups=channels)

        return at_positions(x, placement, blur, ((above, below), (left, right)), reach)


TIMM: dict[type | str, type[Multisampling]] = {
    "timm.layers.conv2d_same.Conv2dSame": CheckeredConv2dSame,
    "timm.layers.std_conv.StdConv2d": CheckeredStdConv2d,
    "timm.layers.std_conv.StdConv2dSame": CheckeredStdConv2dSame,
    "timm.layers.std_conv.ScaledStdConv2d": CheckeredScaledStdConv2d,
    "timm.layers.std_conv.ScaledStdConv2dSame": CheckeredScaledStdConv2dSame,
    "timm.layers.pool2d_same.MaxPool2dSame": CheckeredMaxPool2dSame,
    "timm.layers.pool2d_same.AvgPool2dSame": CheckeredAvgPool2dSame,
    "timm.layers.blur_pool.BlurPool2d": CheckeredBlurPool2d,
}
"""What timm's strided layers become."""
