"""Stage-by-stage knowledge distillation (Gao et al., arXiv 1812.01819)."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from mmkd.distillers.base import Distiller
from mmkd.distillers.inheriting import inherit_head, inherit_neck, reads_one_map
from mmkd.distillers.options import check_dict, check_weight
from mmkd.errors import UserError
from mmkd.features.adapters import AdapterSet, Layout, build_adapter, module_key
from mmkd.features.capture import Feature, feature_of, recording, run_to
from mmkd.features.explained_variance import R2, variance_parts
from mmkd.features.padding import divisor_of
from mmkd.heads.inherited import state_of
from mmkd.registry import MODELS
from mmkd.stages.pairing import in_neck, pair_plans
from mmkd.stages.phases import Phase, check_name
from mmkd.stages.plan import Stage
from mmkd.utils.random_state import own_randomness

MIMIC_LOSS = 'mimic_loss'
FEATURE_LOSS = 'feature_loss'


@MODELS.register_module()
class SSKD(Distiller):
    """The student's backbone mimics the teacher's features one stage at a time, then everything learns from the labels.

    When the last feature is learned, the student's head starts as the teacher's. While stages learn with the head, some
    of their features go on mimicking, beside the student's own loss. The paper freezes the backbone while the head
    learns: that is ``unfreeze_last=False`` of the schedule, and nothing is mimicked then.

    Not the self-supervised "SSKD" of Xu et al. 2020. What is learned when is the schedule's business
    (:class:`mmkd.hooks.StageScheduleHook`); this class knows what a stage is, how it is learned and what is frozen.

    Args:
        student (dict): The student's model config.
        teacher (dict): ``dict(config=..., checkpoint=...)``.
        mimic_loss (dict): The distance between features. Defaults to ``dict(type='mmkd.FeatureMimicLoss')``.
        stage_losses (dict[str, dict]): Other losses for single stages, by stage name.
        pairs (Sequence[tuple[str, str]], optional): Where the stages end, as module paths of the student and of the
            teacher. By default each network's resolutions, paired by stride.
        channels_last (bool): Keep convolutions' weights, and so their features, in memory with the channels last.
            Defaults to False.
        compile (bool | dict): Compile the parts of both networks that a stage runs as a whole, with these options of
            ``torch.compile``. Defaults to False.
        data_preprocessor (dict, optional): Passed on by the Runner.
        frozen_dtype (str, optional): While training, what is frozen of both networks runs in it, ``'bfloat16'`` or
            ``'float16'``; what learns, and all losses, stay in float32. Defaults to None: in float32, too.
        head_from_teacher (bool): When the last feature is learned, make the teacher's head the student's where that is
            exact; begin with the teacher's neck where both are alike. Defaults to True.
        weight (float): Of each place that is mimicked beside the student's own loss. With 0 labels alone teach there.
            Defaults to 2.0.
        places (Sequence[str], optional): Names of the stages that are mimicked beside it. Defaults to the neck of
            detectors that have one, and to every stage of other networks.
        feature_loss (dict, optional): The distance there. Defaults to ``dict(type='mmkd.PKDLoss')``.
        cuda_graph (bool): Replay forward and backward of an iteration from a CUDA graph, where that is possible.
            Defaults to False.
    """

    head_learns_from_features = True
    unfreezes_last = True

    def __init__(
        self,
        student: dict,
        teacher: dict,
        mimic_loss: dict | None = None,
        stage_losses: dict[str, dict] | None = None,
        pairs: Sequence[tuple[str, str]] | None = None,
        channels_last: bool = False,
        compile: bool | dict = False,
        data_preprocessor: dict | None = None,
        frozen_dtype: str | None = None,
        head_from_teacher: bool = True,
        weight: float = 2.0,
        places: Sequence[str] | None = None,
        feature_loss: dict | None = None,
        cuda_graph: bool = False,
    ):
        super().__init__(student, teacher, channels_last, compile, data_preprocessor, frozen_dtype, cuda_graph)
        self.mimic_loss = check_dict('model.mimic_loss', mimic_loss or {})
        self.stage_losses = check_dict('model.stage_losses', stage_losses or {})
        for name, loss in self.stage_losses.items():
            check_dict(f'model.stage_losses.{name}', loss)
        self.pairs = pairs
        self.head_from_teacher = head_from_teacher
        self.weight = check_weight('model.weight', weight)
        if places is not None and (isinstance(places, str) or not all(isinstance(name, str) for name in places)):
            raise UserError(f'model.places: it must be a list of names of stages, not {places!r}.')
        self.wanted, self.has_feature_loss = places, feature_loss is not None
        with own_randomness():
            self.extras[FEATURE_LOSS] = MODELS.build(
                check_dict('model.feature_loss', feature_loss or dict(type='mmkd.PKDLoss'))
            )
        self.places: list[Stage] = []  # mimicked beside the student's own loss; none without weight
        self.losses: dict[str, nn.Module] = {}

    def prepare(self, inputs: Tensor) -> None:
        """Find the stages of both networks with a real batch."""
        both = self.padded_for_both(inputs)
        with own_randomness():
            self.plan, teacher_plan = pair_plans(
                self.student, both, self.teacher.network, self.teacher_inputs(both), self.pairs
            )
        stages = {stage.name: stage for stage in self.plan.stages}
        names = list(stages)
        self.teacher_stages = dict(zip(names, teacher_plan.stages))
        for name in self.stage_losses:
            check_name(name, names, 'model.stage_losses')
        necks = [name for name, stage in stages.items() if in_neck(stage)]
        wanted = self.wanted if self.wanted is not None else necks or names
        for name in wanted:
            check_name(name, names, 'model.places')
        self.places = [stages[name] for name in wanted] if self.weight else []
        self.check_cut(self.teacher_stages.values())
        last = teacher_plan.stages[-1]
        self.teacher_neck, self.teacher_head = (  # before batch norms are folded
            state_of(self.teacher.network, stage) for stage in (last, teacher_plan.head)
        )

    def check_cut(self, stages: Iterable[Stage]) -> None:
        """Refuse a teacher's features that could not be cut back, if its batches are padded further."""
        if divisor_of(self.data_preprocessor) % self.teacher.divisor:
            for stage in stages:
                _check_maps(stage, self.teacher.divisor)

    @property
    def watched_modules(self) -> tuple[set[str], set[str]]:
        """The ends of the stages of both."""
        return super().watched_modules[0], {stage.end for stage in self.teacher_stages.values()}

    @property
    def teachable(self) -> tuple[str, ...]:
        """Every stage but the head can be mimicked, if it can learn."""
        return tuple(stage.name for stage in self.plan.stages if not self.is_frozen(stage))

    def default_phases(self) -> list:
        """One stage after the other, then the head (and all with it, see ``unfreezes_last``)."""
        return [stage.name for stage in self.plan if not self.is_frozen(stage)]

    def build_extras(self, phases: Sequence[Phase]) -> None:
        """Build an adapter for each stage that is mimicked, and a loss where it is alone."""
        mimicked = {name for phase in phases if self.plan.head.name not in phase for name in phase}
        stages = [stage for stage in self.plan.stages if stage.name in mimicked]
        self._check_used({stage.name for stage in stages})
        self._check_used_beside(phases)
        usual = self.mimic_loss or dict(type='mmkd.FeatureMimicLoss')
        with own_randomness():
            for stage in stages:
                one_map = self.head_from_teacher and stage is self.plan.stages[-1] and reads_one_map(self)
                adapter = build_adapter(stage, self.teacher_stages[stage.name], one_map)
                self.extras[module_key(stage.name)] = adapter
                loss = MODELS.build(self.stage_losses.get(stage.name, usual))
                self.losses[stage.name] = self.extras[f'{module_key(stage.name)}_loss'] = loss
            for stage in {stage.name: stage for phase in phases for stage in self.beside(phase)}.values():
                if module_key(stage.name) not in self.extras:
                    self.extras[module_key(stage.name)] = build_adapter(stage, self.teacher_stages[stage.name])
        self.extras.to(next(self.student.parameters()).device)

    def learns_from(self, stage: Stage) -> str:
        """The teacher's stage that this one mimics, in words."""
        if module_key(stage.name) in self.extras:
            teacher = self.teacher_stages[stage.name]
            return f'mimics {teacher.end} {teacher.shapes}'
        return super().learns_from(stage)

    def loss(self, inputs: Tensor, data_samples: list | None) -> dict:
        """The mimic losses of the stages at hand, or that of the head where it is among them."""
        if self.learns_head:
            return self.head_loss(inputs, data_samples)
        return {f'loss_mimic_{name}': loss for name, loss in self.mimic(inputs, data_samples).items()}

    def beside(self, phase: Phase) -> list[Stage]:
        """What is mimicked beside the student's own loss: places that change, so none before the first that learns."""
        if self.plan.head.name not in phase:
            return []
        stages = [stage.name for stage in self.plan]
        first = next(index for index, name in enumerate(stages) if name in phase)
        return [stage for stage in self.places if stage.name in stages[first:]]

    def learns_from_images(self, phase: Phase) -> bool:
        """All mimicking does."""
        return self.plan.head.name not in phase or bool(self.beside(phase))

    @property
    def needs_labels(self) -> bool:
        """The student's own loss does."""
        return self.learns_head

    def head_loss(self, inputs: Tensor, data_samples: list | None) -> dict:
        """The student's own loss, and how far each place is from the teacher's feature."""
        places = self.beside(self.current)
        if not places:
            return self.student.loss(inputs, data_samples)
        # the teacher first, while the student keeps nothing for its gradient yet
        targets = self._targets(places, inputs, data_samples)
        with recording(self.student, places) as outputs:
            losses = self.student.loss(inputs, data_samples)
        if 'loss' in losses:  # so the sum of all terms is called
            losses['loss_own'] = losses.pop('loss')
        features = [feature_of(outputs[stage.end], len(inputs)) for stage in places]
        return {**losses, **self._distances(self._adapted(places, features, targets))}

    def loss_without_labels(self, inputs: Tensor, data_samples: list | None) -> dict:
        """How far each place is from the teacher's feature."""
        return self._distances(self._compared(self.beside(self.current), inputs, data_samples))

    def _distances(self, pairs: dict[str, tuple[Feature, Feature]]) -> dict[str, Tensor]:
        loss = self.extras[FEATURE_LOSS]
        return {f'loss_mimic_{name}': self.weight * loss(own, target) for name, (own, target) in pairs.items()}

    def mimic(self, inputs: Tensor, data_samples: list | None = None) -> dict[str, Tensor]:
        """The mimic loss of each stage that is being learned."""
        pairs = self.compare(inputs, data_samples)
        return {name: self.losses[name](own, target) for name, (own, target) in pairs.items()}

    def compare(self, inputs: Tensor, data_samples: list | None = None) -> dict[str, tuple[Feature, Feature]]:
        """The adapted features of the stages that are being learned, and what they mimic.

        Neither network runs further than the last of them.
        """
        return self._compared([stage for stage in self.plan.stages if stage.name in self.current], inputs, data_samples)

    def _compared(
        self, stages: Sequence[Stage], inputs: Tensor, data_samples: list | None
    ) -> dict[str, tuple[Feature, Feature]]:
        targets = self._targets(stages, inputs, data_samples)  # first, as in head_loss
        return self._adapted(stages, run_to(self.student, stages, inputs), targets)

    def _targets(self, stages: Sequence[Stage], inputs: Tensor, data_samples: list | None) -> list[Feature]:
        """The teacher's features at the ends of stages of the student."""
        theirs = [self.teacher_stages[stage.name] for stage in stages]
        return self.teacher.run_to(theirs, self.teacher_inputs(inputs, data_samples))

    def _adapted(
        self, stages: Sequence[Stage], features: Sequence[Feature], targets: Sequence[Feature]
    ) -> dict[str, tuple[Feature, Feature]]:
        pairs = {}
        for stage, feature, target in zip(stages, features, targets):
            adapter = self._adapter(stage.name)
            pairs[stage.name] = adapter(feature, target), adapter.targets(target)
        return pairs

    def inherit_neck(self) -> str:
        """Let the student's neck begin as the teacher's, if both are alike; say so."""
        return inherit_neck(self) if self.head_from_teacher else ''

    def inherit_head(self, inputs: Tensor, classes: Sequence[str] = ()) -> str:
        """Make the teacher's head the student's, if that is exact; say in words what was done."""
        return inherit_head(self, inputs, classes) if self.head_from_teacher else ''

    def trained_extras(self) -> list[nn.Module]:
        """The adapters of what is mimicked at hand, and what the losses have to learn."""
        if self.learns_head:
            places = self.beside(self.current)
            return [self.extras[FEATURE_LOSS], *(self._adapter(stage.name) for stage in places)] if places else []
        return [module for name in self.current for module in (self._adapter(name), self.losses[name])]

    @property
    def measures(self) -> bool:
        """Until accuracy means something."""
        return not self.learns_head

    def measure(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """The mimic loss, and what the explained variance of each stage is made of."""
        pairs = self.compare(inputs, data_samples)
        losses = [self.losses[name](own, target) for name, (own, target) in pairs.items()]
        parts = {f'{R2}{name}': variance_parts(own, target) for name, (own, target) in pairs.items()}
        return {MIMIC_LOSS: torch.stack(losses).sum(), **parts}

    def _check_used(self, mimicked: set[str]) -> None:
        """Refuse losses that the schedule never computes."""
        idle = [f'stage_losses.{name}' for name in self.stage_losses if name not in mimicked]
        if self.mimic_loss and not mimicked - set(self.stage_losses):
            idle.insert(0, 'mimic_loss')
        if idle:
            raise UserError(
                f'model.{idle[0]}: no phase of the schedule computes it, since stages mimic the teacher only in phases '
                'without the head; leave it out, or list the stages in default_hooks.stages.stages.'
            )

    def _check_used_beside(self, phases: Sequence[Phase]) -> None:
        """Refuse what is said of features beside the student's own loss if none are mimicked there."""
        if any(self.beside(phase) for phase in phases):
            return
        for name, is_given in dict(places=self.wanted is not None, feature_loss=self.has_feature_loss).items():
            if is_given:
                raise UserError(
                    f"model.{name}: nothing is mimicked beside the student's own loss, since no stage that is compared "
                    'learns together with the head, or model.weight is 0, as always in MHKD; leave it out.'
                )

    def _adapter(self, name: str) -> AdapterSet:
        adapter = self.extras[module_key(name)]
        assert isinstance(adapter, AdapterSet)
        return adapter


def _check_maps(stage: Stage, divisor: int) -> None:
    layouts = [Layout.of(stage, shape) for shape in stage.shapes]
    if any(layout.prefix is not None or layout.channels_last for layout in layouts):
        raise UserError(
            f'data_preprocessor.pad_size_divisor: the teacher pads images to multiples of {divisor}, and what it puts '
            f"out at {stage.end}, of the shape {stage.shapes[0]}, cannot be cut back to the size of the student's; "
            f"set the student's to a multiple of {divisor}."
        )
