from mmkd.version import __version__

project = 'mmkd'
author = 'the mmkd developers'
release = __version__
extensions = ['myst_nb']  # contains myst_parser
myst_heading_anchors = 3
html_theme = 'furo'
html_show_copyright = False
html_title = f'mmkd {release}'
html_static_path = ['_static']
html_css_files = ['wide_tables.css']
exclude_patterns = ['_build', 'jupyter_execute']  # what builds write

# The tutorial is run in a folder of its own whenever the pages are built; a cell that fails stops the build.
nb_execution_mode = 'force'
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # seconds a cell
nb_merge_streams = True
nb_output_stderr = 'remove'  # progress, and what dependencies warn of
