"""Networks that the toolboxes do not have. They need no toolbox."""

from mmkd.models.cifar import CIFARResNet, CIFARWideResNet

__all__ = ['CIFARResNet', 'CIFARWideResNet']
