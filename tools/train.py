#!/usr/bin/env python3
"""Train or distil a model: python tools/train.py configs/..."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout needs no installation

try:
    import mmkd  # noqa: F401
except ImportError as error:
    sys.exit(f'error: {error}')

from mmkd.cli.program import run
from mmkd.cli.train import main

if __name__ == '__main__':
    run(main)
