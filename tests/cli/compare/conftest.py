import pytest

from mmkd_command.main import main


@pytest.fixture
def compare(monkeypatch):
    """Run the command in this process and return its exit message, None for success."""

    def run(*args: object) -> str | None:
        monkeypatch.setattr('sys.argv', ['mmkd', 'compare', *map(str, args)])
        try:
            main()
        except SystemExit as stop:
            return str(stop.code)
        return None

    return run
