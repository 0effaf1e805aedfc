"""Each method has what a method has to have: a short file, public values, public defaults, a config and a row."""

import re
from inspect import signature

import pytest

import mmkd.losses
from mmkd.utils.configs import load_config
from tests.conftest import ROOT

BASES = {'FeatureLoss', 'LearnedFeatureLoss', 'ScoreLoss'}
OURS = {'ClassScoreLoss', 'FeatureMimicLoss'}  # of MHKD and SSKD, against loops
BY_HAND = {'CrossKDBoxLoss', 'CrossKDCenternessLoss', 'SimKDLoss'}  # without public numbers
METHODS = sorted(name for name in mmkd.losses.__all__ if name.endswith('Loss') and name not in BASES | OURS)
DEFAULTS = dict(  # of RepDistiller, mdistiller, MMRazor or the authors; soft targets and DKD as for CIFAR-100
    ABLoss=dict(margin=1, loss_weight=1),
    ATLoss=dict(loss_weight=1000),
    CCLoss=dict(dimensions=128, loss_weight=0.02),
    CRDLoss=dict(dimensions=128, negatives=16384, tau=0.07, momentum=0.5, loss_weight=0.8),
    CrossKDBoxLoss=dict(loss_weight=1),
    CrossKDCenternessLoss=dict(loss_weight=1),
    CrossKDClassLoss=dict(beta=1, loss_weight=1),
    CWDLoss=dict(tau=1, loss_weight=10),
    DISTLoss=dict(beta=1, gamma=1, tau=1, loss_weight=2),
    DKDLoss=dict(alpha=1, beta=8, tau=4, loss_weight=1),
    FBKDLoss=dict(features=7e-5, channels=4e-3, places=4e-3, relations=7e-5, tau=0.5),
    FGDLoss=dict(objects=1e-3, background=5e-4, attention=5e-4, context=5e-6, tau=0.5),
    FitNetLoss=dict(loss_weight=100),
    FSPLoss=dict(loss_weight=1),
    ICKDLoss=dict(loss_weight=2.5),
    LDLoss=dict(tau=10, bins='mean', loss_weight=0.25),
    MGDLoss=dict(masked=0.65, loss_weight=2e-5),
    NSTLoss=dict(loss_weight=50),
    OFDLoss=dict(loss_weight=1e-3),
    PKDLoss=dict(loss_weight=1),  # of a term; configs say the public 6
    PKTLoss=dict(loss_weight=30000),
    ReviewKDLoss=dict(loss_weight=1),  # which depends on the pair
    RKDLoss=dict(distance=25, angle=50, loss_weight=1),
    SimKDLoss=dict(loss_weight=1),
    SoftTargetLoss=dict(tau=4),
    SPLoss=dict(loss_weight=3000),
    SRRLLoss=dict(loss_weight=1),
    VIDLoss=dict(variance=5, loss_weight=1),
    WSLDLoss=dict(tau=2, loss_weight=2.5),
)
CONFIGS = [
    path
    for pattern in ('*_resnet32x4_resnet8x4_cifar100.py', '*_coco.py')
    for folder in ('kd', 'feature_kd')
    for path in sorted((ROOT / 'configs' / folder).glob(pattern))
    if 'digits' not in path.stem
]


@pytest.mark.parametrize('name', METHODS)
def test_the_defaults_are_the_public_ones(name):
    found = {key: one.default for key, one in signature(getattr(mmkd.losses, name)).parameters.items()}
    assert {key: found[key] for key in DEFAULTS[name]} == DEFAULTS[name]


def test_each_loss_has_public_values_or_says_why_not():
    tested = (ROOT / 'tests' / 'losses' / 'test_public_values.py').read_text()
    missing = {name for name in METHODS if not re.search(rf'\b{name}\(', tested)}
    assert missing == BY_HAND


@pytest.mark.parametrize('name', METHODS)
def test_its_file_is_short(name):
    module = getattr(mmkd.losses, name).__module__
    assert len((ROOT / f'{module.replace(".", "/")}.py').read_text().splitlines()) < 100


def test_each_loss_stands_in_a_config_and_each_config_in_the_table():
    page = (ROOT / 'docs' / 'methods.md').read_text()
    named = re.findall(r'\| \[([\w.-]+)\]\(\.\./configs/', page)
    assert sorted(named) == sorted(path.stem for path in CONFIGS)
    used = {'SimKDLoss', 'SoftTargetLoss'}  # of SimKD and KD themselves
    for path in CONFIGS:
        model = load_config(str(path)).model
        losses = [term.loss for term in model.get('terms', {}).values()]
        used |= {loss.type.removeprefix('mmkd.') for loss in losses}
    assert used == set(METHODS)
