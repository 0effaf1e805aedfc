"""All competitors compute the same: mmkd, the floor and running everything have equal losses and gradients."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest
import torch

from tests.tool_modules import tool_modules

TOOLS = Path(__file__).parents[2] / 'tools' / 'benchmark'
SWIN = """
_base_ = 'mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py'
tiny = dict(embed_dims=12, depths=[1, 1, 2, 1], num_heads=[1, 2, 2, 2])
model = dict(
    _delete_=True,
    type='ImageClassifier',
    backbone=dict(type='SwinTransformer', arch=tiny, img_size=64, window_size=2, drop_path_rate=0.2),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead', num_classes=10, in_channels=96,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')))
"""
TEACHES_ITSELF = """
_base_ = 'plain.py'
model = dict(
    _delete_=True, type='mmkd.SSKD', student={{_base_.model}}, teacher=dict(config='PLAIN', checkpoint=None))
"""


@pytest.fixture(scope='module')
def speed():
    """The modules of tools/benchmark/speed."""
    with tool_modules('benchmark', 'benchmark/speed'):
        yield importlib.import_module


def swin(folder: Path) -> str:
    """The config of a tiny Swin that teaches itself."""
    plain, config = folder / 'plain.py', folder / 'swin.py'
    plain.write_text(SWIN)
    config.write_text(TEACHES_ITSELF.replace('PLAIN', str(plain)))
    return str(config)


PAIRS = {
    'classifier': dict(config='mmkd::sskd/sskd_resnet18-w32_resnet18-w16_digits.py', size=16, classes=10),
    'CIFAR': dict(config='mmkd::sskd/sskd_resnet32x4_resnet8x4_cifar100.py', size=16, classes=100),
    'tokens': dict(config=swin, size=64, classes=10),
    'detector': dict(config='mmkd::sskd/sskd_retinanet_r18-w32_r18-w16_digits-coco.py', size=64, classes=10, boxes=3),
}


@pytest.fixture(params=PAIRS)
def pair(request, speed, tmp_path):
    options = dict(PAIRS[request.param])
    if callable(options['config']):
        options['config'] = options['config'](tmp_path)
    return speed('pairs').Pair(batch=(4, 4), **options)


def gradients(network) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize('method', ['SSKD', 'KD', 'MHKD'])
def test_all_compute_the_same(method, pair, speed, tmp_path):
    ours = speed('mmkd_training').MmkdTraining(pair, method, tmp_path, 4, channels_last=True)
    distiller = ours.distiller
    assert method != 'SSKD' or len(ours.phases) > 3
    for phase in ours.phases:
        ours.enter(phase)
        rivals = [getattr(speed('rivals'), kind)(ours) for kind in ('Floor', 'RunEverything')]
        torch.manual_seed(0)
        expected = distiller.parse_losses(distiller(*ours.processed(), mode='loss'))[0]
        expected.backward()
        # a least-squares fit to four images multiplies the rounding of norms that are not folded
        for rival, tolerance in zip(rivals, (1e-6, 5e-3 if method == 'SSKD' else 1e-3)):
            torch.manual_seed(0)
            loss = rival.loss()
            loss.backward()
            torch.testing.assert_close(loss, expected, rtol=tolerance, atol=0)
            for own, copied in ((distiller.student, rival.student), (distiller.extras, rival.extras)):
                wanted, found = gradients(own), gradients(copied)
                assert set(found) == set(wanted)
                norm = torch.stack([torch.zeros(()), *(grad.norm() for grad in wanted.values())]).norm()
                for name, grad in wanted.items():  # a bias before a batch norm has only rounding errors as gradient
                    assert (found[name] - grad).norm() <= 10 * tolerance * grad.norm() + tolerance * norm, name
        distiller.zero_grad()


@pytest.mark.parametrize('method', ['SSKD', 'KD', 'MHKD'])
def test_in_half_the_bits_it_computes_nearly_the_same(method, speed, tmp_path):
    pair = speed('pairs').Pair(batch=(4, 4), **PAIRS['CIFAR'])
    losses = []
    for kind, options in (('full', {}), ('half', speed('iterations').LOW)):
        ours = speed('mmkd_training').MmkdTraining(pair, method, tmp_path / kind, 4, **options)
        losses.append([])
        for phase in ours.phases:
            ours.enter(phase)
            torch.manual_seed(0)
            losses[-1].append(ours.distiller.parse_losses(ours.distiller(*ours.processed(), mode='loss'))[0])
    for full, half in zip(*losses, strict=True):
        assert full != half
        torch.testing.assert_close(half, full, rtol=1e-2, atol=0)


def test_the_floor_runs_no_hook_of_mmkd(speed, tmp_path, monkeypatch):
    """The floor must not call the code that it is compared with."""
    pair = speed('pairs').Pair(batch=(4, 4), **PAIRS['classifier'])
    ours = speed('mmkd_training').MmkdTraining(pair, 'SSKD', tmp_path, 4)
    ours.enter('layer2')
    floor = speed('rivals').Floor(ours)
    for called in (
        'mmkd.objectives.comparison.run_to',
        'mmkd.features.capture.recording',
        'mmkd.distillers.base.Distiller.forward',
    ):
        monkeypatch.setattr(called, None)
    floor.step()


def test_run_everything_runs_every_module_of_both_networks_unfolded(speed, tmp_path):
    pair = speed('pairs').Pair(batch=(4, 4), **PAIRS['classifier'])
    ours = speed('mmkd_training').MmkdTraining(pair, 'SSKD', tmp_path, 4, channels_last=True)
    ours.enter('layer2')
    rival = speed('rivals').RunEverything(ours)
    ran = set()
    for label, network in (('student', rival.student), ('teacher', rival.teacher)):
        for name, module in network.named_modules():
            if not list(module.children()) and list(module.parameters()):
                module.register_forward_hook(lambda *_, at=(label, name): ran.add(at))
    rival.step()
    expected = {
        (label, name)
        for label, network in (('student', ours.distiller.student), ('teacher', ours.plain_teacher))
        for name, module in network.named_modules()
        if not list(module.children()) and list(module.parameters())
    }
    assert ran == expected
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in rival.teacher.modules())
    assert not any('forward' in vars(module) for module in rival.student.modules())
    assert all(p.is_contiguous() for p in rival.student.parameters())


def test_the_student_alone_trains_by_its_own_loss_without_a_teacher(speed, tmp_path):
    pair = speed('pairs').Pair(batch=(4, 4), **PAIRS['classifier'])
    ours = speed('mmkd_training').MmkdTraining(pair, 'KD', tmp_path, 4)
    ours.enter('all')
    rival = speed('rivals').StudentAlone(ours)
    ran = []
    for module in rival.teacher.modules():
        module.register_forward_hook(lambda *_: ran.append(1))
    inputs, samples = ours.processed()
    loss = rival.loss()
    assert loss.item() == ours.distiller.student.loss(inputs, samples)['loss'].item()
    loss.backward()
    assert not ran
    assert gradients(rival.student).keys() == dict(rival.student.named_parameters()).keys()


def test_two_trainings_may_begin_in_the_same_second(speed, monkeypatch):
    monkeypatch.setattr('mmengine.runner.runner.time.strftime', lambda *_: 'now')
    pair = speed('pairs').Pair(batch=(4, 4), **PAIRS['classifier'])
    for _ in range(2):
        with speed('iterations').training(pair, 'KD', 4) as ours:
            ours.enter('all')


def test_no_time_is_spent_on_the_layout_of_configs(speed, monkeypatch):
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', None)
    pair = speed('pairs').Pair(batch=(4, 4), **PAIRS['classifier'])
    with speed('iterations').training(pair, 'KD', 4) as ours:
        ours.enter('all')


def test_only_the_phase_is_learned(speed, tmp_path):
    pair = speed('pairs').Pair(batch=(4, 4), **PAIRS['classifier'])
    ours = speed('mmkd_training').MmkdTraining(pair, 'SSKD', tmp_path, 4)
    for phase in ours.phases:
        ours.enter(phase)
        (learned,) = [stage for stage in ours.distiller.plan if stage.name == phase]
        for kind in ('Floor', 'RunEverything'):
            rival = getattr(speed('rivals'), kind)(ours)
            before = {name: p.detach().clone() for name, p in rival.student.named_parameters()}
            rival.step()
            moved = {name for name, p in rival.student.named_parameters() if not torch.equal(p, before[name])}
            assert moved, phase
            assert moved <= set(learned.parameters), phase


def test_peak_memory_is_that_of_the_tensors_alive_at_once(speed):
    measuring = speed('measuring')
    a = torch.zeros(1000, 250)  # a megabyte

    def step():
        b = a + 1
        c = b * 2
        del b
        view = c.view(-1)
        view += 1
        return c + view.view_as(c)

    layer = torch.nn.Linear(250, 1000, bias=False)
    twin = torch.nn.ModuleList([layer, layer])
    assert measuring.peak_bytes(step, None) == 2_000_000
    assert measuring.peak_bytes(step, None, twin) == 3_000_000
    layer.weight.grad = torch.zeros_like(layer.weight)
    momentum = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    momentum.step()
    assert measuring.peak_bytes(step, momentum, twin) == 4_000_000
    layer.forward = type('Folded', (), dict(weight=torch.zeros(1000, 250), bias=torch.zeros(0)))()
    assert measuring.peak_bytes(step, None, twin) == 4_000_000


def test_rounds_are_alternated_and_the_first_does_not_count(speed):
    order = []
    seconds = speed('measuring').alternate({name: lambda name=name: order.append(name) for name in 'abc'}, 2)
    assert ''.join(order) == 'abc' + 'bca' + 'cab'
    assert {name: len(times) for name, times in seconds.items()} == dict(a=2, b=2, c=2)


def test_a_ratio_is_taken_round_by_round(speed):
    ratio = speed('measuring').Ratio.of([2.0, 20.0, 3.0], [1.0, 10.0, 1.0])
    assert ratio.median == 2
    assert ratio.low <= 2 <= ratio.high


def place(part: str, content: str = 'old') -> str:
    """The place for a part's tables on a page."""
    return (
        f'above {part}\n<!-- cpu {part}: written by make bench -->\n{content}\n<!-- cpu {part}: end -->\nbelow {part}\n'
    )


