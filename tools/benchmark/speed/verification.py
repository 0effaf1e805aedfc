"""Measures time and memory of verification after the embeddings are computed, in separate programs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from benchmark_page import Results

from mmkd.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
BEGIN = """
import json, resource, sys, time
import numpy as np
import mmkd.evaluation
from mmkd.evaluation import Comparisons, Pairs, Searches, TemplateProtocol, Templates

def memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

random = np.random.RandomState(0)
alone = memory()
"""
END = """
start, begun = time.perf_counter(), time.process_time()
found = protocol.evaluate(embeddings)
assert found
print(json.dumps([time.perf_counter() - start, time.process_time() - begun, memory(), alone]))
"""
PAIRS = """
embeddings = random.randn(20_000, 512).astype(np.float32)
first, second = random.randint(0, 20_000, (2, 1_000_000)).astype(np.int32)
protocol = Pairs(first, second, random.rand(1_000_000) < 0.01, 10, (1e-3, 1e-4))
"""
TEMPLATES = """
embeddings = random.randn(100_000, 512).astype(np.float32)
of = np.concatenate([np.arange(23_124), random.randint(0, 23_124, 469_375 - 23_124)]).astype(np.int64)
templates = Templates(random.randint(0, 100_000, len(of)), of, random.randint(0, 5, len(of)),
                      {t: t % 3_531 for t in range(23_124)})
"""
IJBC_PAIRS = """
first, second = random.randint(0, 23_124, (2, 15_658_489)).astype(np.int32)
comparisons = Comparisons(templates, first, second, random.rand(15_658_489) < 0.00125)
protocol = TemplateProtocol([comparisons], [], (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1), (), ())
"""
IJBC_SEARCH = """
def part(keep):
    return Templates(templates.images[keep], templates.templates[keep], templates.media[keep], templates.people)
protocol = TemplateProtocol(
    [], [Searches(part(of < 1_772), part(of >= 3_531))], (), (1, 5, 10), (0.1, 0.01))
"""
PROGRAMS = {
    '1,000,000 pairs of images, ten folds, TAR': BEGIN + PAIRS + END,
    'as IJB-C, 1:1: 469,375 images pooled, 15,658,489 pairs': BEGIN + TEMPLATES + IJBC_PAIRS + END,
    'as IJB-C, 1:N: 19,593 probes in a gallery of 1,772': BEGIN + TEMPLATES + IJBC_SEARCH + END,
}


def measure(rounds: int) -> list[dict]:
    """Seconds and memory of each program in each round."""
    rows = []
    for name, code in PROGRAMS.items():
        seconds, on_cpu, memory, alone = zip(*(_run(code) for _ in range(rounds)))
        rows.append(dict(program=name, seconds=seconds, on_cpu=on_cpu, memory=memory, alone=alone))
        print(name, f'{median(seconds):.2f} s', flush=True)
    return rows


def _run(code: str) -> tuple[float, float, float, float]:
    run = subprocess.run(
        [sys.executable, '-c', code],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    if run.returncode:
        raise UserError(f'a run failed:\n{run.stderr[-2000:]}')
    return tuple(json.loads(run.stdout.splitlines()[-1]))


def table(results: Results) -> list[str]:
    """Medians, and the largest memory."""
    lines = ['| | Seconds | On a CPU | Memory, all in all | of it before |', '|---|---|---|---|---|']
    for row in results['verification']:
        most, before = max(row['memory']), max(row['alone'])
        seconds = ' | '.join(f'{median(row[key]):.1f}' for key in ('seconds', 'on_cpu'))
        lines.append(f'| {row["program"]} | {seconds} | {most:.2f} GiB | {before:.2f} GiB |')
    return lines
