#!/usr/bin/env python3
"""Turn published weights of face networks into those of mmkd's, by their names.

    tools/model_converters/faces.py backbone.pth data/iresnet100.pth

Known are iResNets and MobileFaceNets of InsightFace's arcface_torch, and MobileFaceNets of InsightFace_Pytorch
(TreB1eN). It prints the backbone's config. The weights have no head: they are for testing and for teachers.
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

import mmkd  # noqa: F401
from mmkd.checkpoints.atomic_files import save_whole
from mmkd.checkpoints.safe_load import load_named
from mmkd.errors import UserError
from mmkd.models import IResNet, MobileFaceNet
from mmkd.models.iresnet import BLOCKS

PLACES = {
    **{
        'conv1': 'layers.0',
        'conv2_dw': 'layers.1',
        'conv_23': 'layers.2',
        'conv_34': 'layers.4',
        'conv_45': 'layers.6',
    },
    **{'conv_3.model': 'layers.3.layers', 'conv_4.model': 'layers.5.layers', 'conv_5.model': 'layers.7.layers'},
    **{'conv_6_sep': 'conv_sep', 'conv_6_dw': 'features.layers.0'},
    **{'linear': 'features.layers.2', 'bn': 'features.layers.3'},
}
IN_BOTTLENECK = {'conv': 0, 'conv_dw': 1, 'project': 2}
IN_BLOCK = {'conv': 0, 'bn': 1, 'prelu': 2}

State = dict[str, torch.Tensor]


def state_of(content: object) -> State:
    """The network's tensors in a checkpoint, with names freed from the prefixes of wrappers."""
    for key in ('state_dict_backbone', 'state_dict', 'backbone'):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise UserError('the file holds no state dict.')
    return {name.removeprefix('module.').removeprefix('backbone.'): value for name, value in content.items()}


def renamed(name: str) -> str:
    """Translate a name of InsightFace_Pytorch's MobileFaceNet into arcface_torch's."""
    place = next((old for old in PLACES if f'{name}.'.startswith(f'{old}.')), None)
    if place is None:
        raise UserError(f'the file is of no network that is known: it has {name}.')
    *inside, kind = name[len(place) + 1 :].split('.')
    new = [PLACES[place]]
    if inside and inside[0].isdecimal():
        new.append(inside.pop(0))
    for names in (IN_BOTTLENECK, IN_BLOCK) if len(inside) == 2 else (IN_BLOCK,) * len(inside):
        new.append(f'layers.{names[inside.pop(0)]}')
    return '.'.join([*new, kind])


def count(state: State, before: str) -> int:
    """The number of blocks under a name."""
    return len({name[len(before) :].split('.')[0] for name in state if name.startswith(before)})


def config_of(state: State) -> dict:
    """Build the backbone with these weights."""
    if 'layer1.0.bn1.weight' in state:
        blocks = tuple(count(state, f'layer{group}.') for group in (1, 2, 3, 4))
        depth = next((depth for depth, its in BLOCKS.items() if its == blocks), None)
        if depth is None:
            raise UserError(f'the file is of an iResNet with {blocks} blocks, and known are {BLOCKS}.')
        side = round((state['fc.weight'].shape[1] / state['bn2.weight'].shape[0]) ** 0.5)
        widths = tuple(state[f'{name}.weight'].shape[0] for name in ('bn1', *(f'layer{i}.0.bn2' for i in (1, 2, 3, 4))))
        return dict(
            type='IResNet', depth=depth, num_features=len(state['features.bias']), widths=widths, image_size=16 * side
        )
    if 'features.layers.2.weight' in state:
        first = 'layers.1.layers.0.layers.0.layers.0.weight' in state
        blocks = tuple(count(state, f'layers.{place}.layers.') if first or place > 1 else 1 for place in (1, 3, 5, 7))
        return dict(
            type='MobileFaceNet',
            num_features=len(state['features.layers.2.weight']),
            scale=len(state['layers.0.layers.0.weight']) // 64,
            blocks=blocks,
            image_size=16 * state['features.layers.0.layers.0.weight'].shape[-1],
        )
    raise UserError(f'the file is of no network that is known: it has {", ".join(list(state)[:3])} ...')


def converted(content: object) -> tuple[dict, State]:
    """The config of a backbone, and its weights under a model's names."""
    state = state_of(content)
    if 'conv_23.conv.conv.weight' in state:
        state = {renamed(name): value for name, value in state.items()}
    try:
        cfg = config_of(state)
    except KeyError as error:
        raise UserError(f'the file lacks {error}, without which its network is not known.') from error
    kinds = dict(IResNet=IResNet, MobileFaceNet=MobileFaceNet)
    network = kinds[cfg['type']](**{key: value for key, value in cfg.items() if key != 'type'})
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f'the file does not fit {cfg}: {" ".join(str(error).split())}') from error
    return {**cfg, 'type': f'mmkd.{cfg["type"]}'}, {f'backbone.{name}': value for name, value in state.items()}


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('source')
    parser.add_argument('target', type=Path)
    args = parser.parse_args()
    cfg, state = converted(load_named('source', args.source))
    save_whole(args.target, dict(state_dict=state))
    print(f'backbone=dict({", ".join(f"{key}={value!r}" for key, value in cfg.items())})')
    print(f'wrote {args.target}')


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        sys.exit(f'error: {error}')
