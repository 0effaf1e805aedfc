"""What all distillers share: a student in the module tree, a teacher outside it, a checkpoint that is the student."""

import logging
import math
from collections.abc import Callable, Sequence

import torch
from mmengine.logging import print_log
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmkd.acceleration.batch_copies import wait_for_no_copy
from mmkd.acceleration.batchnorm_folding import FrozenNorms, find_pairs
from mmkd.acceleration.iteration_graphs import iteration_graphs
from mmkd.acceleration.options import SpeedUps
from mmkd.errors import UserError
from mmkd.features.padding import Padded, divisor_of
from mmkd.stages.phases import ALL, Phase
from mmkd.stages.plan import Stage, StagePlan
from mmkd.tasks import scoring_parts
from mmkd.teacher.network import Renormalise, Teacher, UnfitWeightsError, check_teacher_keys, freeze_modes
from mmkd.unlabelled.batches import Batch, averaged, joined

_STUDENT = 'student.'
NO_SCHEDULE = (
    'default_hooks: nothing says which stage is learned; add '
    "default_hooks = dict(stages=dict(type='mmkd.StageScheduleHook')), which tools/train.py does by itself."
)


class Distiller(BaseModel):
    """Trains ``student`` with the help of ``teacher``.

    Its ``state_dict`` is the student's own, key by key: it loads into the plain model, and a plain model's loads into
    it. What it needs only for training lies in ``extras`` and travels under a key of its own (see StageScheduleHook).
    An attribute that the distiller lacks is looked up on the student, for hooks that reach into ``runner.model``.

    Args:
        student (dict): The student's model config, untouched.
        teacher (dict): ``dict(config=..., checkpoint=...)``, see :class:`mmkd.teacher.network.Teacher`.
        channels_last (bool): Keep convolutions' weights, and so their features, in memory with the channels last.
            Defaults to False.
        compile (bool | dict): Compile the parts of both networks that a stage runs as a whole, with these options of
            ``torch.compile``. Defaults to False.
        data_preprocessor (dict, optional): The config's top-level one; the Runner passes it on.
        frozen_dtype (str, optional): While training, what is frozen of both networks runs in it, ``'bfloat16'`` or
            ``'float16'``; what learns, and all losses, stay in float32. Defaults to None: in float32, too.
        cuda_graph (bool): Replay forward and backward of an iteration from a CUDA graph, where that is possible.
            Defaults to False.
    """

    compares_scores = False  # of classes, which must then be the same in both networks
    unfreezes_last = False  # whether everything learns in the last phase, unless the user says otherwise
    head_learns_from_features = False  # of the student alone: where only the head learns, nothing else sees the images
    student: BaseModel
    data_preprocessor: BaseDataPreprocessor
    extras: nn.ModuleDict
    plan: StagePlan  # of the student, made by prepare()
    unlabelled: Batch | None = None  # beside the batch at hand; the schedule hands it over

    def __init__(
        self,
        student: dict,
        teacher: dict,
        channels_last: bool = False,
        compile: bool | dict = False,
        data_preprocessor: dict | None = None,
        frozen_dtype: str | None = None,
        cuda_graph: bool = False,
    ):
        super().__init__()
        if not isinstance(student, dict):
            raise UserError(f"model.student: it must be the student's model config, a dict, not {student!r}.")
        student = dict(student)
        if data_preprocessor is not None:
            student.setdefault('data_preprocessor', data_preprocessor)
        self.student = MODELS.build(student)
        if not hasattr(self.student, 'extract_feat') or not hasattr(self.student, 'backbone'):
            raise UserError(
                f'model.student: a {type(self.student).__name__} keeps its network in one piece, without a backbone '
                "whose stages could be told apart; build it as dict(type='ImageClassifier', backbone=..., neck=..., "
                "head=...), a model of timm with backbone=dict(type='TIMMBackbone', ...), or as a detector of mmdet."
            )
        self.data_preprocessor = self.student.data_preprocessor  # with the student's batch augmentations
        wait_for_no_copy(self.data_preprocessor)
        self.trainable = {name for name, parameter in self.student.named_parameters() if parameter.requires_grad}
        self.extras = nn.ModuleDict()
        self.current: tuple[str, ...] = ()  # names of the stages that are being learned
        self.frozen_modules: list[nn.Module] = []  # the frozen modules of the student that are in no other frozen one
        self.learns_head = False
        self.progress = 0.0  # the part of the phase at hand that is done; the schedule tells
        parts = ('backbone', 'neck', *(scoring_parts() if self.compares_scores else ()))  # of the teacher, that run
        self.teacher = _build_teacher(teacher, parts, self.student)
        self.teacher_inputs = Renormalise(
            self.data_preprocessor, self.teacher.network.get_submodule('data_preprocessor')
        )
        self.frozen_norms = FrozenNorms(self.student, [])
        self.speed_ups = SpeedUps(channels_last, compile, frozen_dtype)
        self.graphs = iteration_graphs(cuda_graph, compile)
        self.register_state_dict_post_hook(_keep_student)
        self.register_load_state_dict_pre_hook(_from_student)
        self.register_load_state_dict_post_hook(_extras_travel_apart)

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == 'plan':
                raise UserError(NO_SCHEDULE) from None
            if name == 'student':  # not built yet
                raise
            return getattr(self.student, name)

    def _apply(self, fn: Callable[[Tensor], Tensor], *args, **kwargs) -> 'Distiller':
        """Move or cast all tensors (``to``, ``cuda``, ``half`` ...), the teacher's included."""
        super()._apply(fn, *args, **kwargs)
        self.teacher.turn(fn)
        self.renew()
        return self

    def init_weights(self) -> None:
        """Initialise the student as without a distiller."""
        self.student.init_weights()

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'):
        """Losses are the method's; everything else is the student's."""
        if mode == 'loss':
            if not self.current:
                raise UserError(NO_SCHEDULE)
            if self.unlabelled is None:
                return self.loss(inputs, data_samples)
            return self._loss_of_both(Batch(inputs, data_samples), self.unlabelled)
        return self.student(inputs, data_samples, mode=mode)

    def train_step(self, data: dict | tuple | list, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """As mmengine's, or the same from a graph."""
        aside = 'images without labels lie beside the batch' if self.unlabelled is not None else ''
        if self.graphs is None or not self.graphs.takes(optim_wrapper, aside):
            return super().train_step(data, optim_wrapper)
        return self.graphs.train_step(self, data, optim_wrapper, self.decided)

    @property
    def decided(self) -> tuple:
        """What is decided outside the device about the current loss."""
        return self.current

    def loss(self, inputs: Tensor, data_samples: list | None) -> dict:
        """The method's losses."""
        raise NotImplementedError

    def learns_from_images(self, phase: Phase) -> bool:
        """Whether the loss of a phase has a term without labels."""
        return False

    @property
    def needs_labels(self) -> bool:
        """Whether the current loss has a term with labels."""
        return True

    def loss_without_labels(self, inputs: Tensor, data_samples: list | None) -> dict:
        """The loss terms that need no labels."""
        return {}

    def _loss_of_both(self, labelled: Batch, unlabelled: Batch) -> dict:
        """One batch where no labels are needed; else what needs none is the mean over all images."""
        if not self.needs_labels:
            both = joined(labelled, unlabelled, getattr(self.data_preprocessor, 'pad_value', 0))
            return self.loss(both.inputs, both.data_samples)
        losses = self.loss(labelled.inputs, labelled.data_samples)
        more = self.loss_without_labels(unlabelled.inputs, unlabelled.data_samples)
        return averaged(losses, more, len(labelled.inputs), len(unlabelled.inputs))

    def padded_for_both(self, inputs: Tensor) -> Tensor:
        """A preprocessed batch, padded to a size that both networks' configs would leave as it is."""
        return Padded.to_multiples(inputs, math.lcm(divisor_of(self.data_preprocessor), self.teacher.divisor)).inputs

    def prepare(self, inputs: Tensor) -> None:
        """Make ``plan``, the stage plan of the student, with a preprocessed batch."""
        raise NotImplementedError

    @property
    def teachable(self) -> tuple[str, ...]:
        """What the method can teach without the head: names of stages or of extras."""
        return ()

    def default_phases(self) -> list:
        """What is learned when, unless the schedule says otherwise."""
        return [ALL]

    def build_extras(self, phases: Sequence[Phase]) -> None:
        """Build the ``extras`` that these phases need."""

    @property
    def watched_modules(self) -> tuple[set[str], set[str]]:
        """Paths of the modules of the student and of the teacher whose output is read."""
        return {stage.end for stage in self.plan.stages}, set()

    def speed_up(self, inputs: Tensor) -> None:
        """Fold batch norms and apply the speed options; comes after :meth:`build_extras`."""
        inputs = self.padded_for_both(inputs)
        read, read_of_teacher = self.watched_modules
        pairs = find_pairs(self.student, inputs, read)
        # What its own config freezes stays as it is: without a weight on anything else the run is the plain one.
        self.frozen_norms = FrozenNorms(self.student, [pair for pair in pairs if f'{pair[0]}.weight' in self.trainable])
        teacher_inputs = self.teacher_inputs(inputs)
        self.teacher.fold(teacher_inputs, read_of_teacher)
        self.speed_ups.apply('model.student', self.student, inputs, read)
        self.speed_ups.apply('model.teacher', self.teacher.network, teacher_inputs, read_of_teacher)
        if self.speed_ups.channels_last:
            self.extras.to(memory_format=torch.channels_last)

    def is_frozen(self, stage: Stage) -> bool:
        """Whether the student's own config freezes all of a stage."""
        return not self.trainable.intersection(stage.parameters)

    def learns_from(self, stage: Stage) -> str:
        """What a stage learns from, in words."""
        if stage is self.plan.head:
            return 'learns from the ground truth'
        return "is frozen by the student's config" if self.is_frozen(stage) else 'has no loss of its own'

    def trained_extras(self) -> list[nn.Module]:
        """The modules in ``extras`` that learn together with the stages at hand."""
        return []

    @property
    def measures(self) -> bool:
        """Whether :meth:`measure` supports the current stages."""
        return False

    def measure(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Measures of the current stages, averaged over a validation batch."""
        return {}

    def inherit_neck(self) -> str:
        """Start the student's neck from the teacher's; return a message if that is done."""
        return ''

    def inherit_head(self, inputs: Tensor, classes: Sequence[str] = ()) -> str:
        """Copy the teacher's head to the student when all features are learned; return a message.

        Raises:
            CannotInherit: It would not be exact.
        """
        return ''

    def enter(self, names: Sequence[str]) -> None:
        """Learn the stages of these names from now on, and freeze everything else."""
        self.current = tuple(names)
        stages = [stage for stage in self.plan if stage.name in names]
        self.learns_head = self.plan.head in stages
        learned = {name for stage in stages for name in stage.parameters}
        for name, parameter in self.student.named_parameters():
            parameter.requires_grad = name in learned and name in self.trainable
        self.extras.requires_grad_(False)
        for module in self.trained_extras():
            module.requires_grad_(True)
        awake = {name for stage in stages for name in stage.modules}
        ancestors = {name.rsplit('.', depth)[0] for name in awake for depth in range(1, name.count('.') + 1)} | {''}
        frozen = {name for name, _ in self.student.named_modules()} - awake - ancestors
        self.frozen_modules = [
            self.student.get_submodule(name) for name in sorted(frozen) if name.rpartition('.')[0] not in frozen
        ]
        self.train(self.training)
        self.renew()

    def train(self, mode: bool = True) -> 'Distiller':
        """As the student does, but what is frozen stays in evaluation mode: statistics, dropout, stochastic depth."""
        turns = mode != self.training
        super().train(mode)
        for module in self.frozen_modules:
            freeze_modes(module)
        if self.current:
            self.extras.eval()
            for extra in self.trained_extras():
                extra.train(mode)
        # The validation is the plain student's, and has batches of another size, for whose sake torch would compile the
        # training for any.
        self.speed_ups.active = bool(mode and self.current)
        if turns:  # averaged weights are swapped in for the validation
            self.renew()
        return self

    def renew(self) -> None:
        """Weights or what learns may have changed: make anew what depends on them."""
        self.frozen_norms.refresh()
        self.speed_ups.renew()
        if self.graphs is not None:
            self.graphs.drop()


def _build_teacher(teacher: dict, parts: Sequence[str], student: nn.Module) -> Teacher:
    check_teacher_keys(teacher)
    try:
        built = Teacher(teacher['config'], teacher['checkpoint'], parts)
    except UnfitWeightsError as error:
        if error.fit(student):
            raise UserError(
                f'model.teacher.checkpoint: {teacher["checkpoint"]} fits model.student and not the teacher; name the '
                "teacher's own, or swap student and teacher where they stand the wrong way round."
            ) from error
        raise
    own, theirs = (sum(p.numel() for p in network.parameters()) for network in (student, built.network))
    if own > theirs:
        print_log(
            f'The student has more parameters ({own:,}) than its teacher ({theirs:,}): are the two swapped?',
            logger='current',
            level=logging.WARNING,
        )
    return built


def _keep_student(module: nn.Module, state: dict, prefix: str, local_metadata: dict) -> None:
    """Saved keys are the plain student's."""
    for key in [key for key in state if key.startswith(prefix)]:
        value = state.pop(key)
        if key.startswith(prefix + _STUDENT):
            state[prefix + key[len(prefix + _STUDENT) :]] = value


def _from_student(module: nn.Module, state: dict, prefix: str, *args) -> None:
    """Plain keys find the student; hooks such as mmdet's SyncNormHook load by the names of modules."""
    kinds = (module.named_parameters, module.named_buffers)
    own = {prefix + name for kind in kinds for name, _ in kind() if name.startswith((_STUDENT, 'extras.'))}
    for key in [key for key in state if key.startswith(prefix) and key not in own]:
        state[prefix + _STUDENT + key[len(prefix) :]] = state.pop(key)


def _extras_travel_apart(module: nn.Module, incompatible_keys) -> None:
    module.renew()  # type: ignore[operator]
    missing = incompatible_keys.missing_keys
    missing[:] = [key.replace(_STUDENT, '', 1) for key in missing if 'extras.' not in key]
