"""A batch of features with its ground truth as rows of bytes, and a network that trains on such rows."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from mmkd.errors import UserError


class RowFormat:
    """The layout of a row: the tensors of the feature, then those of the data sample.

    A batch of rows is read, moved to a device and split at once. Pickled samples would have to be read one by one, and
    could run code.

    Args:
        feature: What ``extract_feat`` returns for a batch: a tensor, or tuples, lists and dicts of tensors.
        samples: The batch's data samples, preprocessed.
    """

    def __init__(self, feature: Any, samples: Sequence):
        self.structure = tree_flatten(feature)[1]
        self.kind = type(samples[0])
        self.fields = sorted(samples[0].keys())
        self.columns = [(tuple(part.shape[1:]), part.dtype) for part in self._parts(feature, samples)]
        self.sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in self.columns]
        self.size = sum(self.sizes)

    def __str__(self) -> str:
        return f'{self.structure} {self.kind.__name__} {self.fields} {self.columns}'

    def pack(self, feature: Any, samples: Sequence) -> Tensor:
        """Turn a batch into rows (N, size)."""
        parts = self._parts(feature, samples)
        if [(tuple(part.shape[1:]), part.dtype) for part in parts] != self.columns:
            raise UserError(
                'mmkd.FeatureCacheHook: features or ground truth of the training images differ in size from image '
                'to image, so they cannot be cached; leave the hook out, then go on with --resume.'
            )
        return torch.cat([part.cpu().reshape(len(part), -1).contiguous().view(torch.uint8) for part in parts], dim=1)

    def unpack(self, rows: Tensor) -> tuple[Any, list]:
        """Turn rows into the feature and the data samples, on their device."""
        parts = [
            part.clone(memory_format=torch.contiguous_format).view(dtype).reshape(len(rows), *shape)
            for part, (shape, dtype) in zip(rows.split(self.sizes, dim=1), self.columns)
        ]
        leaves = len(parts) - len(self.fields)
        samples = []
        for values in zip(*parts[leaves:]):
            sample = self.kind()
            for name, value in zip(self.fields, values):
                sample.set_field(value, name)
            samples.append(sample)
        return tree_unflatten(parts[:leaves], self.structure), samples

    def _parts(self, feature: Any, samples: Sequence) -> list[Tensor]:
        leaves = tree_flatten(feature)[0]
        wrong = [value for value in leaves if not isinstance(value, Tensor) or len(value) != len(samples)]
        if wrong or any(sorted(sample.keys()) != self.fields for sample in samples):
            raise UserError(
                'mmkd.FeatureCacheHook: extract_feat of the student does not return one feature for each image, or the '
                'ground truth of the images has different fields, so they cannot be cached; leave the hook out.'
            )
        truths = [[sample.get(name) for sample in samples] for name in self.fields]
        if not all(isinstance(value, Tensor) for values in truths for value in values):
            raise UserError(
                'mmkd.FeatureCacheHook: only features of classifiers with one task can be cached (pyramids of a '
                'detector take megabytes an image, and depend on how its batch is padded); leave the hook out.'
            )
        if any(value.shape != values[0].shape for values in truths for value in values):
            raise UserError(
                'mmkd.FeatureCacheHook: images have different numbers of labels, so they cannot be cached; leave the '
                'hook out.'
            )
        return [*leaves, *(torch.stack(values) for values in truths)]


class FeatureReplay:
    """While active, a network reads features from a batch of rows; batches of images run as usual.

    Its preprocessor and its ``extract_feat`` are replaced on the objects; its own ``loss`` uses what they return.

    Args:
        network: Runs ``extract_feat`` in its ``loss``.
        rows: The format of the rows.
    """

    def __init__(self, network: nn.Module, rows: RowFormat):
        self.network, self.rows = network, rows

    def enable(self) -> None:
        """Begin to read rows."""
        preprocessor: Any = self.network.data_preprocessor
        preprocess, extract = preprocessor.forward, self.network.extract_feat

        def forward(data: dict, training: bool = False) -> dict:
            inputs = data['inputs']
            if not isinstance(inputs, Tensor) or inputs.ndim != 2:  # images have more dimensions
                return preprocess(data, training)
            feature, samples = self.rows.unpack(preprocessor.cast_data(inputs))
            return dict(inputs=FeatureInputs(feature), data_samples=samples)

        def extract_feat(inputs: Any, *args: Any, **kwargs: Any) -> Any:
            return inputs.feature if isinstance(inputs, FeatureInputs) else extract(inputs, *args, **kwargs)  # type: ignore

        vars(preprocessor)['forward'] = forward
        vars(self.network)['extract_feat'] = extract_feat

    def disable(self) -> None:
        """Stop reading rows."""
        vars(self.network.data_preprocessor).pop('forward', None)
        vars(self.network).pop('extract_feat', None)


class FeatureInputs:
    """Stands in for a batch of images whose feature is known; not a tuple, since DDP would copy that."""

    def __init__(self, feature: Any):
        self.feature = feature
