"""Verification of faces: people never seen, after learning from ten photos of each of thirty others."""

from verification import arena

ARENA = arena(
    title='Verification: the Olivetti faces',
    text="""The Olivetti faces (credit: AT&T Laboratories Cambridge): 300 grey photos of 30 people to learn from, 100 of
10 others to verify, 64x64 pixels: 450 pairs of one person and 450 of two, in ten folds of which each is a person.
ArcFace, the embeddings of an image and its mirror image summed. 40 epochs for each network. Accuracy in per cent at
the end. It is a small stand-in: it says whether a method helps on people never seen, not what it reaches on faces. A
pair is 0.1 points.""",
    data='olivetti',
    pair=('iresnet34-w16', 'iresnet18-w4'),
    seeds=(0, 1, 2, 3, 4),
)
