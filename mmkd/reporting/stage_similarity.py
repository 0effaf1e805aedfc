"""How alike the stages of one distillation and its teacher are, as numbers."""

from dataclasses import dataclass
from pathlib import Path

import torch

from mmkd.errors import UserError
from mmkd.reporting.groups import group_runs
from mmkd.reporting.measuring import quiet
from mmkd.reporting.networks import build, config_of, open_images, scope_of
from mmkd.reporting.run import read_run
from mmkd.reporting.similarity import FRESH, STUDENT, FeatureSimilarity


@dataclass
class StageSimilarity:
    """The similarities of a student's stages, with new weights and now.

    Args:
        stages: The names of the student's stages.
        cka: By ``'before'`` and ``'now'``: a row for each of them, a column for each stage of the teacher.
        cosine: By the same words: of each stage with its own of the teacher, after the best linear map.
    """

    stages: list[str]
    cka: dict[str, list[list[float]]]
    cosine: dict[str, list[float]]


def stage_similarity(work_dir: str | Path, images: int = 200) -> StageSimilarity:
    """Measure the last checkpoint of a distillation on images of its validation set."""
    run = read_run(work_dir)
    (group,) = group_runs([run])
    if run.method == 'alone':
        raise UserError(f'{work_dir}: it is no distillation; name the work dir of one.')
    with quiet(), torch.no_grad(), scope_of(cfg := config_of(run)):
        loader = open_images(cfg, images).loader
        found = FeatureSimilarity(build(group, cfg))
        for batch in loader:
            found.see(batch)
    if found.why_not:
        raise UserError(found.why_not)
    kinds = FRESH, STUDENT
    return StageSimilarity(
        [stage.name for stage, _ in found.pairs],
        {whose: found.cka(whose) for whose in kinds},
        {whose: found.cosines(whose) for whose in kinds},
    )
