"""The optimiser of a stage: fused where that is right, and a resume from another memory layout or device."""

import copy

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("detectron2")

from fashionseg.training import worker  # noqa: E402
from fashionseg.training.config import build_config  # noqa: E402
from fashionseg.training.recipe import read_recipe, with_overrides  # noqa: E402
from fashionseg.training.roi_align import MatrixRoIAlign  # noqa: E402
from fashionseg.training.run import TrainOptions, train  # noqa: E402
from fashionseg.training.stage import Stage, _lay_out, _optimizer  # noqa: E402

from .conftest import TINY  # noqa: E402

pytestmark = pytest.mark.detectron2


@pytest.mark.parametrize(("device", "fused"), [("cpu", True), ("cuda", None)])
def test_adamw_is_fused_on_a_cpu_and_as_torch_likes_it_on_a_gpu(device, fused, tmp_path):
    cfg = build_config(with_overrides(read_recipe("small"), TINY), None, device)
    network = torch.nn.Conv2d(3, 4, 3)
    stage = Stage(network, network, network, cfg, "adamw", 1.0, 0.0, lambda start: [], tmp_path, 1)
    assert {group["fused"] for group in _optimizer(stage).param_groups} == {fused}


def test_moments_of_another_memory_layout_are_laid_out_like_their_weights():
    """A fused step after a resume must be the plain step; with moments in the old layout it is another one."""
    generator = torch.Generator().manual_seed(0)
    start, first, second = (torch.randn(4, 3, 3, 3, generator=generator) for _ in range(3))

    def after(layout, fused):
        weight = torch.nn.Parameter(start.clone().to(memory_format=layout))
        optimizer = torch.optim.AdamW([weight], lr=0.1, fused=fused)
        return weight, optimizer

    def step(weight, optimizer, gradient):
        weight.grad = (
            gradient.clone()
            .to(memory_format=torch.preserve_format)
            .to(memory_format=torch.channels_last if not weight.is_contiguous() else torch.contiguous_format)
        )
        optimizer.step()

    weight, optimizer = after(torch.channels_last, fused=True)
    step(weight, optimizer, first)
    results = []
    for fused in (True, False):
        resumed, again = after(torch.contiguous_format, fused)
        with torch.no_grad():
            resumed.copy_(weight)
        again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        for group in again.param_groups:
            group["fused"] = fused
        _lay_out(again, on_cpu=True)
        step(resumed, again, second)
        results.append(resumed.detach())
    torch.testing.assert_close(results[0], results[1])


def test_a_run_on_a_cpu_pools_by_matrix_products_and_leaves_small_numbers_as_they_were(tiny_set, tmp_path, monkeypatch):
    built, build = [], worker.build_model

    def remembered(cfg):
        built.append(build(cfg))
        return built[0]

    monkeypatch.setattr(worker, "build_model", remembered)
    recipe = with_overrides(read_recipe("small"), [*TINY, "SOLVER.MAX_ITER=1", "SOLVER.WARMUP_ITERS=0"])
    options = TrainOptions(
        (tiny_set[0],), (tiny_set[1],), tmp_path / "run", recipe, weights="none", device="cpu", quiet=True
    )
    train(options)
    assert all(isinstance(one, MatrixRoIAlign) for one in built[0].roi_heads.box_pooler.level_poolers)
    assert float(torch.tensor(1e-40) / 2) > 0
