"""The features that a distiller compares by its own options."""

from collections.abc import Sequence

from torch import Tensor

from mmkd.errors import UserError
from mmkd.objectives.feature_term import FeatureTerm
from mmkd.objectives.networks import Networks
from mmkd.objectives.term_options import TermOptions
from mmkd.stages.phases import Phase, check_name
from mmkd.utils.numbers import check_weight


class DefaultFeatureTerm(FeatureTerm):
    """The term of the options ``weight``, ``places`` and ``feature_loss``.

    Args:
        networks: The student, its teacher and the extras.
        weight (float): Of each place. With 0 there are none.
        places (Sequence[str], optional): Names of stages. Defaults to the neck of detectors that have one, and to every
            stage of other networks.
        loss (dict, optional): The distance. Defaults to ``dict(type='mmkd.PKDLoss')``.
    """

    def __init__(
        self, networks: Networks, weight: float, places: Sequence[str] | None = None, loss: dict | None = None
    ):
        check_weight('model.weight', weight)
        if places is not None and (isinstance(places, str) or not all(isinstance(name, str) for name in places)):
            raise UserError(f'model.places: it must be a list of names of stages, not {places!r}.')
        self.given = dict(places=places is not None, feature_loss=loss is not None)
        super().__init__(networks, TermOptions(loss or dict(type='mmkd.PKDLoss'), places, weight))

    def prepare(self, inputs: Tensor) -> None:
        """Find the places, which are stages."""
        for name in self.options.places or ():
            check_name(name, [stage.name for stage in self.networks.plan.stages], 'model.places')
        super().prepare(inputs)

    def build_extras(self, phases: Sequence[Phase]) -> None:
        """Refuse options if nothing is compared."""
        super().build_extras(phases)
        if any(self.acts_in(phase) for phase in phases):
            return
        for name, is_given in self.given.items():
            if is_given:
                raise UserError(
                    f"model.{name}: nothing is mimicked beside the student's own loss, since no stage that is compared "
                    'learns together with the head, or model.weight is 0; leave it out.'
                )
