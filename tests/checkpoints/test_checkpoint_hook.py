"""The files on the disk at every moment of saving a checkpoint."""

import errno
import os
import shutil
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from mmkd.checkpoints import atomic_files as whole_files
from mmkd.checkpoints.atomic_files import PARTIAL
from mmkd.errors import UserError
from tests.toy import bytes_of, toy_runner


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix != '.py')


@pytest.fixture
def moments(monkeypatch, tmp_path):
    """The contents of the work dir each time a file is renamed."""
    seen = []
    replace = os.replace

    def watched(source, target):
        before = names(tmp_path / 'run')
        replace(source, target)
        if Path(target).parent == tmp_path / 'run':
            seen.append((Path(target).name, before))

    monkeypatch.setattr(os, 'replace', watched)
    return seen


def test_saved_then_pointed_at_then_pruned(tmp_path, moments):
    toy_runner(tmp_path / 'run', hook=dict(max_keep_ckpts=1)).train()
    assert [name for name, _ in moments] == [
        name for epoch in (1, 2, 3) for name in (f'epoch_{epoch}.pth', 'last_checkpoint')
    ]
    for name, before in moments:
        assert name + PARTIAL in before
        if name in ('epoch_2.pth', 'epoch_3.pth'):
            assert f'epoch_{int(name[6]) - 1}.pth' in before  # the last good checkpoint still exists
    assert names(tmp_path / 'run') == ['epoch_3.pth', 'last_checkpoint']
    assert (tmp_path / 'run' / 'last_checkpoint').read_text() == str(tmp_path / 'run' / 'epoch_3.pth')


def test_the_old_best_stays_until_the_new_one_is_there(tmp_path, moments):
    toy_runner(tmp_path / 'run', scores=(1.0, 2.0, 0.0), hook=dict(save_best='score', rule='greater')).train()
    (before,) = [before for name, before in moments if name == 'best_score_epoch_2.pth']
    assert 'best_score_epoch_1.pth' in before
    assert [name for name in names(tmp_path / 'run') if name.startswith('best')] == ['best_score_epoch_2.pth']


def test_several_bests(tmp_path):
    hook = dict(save_best=['score', 'score2'], rule='greater')
    scores = tuple(dict(score=float(value), score2=-float(value)) for value in range(3))
    toy_runner(tmp_path / 'run', scores=scores, hook=hook).train()
    assert [name for name in names(tmp_path / 'run') if name.startswith('best')] == [
        'best_score2_epoch_1.pth',
        'best_score_epoch_3.pth',
    ]


def test_as_many_are_kept_as_mmengine_keeps(tmp_path):
    from mmengine.hooks import CheckpointHook

    hook = dict(max_keep_ckpts=2, save_best='score', rule='greater', published_keys=['state_dict'])
    kept = {}
    for name, kind in (('ours', {}), ('theirs', dict(type=CheckpointHook))):
        toy_runner(tmp_path / name, budget=5, scores=(1.0, 3.0, 2.0, 4.0, 0.0), hook=dict(hook, **kind)).train()
        kept[name] = {path.split('-')[0] for path in names(tmp_path / name)}
    assert kept['ours'] == kept['theirs']
    assert 'epoch_4.pth' in kept['ours']


@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize(('save_last', 'last'), [(True, 5), (False, 4)])
def test_the_last_state_is_saved_where_mmengine_saves_it(tmp_path, by_epoch, save_last, last):
    from mmengine.hooks import CheckpointHook

    hook, kept = dict(interval=2, save_last=save_last, max_keep_ckpts=1), {}
    for name, kind in (('ours', {}), ('theirs', dict(type=CheckpointHook))):
        toy_runner(tmp_path / name, by_epoch=by_epoch, budget=5, hook=dict(hook, **kind)).train()
        kept[name] = names(tmp_path / name)
        assert (tmp_path / name / 'last_checkpoint').read_text().endswith(f'_{last}.pth')
    assert kept['ours'] == kept['theirs']


def test_iterations(tmp_path):
    toy_runner(tmp_path / 'run', by_epoch=False, budget=5, hook=dict(max_keep_ckpts=2)).train()
    assert names(tmp_path / 'run') == ['iter_4.pth', 'iter_5.pth', 'last_checkpoint']
    assert torch.load(tmp_path / 'run' / 'iter_5.pth', weights_only=False)['meta']['iter'] == 5


