import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmkd.errors import UserError
from mmkd.heads import AuxiliaryHead, ToolboxHead, build_head
from mmkd.stages.plan import Stage

GAP = dict(type='mmpretrain.GlobalAveragePooling')
LINEAR = dict(type='mmpretrain.LinearClsHead')
AUXILIARY = dict(type='mmkd.AuxiliaryHead', width=8)


def stage(*shapes: tuple[int, ...], grid: tuple[int, int] = (4, 6)) -> Stage:
    return Stage('layer1', 'backbone.layer1', 1, shapes, 8, grid, (), ())


STAGES = {
    'map': stage((5, 4, 6)),
    'tokens': stage((24, 5)),
    'class token': stage((25, 5)),
    'channels last': stage((4, 6, 5)),
    'pyramid': stage((3, 4, 6), (5, 2, 3)),
    'pyramid of tokens': stage((25, 3), (7, 5)),
}
HEADS = {
    'auxiliary': AUXILIARY,
    'mmpretrain': dict(neck=GAP, head=LINEAR),
    'another neck and head': dict(
        neck=dict(type='mmpretrain.GeneralizedMeanPooling'),
        head=dict(type='mmpretrain.StackedLinearClsHead', mid_channels=[9]),
    ),
}


def feature(of: Stage, images: int = 3) -> tuple[torch.Tensor, ...]:
    return tuple(torch.rand(images, *shape) for shape in of.shapes)


@pytest.fixture
def registered():
    """Register a class for one test."""
    names = []

    def register(cls):
        MODELS.register_module(module=cls)
        names.append(cls.__name__)
        return cls

    yield register
    for name in names:
        MODELS.module_dict.pop(name)


@pytest.mark.parametrize('of', STAGES.values(), ids=STAGES)
@pytest.mark.parametrize('cfg', HEADS.values(), ids=HEADS)
def test_any_head_on_any_feature(cfg, of):
    if cfg is not AUXILIARY:
        pytest.importorskip('mmpretrain')
    scores = build_head(cfg, of, 7)(feature(of))
    assert scores.shape == (3, 7)
    scores.square().sum().backward()


def test_the_config_is_not_changed_and_may_be_mmengines():
    cfg = ConfigDict(AUXILIARY)
    assert isinstance(build_head(cfg, STAGES['map'], 7), AuxiliaryHead)
    assert cfg == AUXILIARY


def test_initialised_and_otherwise_untouched():
    module = build_head(AUXILIARY, STAGES['map'], 7)
    assert module.is_init
    assert all(part.training for part in module.modules())
    assert module.fcs[-1].bias.eq(0).all()
    for norm in (module.convs[0][1], module.convs[1][1]):
        assert norm.num_batches_tracked == 0
        assert norm.running_var.eq(1).all()
    assert all(parameter.grad is None and parameter.requires_grad for parameter in module.parameters())


def test_a_toolbox_head_is_initialised():
    pytest.importorskip('mmpretrain')
    torch.manual_seed(0)
    module = build_head(dict(neck=GAP, head=LINEAR), stage((400, 4, 6)), 100)
    assert isinstance(module, ToolboxHead)
    assert module.head.fc.weight.detach().std() == pytest.approx(0.01, rel=0.05)


def test_what_the_user_says_stays():
    pytest.importorskip('mmpretrain')
    cfg = dict(neck=GAP, head=dict(LINEAR, num_classes=12))
    with pytest.raises(UserError, match=r'scores of shape \(2, 7\) .*, but puts out shape \(2, 12\);'):
        build_head(cfg, STAGES['map'], 7)
    with pytest.raises(UserError, match=r'scores of shape \(2, 7\) .*, but puts out shape \(2, 12\);'):
        build_head(dict(AUXILIARY, num_classes=12), STAGES['map'], 7)


def test_a_neck_may_change_the_width():
    pytest.importorskip('mmpretrain')
    cfg = dict(neck=dict(type='mmpretrain.LinearNeck', gap_dim=2, out_channels=9), head=LINEAR)
    module = build_head(cfg, STAGES['map'], 7)
    assert (module.neck.fc.in_features, module.head.fc.in_features) == (5, 9)
    assert module.neck.norm.num_batches_tracked == 0


def test_a_head_without_neck(registered):
    @registered
    class PooledScores(nn.Module):
        """It also has no init_weights."""

        def __init__(self, in_channels, num_classes):
            super().__init__()
            self.fc = nn.Linear(in_channels, num_classes)

        def forward(self, feature):
            return self.fc(feature[-1].mean((2, 3)))

    for neck in ({}, dict(neck=None)):
        assert build_head(dict(head=dict(type='PooledScores'), **neck), STAGES['tokens'], 7)
    assert build_head(dict(type='PooledScores'), STAGES['map'], 7)(feature(STAGES['map'])).shape == (3, 7)
    assert build_head(dict(type=PooledScores), STAGES['map'], 7)(feature(STAGES['map'])).shape == (3, 7)


