"""A training of mmengine's own with a minimal model: two weights, eight samples."""

from pathlib import Path

import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mmkd.hooks import PreemptionHook, SafeCheckpointHook


class Samples(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return dict(inputs=torch.tensor([index / 8, 1.0]))


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, inputs, mode):
        loss = self.layer(torch.stack(inputs)).square().mean()
        return dict(loss=loss) if mode == 'loss' else [loss]


class Score(BaseMetric):
    """Yields the scores that the test sets, one per validation."""

    scores: tuple = ()

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        self.seen = getattr(self, 'seen', 0) + 1
        score = self.scores[self.seen - 1]
        return score if isinstance(score, dict) else dict(score=score)


def toy_runner(
    work_dir: Path,
    by_epoch: bool = True,
    budget: int = 3,
    scores: tuple = (),
    hook: dict | None = None,
    workers: int = 0,
    **changes,
) -> Runner:
    """Settings for epochs of four iterations, or for iterations."""
    metric = Score()
    metric.scores = scores
    loop = dict(max_epochs=budget, val_interval=1) if by_epoch else dict(max_iters=budget, val_interval=1)
    torch.manual_seed(0)
    checkpoint = dict(dict(type=SafeCheckpointHook, interval=1, by_epoch=by_epoch), **(hook or {}))
    sampler = dict(type='DefaultSampler' if by_epoch else 'InfiniteSampler', shuffle=True)
    loader = dict(batch_size=2, dataset=Samples(), sampler=sampler, num_workers=workers)
    loader['collate_fn'] = dict(type='pseudo_collate')
    validation = dict(
        val_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=False)),
        val_evaluator=Evaluator([metric]),
        val_cfg=dict(),
    )
    cfg = dict(
        model=Model(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=by_epoch, **loop),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
        default_hooks=dict(checkpoint=checkpoint, preemption=dict(type=PreemptionHook)),
        randomness=dict(seed=0),
        experiment_name=f'{work_dir.parent.name}_{work_dir.name}_{len(list(work_dir.rglob("*")))}',
        **(validation if scores else {}),
    )
    return Runner(**{**cfg, **changes})


def bytes_of(runner: Runner) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in runner.model.state_dict().values()]
