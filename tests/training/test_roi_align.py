"""RoIAlign as matrix products against torchvision's operator: values and gradients."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("detectron2")

from detectron2.layers import ROIAlign  # noqa: E402
from detectron2.modeling import build_model  # noqa: E402

from fashionseg.training import roi_align  # noqa: E402
from fashionseg.training.config import build_config  # noqa: E402
from fashionseg.training.recipe import read_recipe, with_overrides  # noqa: E402
from fashionseg.training.roi_align import MatrixRoIAlign, use_matrix_roi_align  # noqa: E402

from .conftest import TINY  # noqa: E402

pytestmark = pytest.mark.detectron2


def _rois(count, generator, pictures=3, side=160.0):
    corners = torch.rand(count, 2, 2, generator=generator) * side * 1.4 - 0.2 * side  # also beyond the border
    low, high = corners.amin(1), corners.amax(1)
    numbers = torch.randint(pictures, (count, 1), generator=generator).float()
    return torch.cat([numbers, low, high], 1)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("size", "samples"), [((7, 7), 2), ((14, 14), 2), ((3, 5), 1), ((2, 2), 4)])
def test_values_and_gradients_are_those_of_torchvision(size, samples, aligned):
    generator = torch.Generator().manual_seed(samples)
    features = torch.randn(3, 6, 40, 32, generator=generator).to(memory_format=torch.channels_last)
    rois = _rois(40, generator)
    plain = ROIAlign(size, 0.25, samples, aligned)
    results = []
    for module in (plain, MatrixRoIAlign(plain)):
        leaf = features.clone().requires_grad_()
        pooled = module(leaf, rois)
        (pooled * torch.linspace(-1, 1, pooled.numel()).view(pooled.shape)).sum().backward()
        results.append((pooled.detach(), leaf.grad))
    (expected, expected_gradient), (pooled, gradient) = results
    assert pooled.shape == expected.shape == (40, 6, *size)
    torch.testing.assert_close(pooled, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-4)
    assert expected.abs().amax() > 0.5


def test_a_box_of_no_size_and_one_far_outside():
    features = torch.randn(1, 2, 8, 8)
    rois = torch.tensor([[0, 4.0, 4.0, 4.0, 4.0], [0, 900.0, 900.0, 950.0, 950.0]])
    plain = ROIAlign((7, 7), 1.0, 2, True)
    torch.testing.assert_close(MatrixRoIAlign(plain)(features, rois), plain(features, rois), rtol=1e-5, atol=1e-6)


def test_half_precision_comes_back_as_it_came():
    generator = torch.Generator().manual_seed(5)
    features, rois = torch.randn(3, 4, 16, 16, generator=generator), _rois(9, generator, side=64.0)
    plain = ROIAlign((7, 7), 0.25, 2, True)
    with torch.autocast("cpu", torch.bfloat16):
        pooled = MatrixRoIAlign(plain)(features.bfloat16(), rois)
    assert pooled.dtype == torch.bfloat16
    torch.testing.assert_close(pooled.float(), plain(features, rois), rtol=0.03, atol=0.03)


def test_many_boxes_are_pooled_in_parts_to_the_same_result(monkeypatch):
    generator = torch.Generator().manual_seed(7)
    features, rois = torch.randn(3, 4, 16, 16, generator=generator), _rois(30, generator, side=64.0)
    module = MatrixRoIAlign(ROIAlign((7, 7), 0.25, 2, True))
    whole = module(features, rois)
    monkeypatch.setattr(roi_align, "MOST_NUMBERS", 3 * 7 * 16 * 4)
    torch.testing.assert_close(module(features, rois), whole)


def test_no_box_and_a_large_map_are_left_to_torchvision(monkeypatch):
    plain = ROIAlign((7, 7), 0.25, 2, True)
    module = MatrixRoIAlign(plain)
    features = torch.randn(1, 2, 16, 16)
    assert module(features, torch.zeros(0, 5)).shape == (0, 2, 7, 7)
    monkeypatch.setattr(roi_align, "MOST_CELLS", 255)
    monkeypatch.setattr(plain, "forward", lambda features, rois: "torchvision")
    assert module(features, torch.tensor([[0, 1.0, 1.0, 9.0, 9.0]])) == "torchvision"


def test_every_pooler_of_a_model_is_replaced_and_no_weight_with_it():
    detector = build_model(build_config(with_overrides(read_recipe("small"), TINY), None, "cpu"))
    names = list(detector.state_dict())
    use_matrix_roi_align(detector)
    heads = detector.roi_heads
    poolers = [*heads.box_pooler.level_poolers, *heads.mask_pooler.level_poolers]
    assert len(poolers) == 6
    assert all(isinstance(pooler, MatrixRoIAlign) for pooler in poolers)
    assert list(detector.state_dict()) == names
