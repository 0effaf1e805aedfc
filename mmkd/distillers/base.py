"""The base of all distillers: a student in the module tree, a teacher outside it, a checkpoint of the plain student."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmkd.acceleration.batch_copies import wait_for_no_copy
from mmkd.acceleration.iteration_graphs import iteration_graphs
from mmkd.acceleration.options import SpeedUps
from mmkd.distillers.acceleration import Acceleration
from mmkd.distillers.freezing import freeze_all_but
from mmkd.distillers.inheriting import Inheritance
from mmkd.distillers.student_state import save_and_load_as_student
from mmkd.errors import UserError
from mmkd.objectives.networks import NO_SCHEDULE, Networks, build_student
from mmkd.objectives.objective import Objective, Step
from mmkd.stages.phases import ALL, Phase
from mmkd.stages.plan import StagePlan
from mmkd.tasks import scoring_parts
from mmkd.teacher.network import build_teacher, freeze_modes
from mmkd.unlabelled.batches import Batch, averaged, joined


class Distiller(BaseModel):
    """Trains ``student`` with the help of ``teacher``.

    A method is a subclass that sets ``objectives``. The first that takes a phase says what is learned in it.

    Its ``state_dict`` is the student's own, key by key: it loads into the plain model, and a plain model's loads into
    it. What it needs only for training lies in ``extras`` and travels under a key of its own (see StageScheduleHook).
    An attribute that the distiller lacks is looked up on the student, for hooks that reach into ``runner.model``.

    All methods have these options:

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

    compares_scores = False  # whether class scores are compared; then both networks need the same classes
    learns_scores_only = False  # whether the student's last phase learns nothing else of the teacher
    unfreezes_last = False  # whether everything learns in the last phase by default
    head_learns_from_features = False  # whether the head, when trained alone, reads nothing but the student's features
    student: BaseModel
    data_preprocessor: BaseDataPreprocessor
    extras: nn.ModuleDict
    objectives: Sequence[Objective]
    pairs: Sequence[tuple[str, str]] | None = None  # where stages end, if the user names it
    inheritance: Inheritance | None = None  # what the student inherits of the teacher's weights
    unlabelled: Batch | None = None  # the unlabelled batch of this iteration, which the schedule sets

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
        self.student = build_student(student, data_preprocessor)
        self.data_preprocessor = self.student.data_preprocessor  # includes the student's batch augmentations
        wait_for_no_copy(self.data_preprocessor)
        self.extras = nn.ModuleDict()
        self.current: Phase = ()  # names of what is being learned
        self.frozen_modules: list[nn.Module] = []  # the frozen modules of the student that are in no other frozen one
        self.progress = 0.0  # the fraction of the current phase that is done; the schedule sets it
        parts = ('backbone', 'neck', *(scoring_parts() if self.compares_scores else ()))  # teacher's parts that run
        self.teacher = build_teacher(teacher, parts, self.student)
        self.networks = Networks(self.student, self.teacher, self.extras)
        self.acceleration = Acceleration(
            self.networks, SpeedUps(channels_last, compile, frozen_dtype), iteration_graphs(cuda_graph, compile)
        )
        save_and_load_as_student(self)
        self.register_load_state_dict_post_hook(lambda distiller, _: distiller.acceleration.refresh())

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == 'student':  # not built yet
                raise
            return getattr(self.student, name)

    def _apply(self, fn: Callable[[Tensor], Tensor], *args, **kwargs) -> 'Distiller':
        """Move or cast all tensors (``to``, ``cuda``, ``half`` ...), the teacher's included."""
        super()._apply(fn, *args, **kwargs)
        self.teacher.turn(fn)
        self.acceleration.refresh()
        return self

    def init_weights(self) -> None:
        """Initialise the student as without a distiller."""
        self.student.init_weights()

    @property
    def plan(self) -> StagePlan:
        """The stages of the student, found by :meth:`prepare`."""
        return self.networks.plan

    @property
    def teacher_inputs(self) -> Callable[..., Tensor]:
        """Turns a preprocessed batch into the teacher's input."""
        return self.networks.teacher_inputs

    def objective(self, phase: Phase) -> Objective:
        """The objective of a phase."""
        return next(objective for objective in self.objectives if objective.takes(phase))

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'):
        """The mode 'loss' computes the objective's losses; other modes are the student's."""
        if mode == 'loss':
            if not self.current:
                raise UserError(NO_SCHEDULE)
            if self.unlabelled is None:
                return self.loss(inputs, data_samples)
            return self._loss_of_both(Batch(inputs, data_samples), self.unlabelled)
        return self.student(inputs, data_samples, mode=mode)

    def train_step(self, data: dict | tuple | list, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Train on a batch as mmengine does, or by replaying a graph."""
        self.speed_ups.begin_iteration()
        graphs = self.acceleration.graphs
        if graphs is None or not graphs.takes(optim_wrapper, self._beside_batch):
            return super().train_step(data, optim_wrapper)
        choices = self.objective(self.current).choices(self.current, self.progress)
        return graphs.train_step(self, data, optim_wrapper, (self.current, choices))

    @property
    def _beside_batch(self) -> str:
        """What an iteration reads beside its images and labels; a graph would read the first batch's for ever."""
        if self.unlabelled is not None:
            return 'images without labels lie beside the batch'
        return "a loss asks for images' places in the training set" if self.networks.reads_places else ''

    def loss(self, inputs: Tensor, data_samples: list | None) -> dict:
        """The losses of the current phase."""
        return self.objective(self.current).losses(self._step(inputs, data_samples))

    def loss_without_labels(self, inputs: Tensor, data_samples: list | None) -> dict:
        """Those of its losses that need no labels."""
        return self.objective(self.current).losses(replace(self._step(inputs, data_samples), labelled=False))

    def learns_from_images(self, phase: Phase) -> bool:
        """Whether a phase has a loss that needs no labels."""
        return self.objective(phase).learns_from_images(phase)

    def _step(self, inputs: Tensor, data_samples: list | None) -> Step:
        return Step(self.current, inputs, data_samples, self.progress)

    def _loss_of_both(self, labelled: Batch, unlabelled: Batch) -> dict:
        """Use one joined batch if no loss needs labels; otherwise average losses without labels over all images."""
        if not self.objective(self.current).needs_labels:
            both = joined(labelled, unlabelled, getattr(self.data_preprocessor, 'pad_value', 0))
            return self.loss(both.inputs, both.data_samples)
        losses = self.loss(labelled.inputs, labelled.data_samples)
        more = self.loss_without_labels(unlabelled.inputs, unlabelled.data_samples)
        return averaged(losses, more, len(labelled.inputs), len(unlabelled.inputs))

    def prepare(self, inputs: Tensor) -> None:
        """Find the stages with a preprocessed batch, and check the options that depend on them."""
        self.find_stages(inputs)
        for objective in self.objectives:
            objective.prepare(inputs)

    def find_stages(self, inputs: Tensor) -> None:
        """Find the stages of both networks, paired."""
        self.networks.pair_stages(inputs, self.pairs)
        if self.inheritance is not None:
            self.inheritance.remember()

    @property
    def teachable(self) -> tuple[str, ...]:
        """The names of stages or extras that the method can teach without the head."""
        return tuple(name for objective in self.objectives for name in objective.teachable)

    def default_phases(self) -> list:
        """The default schedule."""
        return [ALL]

    def left_out(self) -> tuple[str, ...]:
        """Stages that have no phase of their own by default where everything learns in the last one."""
        return ()

    def build_extras(self, phases: Sequence[Phase]) -> None:
        """Build the ``extras`` that these phases need."""
        for objective in self.objectives:
            objective.build_extras(phases)
        self.extras.to(next(self.student.parameters()).device)

    def speed_up(self, inputs: Tensor) -> None:
        """Fold batch norms and apply the speed options; comes after :meth:`build_extras`."""
        pairs = [objective.watched_modules for objective in self.objectives]
        watched = {stage.end for stage in self.plan.stages}.union(*(student for student, _ in pairs))
        self.acceleration.apply(inputs, watched, set().union(*(teacher for _, teacher in pairs)))

    @property
    def speed_ups(self) -> SpeedUps:
        """The speed options."""
        return self.acceleration.options

    @property
    def learns_head(self) -> bool:
        """Whether the head is being learned."""
        return bool(self.current) and self.plan.head.name in self.current

    def trained_extras(self) -> list[nn.Module]:
        """The modules in ``extras`` that are being learned."""
        return self.objective(self.current).trained_extras(self.current)

    @property
    def steep(self) -> Phase:
        """The current stages for which gradients are clipped, where the config says nothing of it."""
        return self.objective(self.current).steep(self.current)

    @property
    def measures(self) -> bool:
        """Whether :meth:`measure` supports the current phase."""
        return self.objective(self.current).measures(self.current)

    def measure(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Measures of the current phase, averaged over a validation batch."""
        return self.objective(self.current).measure(self._step(inputs, data_samples))

    def inherit_layers(self) -> str:
        """Let the student's layers behind the backbone begin as the teacher's where the user wants it; say so."""
        return '' if self.inheritance is None else self.inheritance.layers()

    def inherit_neck(self) -> str:
        """Copy the teacher's neck to the student if both are alike; return a sentence about it, or ''."""
        return '' if self.inheritance is None else self.inheritance.neck()

    def check_inheriting(self, inputs: Tensor, classes: Sequence[str] = ()) -> None:
        """Refuse networks of which the student cannot take over what the method needs; comes before the training."""
        if self.inheritance is not None:
            self.inheritance.check(inputs, classes)

    def inherit_head(self, inputs: Tensor, classes: Sequence[str] = ()) -> str:
        """Copy the teacher's head to the student when all features are learned; return a sentence about it.

        Raises:
            CannotInherit: It would not be exact.
        """
        return '' if self.inheritance is None else self.inheritance.head(inputs, classes)

    def enter(self, names: Sequence[str]) -> None:
        """Learn these stages or extras from now on, and freeze everything else."""
        self.current = tuple(names)
        stages = [stage for stage in self.plan if stage.name in names]
        self.frozen_modules = freeze_all_but(self.student, stages, self.networks.trainable)
        self.extras.requires_grad_(False)
        for module in self.trained_extras():
            module.requires_grad_(True)
        self.train(self.training)
        self.acceleration.refresh()

    def train(self, mode: bool = True) -> 'Distiller':
        """Set modes as the student does, but keep frozen parts in evaluation mode: statistics, dropout, drop path."""
        turns = mode != self.training
        super().train(mode)
        for module in self.frozen_modules:
            freeze_modes(module)
        if self.current:
            self.extras.eval()
            for extra in self.trained_extras():
                extra.train(mode)
        # not in validation, whose other batch size would make torch compile training for any size
        self.speed_ups.active = bool(mode and self.current)
        if turns:  # averaged weights are swapped in for the validation
            self.acceleration.refresh()
        return self
