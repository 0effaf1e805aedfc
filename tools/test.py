#!/usr/bin/env python3
"""Evaluate a checkpoint: python tools/test.py configs/... checkpoint.pth"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout needs no installation

try:
    import mmkd  # noqa: F401
except ImportError as error:
    sys.exit(f'error: {error}')

from mmkd.cli.program import run
from mmkd.cli.test import main

if __name__ == '__main__':
    run(main)
