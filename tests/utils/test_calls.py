import pytest
from torch import nn, ones

from mmkd.utils.calls import call_of, calls_replaced, replace_call


def test_a_replaced_call_is_run_and_the_one_before_comes_back_even_after_an_error():
    layer = nn.Linear(3, 2)
    replace_call(layer, lambda x: 'before')
    with pytest.raises(ZeroDivisionError), calls_replaced({layer: lambda x: 1 / x}):
        layer(0)
    assert layer(ones(1, 3)) == call_of(layer)(ones(1, 3)) == 'before'


def test_none_is_the_modules_own_call_hooks_included():
    layer, seen = nn.Linear(3, 2), []
    layer.register_forward_hook(lambda *_: seen.append('hook'))
    replace_call(layer, lambda x: 'other')
    with calls_replaced({layer: None}):
        assert layer(ones(1, 3)).shape == (1, 2)
    assert seen == ['hook']
    assert layer(ones(1, 3)) == 'other'
