import pytest

from tests.distil import plain, teacher  # noqa: F401  (fixtures)


@pytest.fixture
def mmkd(monkeypatch):
    """Run ``mmkd`` in this process and return its exit message, None for success."""
    from mmkd_command.main import main

    def run(*args: object) -> str | None:
        monkeypatch.setattr('sys.argv', ['mmkd', *map(str, args)])
        try:
            main()
        except SystemExit as stop:
            return str(stop.code)
        return None

    return run


@pytest.fixture
def distill(mmkd):
    """Run ``mmkd distill``."""

    def run(student: str, *args: object, by=('teacher.py', 'teacher.pth')) -> str | None:
        return mmkd('distill', student, '--teacher', *by, *args)

    return run
