"""The small backbones of the usual CIFAR-100 distillation protocol, for images of 32x32 pixels."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmkd.errors import UserError
from mmkd.registry import MODELS

INIT = (
    dict(type='Kaiming', layer='Conv2d'),  # He's normal distribution over the outputs
    dict(type='Constant', layer='BatchNorm2d', val=1, bias=0),
)
STRIDES = (1, 2, 2)


def conv3x3(width: int, new_width: int, stride: int = 1) -> nn.Conv2d:
    """A padded 3x3 convolution without bias."""
    return nn.Conv2d(width, new_width, 3, stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, each before its norm; the sum goes through the last ReLU."""

    def __init__(self, width: int, new_width: int, stride: int):
        super().__init__()
        self.conv1 = conv3x3(width, new_width, stride)
        self.bn1 = nn.BatchNorm2d(new_width)
        self.conv2 = conv3x3(new_width, new_width)
        self.bn2 = nn.BatchNorm2d(new_width)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width != new_width:
            convolution = nn.Conv2d(width, new_width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(new_width))

    def forward(self, x: Tensor) -> Tensor:
        """The block's output, after its ReLU."""
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class PreActBlock(nn.Module):
    """Two 3x3 convolutions, each after norm and ReLU; where the shape changes, the shortcut starts after the first."""

    def __init__(self, width: int, new_width: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width)
        self.conv1 = conv3x3(width, new_width, stride)
        self.bn2 = nn.BatchNorm2d(new_width)
        self.conv2 = conv3x3(new_width, new_width)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = None
        if stride != 1 or width != new_width:
            self.shortcut = nn.Conv2d(width, new_width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output, before any norm."""
        out = self.relu(self.bn1(x))
        if self.shortcut is not None:
            x = self.shortcut(out)
        return x + self.conv2(self.relu(self.bn2(self.conv1(out))))


def group(block: type[nn.Module], blocks: int, width: int, new_width: int, stride: int) -> nn.Sequential:
    """Blocks of one resolution, the first of which changes width and size."""
    rest = (block(new_width, new_width, 1) for _ in range(blocks - 1))
    return nn.Sequential(block(width, new_width, stride), *rest)


def blocks_in_a_group(name: str, depth: int, extra: int) -> int:
    """n of a network with three groups of n blocks of two convolutions and some layers more."""
    blocks, rest = divmod(depth - extra, 6)
    if rest or blocks < 1:
        nearest = 6 * max(blocks, 1) + extra
        raise UserError(
            f'{name}: depth must be 6n+{extra} with n of 1 or more, e.g. {nearest} or {nearest + 6}, not {depth}.'
        )
    return blocks


@MODELS.register_module()
class CIFARResNet(BaseModule):
    """The ResNets for CIFAR: a stem and three groups of basic blocks at 32, 16 and 8 pixels.

    Args:
        depth (int): 6n+2 for n blocks in each group. Defaults to 20.
        widths (Sequence[int]): Channels of the stem and of the three groups; the protocol's resnet8x4
            and resnet32x4 have (32, 64, 128, 256). Defaults to (16, 16, 32, 64).
        init_cfg (dict | list[dict], optional): As in mmengine. Defaults to He's initialisation.

    Example:
        >>> dict(type='mmkd.CIFARResNet', depth=8, widths=(32, 64, 128, 256))  # resnet8x4
    """

    def __init__(
        self,
        depth: int = 20,
        widths: Sequence[int] = (16, 16, 32, 64),
        init_cfg: dict | Sequence[dict] | None = INIT,
    ):
        super().__init__(init_cfg)
        if len(widths) != 4:
            raise UserError(
                f"CIFARResNet: widths must be four numbers, the stem's and the three groups', not {widths!r}."
            )
        blocks = blocks_in_a_group('CIFARResNet', depth, extra=2)
        self.conv1 = conv3x3(3, widths[0])
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.layer1, self.layer2, self.layer3 = (
            group(BasicBlock, blocks, *shape) for shape in zip(widths, widths[1:], STRIDES)
        )

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """The last feature map."""
        x = self.relu(self.bn1(self.conv1(x)))
        return (self.layer3(self.layer2(self.layer1(x))),)


@MODELS.register_module()
class CIFARWideResNet(BaseModule):
    """Wide ResNets for CIFAR (wrn-depth-widen_factor): three groups of pre-activation blocks, no dropout.

    Args:
        depth (int): 6n+4 for n blocks in each group. Defaults to 16.
        widen_factor (int): The groups have 16, 32 and 64 times so many channels. Defaults to 2.
        init_cfg (dict | list[dict], optional): As in mmengine. Defaults to He's initialisation.

    Example:
        >>> dict(type='mmkd.CIFARWideResNet', depth=40, widen_factor=2)  # wrn40-2
    """

    def __init__(
        self,
        depth: int = 16,
        widen_factor: int = 2,
        init_cfg: dict | Sequence[dict] | None = INIT,
    ):
        super().__init__(init_cfg)
        blocks = blocks_in_a_group('CIFARWideResNet', depth, extra=4)
        widths = [16, *(width * widen_factor for width in (16, 32, 64))]
        self.conv1 = conv3x3(3, widths[0])
        self.block1, self.block2, self.block3 = (
            group(PreActBlock, blocks, *shape) for shape in zip(widths, widths[1:], STRIDES)
        )
        self.bn1 = nn.BatchNorm2d(widths[-1])
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """The last feature map, after the final norm and ReLU."""
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return (self.relu(self.bn1(x)),)
