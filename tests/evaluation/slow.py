"""The same metrics, written like their definitions: plain loops over every threshold, pair and probe."""

import math
from itertools import pairwise


def tar_at_far(scores, same, rate):
    """The best TAR of all thresholds whose FAR is at most the rate; None if a single pair exceeds the rate."""
    genuine = [s for s, is_same in zip(scores, same) if is_same]
    impostor = [s for s, is_same in zip(scores, same) if not is_same]
    if not impostor or rate * len(impostor) < 1:
        return None
    best = 0.0
    for threshold in [-math.inf, *scores]:
        if sum(s > threshold for s in impostor) / len(impostor) <= rate:
            best = max(best, sum(s > threshold for s in genuine) / len(genuine))
    return best


def fold_accuracies(scores, same, folds):
    """The best threshold among the means of neighbouring scores; the highest if several are equal."""
    sizes = [len(scores) // folds + (fold < len(scores) % folds) for fold in range(folds)]
    accuracies, begin = [], 0
    for size in sizes:
        inside = range(begin, begin + size)
        others = [i for i in range(len(scores)) if i not in inside]
        values = sorted({float(scores[i]) for i in others}, reverse=True)
        candidates = [values[0], *((a + b) / 2 for a, b in pairwise(values)), -math.inf]
        rights = [sum((scores[i] > t) == same[i] for i in others) for t in candidates]
        threshold = candidates[rights.index(max(rights))]
        accuracies.append(sum((scores[i] > threshold) == same[i] for i in inside) / size)
        begin += size
    return accuracies


def normalised(vector):
    length = math.sqrt(sum(x * x for x in vector))
    return [x / length for x in vector]


def mean(vectors):
    return [sum(column) / len(vectors) for column in zip(*vectors)]


def pooled(embeddings, images, templates, media, weights=None, keep_norm=False):
    """For each template the normalised mean of its media's means."""
    found = {}
    for template in sorted(set(templates)):
        by_medium = {}
        for image, its, medium in zip(images, templates, media):
            if its == template:
                vector = [float(x) for x in embeddings[image]]
                vector = vector if keep_norm else normalised(vector)
                factor = 1 if weights is None else float(weights[image])
                by_medium.setdefault(medium, []).append([factor * x for x in vector])
        found[template] = normalised(mean([mean(vectors) for vectors in by_medium.values()]))
    return found


def searched(probes, probe_people, gallery, gallery_people):
    """The mates' ranks and scores, and the best scores of probes without a mate."""
    ranks, mates, strangers = [], [], []
    for vector, person in zip(probes, probe_people):
        best = {}
        for other, whose in zip(gallery, gallery_people):
            score = sum(a * b for a, b in zip(vector, other))
            best[whose] = max(best.get(whose, -math.inf), score)
        if person in best:
            mates.append(best[person])
            ranks.append(1 + sum(score >= best[person] for whose, score in best.items() if whose != person))
        else:
            strangers.append(max(best.values()))
    return ranks, mates, strangers


def tpir_at_fpir(mates, strangers, rate):
    return tar_at_far([*mates, *strangers], [True] * len(mates) + [False] * len(strangers), rate)