@pytest.fixture
def bench(speed, monkeypatch, tmp_path):
    """The tool with a small pair, and a page."""
    module = speed('bench')
    monkeypatch.setattr(module, 'PAIRS', {'small': speed('pairs').Pair(batch=(4, 4), **PAIRS['classifier'])})
    (tmp_path / 'benchmarks.md').write_text(''.join(place(part) for part in module.TABLES))
    return module


def run(bench, monkeypatch, folder, *args):
    monkeypatch.chdir(TOOLS)
    page = folder / 'benchmarks.md'
    options = ['--pairs', 'small', '--rounds', '2', '--no-torchdistill', '--out', page]
    monkeypatch.setattr(sys, 'argv', ['bench.py', *map(str, [*options, *args])])
    bench.main()
    return page.read_text(), json.loads((folder / 'benchmarks.cpu.json').read_text())


def test_the_page_and_the_figures_are_written(bench, speed, monkeypatch, tmp_path):
    monkeypatch.setattr(speed('loading'), 'IMAGES', 64)
    text, _ = run(bench, monkeypatch, tmp_path, 'kept', 'loading')
    assert '\n| `mmkd.ResidentArrayDataset` | ' in text
    assert '\n| small, 4 images of 16 pixels | ' in text
    assert '\n| small | ' not in text  # without iterations no schedule can be computed
    assert place('iterations') in text
    text, figures = run(bench, monkeypatch, tmp_path, 'iterations', '--methods', 'SSKD', 'MHKD')
    assert text.startswith(place('startup') + 'above loading\n<!-- cpu loading: written by make bench -->\nMeasured: ')
    assert text.endswith('<!-- cpu kept: end -->\nbelow kept\n' + place('precision') + place('compiled'))
    for row in ('SSKD, layer1', 'SSKD, head', 'MHKD'):
        assert f'\n| {row} | ' in text
    assert re.search(r'\n\| small \| \d\S+ \| - \| \d\S+ \| \d\S+ \| - \| \d\S+ \|\n', text)  # KD was not measured
    assert re.search(r'\n\| small \| \d\S+ \| \d\S+ \| \d\S+ \| \d\S+ \|\n', text)  # a schedule with kept features
    assert '\n| **small** | 4 images of 16 pixels, MiB of 32 | | | | |' in text
    rows = figures['iterations']
    assert [row['phase'] for row in rows] == ['layer1', 'layer2', 'layer3', 'layer4', 'head', 'all']
    assert all(set(row['seconds']) == {'mmkd', 'frozen_dtype', 'floor', 'run everything'} for row in rows)
    assert all(len(seconds) == 2 for row in rows for seconds in row['seconds'].values())
    assert all(row['bytes'][who] > 1000 for row in rows for who in ('mmkd', 'frozen_dtype', 'run everything'))


