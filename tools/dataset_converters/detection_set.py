"""What converters share: a folder written whole; of photos with boxes the split, smaller images, COCO's files."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from PIL import Image

from mmkd.errors import UserError, in_one_line

Name = TypeVar('Name', int, str)
Size = tuple[int, int]  # width, height


def shuffled(names: Sequence[Name]) -> list[Name]:
    """The names in the random order of which a part is for validation: the same everywhere."""
    order = sorted(names)
    Random(0).shuffle(order)
    return order


def annotation(image_id: int, category_id: int, box: Sequence[float], old: Size, new: Size) -> dict[str, Any]:
    """An entry of COCO's ``annotations``, without its id, for an image that was ``old`` and is ``new`` pixels large.

    Args:
        image_id: The image's.
        category_id: The class's.
        box: x, y, width and height in the old image.
        old: The old image's width and height.
        new: The new one's.
    """
    across, down = new[0] / old[0], new[1] / old[1]
    x, y, width, height = box[0] * across, box[1] * down, box[2] * across, box[3] * down
    return dict(
        image_id=image_id,
        category_id=category_id,
        bbox=[round(number, 2) for number in (x, y, width, height)],
        area=round(width * height, 2),
        iscrowd=0,
    )


def save_smaller(source: Path, target: Path, size: Callable[[Size], Size], quality: int) -> tuple[Size, Size]:
    """Write an image in another size, as JPEG; return the old size and the new one."""
    image = _read(source)
    old, new = image.size, size(image.size)
    if new != old:
        image = image.resize(new, Image.Resampling.LANCZOS)
    image.save(target, 'JPEG', quality=quality)
    return old, new


def _read(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert('RGB')
    except FileNotFoundError as error:
        raise UserError(f'{path} does not exist, but has boxes; get the images again.') from error
    except (OSError, SyntaxError) as error:  # Pillow raises both
        raise UserError(f'{path} is damaged or no image ({in_one_line(error)}); get it again.') from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file of COCO's format; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A folder to write into, which gets its name at the end and is removed if anything fails."""
    if folder.exists():
        raise UserError(f'{folder} exists already; delete it first if it is to be made again.')
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f'.{folder.name}-'))
    try:
        yield draft
        draft.chmod(0o755)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
