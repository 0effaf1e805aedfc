"""Work dirs as trainings leave them, written by hand."""

import json
from pathlib import Path

STUDENT = "dict(type='ImageClassifier', backbone=dict(type='ResNet', depth=18), head=dict(num_classes=3))"
DISTILLED = (
    "dict(type='mmkd.SSKD', student={student}, weight={weight}, teacher=dict(config='teacher.py', checkpoint='t.pth'))"
)
CONFIG = """model = {model}
randomness = dict(seed={seed})
train_cfg = dict(by_epoch=True, max_epochs={epochs}, val_interval=1)
train_dataloader = dict(batch_size=8, dataset=dict(type='Photos', data_root='{data}/train'))
val_dataloader = dict(batch_size=5, dataset=dict(type='Photos', data_root='{data}/val', pipeline=[dict(type='Load')]))
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1), stages=dict(type='mmkd.StageScheduleHook'))
work_dir = '{folder}'
"""
HEAD = '2026/11/28 10:01:2{} - mmengine - {} - '
PLAN = """Stage plan of the student:
  layer1                        14,480 parameters  16x16x16        mimics backbone.layer1 24x16x16
  neck                          51,648 parameters  32x8x8, 32x4x4  has no loss of its own
  head                           1,300 parameters                  learns the task
Schedule in epochs: layer1 1, layer1+neck 1, all 2
"""
PER_EPOCH = 10  # iterations


def write_session(
    folder: Path,
    start: str = '20261128_100125',
    distilled: bool = True,
    seed: int = 0,
    weight: float = 2.0,
    epochs: int = 4,
    begin: int = 0,
    end: int = 4,
    data: str = 'data/photos',
    score: float = 50.0,
    metric: str = 'accuracy/top1',
    classes: int = 3,
) -> Path:
    """One start of a run, from an epoch to another; each ends with a validation."""
    visible = folder / start / 'vis_data'
    visible.mkdir(parents=True)
    student = STUDENT.replace('num_classes=3', f'num_classes={classes}')
    model = DISTILLED.format(student=student, weight=weight) if distilled else student
    config = CONFIG.format(model=model, seed=seed, epochs=epochs, data=data, folder=folder)
    (visible / 'config.py').write_text(config)
    records: list[dict] = []
    for epoch in range(begin, end):
        for step in (5, 10):
            at = epoch * PER_EPOCH + step
            loss = dict(loss=4.0 / at, loss_own=3.0 / at, loss_mimic_layer1=1.0 / at)
            records.append(dict(lr=0.1, data_time=0.01, **loss, time=0.25, epoch=epoch + 1, iter=at, step=at))
        if distilled:
            records.append(dict(val_mimic_loss=2.5, val_r2_layer1=0.125 * (epoch + 1), step=(epoch + 1) * PER_EPOCH))
        records.append({metric: score + epoch, 'data_time': 0.01, 'time': 0.02, 'step': epoch + 1})
    (visible / 'scalars.json').write_text(''.join(f'{json.dumps(record)}\n' for record in records))
    (folder / start / f'{start}.log').write_text(_log(distilled, begin, end))
    return folder


def _log(distilled: bool, begin: int, end: int) -> str:
    info, warning = HEAD.format(0, 'INFO'), HEAD.format(1, 'WARNING')
    text = f'{info}\n    PyTorch: 2.14.1\n    GPU number: 2\n\n'
    if distilled:
        text += info + PLAN
        if not begin:
            text += f"{info}The teacher's own score on the student's validation images: accuracy/top1 69.55, b 1e-05\n"
    if begin:
        text += f'{info}resumed epoch: {begin}, iter: {begin * PER_EPOCH}\n'
    for epoch in range(begin, end):
        text += f'{info}Epoch(train)  [{epoch + 1}][10/{PER_EPOCH}]  lr: 1.0000e-01  eta: 0:00:08  time: 0.25\n'
        text += f'{info}Stage all on the validation set: mimic_loss 2.5, r2_layer1 {0.125 * (epoch + 1)}\n'
    if distilled and begin == 0:
        text += (
            f'{info}Stage layer1 ends: 10 iterations in 1 min 14 s, 2,187 images/s, loss 31.91 at the start, 1.531 '
            f'at the end.\n{warning}Stage layer1 has hardly learned: it explains 0.12.\n'
            f'{warning}"FileClient" is deprecated.\n'
        )
    return text
