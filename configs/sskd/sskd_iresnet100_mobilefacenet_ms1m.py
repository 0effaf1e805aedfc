"""SSKD for faces: iResNet-100 teaches MobileFaceNet on MS1MV3, its embedding as the last stage. Train the teacher first."""
_base_ = '../baselines/mobilefacenet_ms1m.py'
model = dict(
    _delete_=True,
    type='mmkd.SSKD',
    student={{_base_.model}},
    pairs=[('layers.3', 'layer2'), ('layers.5', 'layer3'), ('conv_sep', 'layer4'), ('features', 'features')],
    stage_losses=dict(features=dict(type='mmkd.FeatureMimicLoss', kind='cosine')),
    teacher=dict(
        config='mmkd::baselines/iresnet100_ms1m.py', checkpoint='work_dirs/iresnet100_ms1m/epoch_20.pth'))
