"""What a frozen feature knows: linear probe and nearest neighbours, scored by accuracy and mean IoU.

Plain torch, the same numbers every time. Shapes: N features, C channels, K classes; `UNKNOWN` ones are left out.

The linear probe is logistic regression without class weights, brought to convergence by L-BFGS. Features are centred
and whitened first: logistic regression does not mind a linear map of its features, but its convergence and its
regulariser do, and features of random weights, whose channels say much the same, would be measured too low. How much
the weights are held back is chosen for each encoder on scenes that the probe did not learn from.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from poma3d.errors import SettingError
from poma3d.objectives.regions import category_counts
from poma3d.scenepoint import UNKNOWN

DECAYS = (1e-3, 1e-4, 1e-5, 1e-6)
"""What the squared weights are added to the loss with, from which the best is chosen."""
_SMALLEST = 1e-7
"""Of the largest variance: directions of less are left out before whitening."""
_MOST_STEPS = 150
"""Of L-BFGS for one regulariser; by judgement, no sweep was made."""


class LinearProbe:
    """Logistic regression on features (N, C) with classes (N,).

    Args:
        train: features.
        labels: int64 classes, `UNKNOWN` for none.
        classes: K.
        groups: (N,) the scene of each feature: every fourth scene chooses the regulariser, then all are learned
            from; None takes ``decay``.
        decay: squared weights are added to the loss with this factor.

    Raises:
        SettingError: no feature has a class.
    """

    def __init__(
        self,
        train: Tensor,
        labels: Tensor,
        classes: int,
        *,
        groups: Tensor | None = None,
        decay: float = 1e-4,
    ) -> None:
        known = labels != UNKNOWN
        train, labels = _known(train, labels)
        train = train.float()
        self.mean = train.mean(0)
        self._whiten = _whitening(train - self.mean)  # (C, C')
        train = (train - self.mean) @ self._whiten
        self.classes, labels = labels.unique(return_inverse=True)  # those that occur, K' of them
        self.decay = decay
        start = torch.zeros(train.shape[1] + 1, len(self.classes))
        if groups is not None:
            names, place = groups[known].unique(return_inverse=True)
            held = place % 4 == 3
            if len(names) >= 4 and bool(held.any()):
                self.decay, start = _choose_decay(train, labels, held, start, classes)
        self._weight = _fit(train, labels, self.decay, start)

    def __call__(self, features: Tensor) -> Tensor:
        """Classes (M,) of features (M, C)."""
        answers = []
        for part in features.split(65536):
            white = (part.float() - self.mean) @ self._whiten
            answers.append(self.classes[_logits(white, self._weight).argmax(1)])
        return torch.cat(answers)


class Neighbours:
    """The ``k`` nearest features by cosine, each with the weight exp(cosine / 0.07).

    As in DINO (arXiv 2104.14294, after 1805.01978).

    Args:
        train: (N, C) features.
        labels: (N,) int64 classes, `UNKNOWN` for none.
        classes: K.
        k: how many.

    Raises:
        SettingError: no feature has a class.
    """

    def __init__(self, train: Tensor, labels: Tensor, classes: int, *, k: int = 20) -> None:
        train, self._labels = _known(train, labels)
        self._train = functional.normalize(train.float(), dim=-1)
        self._classes, self._k = classes, min(k, len(train))

    def __call__(self, features: Tensor) -> Tensor:
        """Classes (M,) of features (M, C)."""
        answers = []
        for part in features.split(1024):
            cosine = functional.normalize(part.float(), dim=-1) @ self._train.T  # (m, N)
            cosine, near = cosine.topk(self._k, 1)  # (m, k)
            votes = torch.zeros(len(part), self._classes)
            votes.scatter_add_(1, self._labels[near], (cosine / 0.07).exp())
            answers.append(votes.argmax(1))
        return torch.cat(answers)


def _whitening(centred: Tensor) -> Tensor:
    """(C, C') map after which the features are uncorrelated with variance 1."""
    covariance = (centred.T @ centred).double() / len(centred)
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > _SMALLEST * values[-1].clamp(min=1e-30)
    return (vectors[:, kept] / values[kept].sqrt()).float()


def _logits(features: Tensor, weight: Tensor) -> Tensor:
    """(N, K'); the last row of ``weight`` (C' + 1, K') is the bias."""
    return torch.addmm(weight[-1], features, weight[:-1])


def _choose_decay(
    train: Tensor, labels: Tensor, held: Tensor, start: Tensor, classes: int
) -> tuple[float, Tensor]:
    """The regulariser whose probe of the other scenes scores best on those ``held`` back, and that probe."""
    best = (-1.0, DECAYS[0], start)
    learn, answers = train[~held], labels[~held]
    for decay in DECAYS:  # from stiff to loose: each starts where the one before ended
        start = _fit(learn, answers, decay, start)
        predicted = _logits(train[held], start).argmax(1)
        score = mean_iou(predicted, labels[held], classes)
        if score > best[0]:
            best = (score, decay, start)
    return best[1], best[2]


def _fit(features: Tensor, labels: Tensor, decay: float, start: Tensor) -> Tensor:
    """Weights (C' + 1, K') of the regression, from ``start``."""
    weight = start.clone()
    rows = torch.arange(len(labels))
    solver = torch.optim.LBFGS(
        [weight],
        max_iter=_MOST_STEPS,
        tolerance_grad=1e-6,
        tolerance_change=1e-8,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        # By hand: half the time of autograd.
        share = _logits(features, weight).log_softmax(1)  # (N, K')
        loss = -share[rows, labels].mean() + decay * weight[:-1].square().sum()
        share.exp_()[rows, labels] -= 1
        share /= len(labels)
        weight.grad = torch.cat(
            [torch.addmm(weight[:-1], features.T, share, beta=2 * decay), share.sum(0, keepdim=True)]
        )
        return loss

    solver.step(closure)  # pyright: ignore[reportArgumentType]  a tensor serves as the float it holds
    return weight.detach()


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
    if not classes:
        return torch.full((len(categories), categories[0].numel() // side**2), UNKNOWN)
    most = category_counts(torch.where(valid, categories.long(), UNKNOWN), side, classes).max(-1)
    return torch.where(most.values > 0, most.indices, UNKNOWN)


def _known(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    known = labels != UNKNOWN
    if not bool(known.any()):
        raise SettingError("there is no labelled feature to learn from")
    return features[known], labels[known]