@pytest.fixture
def measured_methods(speed, monkeypatch):
    """What :func:`methods.measure` yields, and the losses that the method and the student alone had there."""
    methods, losses = speed('methods'), []
    seconds = methods._seconds

    def watched(ours, alone, rounds):
        losses.append([set(one.distiller.loss(*one.processed())) for one in (ours, alone)])
        return seconds(ours, alone, rounds)

    monkeypatch.setattr(methods, '_seconds', watched)

    def measure(paths, **small):
        pair = speed('pairs').Pair
        return [
            row for some in methods.measure(2, {path: pair(**small, config=path) for path in paths}) for row in some
        ]

    return measure, losses


def test_methods_are_measured_in_turn_with_the_student_alone(speed, measured_methods):
    methods, (measure, losses) = speed('methods'), measured_methods
    paths = [path for path in methods.CLASSIFIERS if path.stem.partition('_')[0] in ('kd', 'dkd', 'simkd')]
    rows = measure(paths, batch=(4, 4), size=16, classes=100)
    assert [(row['method'], row['pair']) for row in rows] == [
        (name, 'resnet32x4 -> resnet8x4') for name in ('kd', 'dkd', 'simkd')
    ]
    assert all(len(times) == 2 and min(times) > 0 for row in rows for times in row['seconds'].values())
    assert [own for own, _ in losses] == [
        {'loss_own', 'loss_soft'},
        {'loss_own', 'loss_term_dkd'},  # also before its warm-up
        {'loss_mimic_layer3'},
    ]
    assert all(alone == {'loss'} for _, alone in losses)
    assert methods.table('methods')(dict(methods=rows))[2].startswith('| kd | 0.')
    assert len(methods.CLASSIFIERS) > 20


