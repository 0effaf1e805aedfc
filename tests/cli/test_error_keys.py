from functools import partial

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS

from mmkd.cli.error_keys import naming_config_keys
from mmkd.errors import UserError


@pytest.fixture(autouse=True)
def registered():
    class Part(BaseModel):
        def __init__(self, width, part=None):
            super().__init__()
            self.width = int(width)
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.part = MODELS.build(part) if part is not None else None

        def forward(self, *args, **kwargs):
            raise NotImplementedError

    MODELS.register_module(module=Part, name='ExplainedPart')
    yield
    MODELS.module_dict.pop('ExplainedPart')


def told(config: dict, build) -> str:
    with pytest.raises(UserError) as caught, naming_config_keys(Config(config)):
        build()
    assert isinstance(caught.value.__cause__, Exception)
    return str(caught.value)


def part(width, **more) -> dict:
    return dict(type='ExplainedPart', width=width, **more)


def test_the_innermost_part_is_named():
    model = part(1, part=part(2, part=part('x')))
    message = told(dict(other=part(3), model=model), lambda: MODELS.build(model))
    assert message.startswith("model.part.part does not fit (ValueError: invalid literal for int() with base 10: 'x')")
    assert 'MMKD_TRACEBACK=1' in message


def test_of_two_alike_the_one_that_was_built():
    model = dict(a=part('y', part=None), b=[part(1), part('x', part=None)])
    assert told(dict(model=model), lambda: MODELS.build(model['b'][1])).startswith('model.b.1 does not fit')


def test_a_part_whose_type_a_toolbox_filled_in():
    config = dict(model=part(1), data_preprocessor=dict(width='x'))
    assert told(config, lambda: MODELS.build(part('x'))).startswith('data_preprocessor does not fit')


def test_unknown_arguments_and_types():
    model = part(1, widdth=2)
    said = told(dict(model=model), lambda: MODELS.build(model))
    assert said == 'model.widdth: Part takes no widdth. Did you mean width?'
    model = dict(type='ExplainedPar')
    said = told(dict(model=model), lambda: MODELS.build(model))
    assert said.startswith('model.type: mmengine has no ExplainedPar. Set default_scope to')
    assert ' Did you mean ExplainedPart' in said


def test_what_a_part_itself_raises_is_not_taken_for_an_unknown_argument():
    class Picky(BaseModel):
        def __init__(self, **kwargs):
            raise TypeError("got an unexpected keyword argument 'depth'")

        def forward(self, *args, **kwargs):
            raise NotImplementedError

    MODELS.register_module(module=Picky, name='ExplainedPicky', force=True)
    model = dict(type='ExplainedPicky', depth=2)
    assert told(dict(model=model), lambda: MODELS.build(model)).startswith('model.depth: Picky takes no depth.')
    model = dict(type='ExplainedPicky', width=2)
    assert told(dict(model=model), lambda: MODELS.build(model)).startswith('model does not fit (TypeError')


def test_an_error_behind_another_one():
    """Builds a hook in the way mmengine's Runner does."""
    model = part('x')

    def build():
        try:
            MODELS.build(model)
        except ValueError as error:
            raise TypeError(f'{error} in a hook') from error

    assert told(dict(model=model), build).startswith('model does not fit (TypeError')


def test_what_the_runner_reads_by_itself(plain_runner_config, tmp_path):
    from mmengine.runner import Runner

    loader = plain_runner_config['train_dataloader']
    for key, value, said in [
        ('train_cfg', dict(max_epoch=1), 'train_cfg does not fit'),
        ('param_scheduler', dict(no='type'), 'param_scheduler does not fit'),
        ('default_hooks', dict(checkpoint=3), 'default_hooks does not fit'),
        ('custom_hooks', ['EMAHook'], 'custom_hooks does not fit (TypeError: hook should be'),
        ('randomness', dict(sed=3), 'randomness does not fit (TypeError: Runner.set_randomness() got an unexpected'),
        ('randomness', 3, 'randomness does not fit'),
        ('val_cfg', dict(), 'the config does not fit'),
        ('train_dataloader', loader | dict(sampler={}), 'train_dataloader does not fit'),
        ('train_dataloader', loader | dict(collate_fn=dict(type=('a', 'b'))), 'train_dataloader does not fit'),
        ('train_dataloader', loader | dict(num_workers=''), 'train_dataloader does not fit'),
    ]:
        config = {**plain_runner_config, key: value, 'experiment_name': f'{tmp_path.name}_{said}_{value}'}
        assert told(config, lambda config=config: Runner.from_cfg(Config(config)).train()).startswith(said)


def test_a_loader_that_got_a_default_is_told_by_its_own_key(plain_runner_config):
    from mmengine.runner import Runner

    loader = plain_runner_config['train_dataloader']
    wrong = dict(dataset=loader['dataset'], batchsize=3)
    build = partial(Runner.build_dataloader, dict(wrong, sampler=loader['sampler']))
    said = told({**plain_runner_config, 'unlabelled_dataloader': wrong}, build)
    assert said.startswith('unlabelled_dataloader does not fit')


@pytest.fixture
def plain_runner_config(tmp_path) -> dict:
    return dict(
        model=part(1),
        work_dir=str(tmp_path),
        train_dataloader=dict(batch_size=1, dataset=dict(type='mmkd.Digits'), sampler=dict(type='DefaultSampler')),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
    )


@pytest.mark.parametrize(
    'error',
    [
        torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 MiB.'),
        RuntimeError('CUDA error: out of memory'),
        RuntimeError('cuDNN error: CUDNN_STATUS_ALLOC_FAILED'),
    ],
)
def test_a_full_device_is_nothing_of_the_config_s(plain_runner_config, error, monkeypatch):
    from mmengine.runner import Runner

    def full(self, *args, **kwargs):
        raise error

    for method in ('init_weights', 'forward'):  # errors while building and errors while training
        monkeypatch.setattr(MODELS.get('ExplainedPart'), method, full)
        config = dict(plain_runner_config, experiment_name=f'{error}_{method}')
        with pytest.raises(type(error)) as caught, naming_config_keys(Config(config)):
            Runner.from_cfg(Config(config)).train()
        assert caught.value is error
    monkeypatch.setattr(MODELS.get('ExplainedPart'), '__init__', full)
    with pytest.raises(type(error)), naming_config_keys(Config(plain_runner_config)):
        Runner.from_cfg(Config(plain_runner_config))


def test_other_errors_and_told_ones_pass():
    with pytest.raises(KeyError), naming_config_keys(Config({})):
        raise KeyError('elsewhere')
    with pytest.raises(UserError, match='told'), naming_config_keys(Config({})):
        raise UserError('told')


def test_no_image_is_blamed_for_what_the_machine_lacks():
    class Full(torch.utils.data.Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            raise OSError(24, 'Too many open files')

    with pytest.raises(OSError, match='Too many open files'), naming_config_keys(Config({})):
        next(iter(torch.utils.data.DataLoader(Full())))
