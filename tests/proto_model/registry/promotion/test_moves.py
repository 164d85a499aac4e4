"""Promotion and rollback on a real store; `processes.py` has what takes processes that die or collide."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from proto_model.errors import RegistryError
from proto_model.registry.promotion.history import HISTORY_TAG, REPLACED_VERSION_TAG, History
from proto_model.registry.promotion.journal import JOURNAL_TAG, Move, UnfinishedMoveError, tag_version
from proto_model.registry.promotion.lock import OWNER_TAG, Owner, lock_name, locked
from proto_model.registry.promotion.moves import settle, turn
from proto_model.registry.versions import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS_CHAMPION,
    Aliases,
    check_unchanged,
    explainer_name,
    read_aliases,
    read_aliases_and_tags,
    set_alias,
)
from tests.proto_model.registry.promotion.turns import promote, rollback
from tests.stores import fresh_store

ROOT = Path(__file__).parents[4]


class ContestedClient:
    """MLflow's client beside somebody who moves the champion right after it was moved."""

    def __init__(self, client, version):
        self._client = client
        self._version = version

    def __getattr__(self, name):
        return getattr(self._client, name)

    def set_registered_model_alias(self, name, alias, version):
        self._client.set_registered_model_alias(name, alias, version)
        if alias == CHAMPION:
            self._client.set_registered_model_alias(name, alias, self._version)


class FailingClient:
    """MLflow's client whose change number `n` and all later ones fail, as when the server goes away."""

    def __init__(self, client, n):
        self._client = client
        self._left = n

    def __getattr__(self, name):
        method = getattr(self._client, name)
        if not name.startswith(("set_", "delete_", "create_")):
            return method

        def change(*arguments, **options):
            self._left -= 1
            if self._left <= 0:
                raise MlflowException("The server went away.")
            return method(*arguments, **options)

        return change


def promote_in_turn(client, model, *versions):
    for version in versions:
        set_alias(model, CHALLENGER, version, client=client)
        promote(model, read_aliases(model, client=client), client)


def roll_back(client, model):
    return rollback(model, read_aliases(model, client=client), client)