def test_methods_of_detectors_are_measured_with_the_networks_of_their_configs(speed, measured_methods):
    methods, (measure, losses) = speed('methods'), measured_methods
    assert {path.name.partition('_')[0] for path in methods.DETECTORS} == {
        *('cwd', 'pkd', 'mgd', 'fgd', 'fbkd', 'ld', 'cross-kd', 'dist', 'dkd')
    }
    assert all(str(path) == pair.config for path, pair in methods.DETECTORS.items())
    paths = [path for path in methods.DETECTORS if path.name.startswith('cross-kd_gfl')]
    rows = measure(paths, batch=(2, 2), size=128, classes=80, boxes=2)
    assert [(row['method'], row['pair']) for row in rows] == [('cross-kd', 'gfl r101 -> r50')]
    [(own, alone)] = losses
    assert alone == {'loss_cls', 'loss_bbox', 'loss_dfl'}
    assert own == alone | {'loss_term_classes', 'loss_term_boxes'}
    table = methods.table('detectors')(dict(detectors=[*rows, {**rows[0], 'pair': 'atss r101 -> r50'}]))
    assert [line.rpartition(' | ')[0].rpartition(' | ')[0] for line in table[2:]] == [
        f'| cross-kd, {head} r101 -> r50' for head in ('gfl', 'atss')
    ]


def test_compiled_is_measured_apart(bench, speed, monkeypatch, tmp_path):
    iterations = speed('iterations')
    ours = iterations.MmkdTraining
    backend = dict(backend='eager')
    monkeypatch.setattr(
        iterations, 'MmkdTraining', lambda *args, compile=False, **kw: ours(*args, compile=compile and backend, **kw)
    )
    text, figures = run(bench, monkeypatch, tmp_path, 'compiled')
    assert text.startswith(''.join(place(part) for part in bench.TABLES if part != 'compiled'))
    assert re.search(r'\n\| small, SSKD \| layer1 \d.*, layer4 \d.*, head \d.* \| \d+-\d+ \| -?\d+ \|\n', text)
    assert all(set(row['seconds']) == {'mmkd', 'compiled'} for row in figures['compiled'])


def test_bfloat16_is_measured_by_processor(bench, speed, monkeypatch, tmp_path):
    precision, built = speed('precision'), []

    class Watched(speed('iterations').MmkdTraining):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            built.append((type(self.runner.optim_wrapper).__name__, options.get('frozen_dtype')))

    monkeypatch.setattr(speed('iterations'), 'MmkdTraining', Watched)
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: dict(cpu_name='Fast', avx512_bf16=True, amx_bf16=False))
    _, figures = run(bench, monkeypatch, tmp_path, 'precision')
    assert built == [('OptimWrapper', None), ('OptimWrapper', 'bfloat16'), ('CPUAmpOptimWrapper', None)]
    monkeypatch.setenv(precision.LIMIT, 'AVX2')
    text, figures = run(bench, monkeypatch, tmp_path, 'precision')  # a row of its own
    assert [row['program'] for row in figures['precision']] == ['Fast, avx512_bf16', 'Fast, ONEDNN_MAX_CPU_ISA=AVX2']
    for row in figures['precision']:
        assert {name: len(found) for name, found in row['seconds'].items()} == dict(
            float32=2, frozen_dtype=2, bfloat16=2
        )
        assert re.search(rf'\n\| small \| {row["program"]} \| \d\S+ \(\S+\) \| \d\S+ \(\S+\) \|\n', text)


def test_a_ratio_to_float32_stands_under_its_dtype(speed):
    seconds = dict(float32=[2.0, 4.0], frozen_dtype=[3.0, 6.0], bfloat16=[1.0, 2.0])
    [line] = speed('precision').table(dict(precision=[dict(pair='a -> b', program='x', seconds=seconds)]))[2:]
    assert line == '| a -> b | x | 1.50 (1.50-1.50) | 0.50 (0.50-0.50) |'


