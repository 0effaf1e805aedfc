"""``mmkd::path`` in ``_base_``: mmengine knows only the packages of its own table."""

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE


def register_config_scope() -> None:
    """Let mmengine find mmkd's configs, which lie in ``mmkd/.mim`` as the toolboxes' do.

    mmengine marks what it inherits from another package with that package's scope, to be built from its registries.
    mmkd is no toolbox: the types in its configs are mmpretrain's or mmdet's, and its own carry their prefix. So nothing
    that comes from mmkd is marked.
    """
    MODULE2PACKAGE['mmkd'] = 'mmkd'
    get_cfg_path = Config._get_cfg_path

    def unmarked(cfg_path: str, filename: str) -> tuple[str, str | None]:
        path, scope = get_cfg_path(cfg_path, filename)
        return path, None if scope == 'mmkd' else scope

    Config._get_cfg_path = staticmethod(unmarked)
