"""The two networks of a distillation, and their stages."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmkd.errors import UserError
from mmkd.features.capture import Feature
from mmkd.features.layout import Layout
from mmkd.features.padding import Padded, divisor_of
from mmkd.stages.pairing import pair_plans, plan_of
from mmkd.stages.plan import Stage, StagePlan
from mmkd.teacher.network import Teacher
from mmkd.teacher.renormalise import Renormalise
from mmkd.utils.random_state import own_randomness

NO_SCHEDULE = (
    'default_hooks: nothing says which stage is learned; add '
    "default_hooks = dict(stages=dict(type='mmkd.StageScheduleHook')), which tools/train.py does by itself."
)


@dataclass(frozen=True)
class TrainingSet:
    """What is known of the training images before the training.

    Args:
        images: How many there are.
        samples: The ground truth of a batch.
        joined: Whether it is several data sets, each of which numbers its own images.
    """

    images: int
    samples: Sequence[Any]
    joined: bool = False

    def __deepcopy__(self, memo: dict) -> 'TrainingSet':
        """Averages of weights copy the distiller, but share what is known of the data."""
        return self


class Networks:
    """The student, its teacher, and the modules that are trained beside the student and never saved with it.

    Args:
        student: The network that learns.
        teacher: Holds the teacher network.
        extras: Adapters, auxiliary heads and losses, by name.
    """

    training_set: TrainingSet | None = None  # the schedule sets it
    reads_places = False  # whether a loss asks for images' places in the training set, which only the host knows
    epochs: float | None = None  # of the phase in which the head learns, if the training counts epochs; set likewise
    teacher_stages: dict[str, Stage]  # the teacher's stages by the names of the student's; see pair_stages

    def __init__(self, student: BaseModel, teacher: Teacher, extras: nn.ModuleDict):
        self.student, self.teacher, self.extras = student, teacher, extras
        self.preprocessor: nn.Module = student.data_preprocessor
        self.teacher_inputs = Renormalise(self.preprocessor, teacher.network.get_submodule('data_preprocessor'))
        # the names of the parameters that the student's own config trains
        self.trainable = {name for name, parameter in student.named_parameters() if parameter.requires_grad}
        self._plan: StagePlan | None = None

    @property
    def plan(self) -> StagePlan:
        """The stages of the student, once they are found."""
        if self._plan is None:
            raise UserError(NO_SCHEDULE)
        return self._plan

    def find_stages(self, inputs: Tensor) -> None:
        """Find the student's stages with a preprocessed batch, which the teacher must be able to read."""
        with own_randomness():
            self._plan = plan_of('student', self.student, self.padded_for_both(inputs))
            self.teacher.try_on(self.teacher_inputs(inputs))

    def pair_stages(self, inputs: Tensor, pairs: Sequence[tuple[str, str]] | None = None) -> None:
        """Find the stages of both networks and which ones belong together, with a preprocessed batch."""
        both = self.padded_for_both(inputs)
        with own_randomness():
            self._plan, teacher_plan = pair_plans(
                self.student, both, self.teacher.network, self.teacher_inputs(both), pairs
            )
        self.teacher_stages = {stage.name: theirs for stage, theirs in zip(self._plan.stages, teacher_plan.stages)}
        self.teacher_head = teacher_plan.head
        self.check_cut(self.teacher_stages.values())

    def padded_for_both(self, inputs: Tensor) -> Tensor:
        """A preprocessed batch, padded to a size that both networks' configs would leave as it is."""
        return Padded.to_multiples(inputs, math.lcm(divisor_of(self.preprocessor), self.teacher.divisor)).inputs

    def teacher_batch(self, inputs: Tensor, data_samples: list) -> Tensor:
        """A batch as the whole teacher sees it, padded its way; samples that have the size of their batch get this one.

        A DETR masks the area outside of an image by it.
        """
        padded = self.teacher.pad(self.teacher_inputs(inputs, data_samples)).inputs
        for sample in data_samples:
            if 'batch_input_shape' in sample:
                sample.set_metainfo(dict(batch_input_shape=tuple(padded.shape[-2:])))
        return padded

    def run_teacher(self, stages: Sequence[Stage], inputs: Tensor, data_samples: list | None) -> list[Feature]:
        """The teacher's features at the ends of these stages; it runs no further than the last of them."""
        return self.teacher.run_to(stages, self.teacher_inputs(inputs, data_samples))

    def is_frozen(self, stage: Stage) -> bool:
        """Whether the student's own config freezes a whole stage."""
        return not self.trainable.intersection(stage.parameters)

    def check_cut(self, stages: Iterable[Stage]) -> None:
        """Raise an error if the teacher's batches are padded further and its features could not be cut back."""
        if divisor_of(self.preprocessor) % self.teacher.divisor:
            for stage in stages:
                _check_maps(stage, self.teacher.divisor)


def build_student(student: dict, data_preprocessor: dict | None) -> BaseModel:
    """Build the student, or raise an error if it has no stages.

    Args:
        student: Its model config.
        data_preprocessor: The config's top-level one.
    """
    if not isinstance(student, dict):
        raise UserError(f"model.student: it must be the student's model config, a dict, not {student!r}.")
    student = dict(student)
    if data_preprocessor is not None:
        student.setdefault('data_preprocessor', data_preprocessor)
    network = MODELS.build(student)
    if not hasattr(network, 'extract_feat') or not hasattr(network, 'backbone'):
        raise UserError(
            f'model.student: a {type(network).__name__} keeps its network in one piece, without a backbone '
            "whose stages could be told apart; build it as dict(type='ImageClassifier', backbone=..., neck=..., "
            "head=...), a model of timm with backbone=dict(type='TIMMBackbone', ...), or as a detector of mmdet."
        )
    return network


def _check_maps(stage: Stage, divisor: int) -> None:
    layouts = [Layout.of(stage, shape) for shape in stage.shapes]
    if any(layout.prefix is not None or layout.channels_last for layout in layouts):
        raise UserError(
            f'data_preprocessor.pad_size_divisor: the teacher pads images to multiples of {divisor}, and what it puts '
            f"out at {stage.end}, of the shape {stage.shapes[0]}, cannot be cut back to the size of the student's; "
            f"set the student's to a multiple of {divisor}."
        )
