"""What a frozen feature knows: linear probe and nearest neighbours, scored by accuracy and mean IoU.

Plain torch, the same numbers every time. Shapes: N features, C channels, K classes; class -1 is unknown and left out.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from poma3d.errors import SettingError

UNKNOWN = -1


@torch.no_grad()
def knn(train: Tensor, labels: Tensor, test: Tensor, classes: int, *, k: int = 20) -> Tensor:
    """Classes (M,) of ``test`` (M, C) by the ``k`` nearest of ``train`` (N, C), weighted as in DINO.

    Neighbours by cosine, each with the weight exp(cosine / 0.07) (arXiv 2104.14294, after 1805.01978).
    """
    train, labels = _known(train, labels)
    train, test = functional.normalize(train.float(), dim=-1), functional.normalize(test.float(), dim=-1)
    k = min(k, len(train))
    answers = []
    for part in test.split(2048):
        cosine, near = (part @ train.T).topk(k, 1)  # (m, k)
        votes = torch.zeros(len(part), classes).scatter_add_(1, labels[near], (cosine / 0.07).exp())
        answers.append(votes.argmax(1))
    return torch.cat(answers)


def linear_probe(
    train: Tensor, labels: Tensor, test: Tensor, classes: int, *, steps: int = 60, decay: float = 1e-4
) -> Tensor:
    """Classes (M,) of ``test`` (M, C) by logistic regression on ``train`` (N, C), from zeros, by L-BFGS.

    Features are centred and scaled by the training set's mean and deviation, so that encoders of any scale are
    treated alike.

    Args:
        train: features.
        labels: (N,) int64 classes.
        test: features.
        classes: K.
        steps: of L-BFGS.
        decay: squared weights are added to the loss with this factor.
    """
    train, labels = _known(train, labels)
    train, test = train.float(), test.float()
    mean, deviation = train.mean(0), train.std(0, correction=0).clamp(min=1e-6)
    train, test = (train - mean) / deviation, (test - mean) / deviation
    with torch.enable_grad():
        weight = torch.zeros(train.shape[1], classes, requires_grad=True)
        bias = torch.zeros(classes, requires_grad=True)
        solver = torch.optim.LBFGS([weight, bias], max_iter=steps, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            solver.zero_grad()
            loss = functional.cross_entropy(train @ weight + bias, labels) + decay * weight.square().sum()
            loss.backward()
            return loss

        solver.step(closure)  # pyright: ignore[reportArgumentType]  a tensor serves as the float it holds
        return (test @ weight + bias).detach().argmax(1)


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Share of the known labels (M,) that are met."""
    known = labels != UNKNOWN
    return (predicted[known] == labels[known]).float().mean().item()


def mean_iou(predicted: Tensor, labels: Tensor, classes: int) -> float:
    """Mean over the classes that occur among the known ``labels`` (M,) of intersection over union."""
    known = labels != UNKNOWN
    predicted, labels = predicted[known], labels[known]
    both = torch.bincount(labels[predicted == labels], minlength=classes)
    union = torch.bincount(labels, minlength=classes) + torch.bincount(predicted, minlength=classes) - both
    occurs = torch.bincount(labels, minlength=classes) > 0
    if not bool(occurs.any()):
        raise SettingError("there is no label to score by")
    return (both[occurs] / union[occurs]).mean().item()


def majority(labels: Tensor, classes: int) -> int:
    """The commonest known class: what a probe without features would answer."""
    return int(torch.bincount(labels[labels != UNKNOWN], minlength=classes).argmax())


def patch_labels(categories: Tensor, valid: Tensor, side: int, classes: int) -> Tensor:
    """The commonest category of each patch (N, P) int64, over its valid pixels of a known category.

    Args:
        categories: (N, H, W) integers, `UNKNOWN` for none.
        valid: (N, H, W) bool.
        side: of a patch, pixels.
        classes: K.
    """
    N, H, W = categories.shape
    seen = torch.where(valid, categories.long(), UNKNOWN)
    cut = seen.reshape(N, H // side, side, W // side, side).transpose(2, 3)  # (N, h, w, p, p)
    cut = cut.reshape(-1, side * side)  # (N, h, w, p, p) -> (N P, p p)
    # One column more than there are classes takes the unknown ones.
    slot = torch.where(cut == UNKNOWN, classes, cut)
    counts = torch.zeros(len(cut), classes + 1).scatter_add_(1, slot, torch.ones(slot.shape))[:, :classes]
    most = counts.max(1)
    return torch.where(most.values > 0, most.indices, UNKNOWN).reshape(N, -1)  # (N P,) -> (N, P)


def _known(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    known = labels != UNKNOWN
    if not bool(known.any()):
        raise SettingError("there is no labelled feature to learn from")
    return features[known], labels[known]
