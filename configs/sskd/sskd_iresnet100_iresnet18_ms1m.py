"""SSKD for faces: iResNet-100 teaches iResNet-18 on MS1MV3, its embedding as the last stage. Train the teacher first."""
_base_ = '../baselines/iresnet18_ms1m.py'
model = dict(
    _delete_=True,
    type='mmkd.SSKD',
    student={{_base_.model}},
    pairs=[('layer2', 'layer2'), ('layer3', 'layer3'), ('layer4', 'layer4'), ('features', 'features')],
    stage_losses=dict(features=dict(type='mmkd.FeatureMimicLoss', kind='cosine')),
    teacher=dict(
        config='mmkd::baselines/iresnet100_ms1m.py', checkpoint='work_dirs/iresnet100_ms1m/epoch_20.pth'))
