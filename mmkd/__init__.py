"""mmkd: knowledge distillation for the OpenMMLab toolboxes, by config inheritance.

Importing it checks the versions it stands on and makes ``mmkd::`` paths and mmcv without compiled
ops work. It imports neither torch nor a toolbox by itself.
"""

from mmkd.compat.versions import check_versions

check_versions()  # first: a wrong version causes obscure errors later

from mmkd.compat.config_scope import register_config_scope  # noqa: E402
from mmkd.compat.stand_in import offer_stand_in  # noqa: E402
from mmkd.version import __version__  # noqa: E402

register_config_scope()
offer_stand_in()

__all__ = ['__version__']
