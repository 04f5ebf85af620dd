"""The model of `test_model` finds mistakes in what is said to be unchanged: each is made here on purpose."""

from collections.abc import Callable
from math import inf
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from msgspec import structs

from qrbackends.cache import decision, loader
from qrbackends.cache.entry import Entry, Found
from qrbackends.cache.loader import Loader, Question
from qrbackends.cache.memory import Epoch, Memory
from qrbackends.protocol.validators import NONE, Validators
from qrbackends.service.origin import OriginAnswer
from qrbackends.transport.body import Body, Wire

from ..profiles import some_of
from .test_model import CacheMachine

Patch = pytest.MonkeyPatch
MISTAKES: list[Callable[[Patch], None]] = []
_keep, _from_origin, _entry, _known = Loader._keep, Loader._from_origin, Loader._entry, Loader._known
_confirm, _finish, _is_known, _confirmations = (
    Validators.confirm,
    Body.finish,
    Body._is_known,
    decision.confirmations,
)
_put, _remove = Memory.put, Memory.remove


def mistake(made: Callable[[Patch], None]) -> Callable[[Patch], None]:
    MISTAKES.append(made)
    return made


@mistake
def an_answer_without_a_body_extends_what_was_dropped(patch: Patch) -> None:
    def keep(self: Loader, question: Question, epoch: Epoch, entry: Entry) -> None:
        _keep(self, question, self._memory.epoch(question.key) if entry.confirmed else epoch, entry)

    patch.setattr(Loader, "_keep", keep)


@mistake
def a_refusal_lets_those_answers_be_kept_that_come_later(patch: Patch) -> None:
    async def remove_after(self: Loader, question: Question, error: Any) -> None:
        known = self._memory._epochs.copy()
        fresh = [(key, epoch) for key in known if not (epoch := self._memory.epoch(key)).over]
        await removed(self, question, error)
        for key, epoch in fresh:
            epoch.over = False
            self._memory._epochs[key] = known[key]

    removed = Loader._remove_after
    patch.setattr(Loader, "_remove_after", remove_after)


@mistake
def an_earlier_request_renews_over_the_answer_to_a_later_one(patch: Patch) -> None:
    def put(self: Memory, epoch: Epoch, entry: Entry) -> None:
        _put(self, self.epoch(epoch.key) if entry.confirmed and self.get(epoch.key) else epoch, entry)

    patch.setattr(Memory, "put", put)


def length_of(known: Wire) -> int:
    return len(known.plain(2**20))


@mistake
def bodies_of_the_same_length_are_equal(patch: Patch) -> None:
    def finish(self: Body) -> bytes:
        known, equals = self._known, self._equals
        body = _finish(self)
        if known is not None and not equals and length_of(known) == len(body):
            self.wire = known
        return body

    patch.setattr(Body, "finish", finish)


@mistake
def a_body_that_begins_like_the_known_one_is_equal(patch: Patch) -> None:
    def finish(self: Body) -> bytes:
        if self._equal and self._known is not None and not self._encoding:
            self.wire = self._known
            return b""
        return _finish(self)

    patch.setattr(Body, "finish", finish)


@mistake
def a_body_that_goes_on_after_the_known_one_is_equal(patch: Patch) -> None:
    def feed(self: Body, chunk: bytes) -> None:
        known = self._known
        if known is not None and self._equals and self._equal + len(chunk) > len(known.data):
            chunk = chunk[: len(known.data) - self._equal]
        fed(self, chunk)

    fed = Body.feed
    patch.setattr(Body, "feed", feed)


@mistake
def compressed_bodies_are_compared_by_their_lengths(patch: Patch) -> None:
    patch.setattr(Body, "_is_known", lambda self, known, body: length_of(known) == len(body))


