#!/usr/bin/env python3
"""Save the teacher's auxiliary heads of an MHKD training, for model.teacher_heads of other students' configs.

python tools/save_teacher_heads.py work_dirs/.../epoch_240.pth heads.pth
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout needs no installation

try:
    import mmkd  # noqa: F401
except ImportError as error:
    sys.exit(f'error: {error}')

from mmkd.errors import UserError
from mmkd.heads import save_heads


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='a checkpoint that an mmkd.MHKD training wrote')
    parser.add_argument('file', help='where to write the heads')
    args = parser.parse_args()
    count = save_heads(args.checkpoint, args.file)
    print(f"The teacher's heads, {count} tensors, are in {args.file}; name it in model.teacher_heads.")


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        sys.exit(f'error: {error}')
