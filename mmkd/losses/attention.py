"""Where a map attends to, and maps with what lies elsewhere added."""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)


class Context(nn.Module):
    """A map with its global context added: attended positions, through a bottleneck. It begins as the map itself."""

    def __init__(self, channels: int):
        super().__init__()
        self.attention = nn.Conv2d(channels, 1, 1)
        middle = max(channels // 2, 1)
        last = nn.Conv2d(middle, channels, 1)
        self.transform = nn.Sequential(nn.Conv2d(channels, middle, 1), nn.LayerNorm([middle, 1, 1]), nn.ReLU(), last)
        nn.init.kaiming_normal_(self.attention.weight)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, feature: Tensor) -> Tensor:
        """A map of the same shape."""
        places = self.attention(feature).flatten(2).softmax(2)
        return feature + self.transform((feature.flatten(2) @ places.transpose(1, 2)).unsqueeze(3))


class NonLocal(nn.Module):
    """A map with what other places tell added: products with a smaller map, without a softmax."""

    def __init__(self, channels: int, reduction: int, stride: int):
        super().__init__()
        middle = max(channels // reduction, 1)
        self.query, self.key, self.value = (nn.Conv2d(channels, middle, 1) for _ in range(3))
        self.strides = (2, stride)
        self.out = nn.Sequential(nn.Conv2d(middle, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, feature: Tensor) -> Tensor:
        """A map of the same shape."""
        query = self.query(feature).flatten(2)
        key, value = (self._pooled(one(feature)).flatten(2) for one in (self.key, self.value))
        told = value @ (key.transpose(1, 2) @ query) / key.shape[2]
        return feature + self.out(told.unflatten(2, feature.shape[2:]))

    def _pooled(self, feature: Tensor) -> Tensor:
        for stride in self.strides:  # of a map that is smaller one position remains
            feature = F.max_pool2d(feature, [min(stride, side) for side in feature.shape[2:]])
        return feature


def attention(feature: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """To places (N, 1, H, W) and to channels (N, C, 1, 1): softmaxes of mean absolute values, with a mean of 1."""
    images, channels, height, width = feature.shape
    values = feature.abs()
    places = (values.mean(1).flatten(1) / tau).softmax(1) * (height * width)
    return places.view(images, 1, height, width), (values.mean((2, 3), keepdim=True) / tau).softmax(1) * channels
