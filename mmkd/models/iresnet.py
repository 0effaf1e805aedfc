"""The ResNets of ArcFace, for aligned faces."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmkd.errors import UserError
from mmkd.registry import MODELS

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
INIT = (
    dict(type='Normal', layer='Conv2d', std=0.1),
    dict(type='Constant', layer='BatchNorm2d', val=1, bias=0),
)


class IBasicBlock(nn.Module):
    """Norm, convolution, norm, PReLU, convolution with the stride, norm; nothing follows the sum."""

    def __init__(self, width: int, new_width: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, new_width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(new_width)
        self.prelu = nn.PReLU(new_width)
        self.conv2 = nn.Conv2d(new_width, new_width, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(new_width)
        self.downsample = None
        if stride != 1 or width != new_width:
            convolution = nn.Conv2d(width, new_width, 1, stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(new_width))

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        out = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(out)) + (x if self.downsample is None else self.downsample(x))


@MODELS.register_module()
class IResNet(BaseModule):
    """iResNet-18, 34, 50 and 100: a stem without stride, four groups of blocks, and an embedding of the last map.

    Its parameters are named as in InsightFace's ``arcface_torch``: ``conv1``, ``bn1``, ``prelu``, ``layer1`` to
    ``layer4``, ``bn2``, ``fc``, ``features``. The last is a norm whose weight stays 1.

    Args:
        depth (int): 18, 34, 50 or 100. Defaults to 50.
        num_features (int): The embedding's size. Defaults to 512.
        widths (Sequence[int]): Channels of the stem and of the four groups. Defaults to (64, 64, 128, 256, 512).
        image_size (int): Pixels of a side, which the embedding's layer depends on. Defaults to 112.
        dropout (float): The part of the last map that is dropped in training. Defaults to 0.0.
        init_cfg (dict | list[dict], optional): As in mmengine. Defaults to ArcFace's initialisation.

    Example:
        >>> dict(type='mmkd.IResNet', depth=100)
    """

    def __init__(
        self,
        depth: int = 50,
        num_features: int = 512,
        widths: Sequence[int] = (64, 64, 128, 256, 512),
        image_size: int = 112,
        dropout: float = 0.0,
        init_cfg: dict | Sequence[dict] | None = INIT,
    ):
        super().__init__(init_cfg)
        if depth not in BLOCKS:
            raise UserError(f'IResNet: depth must be one of {", ".join(map(str, BLOCKS))}, not {depth!r}.')
        if len(widths) != 5:
            raise UserError(f"IResNet: widths must be five numbers, the stem's and the four groups', not {widths!r}.")
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.prelu = nn.PReLU(widths[0])
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            group(blocks, *shape) for blocks, *shape in zip(BLOCKS[depth], widths, widths[1:])
        )
        self.bn2 = nn.BatchNorm2d(widths[-1])
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(widths[-1] * (-(-image_size // 16)) ** 2, num_features)
        self.features = nn.BatchNorm1d(num_features)
        self.features.weight.requires_grad = False

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """The embedding (N, num_features)."""
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.dropout(self.bn2(x).flatten(1))
        if x.shape[1] != self.fc.in_features:
            raise UserError(
                f'IResNet: its embedding reads {self.fc.in_features} numbers and gets {x.shape[1]}; set image_size to '
                "the side of the training images, or the pipeline's size to image_size."
            )
        return (self.features(self.fc(x)),)


def group(blocks: int, width: int, new_width: int) -> nn.Sequential:
    """Blocks of one resolution, the first of which halves the size."""
    rest = (IBasicBlock(new_width, new_width, 1) for _ in range(blocks - 1))
    return nn.Sequential(IBasicBlock(width, new_width, 2), *rest)
