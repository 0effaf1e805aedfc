import pytest


@pytest.fixture
def said_in_the_log(monkeypatch):
    """The logged messages; each is repeated as often as it was logged."""
    said: list[str] = []
    monkeypatch.setattr('mmkd.acceleration.iteration_graphs.print_log', lambda text, **_: said.append(text))
    return lambda: said