def full_disk(monkeypatch, after: int):
    """Every write from the given one on fails with a full disk."""
    fsync, calls = os.fsync, []

    def failing(handle):
        calls.append(handle)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, 'No space left on device')
        fsync(handle)

    monkeypatch.setattr(whole_files.os, 'fsync', failing)


@pytest.mark.parametrize(('after', 'left'), [(4, 'epoch_2.pth'), (6, 'last_checkpoint')])
def test_a_full_disk_is_told_and_leaves_what_was_there(tmp_path, monkeypatch, after, left):
    full_disk(monkeypatch, after)  # two calls per file: one for the file, one for its folder
    with pytest.raises(UserError, match=rf'{left} cannot be written \(No space left on device\)'):
        toy_runner(tmp_path / 'run', hook=dict(max_keep_ckpts=1)).train()
    assert not [name for name in names(tmp_path / 'run') if name.endswith(PARTIAL)]
    assert (tmp_path / 'run' / 'last_checkpoint').read_text().endswith('epoch_1.pth')
    assert torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=False)['meta']['epoch'] == 1


def test_what_a_killed_run_left_half_written_is_removed(tmp_path):
    (tmp_path / 'run').mkdir()
    for name in (f'epoch_7.pth{PARTIAL}', 'notes.txt'):
        (tmp_path / 'run' / name).write_text('half')
    toy_runner(tmp_path / 'run', budget=1).train()
    assert names(tmp_path / 'run') == ['epoch_1.pth', 'last_checkpoint', 'notes.txt']


def test_a_folder_in_the_place_of_a_file_is_told_at_the_start(tmp_path):
    (tmp_path / 'run' / f'epoch_1.pth{PARTIAL}').mkdir(parents=True)
    runner = toy_runner(tmp_path / 'run')
    with pytest.raises(UserError, match=r'epoch_1\.pth\.mmkd-partial cannot be removed \(.*\), .*; remove it'):
        runner.train()
    assert runner.iter == 0


@pytest.mark.parametrize(
    ('hook', 'name'),
    [
        (dict(filename_tmpl='e' * 240 + '_{}.pth'), 'e' * 240 + '_3.pth'),
        (dict(filename_tmpl='{:0230d}.pth', save_best='score', rule='less'), r'best_score_0.*3\.pth'),
        (dict(filename_tmpl='no/../\0{}.pth'), 'no'),
    ],
    ids=['long', 'long as the best one', 'a zero byte'],
)
def test_a_name_that_no_file_can_have_is_told_at_the_start(tmp_path, hook, name):
    runner = toy_runner(tmp_path / 'run', hook=hook)
    with pytest.raises(UserError, match=rf'{name}.* cannot be written \(.*\); choose another filename_tmpl or out_dir'):
        runner.train()
    assert runner.iter == 0
    assert not names(tmp_path / 'run')


def test_a_name_that_cannot_be_filled_in_is_told_at_the_start(tmp_path):
    runner = toy_runner(tmp_path / 'run', hook=dict(filename_tmpl='epoch_{'))
    with pytest.raises(UserError, match='filename_tmpl: it must be a file name such as'):
        runner.train()
    assert runner.iter == 0


@pytest.mark.parametrize(
    ('wrong', 'said'),
    [
        (dict(interval='abc'), "interval: it must be a number, not 'abc'."),
        (dict(interval=None), 'interval: it must be a number, not None.'),
        (dict(max_keep_ckpts=[2]), r'max_keep_ckpts: it must be a number, not \[2\].'),
    ],
)
def test_what_must_be_a_number_is_told_at_the_start(tmp_path, wrong, said):
    runner = toy_runner(tmp_path / 'run', hook=wrong)
    with pytest.raises(UserError, match=f'^default_hooks.checkpoint.{said}'):
        runner.call_hook('before_run')


