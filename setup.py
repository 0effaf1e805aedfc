"""Packaging: python -m pip install ."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def requirements(*names: str) -> list[str]:
    text = '\n'.join((HERE / 'requirements' / f'{name}.txt').read_text() for name in names)
    return sorted({line for line in text.splitlines() if line and not line.startswith('#')})


version: dict = {}
exec((HERE / 'mmkd' / 'version.py').read_text(), version)

setup(
    name='mmkd',
    version=version['__version__'],
    description='Knowledge distillation for the OpenMMLab toolboxes, by config inheritance',
    long_description=(HERE / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['mmkd', 'mmkd.*', 'mmkd_command']),
    entry_points={'console_scripts': ['mmkd = mmkd_command.main:main']},
    # mmkd/.mim links to configs/, tools/ and model-index.yml, where mmengine and mim look for them.
    package_data={
        'mmkd': ['py.typed', 'reporting/assets/*', '.mim/model-index.yml', '.mim/configs/**/*', '.mim/tools/**/*']
    },
    install_requires=requirements('core'),
    extras_require={
        'onedl': requirements('onedl-cls', 'onedl-det'),
        'onedl-cls': requirements('onedl-cls'),
        'onedl-det': requirements('onedl-det'),
        'openmmlab': requirements('openmmlab'),
        'demo': requirements('demo'),
        'dev': requirements('dev'),
        'docs': requirements('docs'),
    },
    classifiers=[
        'License :: OSI Approved :: Apache Software License',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
    ],
)