@mistake
def equal_bodies_are_not_recognized(patch: Patch) -> None:
    def finish(self: Body) -> bytes:
        known, self._known = self._known, None
        if self._equals and known is not None:
            self._differ(known)
        return _finish(self)

    patch.setattr(Body, "finish", finish)


@mistake
def a_body_that_is_compressed_anew_is_not_recognized(patch: Patch) -> None:
    patch.setattr(
        Body, "_is_known", lambda self, known, body: not self._encoding and _is_known(self, known, body)
    )


@mistake
def a_body_that_was_packed_is_not_recognized(patch: Patch) -> None:
    patch.setattr(
        Body, "_is_known", lambda self, known, body: self._encoding != "" and _is_known(self, known, body)
    )


@mistake
def a_tag_of_another_scope_is_sent(patch: Patch) -> None:
    def known(self: Loader, question: Question) -> Entry | None:
        entries = self._memory._entries.recent
        alike = [entry for (_, request), entry in entries.items() if request == question.request]
        return _known(self, question) or next((entry for entry in alike if not entry.negative), None)

    patch.setattr(Loader, "_known", known)


@mistake
def only_the_tag_is_of_another_scope(patch: Patch) -> None:
    tags: dict[Any, Validators] = {}

    def keep(self: Loader, question: Question, epoch: Epoch, entry: Entry) -> None:
        tags[question.request] = entry.validators
        _keep(self, question, epoch, entry)

    def known(self: Loader, question: Question) -> Entry | None:
        entry = _known(self, question)
        if entry is None or not any(entry.validators):
            return entry
        return structs.replace(entry, validators=tags.get(question.request, NONE))

    patch.setattr(Loader, "_keep", keep)
    patch.setattr(Loader, "_known", known)


@mistake
def a_304_is_believed_although_nothing_was_asked(patch: Patch) -> None:
    patch.setattr(Validators, "confirm", lambda self, asked: not any(asked) or _confirm(self, asked))


@mistake
def a_304_with_another_tag_is_believed(patch: Patch) -> None:
    patch.setattr(Validators, "confirm", lambda self, asked: any(asked) and any(self))


@mistake
def a_304_without_a_tag_is_believed(patch: Patch) -> None:
    patch.setattr(Validators, "confirm", lambda self, asked: not any(self) or _confirm(self, asked))


@mistake
def weak_and_strong_tags_are_never_the_same(patch: Patch) -> None:
    patch.setattr(Validators, "confirm", lambda self, asked: any(asked) and self == asked)


def renewed(change: Callable[[Entry, Entry], None]) -> Callable[[Patch], None]:
    def made(patch: Patch) -> None:
        def entry_of(self: Loader, answer: OriginAnswer, known: Entry | None, *times: float) -> Entry:
            entry = _entry(self, answer, known, *times)
            if known is not None and answer.unchanged:
                change(entry, known)
            return entry

        patch.setattr(Loader, "_entry", entry_of)

    made.__name__ = change.__name__
    return made


@mistake
@renewed
def a_renewed_entry_keeps_its_age(entry: Entry, known: Entry) -> None:
    entry.stored_at = known.stored_at


@mistake
@renewed
def a_renewed_entry_is_no_longer_fresh(entry: Entry, known: Entry) -> None:
    entry.fresh_until = known.fresh_until


@mistake
@renewed
def a_renewed_entry_expires_as_it_would_have(entry: Entry, known: Entry) -> None:
    entry.expires = known.expires


@mistake
@renewed
def a_renewed_entry_keeps_the_pause_after_a_failure(entry: Entry, known: Entry) -> None:
    entry.retry_at = known.retry_at


@mistake
@renewed
def a_renewed_entry_loses_its_tag(entry: Entry, known: Entry) -> None:
    entry.validators = NONE


