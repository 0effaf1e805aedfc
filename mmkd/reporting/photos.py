"""A few photos with the boxes of each detector, side by side."""

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from mmkd.reporting.html import Html, note, safe, section, tag
from mmkd.reporting.networks import Images, Measured, predicts

PHOTOS, SIDE = 4, 480  # how many, and their longest side in the file
NETWORKS = 4
SURE = 0.3  # the lowest score of a box that is drawn


def side_by_side(networks: list[Measured], images: Images) -> Html:
    """A row a photo, a column a network."""
    shown = networks[:NETWORKS]
    if not predicts(shown[0].results[0], 'pred_instances'):
        return Html()
    count = len(shown[0].results)
    rows: list[Html] = []
    for place in sorted({index * count // PHOTOS for index in range(PHOTOS)}):
        samples = [one.results[place] for one in shown]
        photo = _photo(samples[0].get('img_path'))
        if photo:
            number = len(rows)
            pictures = [
                _picture(one.name, sample, images, photo if column == 0 else '', number)
                for column, (one, sample) in enumerate(zip(shown, samples))
            ]
            rows.append(tag('div', *pictures, class_='photos'))
    if not rows:
        return Html()
    return section('photos', 'Predictions side by side', *rows, note(f'Boxes with a score of {SURE} or more.'))


def _photo(path: Any) -> str:
    """The image as a data URL; nothing where it is no file."""
    if not isinstance(path, str) or not Path(path).is_file():
        return ''
    with Image.open(path) as image:
        small = image.convert('RGB')
    small.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    small.save(buffer, 'JPEG', quality=82)
    return f'data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}'


def _picture(name: str, sample: Any, images: Images, photo: str, number: int) -> Html:
    """The first picture of a row holds the photo, the others use it."""
    height, width = sample.ori_shape[:2]
    if photo:
        back = f'<image id="photo-{number}" href="{photo}" width="{width}" height="{height}"/>'
    else:
        back = f'<use href="#photo-{number}"/>'
    unit = max(width, height) / 100
    found = sample.pred_instances
    boxes = [
        _box(box, int(label), float(score), images, unit)
        for box, label, score in zip(found.bboxes.tolist(), found.labels, found.scores)
        if score >= SURE
    ]
    drawn = Html(f'<svg viewBox="0 0 {width} {height}" role="img">{back}{"".join(boxes)}</svg>')
    count = f'{len(boxes)} box' if len(boxes) == 1 else f'{len(boxes)} boxes'
    return tag('figure', tag('figcaption', f'{name}, {count}'), drawn)


def _box(box: list[float], label: int, score: float, images: Images, unit: float) -> str:
    left, top, right, bottom = box
    name = images.classes[label] if label < len(images.classes) else str(label)
    colour = f'var(--c{label % 8})'
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" fill="none" '
        f'stroke="{colour}" stroke-width="{unit * 0.6:.2f}"/><text x="{left:.1f}" y="{max(top - unit, 4 * unit):.1f}" '
        f'font-size="{unit * 4.4:.1f}" fill="{colour}">{safe(name)} {score:.2f}</text>'
    )