@functools.cache
def processes(*arguments):
    """What `processes.py` prints, line by line."""
    command = [sys.executable, "-m", "tests.proto_model.registry.promotion.processes", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_first_promotion_leaves_a_champion_only(client, model):
    set_alias(model, CHALLENGER, 1, client=client)

    assert promote(model, Aliases(challenger="1"), client) == Aliases(champion="1")


def test_a_promotion_keeps_the_old_champion_and_a_rollback_brings_it_back(client, model):
    for version in ("1", "2", "3"):
        set_alias(model, CHALLENGER, version, client=client)
        promote(model, read_aliases(model, client=client), client)

    assert read_aliases(model, client=client) == Aliases("3", None, "2")
    assert rollback(model, Aliases("3", None, "2"), client) == Aliases("2", None, "1")
    assert rollback(model, Aliases("2", None, "1"), client) == Aliases("1", None, None)
    with pytest.raises(RegistryError, match="no promotion of"):
        rollback(model, Aliases("1"), client)


def test_no_rollback_goes_back_to_a_version_that_was_taken_back(client, model):
    promote_in_turn(client, model, "1", "2", "1")

    assert roll_back(client, model) == Aliases("2", None, None)
    with pytest.raises(RegistryError, match="no promotion of"):
        roll_back(client, model)
    assert read_aliases(model, client=client) == Aliases("2", None, None)


def test_a_version_that_was_taken_back_may_become_champion_again_on_its_merits(client, model):
    promote_in_turn(client, model, "1", "2", "3")
    roll_back(client, model)
    promote_in_turn(client, model, "3")

    assert roll_back(client, model) == Aliases("2", None, "1")
    assert roll_back(client, model) == Aliases("1", None, None)


steps = st.lists(st.sampled_from(["1", "2", "3", "4", "back"]), max_size=30)


@given(steps)
def test_walks_of_any_length_end_with_the_first_champion_and_never_loop(walk):
    history, taken_back = History(), set()
    for step in walk:
        if step != "back":
            if step != history.champion:
                history = history.promoted(step)
                taken_back.discard(step)
        elif history.previous is not None:
            taken_back.add(history.champion)
            history = history.rolled_back()
        assert history.previous is None or history.previous != history.champion
        assert not taken_back & {history.champion, *history.replaced}
    n_steps = len(history.replaced)
    while history.previous is not None:
        taken_back.add(history.champion)
        history = history.rolled_back()
        assert history.champion not in taken_back
        n_steps -= 1
    assert n_steps >= 0


@pytest.mark.parametrize(
    "walk", ["1 2 1 back back", "1 2 3 2 back back back", "1 2 back 2 back 3 back", "1 2 3 4 1 2 back back 2"]
)
def test_a_real_store_keeps_the_history_that_the_walk_in_memory_has(client, model, walk):
    history = History()
    for step in walk.split():
        if step != "back":
            history = history.promoted(step)
            promote_in_turn(client, model, step)
        elif history.previous is not None:
            history = history.rolled_back()
            roll_back(client, model)
        expected = Aliases(history.champion, None, history.previous)
        assert read_aliases(model, client=client) == expected


def test_a_store_of_an_earlier_release_is_rolled_back_along_its_own_tags(client, model):
    for version, replaced in (("2", "1"), ("3", "2")):
        client.set_model_version_tag(model, version, REPLACED_VERSION_TAG, replaced)
    set_alias(model, CHAMPION, "3", client=client)
    set_alias(model, PREVIOUS_CHAMPION, "2", client=client)

    assert roll_back(client, model) == Aliases("2", None, "1")
    assert roll_back(client, model) == Aliases("1", None, None)


def test_a_circle_in_the_tags_of_an_earlier_release_ends(client, model):
    for version, replaced in (("2", "1"), ("1", "2")):
        client.set_model_version_tag(model, version, REPLACED_VERSION_TAG, replaced)
    set_alias(model, CHAMPION, "1", client=client)
    set_alias(model, PREVIOUS_CHAMPION, "2", client=client)

    assert roll_back(client, model) == Aliases("2", None, None)


def test_aliases_that_somebody_moved_by_hand_are_right_and_the_tag_is_not(client, model):
    promote_in_turn(client, model, "1", "2", "3")
    set_alias(model, CHAMPION, "4", client=client)
    set_alias(model, PREVIOUS_CHAMPION, "3", client=client)

    assert roll_back(client, model).champion == "3"


def test_a_damaged_history_is_as_good_as_none(client, model):
    promote_in_turn(client, model, "1", "2")
    client.set_registered_model_tag(model, HISTORY_TAG, "{")

    assert roll_back(client, model) == Aliases("1", None, None)


@pytest.mark.parametrize("kind", ["promotion", "rollback"])
@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.crowds)])
def test_a_move_that_is_killed_before_any_of_its_writes_is_put_right_by_the_next_command(kind, every):
    found = [item for item in processes("kill", str(every)) if item["kind"] == kind]
    old, new = ("1", "2") if kind == "promotion" else ("2", "1")

    assert len(found) * every > 8
    for item in found:
        after = item["after"]
        assert item["unchanged_by_dry_run"]
        assert item["again"] is None
        assert (after["journal"], after["locks"]) == (False, [])
        moved = after["aliases"]["champion"] == new
        assert moved or after["aliases"]["champion"] == old
        assert after["explainer"]["champion"] == after["aliases"]["champion"]
        assert after["history"][-1] == after["aliases"]["champion"]
        assert after["mark"] == (kind if moved else None)
        left = item["before"]["journal"] or item["before"]["locks"]
        assert bool(left) == (item["recovery"] is not None) == (item["pending"] is not None)
        if item["before"]["journal"]:
            assert (item["recovery"]["move"], item["recovery"]["outcome"]) == (kind, "finished")
        if item["before"]["aliases"]["champion"] == new:
            assert moved, "a move that was made is not undone"
    assert found[0]["recovery"] is None
    assert not found[0]["after"]["aliases"]["champion"] == new
    assert found[-1]["recovery"] is None


@pytest.mark.parametrize("n", [12, pytest.param(60, marks=pytest.mark.crowds)])
def test_promotions_at_once_have_one_winner_and_clear_sentences(tmp_path, n):
    *results, state = processes("crowd", fresh_store(tmp_path), str(n))

    assert len(results) == n
    assert [result["promoted"]["champion"] for result in results if "promoted" in result] == ["2"]
    refused = [result["refused"] for result in results if "refused" in result]
    assert len(refused) == n - 1
    for sentence in refused:
        assert "Somebody else" in sentence
    for result in results:
        assert result["said"] == ""
    assert state["aliases"] == {"champion": "2", "challenger": None, "previous_champion": "1"}
    assert (state["journal"], state["locks"]) == (False, [])


@pytest.mark.parametrize("n", [3, 4, 6])
def test_a_registry_that_fails_in_the_middle_of_a_promotion_is_told_and_finished_later(client, model, n):
    promote_in_turn(client, model, "1")
    set_alias(model, CHALLENGER, "2", client=client)
    with pytest.raises((UnfinishedMoveError, MlflowException), match="went away"):
        promote(model, Aliases("1", "2"), FailingClient(client, n))
    owner = json.loads(client.get_registered_model(lock_name(model)).tags[OWNER_TAG])
    client.set_registered_model_tag(lock_name(model), OWNER_TAG, json.dumps(owner | {"born": "before"}))

    recovery = settle(model, client=client)
    assert (recovery.move, recovery.outcome) == ("promotion", "finished")
    assert recovery.completes("promotion")
    assert not recovery.completes("rollback")
    assert read_aliases(model, client=client) == Aliases("2", None, "1")


