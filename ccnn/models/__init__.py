"""The paper's networks, ordinary CNNs for small images."""

from ccnn.models.resnet import TINY, ResNet, resnet
from ccnn.models.toy import toy
from ccnn.models.vgg import VGG

__all__ = ["TINY", "VGG", "ResNet", "resnet", "toy"]