def test_the_start_is_measured_in_programs_of_their_own(bench, speed, monkeypatch, tmp_path):
    startup = speed('startup')
    teacher = tmp_path / startup.TEACHER
    monkeypatch.setattr(startup, 'ROOT', tmp_path)
    programs = {
        'Imports': {'nothing': ('pass',), 'numbers': ('import numbers, sys; assert sys.argv[1:] == ["a"]', 'a')}
    }
    monkeypatch.setattr(startup, 'PROGRAMS', programs)
    with pytest.raises(bench.UserError, match=f'{startup.TEACHER} does not exist; train it with: make '):
        run(bench, monkeypatch, tmp_path, 'startup')
    teacher.parent.mkdir(parents=True)
    teacher.touch()
    text, figures = run(bench, monkeypatch, tmp_path, 'startup')
    assert '\n| Imports: nothing | 0.' in text
    assert '\n| Imports: numbers | 0.' in text
    assert [len(row['seconds']) for row in figures['startup']] == [2, 2]
    programs['Imports']['broken'] = ('import nowhere',)
    with pytest.raises(bench.UserError, match="No module named 'nowhere'"):
        run(bench, monkeypatch, tmp_path, 'startup')


def test_verification_is_measured_with_its_memory(bench, speed, monkeypatch, tmp_path):
    verification = speed('verification')
    programs = {name: fewer(code) for name, code in verification.PROGRAMS.items() if '1:N' in name}
    monkeypatch.setattr(verification, 'PROGRAMS', programs)
    text, figures = run(bench, monkeypatch, tmp_path, 'verification')
    assert '\n| as IJB-C, 1:N: 19,593 probes in a gallery of 1,772 | 0.' in text
    for row in figures['verification']:
        assert [len(row[key]) for key in ('seconds', 'on_cpu', 'memory', 'alone')] == [2] * 4
        assert min(row['memory']) >= min(row['alone']) > 0.05
    programs['broken'] = 'import nowhere'
    with pytest.raises(bench.UserError, match="No module named 'nowhere'"):
        run(bench, monkeypatch, tmp_path, 'verification')


