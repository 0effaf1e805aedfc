"""Feature distillation next to the student's own loss."""

from mmkd.distillers.sskd import SSKD
from mmkd.registry import MODELS
from mmkd.stages.phases import ALL


@MODELS.register_module()
class FeatureKD(SSKD):
    """The student's own loss and, beside it, the distance of its features to the teacher's, from the start.

    It is :class:`SSKD` without stages that learn first, with the same options. Where the schedule has single stages,
    the two are the same.
    """

    def default_phases(self) -> list:
        """Everything at once."""
        return [ALL]