@pytest.mark.parametrize('first', [True, False])
def test_resumed_under_padded_names(tmp_path, first):
    hook = dict(filename_tmpl='ep_{:03d}.pth')
    if not first:
        toy_runner(tmp_path / 'run', budget=2, hook=hook).train()
    runner = toy_runner(tmp_path / 'run', hook=hook, resume=True)
    runner.train()
    assert 'ep_003.pth' in names(tmp_path / 'run')
    assert len(runner.message_hub.get_scalar('train/loss').data[0]) == 12


def test_a_copied_work_dir_leaves_the_original_s_best_alone(tmp_path):
    hook = dict(save_best='score', rule='greater')
    toy_runner(tmp_path / 'run', budget=2, scores=(1.0, 0.0), hook=hook).train()
    shutil.copytree(tmp_path / 'run', tmp_path / 'copy')
    toy_runner(tmp_path / 'copy', scores=(2.0,), hook=hook, resume=True).train()
    best = {place: [file for file in names(tmp_path / place) if 'best' in file] for place in ('run', 'copy')}
    assert best == dict(run=['best_score_epoch_1.pth'], copy=['best_score_epoch_3.pth'])


def test_another_place_for_checkpoints(tmp_path):
    elsewhere = tmp_path / 'elsewhere' / 'run'
    elsewhere.mkdir(parents=True)
    (elsewhere / f'epoch_9.pth{PARTIAL}').touch()
    toy_runner(tmp_path / 'run', budget=1, hook=dict(out_dir=str(tmp_path / 'elsewhere'))).train()
    assert names(elsewhere) == ['epoch_1.pth']
    assert (tmp_path / 'run' / 'last_checkpoint').read_text() == str(elsewhere / 'epoch_1.pth')


def test_places_that_are_no_local_disk_are_left_to_mmengine(tmp_path):
    from mmengine.fileio import LocalBackend, register_backend

    class Remote(LocalBackend):
        puts: ClassVar[list] = []

        def put(self, obj, filepath):
            self.puts.append(filepath)
            super().put(obj, filepath)

    register_backend('toy_remote', Remote, force=True)
    hook = dict(backend_args=dict(backend='toy_remote'))
    toy_runner(tmp_path / 'run', budget=2, hook=hook).train()
    assert [Path(path).name for path in Remote.puts] == ['epoch_1.pth', 'epoch_2.pth']


def test_only_what_the_hook_saves_is_written_this_way(tmp_path, monkeypatch):
    import mmengine

    toy_runner(tmp_path / 'run', budget=1).train()
    monkeypatch.setattr(whole_files, 'write_whole', None)
    mmengine.dump(dict(a=1), str(tmp_path / 'a.json'))
    assert (tmp_path / 'a.json').read_text() == '{"a": 1}'


def test_resume_from_the_last_one_that_is_whole(tmp_path):
    toy_runner(tmp_path / 'run').train()
    os.truncate(tmp_path / 'run' / 'epoch_3.pth', 1000)
    runner = toy_runner(tmp_path / 'run', resume=True)
    runner.train()
    (log,) = [log.read_text() for log in (tmp_path / 'run').glob('*/*.log') if 'Damaged' in log.read_text()]
    (line,) = [line for line in log.splitlines() if 'Damaged' in line]
    assert 'Damaged or gone: ' in line
    assert line.endswith(f'The run goes on from {tmp_path}/run/epoch_2.pth.')
    assert 'resumed epoch: 2, iter: 8' in log
    assert torch.load(tmp_path / 'run' / 'epoch_3.pth', weights_only=False)['meta']['epoch'] == 3


def test_resume_where_there_is_nothing_begins_anew(tmp_path):
    runner = toy_runner(tmp_path / 'run', resume=True)
    runner.train()
    other = toy_runner(tmp_path / 'other')
    other.train()
    assert bytes_of(runner) == bytes_of(other)


@pytest.mark.parametrize('named', [True, False])
def test_nothing_good_to_resume_from_is_told(tmp_path, named):
    toy_runner(tmp_path / 'run', budget=1).train()
    path = tmp_path / 'run' / 'epoch_1.pth'
    os.truncate(path, 1000)
    with pytest.raises(UserError, match='is damaged; get a good copy' if named else 'none of the checkpoints is whole'):
        toy_runner(tmp_path / 'run', resume=True, load_from=str(path) if named else None).train()
