"""``mmkd compare`` with tiny detectors."""

import csv

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from mmkd.cli.compare.inference import count_flops
from mmkd.utils.configs import load_config
from tests.mmdet_detectors import as_in_a_run, plain_model

pytest.importorskip('mmdet')
TINY = """
_base_ = 'mmkd::baselines/retinanet_r18-w16_digits-coco.py'
model = dict(backbone=dict(stem_channels={width}, base_channels={width}), neck=dict(in_channels={widths}))
test_dataloader = dict(batch_size={batch}, dataset=dict(indices=7, data_root={root!r}))
test_evaluator = dict(ann_file={root!r} + 'val.json', classwise={classwise})
"""


def test_two_detectors(compare, tmp_path, digits_coco, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('COLUMNS', '40')
    for name, width in (('big', 12), ('small', 8)):
        widths = [width * 2**level for level in range(4)]
        root = f'{digits_coco}/'
        text = TINY.format(width=width, widths=widths, batch=width // 4, root=root, classwise=name == 'big')
        (tmp_path / f'{name}.py').write_text(text)
        init_default_scope('mmdet')
        model = MODELS.build(load_config(f'{name}.py').model)
        torch.manual_seed(width)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.05)  # finds something, by chance
        torch.save(dict(state_dict=model.state_dict()), f'{name}.pth')
    assert compare('big.py', 'big.pth', 'small.py', 'small.pth', '--out', 'out', '--device', 'cpu') is None
    said = capsys.readouterr().out
    table = said[said.index('       bbox_mAP') : said.index('In files')]
    assert max(map(len, table.splitlines())) <= 40
    big, small = csv.DictReader((tmp_path / 'out' / 'comparison.csv').read_text().splitlines())
    for size in ('', '_50', '_75', '_s', '_m', '_l'):
        for row in (big, small):
            assert -1 <= float(row[f'coco/bbox_mAP{size}']) <= 1
    assert not any('precision' in key for key in big), 'the classes of one of them only'
    assert float(big['flops']) > float(small['flops']) > 1e6
    assert int(big['memory_bytes']) > int(small['memory_bytes'])
    assert 'agreement' not in big
    assert 'calibration_error' not in big


def test_the_analysis_gets_what_a_two_stage_detector_needs():
    """It asks for the samples."""
    from mmdet.testing import demo_mm_inputs

    as_in_a_run()
    model = MODELS.build(plain_model('faster_rcnn/faster-rcnn_r50_fpn_1x_coco')).eval()
    small, large = (count_flops(model, demo_mm_inputs(1, [[3, side, 64]])) for side in (64, 128))
    assert 0 < 1.5 * small < large
