from mmkd.errors import did_you_mean


def test_nearest_names_are_offered():
    assert did_you_mean('resnet18', ['resnet34', 'vgg', 'resnet18d']).startswith(' Did you mean resnet18d or resnet34')


def test_nothing_near_offers_nothing():
    assert did_you_mean('resnet18', ['zzz']) == ''
    assert did_you_mean('resnet18', []) == ''
