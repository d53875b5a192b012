"""Draws by priority (Schaul et al. 2016) from a binary tree of sums (appendix B.2.1): one array f32[2L], root at 1, leaves
from L on.

Dimensions: L leaves, M leaves of a draw.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax


def no_priorities(leaves: int) -> Array:
    """A tree of zeros with at least that many leaves, f32[2L]; L is a power of two."""
    return jnp.zeros(2 * 2 ** max(leaves - 1, 1).bit_length())


def prioritize(tree: Array, leaves: Array, priorities: Array) -> Array:
    """Sets the priorities f32[K] of leaves i32[K], the largest where a leaf is named more than once."""
    node = leaves + tree.shape[0] // 2
    tree = tree.at[node].set(0.0).at[node].max(priorities)

    def raise_(_: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        tree, node = carry
        node = node // 2
        return tree.at[node].set(tree[2 * node] + tree[2 * node + 1]), node

    return lax.fori_loop(0, depth(tree), raise_, (tree, node))[0]


def draw_by_priority(key: Array, tree: Array, times: int, size: int) -> tuple[Array, Array]:
    """K = times draws of M = size leaves in proportion to their priorities, in each one from every M-th part of the sum.

    -> leaves i32[K * M], their probabilities f32[K,M]
    """
    parts = jnp.tile(jnp.arange(size, dtype=jnp.float32), times)
    rest = (parts + jax.random.uniform(key, parts.shape)) / size * tree[1]

    def descend(_: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, node = carry
        left, right = tree[2 * node], tree[2 * node + 1]
        turn = (rest >= left) & (right > 0.0)  # rounding must not lead to a leaf that has no priority
        return jnp.where(turn, rest - left, rest), 2 * node + turn.astype(jnp.int32)

    _, node = lax.fori_loop(0, depth(tree), descend, (rest, jnp.ones(times * size, jnp.int32)))
    return node - tree.shape[0] // 2, (tree[node] / tree[1]).reshape(times, size)


def importance(chances: Array, exponent: Array) -> Array:
    """Weights that undo a draw by priority as far as `exponent` says, the largest being 1 (Schaul et al. 2016, section 3.4).

    chances f32[...,M], exponent f32[] -> f32[...,M]
    """
    return (chances.min(-1, keepdims=True) / chances) ** exponent


def depth(tree: Array) -> int:
    """How many levels lie between the root and the leaves of a tree f32[2L]."""
    return (tree.shape[0] // 2).bit_length() - 1
