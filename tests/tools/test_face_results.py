"""The small verification runs: what is trained, tested and written, with a stub in place of the tools."""

import json
import sys

import pytest

from tests.conftest import ROOT


@pytest.fixture
def faces(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / 'tools' / 'benchmark')
    monkeypatch.chdir(tmp_path)
    module = __import__('faces')
    yield module
    for name in ('faces', 'files', 'surroundings'):
        sys.modules.pop(name, None)


class Tools:
    """Stands in for tools/train.py and tools/test.py: writes logs like mmengine's."""

    def __init__(self, code: int = 0):
        self.code = code
        self.commands: list[list[str]] = []

    def __call__(self, command, log):
        self.commands.append(list(command))
        folder = log.parent
        seed = int(folder.name[4:])
        if command[0] == 'train.py':
            rows = [{'loss': 1.0}, {'face/accuracy': 50.0, 'face/TAR@FAR=0.1': 1.0}, {'loss': 0.5}]
            rows.append({'face/accuracy': 80.0 + seed, 'face/accuracy_std': 3.0, 'face/TAR@FAR=0.1': 40.0})
            path = folder / 'run' / 'vis_data' / 'scalars.json'
        else:
            rows = [{'face/TAR@FAR=0.1': 60.0, 'face/TAR@FAR=0.01': 30.0 + 2 * seed}]
            path = folder / 'test' / 'run' / 'run.json'
        path.parent.mkdir(parents=True)
        path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
        return self.code


def run(faces, monkeypatch, tools, *args):
    monkeypatch.setattr(faces, 'in_a_process', tools)
    monkeypatch.setattr(faces.finish, '__defaults__', (tools,))
    monkeypatch.setattr(sys, 'argv', ['faces.py', '--out', 'page.md', *args])
    faces.main()


def test_each_seed_has_its_teacher_and_a_table_is_written(faces, monkeypatch, tmp_path):
    tools = Tools()
    run(faces, monkeypatch, tools, '--data', 'olivetti', '--seeds', '0', '1', '--methods', 'kd')
    kinds = [(command[0], command[1].split('/configs/')[1]) for command in tools.commands]
    kd = 'kd/kd_iresnet34-w16_iresnet18-w8_olivetti.py'
    plain = [f'baselines/{name}_olivetti.py' for name in ('iresnet34-w16', 'iresnet18-w8')]
    wanted = [('train.py', plain[0]), ('test.py', plain[0]), ('train.py', kd), ('test.py', plain[1])]
    assert kinds == wanted * 2
    folder = 'work_dirs/results/faces/olivetti'
    assert tools.commands[6][-2:] == [
        'randomness.seed=1',
        f'model.teacher.checkpoint={folder}/teacher/seed1/epoch_40.pth',
    ]
    assert tools.commands[7][2] == f'{folder}/kd/seed1/epoch_40.pth'
    page = (tmp_path / 'page.md').read_text()
    assert '| | Seeds | Accuracy | TAR at FAR 0.1 | TAR at FAR 0.01 |' in page
    assert '| KD | 0, 1 | 80.50 (80.00 to 81.00) | 60.00 (60.00 to 60.00) | 31.00 (30.00 to 32.00) |' in page
    assert '| Student alone |  | not run |  |  |' in page
    assert page.rstrip().endswith('Not run.')  # the classes of CIFAR-100
    run(faces, monkeypatch, tools, '--data', 'olivetti', '--seeds', '0', '1', '--methods', 'kd')
    assert len(tools.commands) == 8  # this training was finished


def test_what_fails_is_told(faces, monkeypatch):
    with pytest.raises(faces.UserError, match=r'teacher/seed0: train.py failed; see its console.log'):
        run(faces, monkeypatch, Tools(code=1), '--data', 'olivetti')


def test_all_its_configs_exist(faces):
    for data in faces.EPOCHS:
        for method in faces.METHODS:
            for command in faces.Run(data, method, 0).commands:
                path = ROOT / command[1]
                assert path.is_file(), path
