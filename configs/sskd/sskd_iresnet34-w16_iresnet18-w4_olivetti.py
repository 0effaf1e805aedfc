"""SSKD on the Olivetti faces: iResNet-34, 16 channels wide, teaches iResNet-18, 4 wide. Train the teacher first."""
_base_ = '../baselines/iresnet18-w4_olivetti.py'
model = dict(
    _delete_=True,
    type='mmkd.SSKD',
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/iresnet34-w16_olivetti.py',
        checkpoint='work_dirs/iresnet34-w16_olivetti/epoch_40.pth'))
