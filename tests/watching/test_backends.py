"""W&B and MLflow get the iteration of all that is shown; the real ones are tried where they are installed."""

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.visualization import MLflowVisBackend, WandbVisBackend

from mmkd.cli.default_hooks import add_backends
from mmkd.registry import VISBACKENDS

PICTURE = np.zeros((4, 4, 3), np.uint8)


def show(backend) -> None:
    """What a run shows, not in the order of its iterations."""
    backend.add_scalar('stage', 1, step=1)
    backend.add_scalars({'val_cka_layer1': 0.5, 'val_cosine_layer1': 0.25}, step=0)
    backend.add_image('features_layer1', PICTURE, step=8)


def test_wandb_draws_all_over_the_iteration(monkeypatch, tmp_path):
    logged, axes = [], []
    fake = SimpleNamespace(
        init=lambda **settings: None,
        define_metric=lambda *names, **settings: axes.append((names, settings)),
        log=lambda values, commit: logged.append(values),
        Image=lambda image: image.shape,
    )
    monkeypatch.setitem(sys.modules, 'wandb', fake)
    show(VISBACKENDS.build(dict(type='mmkd.WandbVisBackend', save_dir=str(tmp_path))))
    assert axes == [(('iteration',), {}), (('*',), dict(step_metric='iteration'))]
    assert logged == [
        dict(stage=1, iteration=1),
        dict(val_cka_layer1=0.5, val_cosine_layer1=0.25, iteration=0),
        dict(features_layer1=(4, 4, 3), iteration=8),
    ]


def test_a_training_takes_them_in_place_of_mmengines():
    plain = [
        dict(type='LocalVisBackend'),
        dict(type='WandbVisBackend', commit=False),
        dict(type='mmengine.MLflowVisBackend'),
        dict(type=MLflowVisBackend),
        dict(type=WandbVisBackend, name='second'),
        dict(type='theirs.WandbVisBackend'),
    ]
    cfg = Config(dict(visualizer=dict(type='Visualizer', vis_backends=plain)))
    add_backends(cfg)
    assert [backend.type for backend in cfg.visualizer.vis_backends] == [
        'LocalVisBackend',
        'mmkd.WandbVisBackend',
        'mmkd.MLflowVisBackend',
        'mmkd.MLflowVisBackend',
        'mmkd.WandbVisBackend',
        'theirs.WandbVisBackend',
    ]
    assert cfg.visualizer.vis_backends[1].commit is False
    for nothing in (dict(), dict(visualizer=None), dict(visualizer=dict(type='Visualizer', vis_backends=None))):
        add_backends(Config(nothing))


def test_mlflow(tmp_path):
    """The real one, with its records in a database file."""
    mlflow = pytest.importorskip('mlflow')
    pytest.importorskip('sqlalchemy')
    uri = f'sqlite:///{tmp_path}/runs.db'
    settings = dict(exp_name='toy', tracking_uri=uri, artifact_location=str(tmp_path / 'artifacts'))
    backend = VISBACKENDS.build(dict(type='mmkd.MLflowVisBackend', save_dir=str(tmp_path / 'run'), **settings))
    backend.add_config(Config(dict(work_dir=str(tmp_path / 'run'))))
    show(backend)
    backend.close()
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name('toy').experiment_id])
    seen = {
        key: [metric.step for metric in client.get_metric_history(run.info.run_id, key)] for key in run.data.metrics
    }
    assert seen == dict(stage=[1], val_cka_layer1=[0], val_cosine_layer1=[0])
    pictures = [os.path.basename(file.path) for file in client.list_artifacts(run.info.run_id, 'images')]
    assert any('features_layer1' in name and '8' in name for name in pictures), pictures


def test_wandb_offline(tmp_path, monkeypatch):
    """The real one takes what it is given."""
    pytest.importorskip('wandb')
    monkeypatch.setenv('WANDB_SILENT', 'true')
    settings = dict(init_kwargs=dict(project='toy', mode='offline'))
    backend = VISBACKENDS.build(dict(type='mmkd.WandbVisBackend', save_dir=str(tmp_path), **settings))
    show(backend)
    summary = dict(backend.experiment.run.summary)
    backend.close()
    assert summary['iteration'] == 8
    assert summary['val_cka_layer1'] == 0.5
    assert list(tmp_path.rglob('features_layer1*.png'))
