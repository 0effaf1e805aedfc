"""A network that ends in an embedding."""

from typing import Any

from mmengine.model import BaseModel
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmkd.errors import UserError
from mmkd.registry import MODELS


@MODELS.register_module()
class FaceRecognizer(BaseModel):
    """A backbone, a neck and a head as in mmpretrain's ``ImageClassifier``, whose prediction is the embedding.

    The embedding (N, C) is the last of what the neck puts out, or the backbone without one. The head, such as
    mmpretrain's ``ArcFaceClsHead``, makes the loss from it; a network that is only tested or mimicked needs none. The
    keys of its weights are the ``ImageClassifier``'s, so a checkpoint of one loads into the other.

    Args:
        backbone (dict): Of any toolbox, or :class:`mmkd.IResNet` or :class:`mmkd.MobileFaceNet`.
        neck (dict, optional): Needed where the backbone puts out maps. Defaults to None.
        head (dict, optional): Defaults to None.
        flip (bool): Predict the sum of the embeddings of the image and of its mirror image. Defaults to False.
        data_preprocessor (dict, optional): Defaults to mmpretrain's ``ClsDataPreprocessor``.
        init_cfg (dict, optional): As in mmengine.

    Example:
        >>> dict(type='mmkd.FaceRecognizer', backbone=dict(type='mmkd.IResNet'), flip=True)
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        head: dict | None = None,
        flip: bool = False,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        preprocessor = dict(type='mmpretrain.ClsDataPreprocessor')
        if not isinstance(data_preprocessor, dict | None):
            preprocessor = data_preprocessor
        super().__init__({**preprocessor, **data_preprocessor} if data_preprocessor else preprocessor, init_cfg)
        self.backbone = MMENGINE_MODELS.build(backbone)
        self.neck = MMENGINE_MODELS.build(neck) if neck else None
        self.head = MMENGINE_MODELS.build(head) if head else None
        self.flip = flip

    @property
    def with_neck(self) -> bool:
        """Whether there is a neck."""
        return self.neck is not None

    @property
    def with_head(self) -> bool:
        """Whether there is a head."""
        return self.head is not None

    def extract_feat(self, inputs: Tensor) -> Any:
        """The head's input."""
        features = self.backbone(inputs)
        return features if self.neck is None else self.neck(features)

    def embedding(self, inputs: Tensor) -> Tensor:
        """The embeddings (N, C); their lengths vary."""
        features = self.extract_feat(inputs)
        embedding = features if isinstance(features, Tensor) else features[-1]
        if embedding.ndim != 2:
            raise UserError(
                f'FaceRecognizer: it puts out a feature of shape {tuple(embedding.shape)} and no embedding (N, C); add '
                "neck=dict(type='GlobalAveragePooling')."
            )
        return embedding

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor') -> Any:
        """The head's scores (without one the embedding), the losses, or the samples with their embeddings."""
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        return self.embedding(inputs) if self.head is None else self.head(self.extract_feat(inputs))

    def loss(self, inputs: Tensor, data_samples: list | None) -> dict:
        """The losses of the head."""
        if self.head is None:
            raise UserError(
                "model.head: a FaceRecognizer learns from labels by its head; add head=dict(type='ArcFaceClsHead', "
                'num_classes=..., in_channels=...).'
            )
        return self.head.loss(self.extract_feat(inputs), data_samples)

    def predict(self, inputs: Tensor, data_samples: list | None = None) -> list[BaseDataElement]:
        """The samples, each with its ``embedding``."""
        embeddings = self.embedding(inputs)
        if self.flip:
            embeddings = embeddings + self.embedding(inputs.flip(-1))
        samples = [BaseDataElement() for _ in embeddings] if data_samples is None else data_samples
        for sample, embedding in zip(samples, embeddings):
            sample.set_field(embedding, 'embedding')
        return samples
