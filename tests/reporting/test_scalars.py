import json
from itertools import pairwise

from mmkd.reporting.scalars import MOST, Thinned, read_scalars


def test_a_stream_is_thinned_evenly_and_keeps_its_last():
    for count in (1, 7, 8, 9, 17, 100, 1001):
        few = Thinned(most=8)
        for item in range(count):
            few.add(item)
        kept = few.items
        assert kept[0] == 0
        assert kept[-1] == count - 1
        assert len(kept) <= 9
        steps = {b - a for a, b in pairwise(kept[:-1])}
        assert len(steps) <= 1, kept
        assert count > 8 or kept == list(range(count))
    assert Thinned().items == []


def test_each_kind_of_record_is_thinned_apart(tmp_path):
    """Else every second record could be the same kind, and the other kind be gone."""
    file = tmp_path / 'scalars.json'
    with file.open('w') as out:
        for step in range(3 * MOST):
            out.write(json.dumps(dict(lr=0.1, loss=1.0, iter=step, step=step)) + '\n')
            if step % 3 == 0:
                out.write(json.dumps(dict(val_r2_a=0.5, step=step)) + '\n')
                out.write(json.dumps({'accuracy/top1': 50.0, 'time': 0.1, 'step': step}) + '\n')
    records = read_scalars(file)
    kinds = [next(iter(record)) for record in records]
    assert kinds.count('accuracy/top1') == kinds.count('val_r2_a') == MOST
    assert MOST / 2 <= kinds.count('lr') <= MOST + 1
    assert [record['step'] for record in records] == sorted(record['step'] for record in records)


def test_what_is_not_whole_is_left_out(tmp_path):
    file = tmp_path / 'scalars.json'
    file.write_bytes(
        b'{"lr": 0.1, "loss": NaN, "iter": 1}\n\n[1]\n\xff\xfe\n' + b'x' * 90 + b'"\n{"lr": 0.1, "loss": 1.0, "iter"'
    )
    (record,) = read_scalars(file)
    assert record['iter'] == 1
