"""Rules for all tests: no fixed ports, and no waiting for a program without a time limit."""

import ast
import re

from tests.conftest import ROOT

FILES = {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / 'tests').rglob('*.py'))}


def programs_without_limit(text: str) -> list[int]:
    """The lines that start a program and wait for its end."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    waiting = [call for call in calls if re.match(r'subprocess\.(run|call|check_\w+)$', ast.unparse(call.func))]
    return [call.lineno for call in waiting if 'timeout' not in [keyword.arg for keyword in call.keywords]]


def fixed_ports(text: str) -> list[str]:
    return re.findall(r'(?i)port\W{1,5}\d{5}', text)


def test_programs_have_a_time_limit():
    assert {name: lines for name, text in FILES.items() if (lines := programs_without_limit(text))} == {}
    assert programs_without_limit('import subprocess as s\nsubprocess.run([1])\nsubprocess.run(2, timeout=2)') == [2]


def test_ports_are_free_ones():
    assert {name: ports for name, text in FILES.items() if (ports := fixed_ports(text))} == {}
    assert [len(fixed_ports(text)) for text in ("'--master-port" + "=29565'", "'PORT" + "': '29561',")] == [1, 1]
