"""Feature distillation next to the student's own loss."""

from collections.abc import Sequence

from torch import Tensor

from mmkd.distillers.base import Distiller
from mmkd.distillers.inheriting import START, Inheritance
from mmkd.errors import UserError
from mmkd.objectives.default_feature_term import DefaultFeatureTerm
from mmkd.objectives.feature_term import FeatureTerm
from mmkd.objectives.given import reads_teacher_head
from mmkd.objectives.mimicking import StageMimicking
from mmkd.objectives.own_loss import OwnLoss
from mmkd.objectives.prediction_term import PredictionTerm
from mmkd.objectives.soft_targets import SoftTargets
from mmkd.objectives.term import Term
from mmkd.objectives.term_options import read_terms
from mmkd.registry import MODELS
from mmkd.tasks import task_of
from mmkd.tasks.head_pair import LEAVE_OUT
from mmkd.utils.random_state import own_randomness


@MODELS.register_module()
class FeatureKD(Distiller):
    """The student's own loss and, beside it, distances of its features or scores to the teacher's, from the start.

    It has the options of :class:`SSKD` but ``alpha``, which is a term here, without stages that learn first. Where the
    schedule has single stages, the two are the same. Any number of named terms may stand beside the student's own loss.

    Args:
        student (dict): The student's model config.
        teacher (dict): ``dict(config=..., checkpoint=...)``.
        weight (float, optional): Of each place that is mimicked by ``feature_loss``. Defaults to 2.0, and to 0 where
            there are ``terms``.
        terms (dict[str, dict], optional): By name, the options of :class:`mmkd.objectives.term_options.TermOptions`:
            ``loss``, ``places``, ``weight``, ``adapt``, ``warm_up``, ``until`` and ``own_convs``.
        labels_from (float | dict): After what the student's own loss begins, a part of the phase or
            ``dict(epochs=...)``; before, terms alone teach. Defaults to 0.0.
        head_from_teacher (bool | str): As in :class:`SSKD`; ``'start'`` also lets each layer of neck and head whose
            shapes agree begin as the teacher's. Defaults to True.
        places, feature_loss, mimic_loss, stage_losses, pairs: As in :class:`SSKD`.
        kwargs: The options of every :class:`Distiller`.

    Example:
        >>> terms = dict(attention=dict(loss=dict(type='mmkd.ATLoss'), places=['layer1', 'layer2', 'layer3']))
    """

    head_learns_from_features = True
    unfreezes_last = True

    def __init__(
        self,
        student: dict,
        teacher: dict,
        weight: float | None = None,
        places: Sequence[str] | None = None,
        feature_loss: dict | None = None,
        mimic_loss: dict | None = None,
        stage_losses: dict[str, dict] | None = None,
        pairs: Sequence[tuple[str, str]] | None = None,
        head_from_teacher: bool | str = True,
        terms: dict[str, dict] | None = None,
        labels_from: float | dict = 0.0,
        **kwargs,
    ):
        wanted = read_terms(terms)
        acting = [options for options in wanted.values() if options.weight]
        reads_head = any(one.compares_heads or reads_teacher_head(one.loss) for one in acting)
        self.compares_scores = reads_head or head_from_teacher == START  # either way the classes must be the same
        super().__init__(student, teacher, **kwargs)
        self.pairs = pairs
        self.inheritance = Inheritance(self, head_from_teacher, (True, False, START))
        self.task = task_of(self.student, self.teacher) if any(one.compares_heads for one in wanted.values()) else None
        if weight is None:
            weight = 0.0 if wanted else 2.0
        self.features = DefaultFeatureTerm(self.networks, weight, places, feature_loss)
        self.terms: dict[str, Term] = {}
        for name, one in wanted.items():
            if one.of_scores:
                assert self.task is not None
                self.terms[name] = SoftTargets(self.networks, self.task, one.loss, one.weight, name, one.when)
            elif one.prediction:
                assert self.task is not None
                self.terms[name] = PredictionTerm(self.networks, self.task, one, name)
            else:
                self.terms[name] = FeatureTerm(self.networks, one, name)
        self.mimicking = StageMimicking(self.networks, mimic_loss, stage_losses, self.inheritance.reads_one_map)
        own_loss = OwnLoss(
            self.networks, [self.features, *self.terms.values()], forwards=self.task, labels_from=labels_from
        )
        self.objectives = [self.mimicking, own_loss]

    def find_stages(self, inputs: Tensor) -> None:
        """Find the stages of both networks, and compare their classes where a term does."""
        super().find_stages(inputs)
        reading = [name for name, term in self.terms.items() if term.needs_teacher_scores and term.acts_in(())]
        if self.task is None or not reading:
            return
        try:
            with own_randomness():
                self.task.check(inputs, self.teacher_inputs(inputs), own_scores=True)
        except UserError as error:
            instead = f'leave out {" and ".join(f"model.terms.{name}" for name in reading)}'
            raise UserError(str(error).replace(LEAVE_OUT, instead)) from error
