"""What a student inherits from its teacher: the neck at the start, the head when all features are learned."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from mmkd.distillers.head_trial import border_of, inner_part, scores_of_both
from mmkd.errors import UserError
from mmkd.features.adapters import LinearMap, module_key
from mmkd.features.least_squares import LeastSquares
from mmkd.heads.inherited import CannotInherit, alike, class_rows, folded, inherit, layers_outside, state_of
from mmkd.stages.pairing import in_neck
from mmkd.teacher.pretrained import names_weights

if TYPE_CHECKING:
    from mmkd.distillers.base import Distiller

START = 'start'
NOT_TAKEN = ('backbone', 'data_preprocessor')
NAMED = 6  # layers in the log


class Inheritance:
    """Copies the teacher's neck and head to the student where that is exact.

    Args:
        distiller: Has both networks, and the adapters between their features.
        wanted: Whether the user wants it; with ``'start'`` all layers behind the backbone that are alike begin as the
            teacher's, too.
        choices: What a user may choose.
        needed: Whether the method is nothing without the head.
    """

    def __init__(
        self,
        distiller: 'Distiller',
        wanted: bool | str,
        choices: Sequence[bool | str] = (True, False),
        needed: bool = False,
    ):
        if wanted not in choices:
            words = ' or '.join(map(repr, choices))
            raise UserError(f'model.head_from_teacher: it must be {words}, not {wanted!r}.')
        self.distiller, self.wanted, self.at_start = distiller, bool(wanted), wanted == START
        self.needed = needed

    def remember(self) -> None:
        """Keep the teacher's weights before its batch norms are folded; comes after the stages are found."""
        networks = self.distiller.networks
        last = networks.teacher_stages[networks.plan.stages[-1].name]
        self.teacher_neck, self.teacher_head = (
            state_of(networks.teacher.network, stage) for stage in (last, networks.teacher_head)
        )

        self.teacher_layers = layers_outside(networks.teacher.network, NOT_TAKEN) if self.at_start else {}

    def layers(self) -> str:
        """Let each of the student's layers behind the backbone begin as the teacher's, if both are alike; say so."""
        if not self.at_start:
            return ''
        student = self.distiller.networks.student
        own = layers_outside(student, NOT_TAKEN)
        fresh = [path for path, layer in own.items() if not alike(layer, self.teacher_layers.get(path))]
        for path in own.keys() - set(fresh):
            student.get_submodule(path).load_state_dict(self.teacher_layers[path])
        taken = f"{len(own) - len(fresh)} of {len(own)} layers of the student's neck and head begin as the teacher's"
        if not fresh:
            return f'{taken}.'
        more = f' and {len(fresh) - NAMED} more' if len(fresh) > NAMED else ''
        return f'{taken}; of other shapes, and so with weights of their own: {", ".join(fresh[:NAMED])}{more}.'

    def neck(self) -> str:
        """Copy the teacher's neck to the student if both are alike, and return a sentence about it; ``''`` otherwise.

        A neck that the student's own config freezes in part, or names weights for, stays as it is.
        """
        if not self.wanted:
            return ''
        networks = self.distiller.networks
        stage, student, teacher = networks.plan.stages[-1], networks.student, networks.teacher.network
        if not in_neck(stage) or not in_neck(networks.teacher_stages[stage.name]):
            return ''
        neck = student.get_submodule('neck')
        if type(neck) is not type(teacher.get_submodule('neck')) or not set(stage.parameters) <= networks.trainable:
            return ''
        if names_weights('model.student', student) or names_weights('model.student.neck', neck):
            return ''
        try:
            taken = inherit(state_of(student, stage), self.teacher_neck, [], None)
        except CannotInherit:
            return ''
        student.load_state_dict(taken, strict=False)
        return "The student's neck begins as the teacher's."

    def check(self, inputs: Tensor, classes: Sequence[str]) -> None:
        """Try before the training whether the teacher's head could be the student's, if the method needs it."""
        if not self.needed:
            return
        networks = self.distiller.networks
        own = state_of(networks.student, networks.plan.head)
        try:
            self.head(inputs, classes)
        except CannotInherit as reason:
            raise UserError(
                f"model.type: {type(self.distiller).__name__} ends with the teacher's head times its projector as the "
                f"student's head, which is not exact here ({reason}); take another method, such as mmkd.SSKD."
            ) from reason
        networks.student.load_state_dict(own, strict=False)

    def head(self, inputs: Tensor, classes: Sequence[str]) -> str:
        """Copy the teacher's head to the student, and return a sentence about it.

        It is tried on a batch: the student's scores must be those that the teacher makes of the adapted features.

        Args:
            inputs: A preprocessed batch.
            classes: The names of the student's classes, if its data tell.

        Raises:
            CannotInherit: It would not be exact; the student has its own head.
        """
        if not self.wanted:
            return ''
        networks = self.distiller.networks
        own = state_of(networks.student, networks.plan.head)
        maps = self._maps()
        rows = class_rows(classes, networks.teacher.classes)
        networks.student.load_state_dict(inherit(own, self.teacher_head, maps, rows), strict=False)
        multiplied = folded(own, self.teacher_head, maps)
        try:
            scores = scores_of_both(self.distiller, inputs, rows)
            border = border_of(scores, padded=any(max(kernel, default=1) > 1 for kernel in multiplied))
            if border and self.needed:
                raise CannotInherit('zeros pad the feature, which the map between does not make zeros')
        except CannotInherit:
            networks.student.load_state_dict(own, strict=False)
            raise
        said = "The student's head is now the teacher's"
        if multiplied:
            said += ', times the maps between their features'
        if border:
            said += (
                f', in the inner {inner_part(scores, border):.0%} of the maps; within {border} of their border the '
                "scores differ, since the maps between the features do not turn the student's padded zeros into zeros"
            )
        return f'{said}.'

    def _maps(self) -> list[LinearMap]:
        """The maps that the head may read through; between equal widths, where shapes do not tell, the last stage's."""
        networks = self.distiller.networks
        last = module_key(networks.plan.stages[-1].name)
        return [
            module
            for name, module in networks.extras.named_modules()
            if isinstance(module, LinearMap)
            if module.width != len(module.weight) or name.split('.')[0] == last
        ]

    def reads_one_map(self) -> bool:
        """Whether the head could be inherited if all levels of the last feature shared one map."""
        if not self.wanted:
            return False
        networks = self.distiller.networks
        stage = networks.plan.stages[-1]
        own, theirs = stage.shapes, networks.teacher_stages[stage.name].shapes
        one = LeastSquares(own[0][0], theirs[0][0])
        try:
            inherit(state_of(networks.student, networks.plan.head), self.teacher_head, [one], None)
        except CannotInherit:
            return False
        return True
