"""The top of every tree as bit masks, so that many rows go through it without a jump.

Number the exits of a tree's top from left to right and give a row one bit per exit. A node whose test sends
the row to the right clears the bits of the exits below its left child; when every node had its say, whatever
the order, the lowest bit left is the exit that the row takes (C. Lucchese et al., "QuickScorer", SIGIR 2015).
A test is one comparison of a vector of rows with a constant, far cheaper than a step of a walk. Small trees
are all top.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proto_model.forest.nodes import ForestNodes

WORD_BITS = 32
_WHOLE_TREE_TESTS = 127  # up to here, testing every node was measured to be faster than walking
_TOP_TESTS = 31  # nodes in the top of a bigger tree: one word


@dataclass(frozen=True)
class TreeTops:
    """Tests and exits of the trees' tops; a word is 32 exits.

    A row whose slot is above a test's threshold keeps only the exits in its mask.
    """

    tree_word: NDArray[np.int64]  # (n_trees + 1,): where the words of each tree begin
    word_test: NDArray[np.int64]  # (n_words + 1,): where the tests of each word begin
    threshold: NDArray[np.float32]  # (n_tests,), as the next two
    slot: NDArray[np.int32]
    mask: NDArray[np.uint32]
    exit: NDArray[np.int32]  # (n_words * 32,): node behind each exit, counted from the start of its tree
    is_whole: NDArray[np.int64]  # (n_trees,): 1 where all exits are leaves, else 0


def find_tops(forest: ForestNodes) -> TreeTops:
    """Tests and exits of each tree: of the whole tree where it is small, else of its first nodes."""
    start = forest.tree_start
    n_nodes = len(forest.nodes)
    tree = np.repeat(np.arange(forest.n_trees), np.diff(start))
    left = forest.left + start[tree]
    inner = left != np.arange(n_nodes)  # a leaf has itself

    # Breadth-first numbering: the first inner nodes of a tree hang together.
    count = np.concatenate([[0], np.cumsum(inner)])
    n_inner = count[start[1:]] - count[start[:-1]]
    n_tests = np.where(n_inner <= _WHOLE_TREE_TESTS, n_inner, _TOP_TESTS)
    tested = inner & (count[:-1] - count[start[tree]] < n_tests[tree])

    # Exits are counted from the leaves up and numbered from the root down: left to right, without recursion.
    levels = _levels(start[:-1], left, tested)
    n_exits = np.ones(n_nodes, dtype=np.int64)
    for nodes in reversed(levels):
        n_exits[nodes] = n_exits[left[nodes]] + n_exits[left[nodes] + 1]
    first_exit = np.zeros(n_nodes, dtype=np.int64)
    for nodes in levels:
        first_exit[left[nodes]] = first_exit[nodes]
        first_exit[left[nodes] + 1] = first_exit[nodes] + n_exits[left[nodes]]

    # A tree with n tests has n + 1 exits; each tree begins a word of its own.
    tree_word = np.concatenate([[0], np.cumsum(n_tests // WORD_BITS + 1)])
    is_exit = np.zeros(n_nodes, dtype=np.bool_)
    is_exit[start[:-1]] = True
    for nodes in levels:
        is_exit[left[nodes]] = is_exit[left[nodes] + 1] = True
    is_exit &= ~tested
    exit_node = np.zeros(tree_word[-1] * WORD_BITS, dtype=np.int32)
    exits = np.flatnonzero(is_exit)
    exit_node[tree_word[tree[exits]] * WORD_BITS + first_exit[exits]] = exits - start[tree[exits]]

    # One test per word that a node's left side reaches into.
    nodes = np.flatnonzero(tested)
    low, high = first_exit[nodes], first_exit[nodes] + n_exits[left[nodes]]
    n_words = (high - 1) // WORD_BITS - low // WORD_BITS + 1
    node = np.repeat(nodes, n_words)
    ordinal = np.arange(len(node)) - np.repeat(np.cumsum(n_words) - n_words, n_words)
    word = np.repeat(low // WORD_BITS, n_words) + ordinal
    low = np.maximum(np.repeat(low, n_words) - word * WORD_BITS, 0)
    high = np.minimum(np.repeat(high, n_words) - word * WORD_BITS, WORD_BITS)
    cleared = (np.int64(1) << high) - (np.int64(1) << low)
    word += tree_word[tree[node]]
    order = np.argsort(word, kind="stable")
    node, word = node[order], word[order]
    return TreeTops(
        tree_word=tree_word,
        word_test=np.searchsorted(word, np.arange(tree_word[-1] + 1)),
        threshold=np.ascontiguousarray(forest.nodes["threshold"][node]),
        slot=forest.slot[node].astype(np.int32),
        mask=(~cleared[order] & 0xFFFFFFFF).astype(np.uint32),
        exit=exit_node,
        is_whole=(n_inner == n_tests).astype(np.int64),
    )


def _levels(
    roots: NDArray[np.int64], left: NDArray[np.int64], tested: NDArray[np.bool_]
) -> list[NDArray[np.int64]]:
    """Tested nodes of all trees, level by level from the roots down."""
    levels = []
    frontier = roots[tested[roots]]
    while len(frontier):
        levels.append(frontier)
        children = np.stack([left[frontier], left[frontier] + 1], axis=1).ravel()
        frontier = children[tested[children]]
    return levels
