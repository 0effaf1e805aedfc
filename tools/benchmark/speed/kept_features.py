#!/usr/bin/env python3
"""Measure what an iteration of SSKD's head costs from images and from kept features, and what it costs to keep them."""

import sys
import tempfile
from argparse import ArgumentParser
from itertools import cycle
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[2]), str(HERE), str(HERE.parent)]

import torch
from measuring import GPU, Ratio, alternate
from pairs import PAIRS, Pair
from product import Product
from surroundings import surroundings
from tables import spread

import mmkd  # noqa: F401
from mmkd.feature_cache import RowFile
from mmkd.feature_rows import Shortcut
from mmkd.hooks.feature_checks import try_out


def measure(pair: Pair, rounds: int) -> tuple[dict[str, list[float]], int]:
    """Seconds of each in each round, and the bytes of a view."""
    with tempfile.TemporaryDirectory() as folder:
        product = Product(pair, 'SSKD', Path(folder), pair.batch[GPU], channels_last=True)
        product.enter('head')
        runner, student, loop = product.runner, product.distiller.student, product.loop
        rows = try_out(runner, product.distiller, ('head',))
        shortcut = Shortcut(student, rows)
        plain = runner.train_dataloader
        file = RowFile(Path(folder, 'rows.bin'), 1, len(plain.dataset), rows.size)
        file.create()
        file.finish()
        batches = cycle(file.loader(plain))
        file.partial.touch()
        handle = file.open()

        def fill() -> None:
            with torch.no_grad(), runner.optim_wrapper.optim_context(runner.model):
                data = product.distiller.data_preprocessor(loop.batch, True)
                packed = rows.pack(student.extract_feat(data['inputs']), data['data_samples'])
            file.write(handle, [(0, i) for i in range(len(packed))], packed)

        def learn() -> None:
            shortcut.put_on()
            loop.run_iter(next(batches))
            shortcut.take_off()

        return alternate(dict(images=product.step, kept=learn, filling=fill), rounds), rows.size


def main() -> None:
    classifiers = [name for name, pair in PAIRS.items() if not pair.boxes]
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('--pairs', nargs='+', choices=classifiers, default=classifiers, metavar='PAIR', help='[all]')
    parser.add_argument('--rounds', type=int, default=10, help='iterations of each that count [10]')
    args = parser.parse_args()
    print(*surroundings().values(), sep='\n')
    print('| | From images, seconds | From kept features | Images, against kept | Filling, against images | Bytes |')
    print('|---|---|---|---|---|---|')
    for name in args.pairs:
        seconds, size = measure(PAIRS[name], args.rounds)
        cells = [
            name,
            f'{median(seconds["images"]):.3f}',
            f'{median(seconds["kept"]):.4f}',
            spread(Ratio.of(seconds['images'], seconds['kept'])),
            spread(Ratio.of(seconds['filling'], seconds['images'])),
            f'{size:,}',
        ]
        print(f'| {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
    main()
