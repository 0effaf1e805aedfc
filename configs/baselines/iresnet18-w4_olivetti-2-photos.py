"""iResNet-18, 4 channels wide, on two photos of each person of the Olivetti faces, five times an epoch."""
_base_ = './iresnet18-w4_olivetti.py'
train_dataloader = dict(dataset=dict(indices=[10 * person + photo for person in range(30) for photo in (0, 1)] * 5))
train_cfg = dict(max_epochs=20)
