import subprocess
import sys

import pytest

from mmkd.compat.stand_in import MmcvExtFinder, offer_stand_in

mmcv_ext = pytest.importorskip('mmcv._ext')
is_stand_in = 'mmkd' in (mmcv_ext.__file__ or '')
only_stand_in = pytest.mark.skipif(not is_stand_in, reason='this mmcv has its compiled ops')


def test_offered_once_and_last():
    offer_stand_in()
    assert [isinstance(finder, MmcvExtFinder) for finder in sys.meta_path].count(True) == 1


def test_finds_nothing_else():
    assert MmcvExtFinder().find_spec('mmcv.ops') is None


def test_a_compiled_extension_goes_first(tmp_path, monkeypatch):
    """Any importable ``mmcv._ext`` takes precedence over the stand-in."""
    import mmcv

    (tmp_path / '_ext.py').write_text('compiled = True')
    monkeypatch.setattr(mmcv, '__path__', [str(tmp_path), *mmcv.__path__])
    monkeypatch.delitem(sys.modules, 'mmcv._ext')
    import mmcv._ext

    assert mmcv._ext.compiled
    monkeypatch.delitem(sys.modules, 'mmcv._ext')


@only_stand_in
def test_other_ops_raise_when_called_and_say_why():
    from mmcv.ops import nms_rotated  # this import succeeds

    with pytest.raises(NotImplementedError, match=r'"nms_rotated" needs compiled mmcv'):
        mmcv_ext.nms_rotated()
    assert nms_rotated


@only_stand_in
def test_environment_report_says_so():
    from mmcv.ops import get_compiler_version, get_compiling_cuda_version

    assert 'stand-in' in get_compiler_version()
    assert get_compiling_cuda_version() == 'not available'


@only_stand_in
def test_announced_by_one_line_and_only_when_mmcv_ops_is_imported():
    code = 'import mmkd, mmcv; print("before"); import mmcv.ops; import mmcv.ops.nms; print("after")'
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, timeout=120)
    before, _, rest = run.stdout.partition('before')
    text = run.stdout + run.stderr
    assert text.count('torchvision stands in') == 1
    assert 'stands in' not in before
    assert 'after' in rest


def test_importing_mmkd_imports_neither_torch_nor_a_toolbox():
    heavy = {'torch', 'torchvision', 'mmcv', 'mmpretrain', 'mmdet', 'sklearn'}
    code = f'import mmkd, sys; print(sorted({heavy} & set(sys.modules)))'
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, timeout=120)
    assert run.stdout.strip() == '[]'
