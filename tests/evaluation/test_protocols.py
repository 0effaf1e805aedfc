import copy
import logging

import numpy as np
import pytest
import torch

from mmkd.errors import UserError
from mmkd.evaluation import Comparisons, FaceMetric, Pairs, Searches, TemplateProtocol, Templates, all_pairs
from tests.evaluation import slow


@pytest.fixture
def log(monkeypatch):
    """The logged messages with their levels."""
    said = []
    for module in ('protocols', 'reporting'):
        monkeypatch.setattr(
            f'mmkd.evaluation.{module}.print_log', lambda text, logger, level=logging.INFO: said.append((level, text))
        )
    return said


def test_pairs_equal_the_definitions(log):
    random = np.random.RandomState(0)
    embeddings = random.randn(12, 4) + 3 * np.eye(4)[np.arange(12) % 4]
    first, second = random.randint(0, 12, (2, 95))
    same = first % 4 == second % 4
    found = Pairs(first, second, same, folds=5, rates=(0.1, 1e-3)).evaluate(embeddings.astype(np.float32))
    vectors = np.array([slow.normalised(row) for row in embeddings])
    scores = (vectors[first] * vectors[second]).sum(1)
    accuracies = slow.fold_accuracies(scores, same, 5)
    assert found == pytest.approx(
        {
            'accuracy': 100 * np.mean(accuracies),
            'accuracy_std': 100 * np.std(accuracies),
            'TAR@FAR=0.1': 100 * slow.tar_at_far(scores, same, 0.1),
        }
    )
    (_, apart), (_, unreported) = log
    assert f'Mean similarity {scores[same].mean():.3f} of {same.sum()} pairs of the same person' in apart
    assert unreported == (
        f'TAR at FAR 0.001 is not reported: of {(~same).sum()} pairs of different people not even one may be accepted '
        f'there, and one is {1 / (~same).sum():.1g}.'
    )


