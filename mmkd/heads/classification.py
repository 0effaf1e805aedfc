"""Small classifiers that read the feature of a stage."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmkd.errors import UserError
from mmkd.features.capture import Feature
from mmkd.features.layout import Layout
from mmkd.registry import MODELS

WIDTHS = 32, 256  # from the least to the most channels of a head whose width nobody says
INIT = (
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', layer='BatchNorm2d', val=1, bias=0),
    dict(type='Xavier', layer='Linear'),
)


def to_map(feature: Feature, layout: Layout | None) -> Tensor:
    """The last tensor of a feature as a map (N, C, H, W), without its prefix tokens.

    The last is the coarsest of a pyramid: what the toolboxes' own classification heads take, and the cheapest.
    """
    tensor = feature[-1]
    if layout is None:
        return tensor
    if layout.prefix is not None:
        return tensor[:, layout.prefix :].transpose(1, 2).unflatten(2, layout.size(tensor))
    return tensor.movedim(-1, 1) if layout.channels_last else tensor


def convolution(width: int, new_width: int, stride: int) -> nn.Sequential:
    """A padded 3x3 convolution, its norm and ReLU."""
    conv = nn.Conv2d(width, new_width, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(new_width), nn.ReLU(inplace=True))


@MODELS.register_module()
class AuxiliaryHead(BaseModule):
    """Two 3x3 convolutions, the mean over all positions, dropout, and one or two fully connected layers.

    Args:
        in_channels (int): Channels of the feature.
        num_classes (int): How many scores come out.
        width (int, optional): Channels of everything in between. Defaults to those of the feature, 32 at least and 256
            at most: on the wide maps of small networks heads of one width for all cost more than the networks.
        fcs (int): Fully connected layers: 1, or 2 with a ReLU between them. Defaults to 2.
        dropout (float): The part of the pooled feature that is dropped in training. Defaults to 0.0.
        stride (int): Stride of both convolutions; 2 is cheaper on large maps. Defaults to 1.
        layout (Layout, optional): How the feature is laid out. Defaults to None, a map (N, C, H, W).
        init_cfg (dict | list[dict], optional): As in mmengine. Defaults to He's initialisation of the
            convolutions and Xavier's of the rest.

    Example:
        >>> dict(type='mmkd.AuxiliaryHead', width=128, fcs=1)  # build_head knows channels, classes and layout
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        width: int | None = None,
        fcs: int = 2,
        dropout: float = 0.0,
        stride: int = 1,
        layout: Layout | None = None,
        init_cfg: dict | Sequence[dict] | None = INIT,
    ):
        super().__init__(init_cfg)
        numbers = dict(in_channels=in_channels, num_classes=num_classes, stride=stride)
        if width is not None:
            numbers['width'] = width
        for key, number in numbers.items():
            if type(number) is not int or number < 1:
                raise UserError(f'AuxiliaryHead: {key} must be a whole number of 1 or more, not {number!r}.')
        if type(fcs) is not int or fcs not in (1, 2):
            raise UserError(f'AuxiliaryHead: fcs must be 1 or 2, not {fcs!r}.')
        if type(dropout) not in (int, float) or not 0 <= dropout < 1:
            raise UserError(f'AuxiliaryHead: dropout must be a number from 0 to below 1, not {dropout!r}.')
        width = width or min(max(in_channels, WIDTHS[0]), WIDTHS[1])
        self.layout = layout
        self.convs = nn.Sequential(convolution(in_channels, width, stride), convolution(width, width, stride))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        hidden = [nn.Linear(width, width), nn.ReLU(inplace=True)] if fcs == 2 else []
        self.fcs = nn.Sequential(*hidden, nn.Linear(width, num_classes))

    def forward(self, feature: Feature) -> Tensor:
        """Scores (N, num_classes) of a stage's feature."""
        pooled = self.pool(self.convs(to_map(feature, self.layout))).flatten(1)
        return self.fcs(self.dropout(pooled))


class ToolboxHead(BaseModule):
    """A toolbox's own neck and head on the feature of a stage.

    Args:
        neck (nn.Module): Gets a tuple of one map (N, C, H, W).
        head (nn.Module): Gets the tuple that the neck puts out.
        layout (Layout, optional): How the feature is laid out. Defaults to None, a map (N, C, H, W).
    """

    def __init__(self, neck: nn.Module, head: nn.Module, layout: Layout | None = None):
        super().__init__()
        self.neck, self.head, self.layout = neck, head, layout

    def forward(self, feature: Feature) -> Tensor:
        """The output of the head's forward."""
        output = self.neck((to_map(feature, self.layout),))
        return self.head((output,) if isinstance(output, Tensor) else output)
