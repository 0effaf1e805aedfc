import pytest

from tests.distil import plain, teacher  # noqa: F401  (fixtures)


@pytest.fixture
def distill(monkeypatch):
    """Run ``mmkd distill`` in this process and return its exit message, None for success."""
    from mmkd_command.main import main

    def run(student: str, *args: object, by=('teacher.py', 'teacher.pth')) -> str | None:
        monkeypatch.setattr('sys.argv', ['mmkd', 'distill', student, '--teacher', *by, *map(str, args)])
        try:
            main()
        except SystemExit as stop:
            return str(stop.code)
        return None

    return run
