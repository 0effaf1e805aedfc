"""Small backbones that the toolboxes do not have, and networks for faces."""

from mmkd.models.cifar import CIFARResNet, CIFARWideResNet
from mmkd.models.iresnet import IResNet
from mmkd.models.mobilefacenet import MobileFaceNet
from mmkd.models.recognizer import FaceRecognizer

__all__ = ['CIFARResNet', 'CIFARWideResNet', 'FaceRecognizer', 'IResNet', 'MobileFaceNet']
