import os
import shutil
from pathlib import Path

import pytest
import torch

from mmkd.checkpoints.atomic_files import is_whole
from mmkd.checkpoints.resume import check_named, choose_whole, find_checkpoints
from mmkd.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """Three checkpoints, and a pointer to the last one."""
    for epoch in (1, 2, 3):
        path = tmp_path / f'epoch_{epoch}.pth'
        torch.save(dict(weight=torch.arange(1000.0)), path)
        os.utime(path, ns=(epoch * 10**9, epoch * 10**9))
    (tmp_path / 'last_checkpoint').write_text(str(path))
    return tmp_path


def found(folder, **kwargs) -> list[str]:
    return [Path(path).name for path in find_checkpoints(str(folder), **kwargs)]


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    'cut off': lambda path: os.truncate(path, path.stat().st_size // 2),
    'the last byte is missing': lambda path: os.truncate(path, path.stat().st_size - 1),
    'empty': lambda path: os.truncate(path, 0),
    'one bit': flip_a_bit,
    'another file': lambda path: path.write_text('<html>not found</html>'),
    'gone': lambda path: path.unlink(),
}


@pytest.mark.parametrize('damage', DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_passed_over(folder, damage):
    damage(folder / 'epoch_3.pth')
    chosen, damaged = choose_whole(find_checkpoints(str(folder)))
    assert (Path(chosen).name, [Path(path).name for path in damaged]) == ('epoch_2.pth', ['epoch_3.pth'])


def test_the_one_pointed_at_comes_first_whatever_else_is_newer(folder):
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_1.pth'))
    assert found(folder) == ['epoch_1.pth', 'epoch_3.pth', 'epoch_2.pth']


def test_the_place_of_checkpoints_is_found_from_within_the_work_dir(tmp_path, monkeypatch):
    for folder in (tmp_path / 'run', tmp_path / 'elsewhere' / 'run'):
        folder.mkdir(parents=True)
    (tmp_path / 'elsewhere' / 'run' / 'epoch_1.pth').write_text('1')
    monkeypatch.chdir(tmp_path / 'run')
    assert find_checkpoints('.', out_dir='../elsewhere') == ['../elsewhere/run/epoch_1.pth']


@pytest.mark.parametrize('pointer', [None, '', '\n'])
def test_without_a_pointer_the_newest_comes_first(folder, pointer):
    (folder / 'last_checkpoint').unlink()
    if pointer is not None:
        (folder / 'last_checkpoint').write_text(pointer)
    assert found(folder) == ['epoch_3.pth', 'epoch_2.pth', 'epoch_1.pth']


def test_only_what_a_run_can_go_on_from(folder):
    for name in ('best_top1_epoch_3.pth', 'epoch_4.pth.mmkd-partial', 'teacher.pth'):
        (folder / name).touch()
    assert found(folder) == ['epoch_3.pth', 'epoch_2.pth', 'epoch_1.pth']


def test_other_names_and_another_place(tmp_path):
    (tmp_path / 'elsewhere' / 'run').mkdir(parents=True)
    (tmp_path / 'elsewhere' / 'run' / 'step7.pth').write_text('content')
    assert found(tmp_path / 'run') == []
    assert found(tmp_path / 'run', out_dir=str(tmp_path / 'elsewhere'), template='step{}.pth') == ['step7.pth']


def test_a_run_folder_that_was_moved(folder, tmp_path_factory):
    moved = tmp_path_factory.mktemp('moved') / 'run'
    folder.rename(moved)
    chosen, _ = choose_whole(find_checkpoints(str(moved)))
    assert chosen == str(moved / 'epoch_3.pth')


def test_a_copy_goes_on_from_its_own_even_if_the_original_went_on(folder, tmp_path_factory):
    copy = tmp_path_factory.mktemp('copy') / 'run'
    shutil.copytree(folder, copy)
    torch.save(dict(weight=torch.zeros(3)), folder / 'epoch_3.pth')
    chosen, damaged = choose_whole(find_checkpoints(str(copy)))
    assert (chosen, damaged) == (str(copy / 'epoch_3.pth'), [])
    (copy / 'epoch_3.pth').unlink()  # the original folder still has it
    chosen, damaged = choose_whole(find_checkpoints(str(copy)))
    assert (chosen, damaged) == (str(copy / 'epoch_2.pth'), [str(copy / 'epoch_3.pth')])


def test_a_copy_of_the_pointer_alone_is_no_run_to_go_on_with(folder, tmp_path):
    (tmp_path / 'copy').mkdir()
    shutil.copy(folder / 'last_checkpoint', tmp_path / 'copy')
    with pytest.raises(UserError, match=r'none of the checkpoints is whole \(.*copy/epoch_3\.pth\)'):
        choose_whole(find_checkpoints(str(tmp_path / 'copy')))


POINTERS = {
    'a folder': b'/tmp',
    'the run itself': b'.',
    'not UTF-8': b'\xff\xfe\x00e',
    'a zero byte': b'epoch_3.pth\x00',
    'a URL': b'https://host/net.pth',
    'very long': b'x' * 10_000,
    'another kind of file': b'best_top1_epoch_3.pth',
}


@pytest.mark.parametrize('content', POINTERS.values(), ids=POINTERS)
def test_a_pointer_to_no_checkpoint_is_no_pointer(folder, content):
    (folder / 'last_checkpoint').write_bytes(content)
    assert found(folder) == ['epoch_3.pth', 'epoch_2.pth', 'epoch_1.pth']


@pytest.mark.parametrize('kind', ['a folder', 'a link to nowhere'])
def test_a_pointer_that_is_no_file_is_no_pointer(folder, kind):
    (folder / 'last_checkpoint').unlink()
    if kind == 'a folder':
        (folder / 'last_checkpoint').mkdir()
    else:
        (folder / 'last_checkpoint').symlink_to(folder / 'nowhere')
    assert found(folder) == ['epoch_3.pth', 'epoch_2.pth', 'epoch_1.pth']


def test_what_only_has_the_name_of_a_checkpoint_is_passed_over(folder):
    (folder / 'epoch_4.pth').symlink_to(folder / 'nowhere')
    (folder / 'epoch_5.pth').mkdir()
    assert found(folder) == ['epoch_3.pth', 'epoch_2.pth', 'epoch_1.pth']


def test_a_folder_that_deepspeed_wrote_is_not_looked_into(folder):
    (folder / 'epoch_4.pth').mkdir()
    (folder / 'epoch_4.pth' / 'mp_rank_00_model_states.pt').touch()
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_4.pth'))
    assert choose_whole(find_checkpoints(str(folder))) == (str(folder / 'epoch_4.pth'), [])


def test_what_is_on_no_local_disk_is_not_looked_into(folder):
    (folder / 'last_checkpoint').write_text('s3://bucket/run/epoch_3.pth')
    there = find_checkpoints(str(folder), out_dir='s3://bucket')
    assert choose_whole(there) == ('s3://bucket/run/epoch_3.pth', [])
    assert choose_whole(find_checkpoints(str(folder)))[0] == str(folder / 'epoch_3.pth')  # it is in this folder
    for other in ('s3://another', str(folder)):  # the run's checkpoints are elsewhere now
        assert 's3://bucket/run/epoch_3.pth' not in find_checkpoints(str(folder), out_dir=other)
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_3.pth'))
    assert find_checkpoints(str(folder), out_dir=str(folder))[0] == str(folder / 'epoch_3.pth')


@pytest.mark.parametrize(
    ('template', 'name', 'other'),
    [
        ('ep_{:03d}.pth', 'ep_003.pth', 'ep-003.pth'),
        ('{:>5}_of.pth', '    3_of.pth', '3_off.pth'),
        ('[a]{}*.pth', '[a]3*.pth', 'a3.pth'),
        ('{{a}}_{}.pth', '{a}_3.pth', 'a_3.pth'),
    ],
)
def test_file_names_of_every_form(tmp_path, template, name, other):
    for file in (name, other):
        (tmp_path / file).write_text('content')
    assert found(tmp_path, template=template) == [name]
    (tmp_path / 'last_checkpoint').write_text(f'/elsewhere/{name}')
    assert found(tmp_path, template=template) == [name]


@pytest.mark.parametrize('template', ['epoch_{', 'epoch_{name}.pth', 'epoch_{:s}.pth', '{0.x}.pth', 5])
def test_a_file_name_that_cannot_be_filled_in_is_told(tmp_path, template):
    with pytest.raises(UserError, match=r"filename_tmpl: it must be a file name such as 'epoch_\{\}\.pth', not"):
        find_checkpoints(str(tmp_path), template=template)


def test_none_is_whole(folder):
    for path in folder.glob('*.pth'):
        os.truncate(path, 100)
    with pytest.raises(UserError, match=r'--resume: none of the checkpoints is whole \(.*epoch_3.pth, .*pth, .*pth\);'):
        choose_whole(find_checkpoints(str(folder)))
    with pytest.raises(UserError, match=r'\(a, b, c and 2 more\)'):
        choose_whole(['a', 'b', 'c', 'd', 'e'])


def test_a_named_one(folder):
    check_named(str(folder / 'epoch_3.pth'))
    check_named('https://host/epoch_3.pth')
    check_named('nowhere.pth')  # loading reports this
    os.truncate(folder / 'epoch_3.pth', 100)
    assert not is_whole(folder / 'epoch_3.pth')
    with pytest.raises(UserError, match=r'epoch_3.pth is damaged; resume from .*epoch_2.pth\.'):
        check_named(str(folder / 'epoch_3.pth'))
    for epoch in (1, 2):
        os.truncate(folder / f'epoch_{epoch}.pth', 100)
    with pytest.raises(UserError, match=r'epoch_3.pth is damaged; get a good copy'):
        check_named(str(folder / 'epoch_3.pth'))