def test_what_a_constructor_hands_on_to_its_base(registered):
    @registered
    class Wider(AuxiliaryHead):
        def __init__(self, **options):
            super().__init__(width=16, **options)

    @registered
    class Fixed(AuxiliaryHead):
        def __init__(self, num_classes):
            super().__init__(5, num_classes, width=8)

    assert build_head(dict(type='Wider'), STAGES['class token'], 7).convs[0][0].in_channels == 5
    assert build_head(dict(type='Fixed'), STAGES['map'], 7).layout is None


def test_names_are_looked_up_in_the_default_scope():
    pytest.importorskip('mmpretrain')
    cfg = dict(neck=dict(type='GlobalAveragePooling'), head=dict(type='LinearClsHead'))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        assert isinstance(build_head(cfg, STAGES['map'], 7), ToolboxHead)
    scoped = {part: dict(its, _scope_='mmpretrain') for part, its in cfg.items()}
    assert isinstance(build_head(scoped, STAGES['map'], 7), ToolboxHead)


@pytest.mark.parametrize('cfg', [{}, dict(neck=GAP), dict(head=LINEAR, nec=GAP), dict(kind='mmkd.AuxiliaryHead')])
def test_neither_kind_of_config(cfg):
    with pytest.raises(
        UserError, match=r'^model\.heads: the head of stage layer1 must be dict\(type=.*, not \{.*\}\.$'
    ):
        build_head(cfg, STAGES['map'], 7)


@pytest.mark.parametrize(
    ('cfg', 'name'),
    [
        (dict(type='mmkd.AuxilaryHead'), "'mmkd.AuxilaryHead'"),
        (dict(type='nowhere.Head'), "'nowhere.Head'"),
        (dict(head=dict(width=3)), 'None'),
        (dict(neck=dict(type='Gap'), head=LINEAR), "'Gap'"),
    ],
)
def test_unknown_type(cfg, name):
    with pytest.raises(UserError, match=rf'^model\.heads: the head of stage layer1: no model is registered as {name};'):
        build_head(cfg, STAGES['map'], 7)


def test_bad_argument_of_an_auxiliary_head():
    with pytest.raises(UserError, match=r'^model\.heads: the head of stage layer1: AuxiliaryHead: fcs must be 1 or 2'):
        build_head(dict(AUXILIARY, fcs=3), STAGES['map'], 7)


def test_unknown_argument():
    with pytest.raises(UserError, match=r"^model\.heads: the head of stage layer1 cannot .* argument 'widths'\); fix"):
        build_head(dict(type='mmkd.AuxiliaryHead', widths=8), STAGES['map'], 7)


def test_other_channels_than_the_features():
    with pytest.raises(UserError, match=r'^model\.heads: .* feature of shape \(2, 5, 4, 6\) \(RuntimeError: .*\); fix'):
        build_head(dict(AUXILIARY, in_channels=3), STAGES['map'], 7)


def test_a_head_that_does_not_pool():
    pytest.importorskip('mmpretrain')
    cfg = dict(head=dict(type='mmpretrain.LinearClsHead', in_channels=6))
    with pytest.raises(UserError, match=r'^model\.heads: .*, but puts out shape \(2, 5, 4, 7\); .* a neck that pools'):
        build_head(cfg, STAGES['map'], 7)


def test_a_head_that_cannot_train():
    pytest.importorskip('mmpretrain')
    cfg = dict(neck=GAP, head=dict(type='mmpretrain.LeViTClsHead'))
    with pytest.raises(UserError, match=r'^model\.heads: .* \(NotImplementedError: .* distillation mode\); fix'):
        build_head(cfg, STAGES['map'], 7)
    cfg['head'].update(distillation=False)
    assert build_head(cfg, STAGES['map'], 7).head.head.bn.num_batches_tracked == 0


def test_a_head_that_puts_out_something_else_in_training(registered):
    @registered
    class TwoScores(AuxiliaryHead):
        def forward(self, feature):
            scores = super().forward(feature)
            return (scores, scores) if self.training else scores

    with pytest.raises(UserError, match=r'^model\.heads: .*, but puts out a tuple;'):
        build_head(dict(AUXILIARY, type='TwoScores'), STAGES['map'], 7)


def test_no_batch_statistics_are_taken_while_building(registered):
    """Synchronised norms would wait for other processes or a GPU."""

    class Synchronised(nn.BatchNorm2d):
        def forward(self, maps):
            assert not self.training
            return super().forward(maps)

    @registered
    class SynchronisedHead(AuxiliaryHead):
        def __init__(self, **options):
            super().__init__(**options)
            self.convs[0][1] = Synchronised(8)

    assert build_head(dict(AUXILIARY, type='SynchronisedHead'), STAGES['map'], 7).convs[0][1].training


def test_a_vector_is_no_feature():
    with pytest.raises(UserError, match=r'layer1: .* has the shape \(10,\)'):
        build_head(AUXILIARY, stage((10,)), 7)
