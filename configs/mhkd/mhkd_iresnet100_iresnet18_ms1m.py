"""MHKD for faces: iResNet-100 teaches iResNet-18 on MS1MV3. Train the teacher first."""
_base_ = '../baselines/iresnet18_ms1m.py'
model = dict(
    _delete_=True,
    type='mmkd.MHKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/iresnet100_ms1m.py', checkpoint='work_dirs/iresnet100_ms1m/epoch_20.pth'))
