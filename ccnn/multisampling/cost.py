"""What a network costs: parameters and multiply-adds, counted on the meta device."""

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .conversion.meta import InputSize, checked, outputs, skeleton


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters, shared ones counted once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def multiply_adds(model: nn.Module, input_size: InputSize) -> int:
    """Multiply-adds of convolutions and linear layers for one image of `input_size` (C, H, W), in evaluation."""
    with FlopCounterMode(display=False) as counter:
        outputs(skeleton(model).eval(), checked(input_size), images=1)
    return int(counter.get_total_flops()) // 2
