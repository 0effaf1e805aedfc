"""Runs the networks over the images once, and keeps what is told of them."""

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from warnings import catch_warnings, simplefilter

import torch
from mmengine.logging import MMLogger

from mmkd.errors import UserError, in_one_line
from mmkd.reporting.classes import per_class
from mmkd.reporting.groups import Group
from mmkd.reporting.html import Html, note, section
from mmkd.reporting.networks import build, config_of, open_images, scope_of, teacher_of
from mmkd.reporting.photos import side_by_side
from mmkd.reporting.similarity import FeatureSimilarity, heat_maps

FEWEST = 8  # images that say anything about similarity


def measured_sections(groups: list[Group], count: int) -> list[Html]:
    """The sections that need checkpoints and images; a sentence where they cannot be had.

    Args:
        groups: The runs.
        count: Of the images; none are measured with 0.
    """
    if count == 0:
        return []
    shown = sys.stdout
    try:
        with quiet(), torch.no_grad(), scope_of(cfg := config_of(groups[0].runs[0])):
            images = open_images(cfg, max(count, FEWEST))
            networks = [build(group, config_of(group.runs[0])) for group in groups]
            features = [FeatureSimilarity(one) for one in networks if one.networks]
            networks = [*teacher_of(networks), *networks]
            said = f'Measuring {len(networks)} networks on {len(images.indices)} of {images.total} validation images.'
            print(said, file=shown, flush=True)
            for batch in images.loader:
                for one in networks:
                    one.see(batch)
                for of_stages in features:
                    of_stages.see(batch)
            found = [heat_maps(features), *per_class(networks, images, cfg), side_by_side(networks, images)]
    except Exception as error:  # data sets, networks and checkpoints may raise anything
        why = str(error).rstrip('.') if isinstance(error, UserError) else in_one_line(error)
        print(f'Nothing was measured with checkpoints: {why}.')
        said = f'Not measured: {why}. It takes the checkpoints, the teacher and the validation images of the runs.'
        return [section('similarity', 'Similarity of student and teacher', note(said))]
    return [part for part in found if part]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what the toolboxes log, print and warn of."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()), catch_warnings():
            simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