def fewer(code: str) -> str:
    """The same program with a hundredth of the numbers."""
    for number in ('15_658_489', '1_000_000', '469_375', '23_124', '20_000', '100_000', '3_531', '1_772'):
        code = code.replace(number, str(int(number) // 100))
    return code.replace('0.00125', '0.1')


def test_programs_reach_their_first_iteration(speed, tmp_path):
    """The benchmark's programs stop at their first iteration; here they continue."""
    startup = speed('startup')
    seconds, on_cpu = startup._run(startup.PLAIN, startup.STUDENT, '--work-dir', str(tmp_path))
    assert seconds > 0 < on_cpu
    assert list(tmp_path.glob('*/*.log')), 'the run never began'
    assert not list(tmp_path.glob('*.pth')), 'the run went on'


def test_mistakes_are_told(bench, speed, monkeypatch, tmp_path):
    page = tmp_path / 'benchmarks.md'
    text = page.read_text().replace('<!-- cpu kept: end -->', '')
    page.write_text(text)
    monkeypatch.setattr(speed('loading'), 'measure', None)  # fails before hours of measuring
    with pytest.raises(bench.UserError, match='no place for tables between <!-- cpu kept: written'):
        run(bench, monkeypatch, tmp_path, 'loading')
    with pytest.raises(bench.UserError, match='--rounds: it must be a whole number, 2 or more, not 1'):
        run(bench, monkeypatch, tmp_path, 'loading', '--rounds', '1')
    with pytest.raises(bench.UserError, match='speed is no part; take some of: startup, loading, histories, verif'):
        run(bench, monkeypatch, tmp_path, 'speed')
    assert page.read_text() == text
    assert not (tmp_path / 'benchmarks.cpu.json').exists()


def test_a_new_page_is_made(bench, speed, monkeypatch, tmp_path):
    monkeypatch.setattr(speed('loading'), 'measure', lambda rounds: [dict(dataset='ArrayDataset', seconds=[1.0, 1.0])])
    (tmp_path / 'benchmarks.md').unlink()
    text, _ = run(bench, monkeypatch, tmp_path, 'loading')
    assert '\n| `mmkd.ArrayDataset` | 2,048 |\n' in text
    again, _ = run(bench, monkeypatch, tmp_path, 'loading')
    assert again == text
    monkeypatch.setattr(speed('loading'), 'measure', None)
    (tmp_path / 'benchmarks.md').write_text(text.replace('2,048', 'by hand'))
    again, _ = run(bench, monkeypatch, tmp_path, '--tables')
    assert again == text


def test_the_first_measurement_on_another_device_makes_its_own_places(bench, speed, monkeypatch, tmp_path):
    monkeypatch.setattr(speed('loading'), 'measure', lambda rounds: [dict(dataset='ArrayDataset', seconds=[1.0, 1.0])])
    (tmp_path / 'benchmarks.md').write_text(others := place('loading').replace('cpu', 'gpu'))
    text, _ = run(bench, monkeypatch, tmp_path, 'loading')
    assert text.startswith(others)
    assert text.count('| `mmkd.ArrayDataset` | 2,048 |') == 1


def test_a_machine_is_named_once(speed):
    where = speed('benchmark_page')._where
    rows = [dict(device='CPU', versions='torch 2', date='today', commit=commit, rounds=8) for commit in 'ab']
    said = set()
    assert where(rows, said)[0] == 'Measured: CPU; torch 2; today; commit a; commit b; 8 rounds.'
    assert where(rows[:1], said)[0] == 'Measured: today; commit a; 8 rounds.'
    assert where([dict(rows[0], device='another')], said)[0] == 'Measured: another; today; commit a; 8 rounds.'


def row_of(pair: str, method: str, phase: str, second: float = 1.0) -> dict:
    """A row of the measured iterations."""
    seconds = {who: [second] * 3 for who in ('mmkd', 'frozen_dtype', 'floor', 'run everything')}
    memory = dict.fromkeys(('mmkd', 'frozen_dtype', 'run everything'), 2**20)
    return dict(pair=pair, method=method, phase=phase, size=1, batch=1, images=1, seconds=seconds, bytes=memory)


def test_what_is_measured_again_replaces_itself_alone(bench, speed, monkeypatch, tmp_path):
    seconds = 1.0
    monkeypatch.setitem(bench.PAIRS, 'other', None)
    monkeypatch.setattr(
        speed('iterations'), 'measure', lambda name, pair, method, *_: [row_of(name, method, 'all', seconds)]
    )
    run(bench, monkeypatch, tmp_path, 'iterations', '--methods', 'KD')
    text, figures = run(bench, monkeypatch, tmp_path, 'iterations', '--pairs', 'other', '--methods', 'KD', 'MHKD')
    seconds = 2.0
    monkeypatch.setattr(bench, 'surroundings', lambda: dict(device='a', versions='b', date='c', commit='another'))
    text, figures = run(bench, monkeypatch, tmp_path, 'iterations', '--methods', 'KD')
    assert [(row['pair'], row['method'], row['seconds']['mmkd'][0]) for row in figures['iterations']] == [
        ('small', 'KD', 2.0),
        ('other', 'KD', 1.0),
        ('other', 'MHKD', 1.0),
    ]
    assert '; commit another; ' in text
    assert '\n| **small** | 1 images of 1 pixels, MiB of 1 |' in text
    assert '\n| **other** | 1 images of 1 pixels, MiB of 1 |' in text


def test_what_is_measured_is_kept_when_what_comes_next_fails(bench, speed, monkeypatch, tmp_path):
    def measure(name, pair, method, *_):
        if method == 'KD':
            raise RuntimeError
        return [row_of(name, method, phase) for phase in ('layer1', 'head')]

    monkeypatch.setattr(speed('iterations'), 'measure', measure)
    with pytest.raises(RuntimeError):
        run(bench, monkeypatch, tmp_path, 'iterations')
    rows = json.loads((tmp_path / 'benchmarks.cpu.json').read_text())['iterations']
    assert [row['phase'] for row in rows] == ['layer1', 'head']
    assert '\n| SSKD, head | 1.00 | 1.00 | 1.00 | 1.00 | 1 |' in (tmp_path / 'benchmarks.md').read_text()
    monkeypatch.setattr(speed('iteration_tables'), 'line', None)  # tables that cannot be made leave both as they are
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(TypeError):
        run(bench, monkeypatch, tmp_path, 'iterations', '--methods', 'MHKD')
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_schedules_are_means_of_their_stages(speed):
    def row(phase, **seconds):
        times = {'mmkd': 1, 'frozen_dtype': 0.5, 'run everything': 3, **seconds}
        return dict(pair='a', method='SSKD', phase=phase, seconds={who: [value] * 3 for who, value in times.items()})

    rows = [row('layer1'), row('layer2', mmkd=2), row('head', mmkd=3)]
    kept = [dict(pair='a', seconds=dict(images=[1.0], kept=[0.05], filling=[1.0]))]  # 4 views in 20 epochs
    lines = speed('schedules').table(rows, kept)[2:]
    found = [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines]
    assert found == [
        ['a', f'{3 / 2.25:.2f}', '6.00', f'{3 / 1.125:.2f}', f'{3 / 0.375:.2f}'],
    ]


def test_costs_against_the_student_alone(speed):
    alone = row_of('a', 'KD', 'all', 3.0)
    alone['seconds']['student alone'] = [1.5] * 3
    alone['bytes']['student alone'] = 2**19
    without_time = row_of('b', 'KD', 'all')
    without_time['bytes']['student alone'] = 2**21
    rows = [alone, row_of('a', 'SSKD', 'layer1'), without_time, row_of('c', 'KD', 'all')]
    table = speed('iteration_tables').against_alone(rows)
    assert table[1:] == ['| a | 2.00 | 2.00 | - | 2.00 |', '| b | - | 0.50 | - | - |', '']
    assert speed('iteration_tables').against_alone(rows[-1:]) == []


def test_the_floor_in_a_sentence(speed):
    rows = [row_of('a', 'KD', 'all'), row_of('b', 'SSKD', 'layer1')]
    rows[1]['seconds']['mmkd'] = [1.06] * 3
    sentence = speed('iteration_tables').against_floor(rows)
    assert sentence == ['An iteration takes 1.00 to 1.06 of the time of the floor, the most in b, SSKD, layer1.']


def test_what_was_not_measured_has_no_figures(speed):
    tables = speed('iteration_tables')
    rows = [row_of('a', 'SSKD', phase) for phase in ('layer1', 'head')]
    del rows[0]['seconds']['floor'], rows[0]['bytes']['mmkd']
    rows[0]['seconds']['graphs'] = [0.5] * 3
    assert tables.line(rows[0]) == '| SSKD, layer1 | 1.00 | 1.00 | 1.00 | - | - |'
    assert tables.line(rows[0], 'graphs') == '| SSKD, layer1, graphs | 0.500 | 2.00 | 2.00 | - | - |'
    text = tables.table(dict(iterations=rows))
    assert text[1] == '| a | 1.00 | - | - | 1.00 | - | - |'
    rows[1]['seconds'] = {}  # cut off: without the head there is no mean over the phases
    rows.append(dict(rows[1], pair='b', phase=None))
    text = tables.table(dict(iterations=rows))
    assert text[1:3] == ['| a | - | - | - | - | - | - |', '']
    assert text[-2:] == [tables.line(rows[0]), tables.line(rows[0], 'graphs')]
    del rows[0]['seconds']['run everything']
    assert not any('quartiles' in line or 'of the floor' in line for line in tables.table(dict(iterations=rows)))
    kept = [dict(pair='a', seconds=dict(images=[1.0], kept=[0.05], filling=[1.0]))]
    assert speed('schedules').table(rows, kept)[2] == '| a | - | - | - | - |'


def test_numbers_have_three_digits(speed):
    figure = speed('iteration_tables').figure
    assert [figure(x) for x in (0.00512, 1.6, 17.94, 99.9, 123.4, 12345.6)] == [
        *('0.00512', '1.60', '17.9', '99.9', '123', '12,346')
    ]


def test_what_was_measured_stays_and_what_was_not_gives_way(speed):
    page = speed('benchmark_page')
    done = row_of('a', 'KD', 'all')
    cut = dict(done, seconds={}, errors=page.NOT_IN_TIME)
    whole = dict(cut, phase=None)
    assert page._merged([], [whole, cut, done]) == page._merged([done], [whole, cut]) == [done]
    assert page._merged([], [whole]) == [whole]
    others = [dict(method='a', pair='b', seconds=[1.0]), dict(group='c', program='d', seconds=[1.0])]
    assert page._merged(others[:1], others) == others


def test_a_newer_failure_is_no_success(speed):
    page = speed('benchmark_page')
    done = row_of('a', 'KD', 'all')
    cut = dict(done, seconds={}, errors=page.NOT_IN_TIME)
    failed = dict(cut, errors=dict(mmkd='no memory'))
    assert page._merged([done], [cut, failed]) == [failed]
    assert page._merged([failed], [cut, done]) == [done]
    unbuilt = dict(failed, phase=None)
    assert page._merged([done], [dict(cut, phase=None), unbuilt]) == [done, unbuilt]
    assert page._merged([done, unbuilt], [cut, done]) == [done]


def test_failures_of_several_phases_are_one_line(speed):
    rows = [row_of('a', 'SSKD', phase) for phase in ('layer1', 'layer2', 'head')]
    for row in rows[:2]:
        row['errors'] = dict(graphs='no graph')
    rows.append(dict(row_of('a', 'KD', None), errors=dict(mmkd='no memory')))
    assert speed('benchmark_page').not_measured(rows) == [
        *('', 'Not measured:', '', '- a, SSKD, layer1, layer2; graphs: no graph', '- a, KD; mmkd: no memory')
    ]
    assert speed('benchmark_page').not_measured(rows[2:3]) == []


def test_short_steps_are_timed_several_at_once(speed, monkeypatch):
    measuring = speed('measuring')
    clock, steps = [0.0], []
    monkeypatch.setattr(measuring, '_now', lambda: clock[0])

    def step(name, seconds):
        steps.append(name)
        clock[0] += seconds

    acts = {
        name: measuring.repeated(lambda name=name, s=s: step(name, s)) for name, s in dict(short=0.25, long=8.0).items()
    }
    assert measuring.in_blocks(acts, 1, block=1.0) == dict(short=[0.25], long=[8.0])
    assert ''.join(name[0] for name in steps[6:]) == 'ssss' + 'l' + 'l' + 'ssss'
    steps.clear()
    measuring.in_blocks(acts, 1, block=0.0)
    assert len(steps) == 10


def test_torchdistill_takes_a_step_when_it_is_told_to(speed, monkeypatch, tmp_path):
    torchdistill = speed('torchdistill_process')
    worker = tmp_path / 'worker.py'
    worker.write_text(
        "import sys\nprint('ready', flush=True)\n"
        "for asked in sys.stdin:\n    print('done' if int(asked) < 4 else 'out of memory', flush=True)\n"
    )
    monkeypatch.setattr(torchdistill, 'WORKER', worker)
    rival = torchdistill.TorchDistill('kd', 4, tmp_path)
    rival.step()
    rival.run(3)
    with pytest.raises(torchdistill.UserError, match='torchdistill: its process ended'):
        rival.run(4)
    rival.close()
    assert rival.process.returncode == 0


def test_the_bare_loop_learns_the_same_in_the_runner(speed, tmp_path):
    host = speed('host')
    product = speed('mmkd_training').MmkdTraining(host.PAIRS['ResNet-18, half as wide'], 'SSKD', tmp_path / 'mmkd', 4)
    product.enter('layer2')
    step = host.in_the_runner(product, tmp_path / 'bare')
    bare = step.__self__.runner
    before = bare.model.student.state_dict()['backbone.layer2.0.conv1.weight'].clone()
    product.optimizer.state.clear()  # of the iteration in which the phase began
    for optimizer in (bare.optim_wrapper.optimizer, product.optimizer):
        optimizer.param_groups[0]['lr'] = 0.5
    for own in (step, product.step):
        own()
    theirs = bare.model.student.state_dict()
    assert not torch.equal(theirs['backbone.layer2.0.conv1.weight'], before)
    for name, value in product.distiller.student.state_dict().items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-3, atol=1e-6)


def test_the_host_s_table(speed):
    host = speed('host')
    rows = [
        dict(
            pair='p',
            method='KD',
            phase=phase,
            size=8,
            batch=4,
            seconds=dict(mmkd=[own] * 3, runner=[0.010] * 3, bare=[0.008] * 3),
            launches=dict(mmkd=12, bare=9),
        )
        for phase, own in (('a', 0.0114), ('b', 0.0120))
    ]
    text = '\n'.join(host.table(dict(host=rows)))
    assert '| KD, a | 11.40 | 1.14 (1.14-1.14) | 1.43 (1.43-1.43) | 12 | 9 |' in text


def test_histories_are_as_long_as_said_and_mmengine_s_own_are_measured_beside(bench, speed, monkeypatch, tmp_path):
    histories = speed('histories')
    monkeypatch.setattr(histories, 'DONE', (0, 3000))
    monkeypatch.setattr(histories, 'PAIRS', {histories.NAME: speed('pairs').Pair(batch=(4, 4), **PAIRS['classifier'])})
    blocks, found = histories.block, []

    def watched(step):
        buffers = step.__self__.runner.message_hub.log_scalars
        found.append({(type(buffer).__name__, len(buffer.data[0]) >= 3000) for buffer in buffers.values()})
        return blocks(step)

    monkeypatch.setattr(histories, 'block', watched)
    text, figures = run(bench, monkeypatch, tmp_path, 'histories')
    for long in (False, True):
        assert {('LongHistory', long)} in found
        assert {('HistoryBuffer', long)} in found
    assert [row['phase'] for row in figures['histories']] == ['after 0 iterations', 'after 3,000 iterations']
    assert re.search(r'\n\| after 3,000 iterations \| \d+\.\d \| \d+\.\d \|\n', text)


def test_the_table_of_histories(speed):
    rows = [dict(phase='after 9 iterations', seconds=dict(mmkd=[0.02, 0.0211, 0.05], mmengine=[0.03, 0.0312, 0.04]))]
    assert speed('histories').table(dict(histories=rows))[2:] == ['| after 9 iterations | 21.1 | 31.2 |']
