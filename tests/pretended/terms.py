"""Every loss that classifiers have, as a term beside the student's own."""

BEFORE_THE_SUM = [('layer2.0.bn2', 'layer2.0.bn2')]


def term(loss: str, places: list | str, **options) -> dict:
    """A loss and where it compares."""
    return dict(loss=dict(type=f'mmkd.{loss}Loss', **options), places=places)


TERMS = dict(
    ab=term('AB', BEFORE_THE_SUM),
    at=term('AT', ['layer2']),
    cc=term('CC', ['embedding']),
    crd=term('CRD', ['embedding'], negatives=8),
    cwd=term('CWD', ['layer2']),
    dist=term('DIST', 'scores'),
    dkd=dict(term('DKD', 'scores'), warm_up=0.5),
    fbkd=term('FBKD', ['layer2'], reductions=(2,), strides=(2,)),
    fitnet=term('FitNet', ['layer2']),
    fsp=term('FSP', ['layer1', 'layer2']),
    ickd=term('ICKD', ['layer3']),
    mgd=term('MGD', ['layer3']),
    nst=term('NST', ['layer2']),
    ofd=term('OFD', BEFORE_THE_SUM),
    pkd=term('PKD', ['layer2']),
    pkt=term('PKT', ['embedding']),
    review_kd=term('ReviewKD', ['layer3', 'layer4']),
    rkd=term('RKD', ['embedding']),
    soft=term('SoftTarget', 'scores', standardise=True),
    sp=term('SP', ['layer3']),
    srrl=term('SRRL', ['layer4']),
    vid=term('VID', ['layer2']),
    wsld=term('WSLD', 'scores'),
)
