"""MobileFaceNet (Chen et al., arXiv 1804.07573), for aligned faces."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmkd.errors import UserError
from mmkd.registry import MODELS

INIT = (
    dict(type='Kaiming', layer=('Conv2d', 'Linear'), mode='fan_out'),
    dict(type='Constant', layer='BatchNorm2d', val=1, bias=0),
)


class Layers(nn.Module):
    """Some layers in a row, added to their input if asked to."""

    def __init__(self, *layers: nn.Module, residual: bool = False):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """The last layer's output."""
        return x + self.layers(x) if self.residual else self.layers(x)


def linear(width: int, new_width: int, kernel: int = 1, stride: int = 1, padding: int = 0, groups: int = 1) -> Layers:
    """A convolution and its norm."""
    convolution = nn.Conv2d(width, new_width, kernel, stride, padding, groups=groups, bias=False)
    return Layers(convolution, nn.BatchNorm2d(new_width))


def conv(width: int, new_width: int, **kwargs: int) -> Layers:
    """The same before a PReLU."""
    return Layers(*linear(width, new_width, **kwargs).layers, nn.PReLU(new_width))


def bottleneck(width: int, new_width: int, inner: int, stride: int = 1, residual: bool = False) -> Layers:
    """Wider, then each channel by itself, then narrower."""
    depthwise = conv(inner, inner, kernel=3, stride=stride, padding=1, groups=inner)
    return Layers(conv(width, inner), depthwise, linear(inner, new_width), residual=residual)


def repeated(blocks: int, width: int, inner: int) -> Layers:
    """Bottlenecks of one resolution."""
    return Layers(*(bottleneck(width, width, inner, residual=True) for _ in range(blocks)))


@MODELS.register_module()
class MobileFaceNet(BaseModule):
    """MobileFaceNet, whose last map becomes an embedding by a convolution over all of it, each channel by itself.

    Its parameters are named as in InsightFace's ``arcface_torch``: ``layers.0`` to ``layers.7``, ``conv_sep`` and
    ``features.layers``.

    Args:
        num_features (int): The embedding's size. Defaults to 512; the paper's is 128.
        scale (int): Widths are 64 and 128 times this. Defaults to 2, as InsightFace's; the paper's is 1.
        blocks (Sequence[int]): How many blocks there are at each of four resolutions. Defaults to (1, 4, 6, 2), the
            paper's; InsightFace's large one has (2, 8, 12, 4) and scale 4.
        image_size (int): Pixels of a side. Defaults to 112.
        init_cfg (dict | list[dict], optional): As in mmengine. Defaults to He's initialisation.

    Example:
        >>> dict(type='mmkd.MobileFaceNet', num_features=128, scale=1)  # the paper's
    """

    def __init__(
        self,
        num_features: int = 512,
        scale: int = 2,
        blocks: Sequence[int] = (1, 4, 6, 2),
        image_size: int = 112,
        init_cfg: dict | Sequence[dict] | None = INIT,
    ):
        super().__init__(init_cfg)
        if len(blocks) != 4 or min(blocks) < 1:
            raise UserError(f'MobileFaceNet: blocks must be four numbers of 1 or more, not {blocks!r}.')
        narrow, wide = 64 * scale, 128 * scale
        first = conv(narrow, narrow, kernel=3, padding=1, groups=64) if blocks[0] == 1 else None
        self.layers = nn.ModuleList(
            [
                conv(3, narrow, kernel=3, stride=2, padding=1),
                first or repeated(blocks[0], narrow, 128),
                bottleneck(narrow, narrow, 128, stride=2),
                repeated(blocks[1], narrow, 128),
                bottleneck(narrow, wide, 256, stride=2),
                repeated(blocks[2], wide, 256),
                bottleneck(wide, wide, 512, stride=2),
                repeated(blocks[3], wide, 256),
            ]
        )
        self.conv_sep = conv(wide, 512)
        self.features = Layers(
            linear(512, 512, kernel=-(-image_size // 16), groups=512),
            nn.Flatten(),
            nn.Linear(512, num_features, bias=False),
            nn.BatchNorm1d(num_features),
        )
        self.image_size = image_size

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """The embedding (N, num_features)."""
        if -(-x.shape[-1] // 16) != -(-self.image_size // 16):
            raise UserError(
                f'MobileFaceNet: the images have {x.shape[-1]} pixels a side, its image_size is {self.image_size}; '
                "set image_size to the side of the training images, or the pipeline's size to image_size."
            )
        for layer in self.layers:
            x = layer(x)
        return (self.features(self.conv_sep(x)),)
