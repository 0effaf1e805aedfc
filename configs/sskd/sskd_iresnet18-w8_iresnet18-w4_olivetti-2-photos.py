"""SSKD on the Olivetti faces with two labelled photos a person: iResNet-18, 8 channels wide, teaches one 4 wide."""
_base_ = ['../baselines/iresnet18-w4_olivetti-2-photos.py', '../_base_/datasets/olivetti_unlabelled.py']
model = dict(
    _delete_=True,
    type='mmkd.SSKD',
    alpha=0.3,  # soft targets teach people from the photos without labels
    student={{_base_.model}},
    teacher=dict(
        config='mmkd::baselines/iresnet18-w8_olivetti.py',
        checkpoint='work_dirs/iresnet18-w8_olivetti/epoch_40.pth'))
