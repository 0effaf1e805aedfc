import pytest

from mmkd.errors import did_you_mean, in_one_line


@pytest.mark.parametrize(
    ('said', 'line'),
    [
        ('', 'TypeError'),
        ('too long.\nand more', 'TypeError: too long'),
        ('too long in <mmengine.hooks.hook.Hook object at 0x7f9e>', 'TypeError: too long'),
        ('too long. in <mmengine.hooks.hook.Hook object at 0x7f9e>', 'TypeError: too long'),
        ('too long in <a hook>', 'TypeError: too long in <a hook>'),
    ],
)
def test_an_error_of_another_library_in_one_line(said, line):
    assert in_one_line(TypeError(said)) == line


def test_nearest_names_are_offered():
    assert did_you_mean('resnet18', ['resnet34', 'vgg', 'resnet18d']).startswith(' Did you mean resnet18d or resnet34')


def test_nothing_near_offers_nothing():
    assert did_you_mean('resnet18', ['zzz']) == ''
    assert did_you_mean('resnet18', []) == ''
