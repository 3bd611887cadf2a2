"""The paper's networks, ordinary CNNs for small images, and those of torchvision and timm."""

from ccnn.models.library import timm_model, torchvision_model
from ccnn.models.resnet import TINY, ResNet, resnet
from ccnn.models.toy import toy
from ccnn.models.vgg import VGG

__all__ = ["TINY", "VGG", "ResNet", "resnet", "timm_model", "torchvision_model", "toy"]
