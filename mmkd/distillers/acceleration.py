"""Makes both networks of a distiller faster."""

from collections.abc import Collection

import torch
from torch import Tensor

from mmkd.acceleration.batchnorm_folding import FrozenNorms, find_pairs
from mmkd.acceleration.iteration_graphs import GraphedIterations
from mmkd.acceleration.options import SpeedUps
from mmkd.objectives.networks import Networks


class Acceleration:
    """Folds batch norms, the teacher's for good and the student's while they are frozen, and applies the speed options.

    Args:
        networks: The student, its teacher and the extras.
        options: Those that the user chose.
        graphs: Replays whole iterations, if the user wants it.
    """

    def __init__(self, networks: Networks, options: SpeedUps, graphs: GraphedIterations | None):
        self.networks, self.options, self.graphs = networks, options, graphs
        self.frozen_norms = FrozenNorms(networks.student, [])

    def refresh(self) -> None:
        """Make everything again that depends on weights and modes; call it when these have changed."""
        self.frozen_norms.refresh()
        self.options.renew()
        if self.graphs is not None:
            self.graphs.drop()

    def apply(self, inputs: Tensor, read: Collection[str], read_of_teacher: Collection[str]) -> None:
        """Fold and apply; comes when the extras are built.

        Args:
            inputs: A preprocessed batch.
            read: Paths of the student's modules whose output something reads.
            read_of_teacher: Those of the teacher.
        """
        networks = self.networks
        inputs = networks.padded_for_both(inputs)
        pairs = find_pairs(networks.student, inputs, read)
        # its own config's frozen parts stay: if no other loss has a weight, the run must be the plain one
        pairs = [pair for pair in pairs if f'{pair[0]}.weight' in networks.trainable]
        self.frozen_norms = FrozenNorms(networks.student, pairs)
        teacher_inputs = networks.teacher_inputs(inputs)
        networks.teacher.fold(teacher_inputs, read_of_teacher)
        self.options.apply('model.student', networks.student, inputs, read)
        self.options.apply('model.teacher', networks.teacher.network, teacher_inputs, read_of_teacher)
        if self.options.channels_last:
            networks.extras.to(memory_format=torch.channels_last)
