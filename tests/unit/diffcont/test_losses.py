"""The terms of DiffCont's loss against figures worked by hand."""

import math

import pytest
import torch

from evernorm.methods.diffcont import losses


def test_the_mean_squared_error_of_the_noise():
    """Eq. 1: (1 + 4 + 0 + 9) / 4."""
    noise, predicted = torch.tensor([[[[1.0, 2.0], [0.0, 3.0]]]]), torch.zeros(1, 1, 2, 2)
    assert 3.5 == losses.denoising(noise, predicted).item()


def test_the_cross_entropy_of_the_head():
    """Eq. 2: −log(3/4) for one, −log(1/4) for the other, the mean of both."""
    logits = torch.log(torch.tensor([[3.0, 1.0], [3.0, 1.0]]))
    expected = (math.log(4 / 3) + math.log(4)) / 2
    assert expected == pytest.approx(losses.classifier(logits, torch.tensor([0, 1])).item())


def test_what_teacher_and_student_predict_apart():
    """Eq. 3 and 4: squared differences, the mean; none between a network and itself."""
    one, other = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 2.0]])
    assert 2.0 == losses.distil_noise(one, other).item() == losses.align(one, other).item()
    assert 0.0 == losses.distil_noise(one, one).item() == losses.align(other, other).item()


def test_embeddings_are_pulled_to_the_mean_of_their_class_in_the_batch():
    """Eq. 5: class 0 has 0 and 2 with the mean 1; class 1 one image, with nothing to be near to."""
    embeddings = torch.tensor([[0.0, 0.0], [2.0, 2.0], [9.0, 9.0]])
    assert pytest.approx(2 / 3) == losses.center(embeddings, torch.tensor([0, 0, 1])).item()
    assert 0.0 == losses.center(embeddings, torch.tensor([0, 1, 2])).item()


def test_the_head_is_distilled_over_the_classes_that_the_teacher_knows():
    """Eq. 6: KL of (1/2, 1/2) from (3/4, 1/4), whatever the student says of a third class."""
    teacher = torch.zeros(1, 2)
    student = torch.log(torch.tensor([[3.0, 1.0, 50.0]]))
    expected = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert expected == pytest.approx(losses.distil_classifier(teacher, student).item(), rel=1e-5)
    assert 0.0 == losses.distil_classifier(torch.zeros(1, 1), student).item()


def test_the_sum_is_weighted():
    """Eq. 7: the denoising counts once, the others as they are weighted; 0 leaves one out."""
    terms = {"denoising": torch.tensor(1.0), "noise": torch.tensor(2.0), "align": torch.tensor(math.inf)}
    del terms["align"]
    assert 7.0 == losses.total(terms, {"noise": 3.0, "align": 1.0}).item()
    assert 1.0 == losses.total(terms, {"noise": 0.0}).item()
