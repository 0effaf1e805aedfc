"""``python -m mmkd`` is the command ``mmkd``."""

from mmkd_command.main import main

if __name__ == '__main__':
    main()
