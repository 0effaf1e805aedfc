"""IJB-A in its official layout."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mmkd.datasets.faces.rows import ProtocolImages
from mmkd.errors import UserError, did_you_mean
from mmkd.evaluation import Comparisons, Protocol, Searches, TemplateProtocol, Templates
from mmkd.registry import DATASETS

VERIFICATION, SEARCH = 'IJB-A_11_sets', 'IJB-A_1N_sets'
BOX = ('FACE_X', 'FACE_Y', 'FACE_WIDTH', 'FACE_HEIGHT')
NUMBERS = ('TEMPLATE_ID', 'SUBJECT_ID', 'MEDIA_ID')
Row = dict[str, str]


@DATASETS.register_module()
class IJBA(ProtocolImages):
    """IJB-A: ten splits of 1:1 and 1:N, whose metrics are averaged.

    Below ``data_root`` lie ``IJB-A_11_sets/splitN`` (``verify_metadata_N.csv``, ``verify_comparisons_N.csv``) and
    ``IJB-A_1N_sets/splitN`` (``search_gallery_N.csv``, ``search_probe_N.csv``). ``img_path`` and ``face_box`` go to the
    pipeline, so it cuts the face out by ``mmkd.CropFace``. A face that several splits have is embedded once.

    Args:
        data_root (str): The folder of both sets.
        data_prefix (str | dict): The folder of ``img/`` and ``frame/`` (or ``frames/``), below ``data_root``.
        tar_rates (Sequence[float]): The FARs at which the TAR is given. Defaults to (0.1, 0.01, 0.001).
        ranks (Sequence[int]): The k of rank-k. Defaults to (1, 5).
        tpir_rates (Sequence[float]): The FPIRs at which the TPIR is given. Defaults to (0.1, 0.01).
        **kwargs: ``skip_missing``, and as in :class:`mmengine.dataset.BaseDataset`.

    Example:
        >>> dict(type='mmkd.IJBA', data_root='data/ijba', data_prefix='images', pipeline=[...])
    """

    def __init__(
        self,
        data_root: str,
        tar_rates: Sequence[float] = (0.1, 0.01, 0.001),
        ranks: Sequence[int] = (1, 5),
        tpir_rates: Sequence[float] = (0.1, 0.01),
        **kwargs,
    ):
        self.tar_rates, self.ranks, self.tpir_rates = tar_rates, ranks, tpir_rates
        super().__init__(data_root=data_root, **kwargs)

    def load_protocol(self) -> tuple[list[dict], Protocol]:
        """All faces of all splits, each once."""
        faces = _Faces(self)
        splits = self._splits()
        comparisons = [self._comparisons(number, faces) for number in splits]
        searches = [self._search(number, faces) for number in splits]
        self.say_skipped(faces.skipped)
        protocol = TemplateProtocol(comparisons, searches, self.tar_rates, self.ranks, self.tpir_rates)
        return faces.infos, protocol

    def _splits(self) -> list[int]:
        found = []
        for part in (VERIFICATION, SEARCH):
            names = [path.name for path in (self.root / part).glob('split*') if path.name[5:].isdecimal()]
            found.append({int(name[5:]) for name in names})
            if not names:
                raise UserError(f'IJBA: {self.root / part} has no folder split1; set data_root to the folder of both.')
        if odd := sorted(found[0] ^ found[1]):
            raise UserError(
                f'IJBA: only one of {VERIFICATION} and {SEARCH} below {self.root} has split{odd[0]}, and both must '
                'have the same; get the protocol again, or take the other away.'
            )
        return sorted(found[0])

    def _comparisons(self, number: int, faces: '_Faces') -> Comparisons:
        folder = self.root / VERIFICATION / f'split{number}'
        templates = faces.templates(folder / f'verify_metadata_{number}.csv')
        path = folder / f'verify_comparisons_{number}.csv'
        rows = [row for row in _cells(path) if row and row[0].strip().isdecimal()]
        try:
            first, second = np.array([[int(cell) for cell in row] for row in rows]).reshape(-1, 2).T
        except ValueError as error:
            raise UserError(f'IJBA: {path} must have two templates a line; get the protocol again.') from error
        known = set(templates.people)
        keep = np.array([a in known and b in known for a, b in zip(first.tolist(), second.tolist())], bool)
        if not keep.all() and not self.skip_missing:
            a, b = first[~keep][0], second[~keep][0]
            raise UserError(
                f'IJBA: {path} compares template {b if a in known else a}, which has no image in '
                f'verify_metadata_{number}.csv; get the protocol again.'
            )
        faces.skipped['comparisons'] += int((~keep).sum())
        first, second = first[keep], second[keep]
        return Comparisons(templates, first, second, templates.people_of(first) == templates.people_of(second))

    def _search(self, number: int, faces: '_Faces') -> Searches:
        folder = self.root / SEARCH / f'split{number}'
        return Searches(*(faces.templates(folder / f'search_{part}_{number}.csv') for part in ('gallery', 'probe')))


class _Faces:
    """The faces found so far."""

    def __init__(self, dataset: IJBA):
        self.dataset = dataset
        self.infos: list[dict] = []
        self.index: dict[tuple, int] = {}
        self.files: dict[str, Path | None] = {}
        self.skipped = dict.fromkeys(('images', 'templates', 'comparisons'), 0)

    def templates(self, path: Path) -> Templates:
        """Those of a file."""
        rows, named = [], set()
        people: dict[int, int] = {}
        for number, row in enumerate(_rows(path), 2):
            numbers = _numbers(path, number, row, NUMBERS, int)
            template, person, medium = numbers
            named.add(template)
            if people.setdefault(template, person) != person:
                raise UserError(f'IJBA: {path}, line {number}: template {template} is of two people.')
            image = self._image(path, row['FILE'], _numbers(path, number, row, BOX, float))
            if image is not None:
                rows.append((image, template, medium))
        if not rows:
            raise UserError(f'IJBA: {path} lists no image{" that exists" if named else ""}; fix data_prefix.')
        images, templates, media = np.array(rows).T
        kept = set(templates.tolist())
        self.skipped['templates'] += len(named - kept)
        return Templates(images, templates, media, {name: people[name] for name in kept})

    def _image(self, path: Path, file: str, box: Sequence[float]) -> int | None:
        if file not in self.files:
            self.files[file] = self._found(path, file)
        if self.files[file] is None:
            return None
        face = (file, tuple(box))
        if face not in self.index:
            self.index[face] = len(self.infos)
            self.infos.append(dict(img_path=str(self.files[file]), face_box=tuple(box)))
        return self.index[face]

    def _found(self, path: Path, file: str) -> Path | None:
        """The file, in whichever way its folder is written."""
        folder, rest = (file.split('/', 1) + [''])[:2]
        other = {'frame': 'frames', 'frames': 'frame'}.get(folder)
        for name in [file, *([f'{other}/{rest}'] if other else [])]:
            if (self.dataset.folder / name).is_file():
                return self.dataset.folder / name
        self.dataset.missing([file], f'IJBA: {path}')
        self.skipped['images'] += 1
        return None


def _cells(path: Path) -> list[list[str]]:
    if not path.is_file():
        raise UserError(f'IJBA: {path} does not exist; get the protocol again.')
    with path.open(newline='') as stream:
        return list(csv.reader(stream))


def _rows(path: Path) -> list[Row]:
    """The lines by the names of the columns, of which later releases have more."""
    cells = _cells(path)
    header = [cell.strip().upper() for cell in cells[0]] if cells else []
    header = ['FILE' if name == 'FILENAME' else name for name in header]
    for name in (*NUMBERS, 'FILE', *BOX):
        if name not in header:
            raise UserError(f'IJBA: {path} has no column {name}.{did_you_mean(name, header)} Get the protocol again.')
    return [dict(zip(header, row)) for row in cells[1:] if row]


def _numbers(path: Path, number: int, row: Row, names: Sequence[str], kind: Callable) -> list:
    try:
        return [kind(row[name]) for name in names]
    except (KeyError, ValueError) as error:
        values = ', '.join(f'{name} {row.get(name)!r}' for name in names)
        raise UserError(f'IJBA: {path}, line {number} has no numbers for {values}; get the protocol again.') from error
