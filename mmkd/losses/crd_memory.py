"""Embeddings of a whole training set, to contrast a batch with."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)


class Side(nn.Module):
    """One network's embedding, and the embeddings of all images as the other network's are contrasted with them."""

    memory: Tensor
    normaliser: Tensor

    def __init__(self, width: int, dimensions: int, samples: int):
        super().__init__()
        self.embed = nn.Linear(width, dimensions)
        bound = (3 / dimensions) ** 0.5
        self.register_buffer('memory', torch.empty(samples, dimensions).uniform_(-bound, bound))
        self.register_buffer('normaliser', torch.tensor(-1.0))  # none before the first batch

    def forward(self, feature: Tensor) -> Tensor:
        """The embeddings (N, dimensions), with norm 1."""
        return F.normalize(self.embed(feature.flatten(1)))

    def contrast(self, embedding: Tensor, memory: Tensor, tau: float) -> Tensor:
        """How likely each remembered embedding (N, 1 + negatives, dimensions) is this image's own: the first is."""
        scores = ((memory @ embedding[:, :, None]).squeeze(2) / tau).exp()
        with torch.no_grad():
            first = scores.mean() * len(self.memory)
            self.normaliser.copy_(torch.where(self.normaliser < 0, first, self.normaliser))
        own, others = (scores / self.normaliser).split([1, scores.shape[1] - 1], dim=1)
        noise = others.shape[1] / len(self.memory)
        likelihood = (own / (own + noise + 1e-7)).log().sum() + (noise / (others + noise + 1e-7)).log().sum()
        return -likelihood / len(own)

    @torch.no_grad()
    def remember(self, indices: Tensor, embedding: Tensor, momentum: float) -> None:
        """Move the memory of these images towards their embeddings."""
        self.memory[indices] = F.normalize(momentum * self.memory[indices] + (1 - momentum) * embedding.to(self.memory))
