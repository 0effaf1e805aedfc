from mmkd.version import __version__

project = 'mmkd'
author = 'the mmkd developers'
release = __version__
extensions = ['myst_parser']
myst_heading_anchors = 3
html_theme = 'furo'
html_title = f'mmkd {release}'
html_static_path = ['_static']
html_css_files = ['wide_tables.css']
exclude_patterns = ['_build']
