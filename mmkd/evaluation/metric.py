"""Collects the embeddings of a data set and evaluates them by its protocol."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric

from mmkd.errors import UserError
from mmkd.evaluation.protocols import Protocol
from mmkd.evaluation.templates import check_embeddings
from mmkd.registry import METRICS


@METRICS.register_module()
class FaceMetric(BaseMetric):
    """Verification and identification, by the protocol of the data set: see docs/faces.md.

    It needs a network that puts out embeddings, ``mmkd.FaceRecognizer``, and one of mmkd's face data sets for tests.

    Args:
        collect_device (str): How the processes exchange their embeddings, ``'cpu'`` or ``'gpu'``. Defaults to
            ``'cpu'``.
        prefix (str, optional): Of the metrics' names. Defaults to ``'face'``.
    """

    default_prefix = 'face'
    images = 0  # of the data set

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the embeddings of a batch."""
        for key in ('embedding', 'sample_idx'):
            if key not in data_samples[0]:
                raise UserError(
                    f'val_evaluator, test_evaluator: FaceMetric got predictions without {key}; '
                    + (
                        "let the model be dict(type='mmkd.FaceRecognizer', ...), which predicts embeddings."
                        if key == 'embedding'
                        else "let PackInputs keep 'sample_idx' among its meta_keys."
                    )
                )
        indices = np.array([sample['sample_idx'] for sample in data_samples])
        embeddings = torch.stack([sample['embedding'] for sample in data_samples]).detach().float().cpu().numpy()
        check_embeddings(embeddings, lambda row: data_samples[row].get('img_path', f'image {indices[row]}'))
        self.results.append((indices, embeddings))

    def evaluate(self, size: int) -> dict[str, float]:
        """The protocol's metrics of a data set of this size."""
        self.images = size
        return super().evaluate(size)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The protocol's metrics."""
        protocol = (self.dataset_meta or {}).get('protocol')
        if not isinstance(protocol, Protocol):
            raise UserError(
                'val_dataloader.dataset, test_dataloader.dataset: it has no protocol for FaceMetric; take one of '
                "mmkd's face data sets: FacePairs, FaceBin, FaceIdentities, IJBA or IJBC."
            )
        indices = np.concatenate([part for part, _ in results])
        embeddings = np.empty((max(self.images, indices.max() + 1), results[0][1].shape[1]), np.float32)
        seen = np.zeros(len(embeddings), bool)
        self.results.clear()
        while results:  # a gigabyte for IJB-C; the list is freed while it is copied
            part, vectors = results.pop()
            embeddings[part], seen[part] = vectors, True  # several processes may have embedded some images twice
        if not seen.all():
            raise UserError(
                f'FaceMetric: {int((~seen).sum()):,} of {len(seen):,} images have no embedding; the sampler must take '
                "all of them once: dict(type='DefaultSampler', shuffle=False), and drop_last must be False."
            )
        return protocol.evaluate(embeddings)
