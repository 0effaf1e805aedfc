"""What of an arena is not trained yet."""

from collections.abc import Mapping
from textwrap import fill

from arena import Arena
from results import OVER


def missing(arena: Arena, found: Mapping[str, Mapping[str, dict]]) -> list[str]:
    """What is not trained yet, row by row with its seeds, and the command that goes on."""
    done = {name for results in found.values() for name, each in results.items() if each['state'] in OVER}
    trainings, command = arena.trainings(), f'`make results ARENA={arena.name}`'
    rest = [training for training in trainings if training.name not in done]
    if not rest:
        return [f'All {len(trainings)} trainings were run, by {command}.']
    if len(rest) == len(trainings):
        return [f'None of {len(trainings)} trainings was run yet; {command} begins.']
    seeds: dict[str, list[str]] = {}
    for training in rest:
        seeds.setdefault(training.row.key, []).append(str(training.seed))
    names = '; '.join(f'`{key}` {", ".join(those)}' for key, those in seeds.items())
    said = f'Not run yet: {len(rest)} of {len(trainings)} trainings (rows and their seeds: {names}).'
    return [fill(f'{said} {command} goes on with them.', 120)]
