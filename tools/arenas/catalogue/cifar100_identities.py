"""Verification of things: classes of CIFAR-100 as people, of whom a fifth is never seen."""

from verification import arena

ARENA = arena(
    title="Verification: CIFAR-100's classes as people",
    text="""40,000 images of 80 classes to learn from, and the 2,000 test images of 20 other classes to verify, 32x32
pixels: 3,000 pairs of one class and 3,000 of two, in ten folds of classes of their own. ArcFace, the embeddings of an
image and its mirror image summed. 10 epochs for each network. Accuracy in per cent at the end. It is a stand-in for
faces, larger than the Olivetti faces.""",
    data='cifar100-identities',
    pair=('iresnet34-w16', 'iresnet18-w8'),
    seeds=(0, 1, 2),
)