def interrupted(client, model):
    """A promotion of version 2 over 1 that ended right after its note was written."""
    promote_in_turn(client, model, "1")
    set_alias(model, CHALLENGER, "2", client=client)

    class Ending(FailingClient):
        def set_registered_model_alias(self, *arguments):
            raise MlflowException("The server went away.")

    with pytest.raises(UnfinishedMoveError):
        promote(model, Aliases("1", "2"), Ending(client, 99))


def test_a_promotion_of_a_version_that_was_deleted_since_is_undone(client, model):
    interrupted(client, model)
    client.delete_model_version(model, "2")

    recovery = settle(model, client=client)
    assert recovery.outcome == "undone"
    assert "version 2 was deleted" in recovery.sentence
    assert read_aliases(model, client=client) == Aliases("1", None, None)
    assert JOURNAL_TAG not in read_aliases_and_tags(model, client=client)[1]


def test_a_promotion_that_was_overtaken_by_hand_is_left_alone(client, model):
    interrupted(client, model)
    set_alias(model, CHAMPION, "4", client=client)

    recovery = settle(model, client=client)
    assert recovery.outcome == "dropped"
    assert "somebody moved the champion" in recovery.sentence
    assert read_aliases(model, client=client).champion == "4"
    assert settle(model, client=client) is None


def test_a_dry_run_finds_what_was_interrupted_and_leaves_it(client, model):
    interrupted(client, model)

    pending = settle(model, client=client, dry_run=True)
    assert (pending.outcome, pending.completes("promotion")) == ("pending", True)
    assert read_aliases(model, client=client).champion == "1"
    assert settle(model, client=client).outcome == "finished"


def test_the_living_owner_of_a_lock_is_named_and_keeps_it(client, model):
    with locked(client, model, "test"):
        with pytest.raises(RegistryError, match=r"Somebody else is at it: process \d+ on .* to test"):
            with locked(client, model, "wait", patience_s=0):
                pass
        assert settle(model, client=client) is None
    with locked(client, model, "test", patience_s=0):
        pass


@pytest.mark.parametrize(
    "changes",
    [{"born": "before"}, {"machine": "elsewhere", "since": 0.0}],
    ids=["dead", "long ago elsewhere"],
)
def test_the_lock_of_a_process_that_is_gone_is_broken_and_told(client, model, changes):
    owner = vars(Owner.of_this_process("test")) | changes
    client.create_registered_model(lock_name(model), tags={OWNER_TAG: json.dumps(owner)})

    with turn(client, model, "go on") as taken:
        assert taken.recovery.outcome == "dropped"
        assert "left its lock" in taken.recovery.sentence
    assert settle(model, client=client) is None


def test_a_process_on_another_machine_is_taken_for_alive_until_its_time_is_up():
    owner = Owner(**vars(Owner.of_this_process("test")) | {"machine": "elsewhere", "pid": 2**22 + 1})

    assert not owner.is_gone


def test_what_a_later_release_notes_on_its_lock_is_in_nobodys_way(client, model):
    owner = vars(Owner.of_this_process("test")) | {"born": "before", "later": [1]}
    client.create_registered_model(lock_name(model), tags={OWNER_TAG: json.dumps(owner)})

    assert settle(model, client=client).outcome == "dropped"


@pytest.mark.parametrize(
    "changes",
    [
        {"since": "yesterday"},
        {"since": 1e300},
        {"since": float("nan")},
        {"pid": "1"},
        {"pid": 10**30},
        {"pid": -1},
        {"machine": None},
        {"run_id": [1]},
    ],
    ids=str,
)
def test_a_lock_that_names_no_process_is_told(client, model, changes):
    owner = vars(Owner.of_this_process("test")) | changes
    client.create_registered_model(lock_name(model), tags={OWNER_TAG: json.dumps(owner)})
    with pytest.raises(RegistryError, match="Rename or delete it"):
        settle(model, client=client)


@pytest.mark.parametrize("tag", [JOURNAL_TAG, HISTORY_TAG])
@pytest.mark.parametrize("text", ["", "{", "null", "[]", "1", "[" * 20_000], ids=lambda text: text[:4])
def test_a_tag_that_is_no_object_is_told_or_passed_over(client, model, tag, text):
    promote_in_turn(client, model, "1", "2")
    client.set_registered_model_tag(model, tag, text)

    if tag == HISTORY_TAG:
        assert roll_back(client, model).champion == "1"
    else:
        with pytest.raises(RegistryError, match=f"{JOURNAL_TAG} of the registered model is damaged"):
            settle(model, client=client)


