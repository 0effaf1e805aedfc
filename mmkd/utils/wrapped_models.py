"""Networks that are wrapped for several processes."""

from mmengine.model import is_model_wrapper
from torch import nn


def unwrapped(model: nn.Module) -> nn.Module:
    """The network itself."""
    return model.get_submodule('module') if is_model_wrapper(model) else model
