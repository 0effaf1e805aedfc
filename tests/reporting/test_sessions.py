import json

from mmkd.reporting.sessions import read_session


def test_metrics_of_iterations_that_were_logged_at_epoch_zero(tmp_path):
    """As mmengine does it in iteration loops, unless default_hooks.logger.log_metric_by_epoch is False."""
    records = [
        dict(lr=0.1, loss=1.0, iter=20, step=20),
        {'accuracy/top1': 3.0, 'step': 0},
        dict(lr=0.1, loss=1.0, iter=30, step=30),
        {'accuracy/top1': 4.0, 'step': 35},  # a validation between two logged iterations
        {'accuracy/top1': 5.0, 'step': 0},
    ]
    (tmp_path / 'vis_data').mkdir()
    (tmp_path / 'vis_data' / 'config.py').write_text('train_cfg = dict(by_epoch=False, max_iters=40)')
    (tmp_path / 'vis_data' / 'scalars.json').write_text('\n'.join(map(json.dumps, records)))
    session = read_session(tmp_path)
    assert [record['iteration'] for record in session.validation] == [20, 35, 30]
