# A classifier on a small backbone for CIFAR; a config adds the backbone and the width of its last feature.
model = dict(
    type='ImageClassifier',
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=100, loss=dict(type='CrossEntropyLoss')))
