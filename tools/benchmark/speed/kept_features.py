"""Measures an iteration of SSKD's head from images and from kept features, and the cost of keeping them."""

import tempfile
from itertools import cycle
from pathlib import Path
from statistics import median

import schedules
import torch
from benchmark_page import Results
from iterations import training
from measuring import GPU, Ratio, alternate, medians
from pairs import Pair

from mmkd.feature_cache.checks import try_out
from mmkd.feature_cache.file import RowFile
from mmkd.feature_cache.rows import FeatureReplay


def measure(name: str, pair: Pair, rounds: int) -> list[dict]:
    """Seconds of each way in each round, and the bytes of a view; features of detectors cannot be kept."""
    if pair.boxes:
        return []
    with training(pair, 'SSKD', pair.batch[GPU]) as ours, tempfile.TemporaryDirectory() as folder:
        ours.enter('head')
        runner, student, loop = ours.runner, ours.distiller.student, ours.loop
        rows = try_out(runner, ours.distiller, ('head',))
        replay = FeatureReplay(student, rows)
        plain = runner.train_dataloader
        file = RowFile(Path(folder, 'rows.bin'), 1, len(plain.dataset), rows.size)
        file.create()
        handle = file.open()
        images = range(len(plain.dataset))
        file.write(handle, [(0, image) for image in images], torch.zeros(len(images), rows.size, dtype=torch.uint8))
        file.finish()
        batches = cycle(file.loader(plain))

        def fill() -> None:
            with torch.no_grad(), runner.optim_wrapper.optim_context(runner.model):
                data = ours.distiller.data_preprocessor(loop.batch, True)
                packed = rows.pack(student.extract_feat(data['inputs']), data['data_samples'])
            file.write(handle, [(0, i) for i in range(len(packed))], packed)

        def learn() -> None:
            replay.enable()
            loop.run_iter(next(batches))
            replay.disable()

        seconds = alternate(dict(images=ours.step, kept=learn, filling=fill), rounds)
    print(name, 'kept features', medians(seconds), flush=True)
    return [dict(pair=name, batch=pair.batch[GPU], size=pair.size, seconds=seconds, view=rows.size)]


def table(results: Results) -> list[str]:
    """The gain in the head's stage; and in whole schedules, if their iterations were measured."""
    lines = [
        '| | From images, seconds | From kept features | Images, against kept | Filling, against images | Bytes |',
        '|---|---|---|---|---|---|',
    ]
    kept = results['kept']
    for row in kept:
        seconds = row['seconds']
        cells = [
            f'{row["pair"]}, {row["batch"]} images of {row["size"]} pixels',
            f'{median(seconds["images"]):.3f}',
            f'{median(seconds["kept"]):.4f}',
            str(Ratio.of(seconds['images'], seconds['kept'])),
            str(Ratio.of(seconds['filling'], seconds['images'])),
            f'{row["view"]:,}',
        ]
        lines.append(f'| {" | ".join(cells)} |')
    return [*lines, '', *schedules.table(results.get('iterations', ()), kept)]
