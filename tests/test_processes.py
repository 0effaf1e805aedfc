"""Two processes of a test end together, and what one of them says is not lost."""

import pytest

from tests.processes import run_two

SCRIPT = """
import os, sys, time
print('rank', os.environ['RANK'], *sys.argv[1:], flush=True)
if sys.argv[1] == 'fail':
    sys.exit('no such thing') if os.environ['RANK'] == '1' else time.sleep(600)
"""


def test_both_are_ended_if_one_fails(tmp_path):
    (tmp_path / 'script.py').write_text(SCRIPT)
    assert run_two(tmp_path / 'script.py', 'well').splitlines() == ['rank 0 well', 'rank 1 well']
    with pytest.raises(AssertionError, match='rank 1 fail\nno such thing'):
        run_two(tmp_path / 'script.py', 'fail', limit=300)
