"""The paper's networks, ordinary CNNs for small images, and those of torchvision and timm."""

from ccnn.models.checkpointing import checkpoint_stages
from ccnn.models.densenet import DenseNet
from ccnn.models.library import timm_model, torchvision_model
from ccnn.models.resnet import TINY, ResNet, resnet
from ccnn.models.toy import Toy
from ccnn.models.vgg import VGG
from ccnn.models.wide_resnet import WideResNet

__all__ = [
    "TINY",
    "VGG",
    "DenseNet",
    "ResNet",
    "Toy",
    "WideResNet",
    "checkpoint_stages",
    "resnet",
    "timm_model",
    "torchvision_model",
]