@pytest.mark.parametrize(
    "changes",
    [
        {"writes": [["later", "a"]]},
        {"writes": [[["alias"], "a"]]},
        {"writes": [["alias", "a", "champion"]]},
        {"writes": [["alias", "a", "champion", 1]]},
        {"undo": [[]]},
        {"before": {"champion": 1}},
        {"after": []},
        {"kind": "later"},
        {"doing": None},
        {"later": 1},
    ],
    ids=str,
)
def test_a_journal_that_this_release_cannot_follow_is_told_and_nothing_is_changed(client, model, changes):
    move = Move("rollback", model, "test", Aliases("1"), Aliases("2"), ())
    client.set_registered_model_tag(model, JOURNAL_TAG, json.dumps(json.loads(move.to_tag()) | changes))
    before = read_aliases_and_tags(model, client=client)

    with pytest.raises(RegistryError, match=f"{JOURNAL_TAG} of the registered model is damaged"):
        settle(model, client=client)

    assert read_aliases_and_tags(model, client=client) == before


def test_a_model_with_the_name_of_the_lock_is_no_lock(client, model):
    client.create_registered_model(lock_name(model))
    with pytest.raises(RegistryError, match="Rename or delete it"):
        roll_back(client, model)


def test_nothing_is_written_after_the_time_is_up(client, model, monkeypatch):
    promote_in_turn(client, model, "1")
    set_alias(model, CHALLENGER, "2", client=client)
    with turn(client, model, "test") as taken:
        monkeypatch.setattr("proto_model.registry.promotion.lock._LEASE_S", -1.0)
        with pytest.raises(RegistryError, match="nothing more was changed"):
            taken.promote(Aliases("1", "2"), [tag_version(model, "2", "mark", "x")])
    assert read_aliases(model, client=client) == Aliases("1", "2", None)


def test_a_rollback_passes_over_a_version_that_was_deleted(client, model):
    for version in ("1", "2", "3"):
        set_alias(model, CHALLENGER, version, client=client)
        promote(model, read_aliases(model, client=client), client)
    client.delete_model_version(model, "1")

    assert rollback(model, Aliases("3", None, "2"), client) == Aliases("2", None, None)


def test_a_newer_challenger_keeps_its_alias(client, model):
    set_alias(model, CHAMPION, 1, client=client)
    set_alias(model, CHALLENGER, 2, client=client)

    class Registering(ContestedClient):
        def set_registered_model_alias(self, name, alias, version):
            self._client.set_registered_model_alias(name, alias, version)
            self._client.set_registered_model_alias(name, CHALLENGER, self._version)

    after = promote(model, Aliases("1", "2"), Registering(client, "3"))
    assert after == Aliases("2", "3", "1")


@pytest.mark.parametrize("moved", [CHAMPION, CHALLENGER])
def test_a_move_by_somebody_else_stops_the_promotion_before_it_changes_anything(client, model, moved):
    set_alias(model, CHAMPION, 1, client=client)
    set_alias(model, CHALLENGER, 2, client=client)
    expected = read_aliases(model, client=client)
    set_alias(model, moved, 3, client=client)
    before = read_aliases(model, client=client)

    for move in (promote, check_unchanged):
        with pytest.raises(RegistryError, match=f"{moved} version 3"):
            move(model, expected=expected, client=client)
    assert read_aliases(model, client=client) == before


def test_a_move_by_somebody_else_right_after_stands_and_is_told(client, model):
    set_alias(model, CHAMPION, 1, client=client)
    set_alias(model, CHALLENGER, 2, client=client)
    with pytest.raises(RegistryError, match="champion version 4"):
        promote(model, Aliases("1", "2"), ContestedClient(client, "4"))

    assert read_aliases(model, client=client) == Aliases("4", "2", "1")


def test_a_move_by_somebody_else_stops_a_rollback(client, model):
    set_alias(model, CHAMPION, 2, client=client)
    set_alias(model, PREVIOUS_CHAMPION, 1, client=client)
    with pytest.raises(RegistryError, match="champion version 4"):
        rollback(model, Aliases("2", None, "1"), ContestedClient(client, "4"))
    with pytest.raises(RegistryError, match="Nothing was changed"):
        rollback(model, Aliases("2", None, "1"), client)

    assert read_aliases(model, client=client).champion == "4"


def test_a_quotation_mark_in_a_name_does_not_end_the_search_for_the_explainer(client):
    name = "o'brien's"
    for model in (name, explainer_name(name)):
        client.create_registered_model(model)
    client.create_model_version(name, "file:///nowhere")
    client.create_model_version(explainer_name(name), "file:///nowhere", tags={"explained_version": "1"})
    set_alias(name, CHALLENGER, "1", client=client)

    with turn(client, name, "promotion") as taken:
        taken.promote(read_aliases(name, client=client), [])

    assert read_aliases(explainer_name(name), client=client).champion == "1"
