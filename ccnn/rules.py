"""Rules: what each layer of a plain network becomes when the network is converted."""

from torch import nn

from ccnn.joint import Joint, JointAdaptiveAvgPool2d, JointAdaptiveMaxPool2d, JointDropout2d
from ccnn.layers import CheckeredAvgPool2d, CheckeredConv2d, CheckeredMaxPool2d, Multisampling

MULTISAMPLING: dict[type[nn.Module], type[Multisampling]] = {
    nn.Conv2d: CheckeredConv2d,
    nn.MaxPool2d: CheckeredMaxPool2d,
    nn.AvgPool2d: CheckeredAvgPool2d,
}
"""What each strided layer becomes."""

JOINT: dict[type[nn.Module], type[Joint]] = {
    nn.AdaptiveAvgPool2d: JointAdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d: JointAdaptiveMaxPool2d,
    nn.Dropout2d: JointDropout2d,
}
"""What each layer that mixes a whole feature map becomes."""
