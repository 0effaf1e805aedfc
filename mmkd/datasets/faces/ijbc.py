"""IJB-B and IJB-C in the layout of InsightFace's evaluation."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmkd.datasets.faces.rows import ProtocolImages, lines_of
from mmkd.errors import UserError
from mmkd.evaluation import Comparisons, Protocol, Searches, TemplateProtocol, Templates
from mmkd.registry import DATASETS


@DATASETS.register_module()
class IJBC(ProtocolImages):
    """IJB-C, or IJB-B: 1:1 by one list of pairs of templates, 1:N by two galleries, whose metrics are averaged.

    In ``meta`` below ``data_root`` lie ``ijbc_face_tid_mid.txt``, ``ijbc_template_pair_label.txt`` and
    ``ijbc_name_5pts_score.txt``; for 1:N ``ijbc_1N_gallery_G1.csv`` and ``_G2.csv`` (or ``S1``, ``S2``) and
    ``ijbc_1N_probe_mixed.csv``. ``img_path`` and ``landmarks`` go to the pipeline, which aligns by ``mmkd.AlignFace``.

    Args:
        data_root (str): The folder of ``meta`` and of the images' folder.
        data_prefix (str | dict): The folder of the images. Defaults to ``'loose_crop'``.
        name (str): What the files' names begin with, ``'ijbc'`` or ``'ijbb'``. Defaults to ``'ijbc'``.
        detector_score (bool): Weigh the images of a template by the detector's score. Defaults to True.
        keep_norm (bool): Let an embedding count by its length, which is small for bad images. Defaults to True.
        tar_rates (Sequence[float]): The FARs at which the TAR is given. Defaults to 1e-6 to 1e-1.
        ranks (Sequence[int]): The k of rank-k. Defaults to (1, 5, 10).
        tpir_rates (Sequence[float]): The FPIRs at which the TPIR is given. Defaults to (0.1, 0.01).
        **kwargs: ``skip_missing``, and as in :class:`mmengine.dataset.BaseDataset`.

    Example:
        >>> dict(type='mmkd.IJBC', data_root='data/ijbb', name='ijbb', pipeline=[...])
    """

    def __init__(
        self,
        data_root: str,
        data_prefix: str | dict = 'loose_crop',
        name: str = 'ijbc',
        detector_score: bool = True,
        keep_norm: bool = True,
        tar_rates: Sequence[float] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
        ranks: Sequence[int] = (1, 5, 10),
        tpir_rates: Sequence[float] = (0.1, 0.01),
        **kwargs,
    ):
        self.name, self.detector_score, self.keep_norm = name, detector_score, keep_norm
        self.tar_rates, self.ranks, self.tpir_rates = tar_rates, ranks, tpir_rates
        super().__init__(data_root=data_root, data_prefix=data_prefix, **kwargs)

    def load_protocol(self) -> tuple[list[dict], Protocol]:
        """The images in their order, and the rest by templates."""
        names, infos, scores = self._images()
        self.skipped = {'images': len(names) - len(infos), 'templates': 0, 'comparisons': 0, 'templates of searches': 0}
        index = {info['name']: place for place, info in enumerate(infos)}
        templates = self._templates(index, set(names))
        comparisons = [self._comparisons(templates)]
        protocol = TemplateProtocol(
            comparisons,
            self._searches(templates),
            self.tar_rates,
            self.ranks,
            self.tpir_rates,
            np.array(scores) if self.detector_score else None,
            self.keep_norm,
        )
        self.say_skipped(self.skipped)
        return [{key: info[key] for key in ('img_path', 'landmarks')} for info in infos], protocol

    def _file(self, what: str) -> Path:
        return self.root / 'meta' / f'{self.name}_{what}'

    def _images(self) -> tuple[list[str], list[dict], list[float]]:
        path = self._file('name_5pts_score.txt')
        names, points, scores = [], [], []
        for number, words in enumerate(lines_of(path, 'it lists images, landmarks and scores'), 1):
            if not words:
                continue
            try:
                *landmarks, score = map(float, words[1:])
                points.append(np.array(landmarks, np.float32).reshape(5, 2))
            except ValueError as error:
                raise UserError(
                    f'IJBC: {path}, line {number} must be a name, ten numbers for five landmarks and a score.'
                ) from error
            names.append(words[0])
            scores.append(score)
        gone = self.missing(names, f'IJBC: {path}')
        infos = [
            dict(name=name, img_path=str(self.folder / name), landmarks=its)
            for name, its, is_gone in zip(names, points, gone)
            if not is_gone
        ]
        return names, infos, [score for score, is_gone in zip(scores, gone) if not is_gone]

    def _templates(self, index: dict[str, int], known: set[str]) -> Templates:
        path = self._file('face_tid_mid.txt')
        rows, named = [], set()
        for number, words in enumerate(lines_of(path, 'it says which image is in which template'), 1):
            if not words:
                continue
            if len(words) != 3 or not all(word.lstrip('-').isdecimal() for word in words[1:]):
                raise UserError(f'IJBC: {path}, line {number} must be an image, a template and a medium.')
            if words[0] not in known:
                raise UserError(
                    f'IJBC: {path}, line {number} names {words[0]}, which {self.name}_name_5pts_score.txt does not.'
                )
            named.add(int(words[1]))
            if words[0] in index:
                rows.append((index[words[0]], int(words[1]), int(words[2])))
        if not rows:
            raise UserError(f'IJBC: {path} lists no image{" that exists" if named else ""}; fix data_prefix.')
        images, templates, media = np.array(rows).T
        self.skipped['templates'] = len(named) - len(set(templates.tolist()))
        return Templates(images, templates, media)

    def _comparisons(self, templates: Templates) -> Comparisons:
        path = self._file('template_pair_label.txt')
        if not path.is_file():
            raise UserError(f'IJBC: {path} does not exist; it lists pairs of templates.')
        try:
            rows = np.loadtxt(path, dtype=np.int32, ndmin=2)
        except ValueError as error:
            raise UserError(f'IJBC: {path} must have two templates and a label, 0 or 1, a line ({error}).') from error
        if rows.shape[1] != 3 or not np.isin(rows[:, 2], (0, 1)).all():
            raise UserError(f'IJBC: {path} must have two templates and a label, 0 or 1, a line.')
        first, second, same = rows.T.copy()
        keep = self._known(path, templates, first) & self._known(path, templates, second)
        self.skipped['comparisons'] = int((~keep).sum())
        if not keep.all():
            first, second, same = first[keep], second[keep], same[keep]
        return Comparisons(templates, first, second, same.astype(bool))

    def _known(self, path: Path, templates: Templates, wanted: np.ndarray) -> np.ndarray:
        """Whether templates have an image; an error if one has not, unless they are skipped."""
        known = np.isin(wanted, np.unique(templates.templates))
        if not known.all() and not self.skip_missing:
            raise UserError(
                f'IJBC: {path} names template {wanted[~known][0]}, which has no image in '
                f'{self.name}_face_tid_mid.txt; get the protocol again.'
            )
        return known

    def _searches(self, templates: Templates) -> list[Searches]:
        """Of each gallery that is there; the layouts without 1:N have none."""
        galleries = [self._file(f'1N_gallery_{letter}{number}.csv') for letter in 'GS' for number in (1, 2)]
        galleries = [path for path in galleries if path.is_file()]
        if not galleries:
            return []
        probes = self._read_templates(self._file('1N_probe_mixed.csv'), templates)
        return [Searches(self._read_templates(path, templates), probes) for path in galleries]

    def _read_templates(self, path: Path, templates: Templates) -> Templates:
        """The templates of a gallery, or the probes, and whose they are."""
        if not path.is_file():
            raise UserError(f'IJBC: {path} does not exist, and there is a gallery; get the protocol again.')
        with path.open(newline='') as stream:
            cells = [row for row in csv.reader(stream) if row]
        header = [cell.strip().upper() for cell in cells[0]] if cells else []
        for name in ('TEMPLATE_ID', 'SUBJECT_ID'):
            if name not in header:
                raise UserError(f'IJBC: {path} has no column {name}; get the protocol again.')
        columns = [header.index(name) for name in ('TEMPLATE_ID', 'SUBJECT_ID')]
        try:
            people = {int(row[columns[0]]): int(row[columns[1]]) for row in cells[1:]}
        except (ValueError, IndexError) as error:
            raise UserError(f'IJBC: {path} has a line without numbers of a template and a person.') from error
        wanted = np.array(sorted(people))
        self.skipped['templates of searches'] += int((~self._known(path, templates, wanted)).sum())
        its = np.isin(templates.templates, wanted)
        if not its.any():
            raise UserError(f'IJBC: {path} names no template that has an image; get the protocol again.')
        return Templates(templates.images[its], templates.templates[its], templates.media[its], people)