def told(unchanged: Callable[[bool, Entry | None], bool]) -> Callable[[Patch], None]:
    def made(patch: Patch) -> None:
        async def from_origin(self: Loader, question: Question, epoch: Epoch, *how: Any) -> Any:
            known = self._known(question)
            found = await _from_origin(self, question, epoch, *how)
            return Found(found.entry, found.source, unchanged(found.unchanged, known))

        patch.setattr(Loader, "_from_origin", from_origin)

    made.__name__ = unchanged.__name__
    return made


@mistake
@told
def a_changed_value_is_said_to_be_unchanged(unchanged: bool, known: Entry | None) -> bool:
    return known is not None


@mistake
@told
def what_is_unchanged_is_not_told(unchanged: bool, known: Entry | None) -> bool:
    return False


@mistake
def a_25th_answer_is_asked_for_under_a_condition(patch: Patch) -> None:
    patch.setattr(decision, "_MOST_CONFIRMED", 25)


@mistake
def a_server_that_lies_is_believed_for_ever(patch: Patch) -> None:
    patch.setattr(decision, "_MOST_CONFIRMED", 10**9)


@mistake
def a_24th_answer_is_asked_for_without_a_condition(patch: Patch) -> None:
    patch.setattr(decision, "_MOST_CONFIRMED", 23)


@mistake
def a_tag_that_stands_for_two_documents_is_trusted(patch: Patch) -> None:
    def confirmations(known: Entry | None, answer: OriginAnswer) -> float:
        return known.confirmed + 1 if known is not None and answer.not_modified else 0

    patch.setattr(loader, "confirmations", confirmations)


@mistake
def distrust_is_forgotten_at_the_next_answer(patch: Patch) -> None:
    def confirmations(known: Entry | None, answer: OriginAnswer) -> float:
        if known is not None and known.confirmed == inf:
            known = structs.replace(known, confirmed=0)
        return _confirmations(known, answer)

    patch.setattr(loader, "confirmations", confirmations)


@mistake
def a_server_that_compares_no_tags_is_asked_again(patch: Patch) -> None:
    patch.setattr(
        loader,
        "confirmations",
        lambda known, answer: _confirmations(known, structs.replace(answer, asked=NONE)),
    )


# The rules that have nothing to do with what is unchanged are left out: so mistakes are found sooner.
OTHERS = ("ask_without_time", "ask_for_something_young", "cancel", "race", "try_in_vain", "fail", "refuse")
Renewals = type("Renewals", (CacheMachine,), dict.fromkeys(OTHERS))


def find(machine: type[CacheMachine], most: int) -> None:
    budget = settings(
        max_examples=most, stateful_step_count=40, report_multiple_bugs=False, phases=[Phase.generate]
    )
    run_state_machine_as_test(machine, settings=budget)


NAMED = (  # the others are as easy to find, and take as long
    "an_answer_without_a_body_extends_what_was_dropped",
    "bodies_of_the_same_length_are_equal",
    "a_tag_of_another_scope_is_sent",
    "a_refusal_lets_those_answers_be_kept_that_come_later",
    "a_body_that_begins_like_the_known_one_is_equal",
    "a_304_is_believed_although_nothing_was_asked",
    "a_304_with_another_tag_is_believed",
    "a_renewed_entry_keeps_its_age",
    "a_renewed_entry_is_no_longer_fresh",
    "a_changed_value_is_said_to_be_unchanged",
    "a_25th_answer_is_asked_for_under_a_condition",
    "distrust_is_forgotten_at_the_next_answer",
)
BY_NAME = {made.__name__: made for made in MISTAKES}


@pytest.mark.parametrize("name", some_of(NAMED, 3))
def test_a_mistake_is_found(name: str, monkeypatch: Patch) -> None:
    BY_NAME[name](monkeypatch)
    with pytest.raises(AssertionError):
        find(Renewals, 120)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", BY_NAME)
def test_every_mistake_is_found_by_all_rules(name: str, monkeypatch: Patch) -> None:
    BY_NAME[name](monkeypatch)
    with pytest.raises(AssertionError):
        find(CacheMachine, 1000)