def test_pairs_that_do_not_separate_are_warned_about(log):
    embeddings = np.random.RandomState(0).randn(40, 8).astype(np.float32)
    protocol = all_pairs(np.arange(40) % 8, rates=(0.1,))
    assert len(protocol.first) == 40 * 39 // 2
    assert protocol.same.sum() == 8 * (5 * 4 // 2)
    assert list(protocol.evaluate(embeddings)) == ['TAR@FAR=0.1']
    (warning,) = [text for level, text in log if level == logging.WARNING]
    assert 'hardly differ' in warning
    assert 'data_preprocessor.to_rgb' in warning
    log.clear()
    protocol.evaluate(embeddings + 3 * np.eye(8, dtype=np.float32)[np.arange(40) % 8])
    assert [text for level, text in log if level == logging.WARNING] == []


def template_protocol(splits, **options):
    random = np.random.RandomState(1)
    comparisons, searches = [], []
    for _ in range(splits):
        images, templates, media = random.randint(0, 50, 80), random.randint(10, 40, 80), random.randint(0, 3, 80)
        templates[:30] = np.arange(10, 40)  # templates without media are missing
        first, second = random.randint(10, 40, (2, 200))
        of = Templates(images, templates, media, {t: t % 10 for t in range(10, 40)})
        comparisons.append(Comparisons(of, first, second, first % 10 == second % 10))
        in_gallery = (templates < 20) & (templates % 10 < 7)
        parts = [
            Templates(*(x[keep] for x in (images, templates, media)), of.people)
            for keep in (in_gallery, templates >= 20)
        ]
        searches.append(Searches(*parts))
    return TemplateProtocol(comparisons, searches, (0.1, 1e-4), (1, 5), (0.2, 1e-3), **options)


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('splits', [1, 3])
def test_templates_equal_the_definitions(log, splits, weighted):
    random = np.random.RandomState(0)
    embeddings = random.randn(50, 6).astype(np.float32)
    options = dict(weights=random.rand(50) + 0.1, keep_norm=True) if weighted else {}
    protocol = template_protocol(splits, **options)
    found = protocol.evaluate(embeddings)

    def pool(of):
        return slow.pooled(embeddings, of.images, of.templates, of.media, **options)

    wanted = {}
    for one, other in zip(protocol.comparisons, protocol.searches):
        vectors = pool(one.templates)
        scores = [np.dot(vectors[a], vectors[b]) for a, b in zip(one.first, one.second)]
        wanted.setdefault('TAR@FAR=0.1', []).append(slow.tar_at_far(scores, one.same, 0.1))
        gallery, probes = pool(other.gallery), pool(other.probes)
        people = [[t % 10 for t in part] for part in (probes, gallery)]
        ranks, mates, strangers = slow.searched(probes.values(), people[0], gallery.values(), people[1])
        for k in (1, 5):
            wanted.setdefault(f'rank-{k}', []).append(np.mean([rank <= k for rank in ranks]))
        wanted.setdefault('TPIR@FPIR=0.2', []).append(slow.tpir_at_fpir(mates, strangers, 0.2))
    means = {name: 100 * np.mean(values) for name, values in wanted.items()}
    deviations = {f'{name}_std': 100 * np.std(values) for name, values in wanted.items()} if splits > 1 else {}
    assert found == pytest.approx({**means, **deviations})
    assert sum('Mean similarity' in text for _, text in log) == 1
    assert any('TPIR at FPIR 0.001 is not reported' in text for _, text in log)


def test_probes_without_any_mate_are_said(log):
    of = Templates(np.arange(4), np.arange(4), np.zeros(4, int), {0: 0, 1: 1, 2: 2, 3: 3})
    gallery, probes = (
        Templates(of.images[part], of.templates[part], of.media[part], of.people) for part in (slice(2), slice(2, 4))
    )
    assert (
        TemplateProtocol([], [Searches(gallery, probes)], (), (1,), (0.5,)).evaluate(np.eye(4, dtype=np.float32)) == {}
    )
    assert 'No probe has a mate in the gallery' in log[-1][1]


def test_a_metric_that_not_all_splits_have_is_left_out(log):
    from mmkd.evaluation.reporting import over_splits

    assert over_splits([dict(a=1.0, b=2.0), dict(a=3.0)]) == dict(a=2.0, a_std=1.0)
    assert log[-1][1] == 'b is not reported: only 1 of 2 splits have it.'
    assert over_splits([]) == {}


def batches(embeddings, sizes):
    begin = 0
    for size in sizes:
        yield [dict(sample_idx=i, embedding=torch.from_numpy(embeddings[i])) for i in range(begin, begin + size)]
        begin += size


def metric_of(embeddings, sizes, protocol, **meta):
    metric = FaceMetric()
    metric.dataset_meta = dict(protocol=protocol, **meta)
    for batch in batches(embeddings, sizes):
        metric.process(None, batch)
    return metric


def test_the_metric_joins_batches_of_any_size(log):
    embeddings = np.random.RandomState(0).randn(11, 4).astype(np.float32)
    protocol = all_pairs(np.arange(11) % 3, (0.1,))
    wanted = protocol.evaluate(embeddings)
    assert copy.deepcopy(protocol) is protocol
    metric = metric_of(embeddings, (4, 5, 2), protocol)
    metric.process(None, next(batches(embeddings, (1,))))  # again, as in another process
    assert metric.evaluate(11) == {f'face/{name}': value for name, value in wanted.items()}


def test_mistakes_are_told(log):
    embeddings = np.ones((4, 3), np.float32)
    embeddings[2] = np.nan
    pairs = all_pairs(np.array([0, 0, 1, 1]), (0.5,))
    samples = next(batches(embeddings, (4,)))
    with pytest.raises(UserError, match=r'The embedding of image 2 is not finite \(1 of 4'):
        FaceMetric().process(None, samples)
    samples[2]['img_path'] = 'b.jpg'
    with pytest.raises(UserError, match=r'The embedding of b\.jpg is not finite'):
        FaceMetric().process(None, samples)
    embeddings[2] = 1
    with pytest.raises(UserError, match='it has no protocol for FaceMetric; take one of'):
        metric_of(embeddings, (4,), None).evaluate(4)
    with pytest.raises(UserError, match='without embedding; let the model be'):
        FaceMetric().process(None, [dict(sample_idx=3)])
    with pytest.raises(UserError, match="without sample_idx; let PackInputs keep 'sample_idx'"):
        FaceMetric().process(None, [dict(embedding=3)])
    metric = FaceMetric()
    metric.dataset_meta = dict(protocol=pairs)
    metric.process(None, [dict(sample_idx=3, embedding=torch.ones(2))])
    with pytest.raises(UserError, match='3 of 4 images have no embedding'):
        metric.evaluate(4)
    with pytest.raises(UserError, match='1 of 4 images have no embedding'):  # the last ones, by drop_last
        metric_of(np.ones((3, 3), np.float32), (3,), pairs).evaluate(4)
