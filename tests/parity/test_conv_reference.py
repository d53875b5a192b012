"""Our LeNet with PyTorch's weights gives PyTorch's logits, loss and gradients (made by make_conv_reference.py)."""

from pathlib import Path

import jax
import numpy as np
import pytest

from research.models.cnn import NETS
from research.numerics.objectives import cross_entropy


@pytest.fixture(scope="module")
def reference():
    with np.load(Path(__file__).with_name("conv_reference.npz")) as arrays:
        return dict(arrays)


def parameters(reference, suffix=""):
    """PyTorch keeps convolutions as [O,C,rows,columns] and dense kernels as [out,in]."""
    params = {}
    for kind, count in (("conv", 2), ("dense", 3)):
        for i in range(count):
            kernel = reference[f"{kind}_{i}.weight{suffix}"]
            params[f"{kind.capitalize()}_{i}"] = {
                "kernel": kernel.transpose(2, 3, 1, 0) if kind == "conv" else kernel.T,
                "bias": reference[f"{kind}_{i}.bias{suffix}"],
            }
    return {"params": params}


def channels_last(images):
    return images.transpose(0, 2, 3, 1)


def test_logits_loss_and_gradients_equal_pytorch(reference):
    net = NETS["lenet"]()
    labels = reference["labels"]

    def objective(params, images):
        logits = net.apply(params, images)
        return cross_entropy(logits, labels, np.float32(reference["smoothing"])).mean(), logits

    arguments = parameters(reference), channels_last(reference["images"])
    (loss, logits), found = jax.jit(jax.value_and_grad(objective, (0, 1), has_aux=True))(*arguments)
    np.testing.assert_allclose(loss, reference["loss"], rtol=1e-5)
    np.testing.assert_allclose(logits, reference["logits"], rtol=1e-4, atol=1e-6)
    wanted = parameters(reference, ".gradient"), channels_last(reference["images.gradient"])
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), found, wanted)
    assert all(np.abs(x).max() > 1e-4 for x in jax.tree.leaves(wanted))
