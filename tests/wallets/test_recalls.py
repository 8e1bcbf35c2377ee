"""Recalls: what is left of a payment is held once, and goes where it was decided, or back by itself."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from foundation.assets import USDT
from foundation.clock import SettableClock
from foundation.errors import Refusal
from foundation.ids import uuid7
from identity.officers import dismiss_officer
from tests.wallets.conftest import Bank
from tests.wallets.recalling import DAY, Recalling, refused
from wallets.history import history
from wallets.history_filters import HistoryFilter, HistoryKind
from wallets.limits import Window
from wallets.recall_decisions import Verdict, disputed_recalls
from wallets.recall_orders import OPEN_MAX
from wallets.recalls import Recall, Recalled, RecallRole, RecallState, list_recalls, load_recall, recall_by_id
from wallets.refunds import Refunded, refunds_of_payment


@pytest.fixture
async def recalling(bank: Bank) -> Recalling:
    return await Recalling.begin(bank)


# Asking ------------------------------------------------------------------------


async def test_what_was_paid_is_held_and_both_sides_see_it(recalling):
    recall = await recalling.asked()
    assert (recall.amount.format(), recall.state) == ("25.000000", RecallState.OPEN)
    assert await recalling.held() == ("74.975000", "0.000000")
    assert await recalling.state(recall) == "open"
    bank = recalling.bank
    for wallet, role, other, direction in (
        (recalling.payer, RecallRole.PAYER, "ko_ko", "in"),
        (recalling.payee, RecallRole.PAYEE, "aye_aye", "out"),
    ):
        assert (await list_recalls(recalling.books, wallet=wallet, role=role)).recalls == [recall]
        line = (
            await history(bank.ledger, bank.directory, wallet=wallet, only=HistoryFilter(asset=USDT))
        ).lines[0]
        assert (line.kind, line.effect, line.direction) == (HistoryKind.RECALL, "reserved", direction)
        assert (line.counterparty, line.reference) == (other, recalling.payment.id)


async def test_only_what_is_neither_given_back_nor_spent_is_held(recalling):
    su = await recalling.bank.wallet("su_su")
    await recalling.refund("5")
    await recalling.bank.pay(recalling.bank.order(recalling.payee, su, "12", USDT))
    recall = await recalling.asked()
    assert recall.amount.format() == "7.988000"
    assert await recalling.held() == ("79.975000", "0.000000")


async def test_what_the_payee_has_beyond_the_payment_is_not_held(recalling):
    await recalling.bank.fund(recalling.payee, "50", USDT)
    await recalling.refund("5")
    assert (await recalling.asked()).amount.format() == "20.000000"
    assert (await recalling.held())[1] == "50.000000"


async def test_the_same_recall_again_is_the_same_for_ever(recalling):
    order = recalling.order()
    first, second = await recalling.ask(order), await recalling.ask(order)
    assert (first.replayed, second.replayed, second.recall) == (False, True, first.recall)
    await recalling.agree(first.recall)
    recalling.bank.clock.advance(90 * DAY)
    late = await recalling.ask(order)
    assert (late.replayed, late.recall.state) == (True, RecallState.AGREED)


async def test_a_payment_is_recalled_once_whatever_became_of_it(recalling):
    recall = await recalling.asked()
    await recalling.withdraw(recall)
    told = await refused(recalling.asked())
    assert (told.code, told.data) == ("payment_already_recalled", {"recall_id": str(recall.id)})
    assert await recalling.held() == ("74.975000", "25.000000")


@pytest.mark.parametrize("one_id", [True, False])
async def test_of_many_recalls_at_once_one_is_made(recalling, one_id):
    same = recalling.order()
    orders = [same if one_id else recalling.order() for _ in range(12)]
    done = await asyncio.gather(*(recalling.ask(each) for each in orders), return_exceptions=True)
    made = [each for each in done if not isinstance(each, BaseException)]
    assert sorted(each.replayed for each in made) == ([False] + [True] * 11 if one_id else [False])
    assert all(isinstance(each, Refusal) for each in done if isinstance(each, BaseException))
    assert {each.code for each in done if isinstance(each, Refusal)} <= {"payment_already_recalled"}
    assert await recalling.held() == ("74.975000", "0.000000")
    listed = await list_recalls(recalling.books, wallet=recalling.payer, role=RecallRole.PAYER)
    assert [each.id for each in listed.recalls] == [made[0].recall.id]


async def test_only_the_payer_recalls_and_others_learn_nothing(recalling):
    recall = await recalling.asked()
    su = await recalling.bank.wallet("su_su")
    assert (await refused(recalling.asked(payer=recalling.payee))).code == "recall_not_by_payer"
    assert (await refused(recalling.asked(payer=su))).code == "payment_not_found"
    assert (
        await refused(recalling.asked(payment_id=uuid7(recalling.bank.clock)))
    ).code == "payment_not_found"
    look = recall_by_id(recalling.books, wallet=su, recall_id=recall.id)
    assert (await refused(look)).code == "recall_not_found"
    for doing in (recalling.agree(recall, payee=su), recalling.decline(recall, payee=su)):
        assert (await refused(doing)).code == "recall_not_found"
    # Nor does one side decide for the other.
    assert (await refused(recalling.agree(recall, payee=recalling.payer))).code == "recall_not_found"
    assert (await refused(recalling.withdraw(recall, payer=recalling.payee))).code == "recall_not_found"
    assert await recalling.state(recall) == "open"


async def test_the_window_ends_to_the_nanosecond(recalling):
    clock, paid_at = recalling.bank.clock, recalling.payment.created_at_ns
    clock.advance(DAY, ns=paid_at + 1 - clock.now_ns())
    assert (await refused(recalling.asked())).code == "recall_too_late"
    clock.advance(ns=-1)
    assert (await recalling.asked()).state is RecallState.OPEN


async def test_ids_that_no_client_may_use_or_that_are_taken_are_refused(recalling):
    assert (await refused(recalling.asked(id=uuid4()))).code == "payment_id_malformed"
    recall = await recalling.asked()
    again = await recalling.bank.pay(recalling.bank.order(recalling.payer, recalling.payee, "1", USDT))
    told = await refused(recalling.asked(id=recall.id, payment_id=again.payment.id))
    assert told.code == "recall_id_taken"


async def test_nothing_that_is_left_cannot_be_recalled_and_leaves_no_row(recalling):
    await recalling.refund("25")
    order = recalling.order()
    assert (await refused(recalling.ask(order))).code == "nothing_to_recall"
    assert await load_recall(recalling.books.database, order.id) is None


async def test_a_payer_has_few_recalls_open_however_many_are_sent_at_once(recalling):
    bank = recalling.bank
    payments = [
        (await bank.pay(bank.order(recalling.payer, recalling.payee, "1", USDT))).payment
        for _ in range(OPEN_MAX + 3)
    ]
    orders = [recalling.order(payment_id=each.id) for each in payments]
    done = await asyncio.gather(*(recalling.ask(each) for each in orders), return_exceptions=True)
    made = [each.recall for each in done if not isinstance(each, BaseException)]
    assert len(made) == OPEN_MAX
    assert all(isinstance(each, Refusal) for each in done if isinstance(each, BaseException))
    assert {each.code for each in done if isinstance(each, Refusal)} == {"too_many_open_recalls"}
    missed = next(order for order, each in zip(orders, done, strict=True) if isinstance(each, BaseException))
    # One that ends, however it ends, makes place for the same order again.
    await recalling.agree(made[0])
    assert not (await recalling.ask(missed)).replayed
    other = next(
        order for order, each in zip(orders[::-1], done[::-1], strict=True) if isinstance(each, BaseException)
    )
    assert (await refused(recalling.ask(other))).code == "too_many_open_recalls"


# Refunds beside it -------------------------------------------------------------


async def test_refunds_and_a_recall_together_are_at_most_the_payment(recalling):
    await recalling.bank.fund(recalling.payee, "100", USDT)
    await recalling.refund("5")
    recall = await recalling.asked()
    told = await refused(recalling.refund("0.000001"))
    assert (told.code, told.data["left"]) == ("refund_exceeds_payment", "0.000000")
    await recalling.agree(recall)
    assert (await refused(recalling.refund("0.000001"))).code == "refund_exceeds_payment"
    bank = recalling.bank
    seen = await refunds_of_payment(
        bank.ledger, bank.directory, wallet=recalling.payer, payment_id=recalling.payment.id
    )
    assert (seen.refunded, [each.amount.format() for each in seen.refunds]) == (
        recalling.payment.amount,
        ["5.000000"],
    )
    assert await recalling.held() == ("99.975000", "100.000000")


async def test_refunds_and_recall_at_the_same_moment_are_at_most_the_payment(recalling):
    await recalling.bank.fund(recalling.payee, "100", USDT)
    done = await asyncio.gather(
        *(recalling.refund("2") for _ in range(10)),
        recalling.ask(recalling.order()),
        *(recalling.refund("3") for _ in range(10)),
        return_exceptions=True,
    )
    refunds = [each.refund.amount.minor for each in done if isinstance(each, Refunded)]
    recalls = [each.recall for each in done if isinstance(each, Recalled)]
    held = sum(each.amount.minor for each in recalls)
    assert sum(refunds) + held <= 25_000_000
    assert all(isinstance(each, Refusal) for each in done if isinstance(each, BaseException))
    assert {each.code for each in done if isinstance(each, Refusal)} <= {
        "refund_exceeds_payment",
        "nothing_to_recall",
    }
    for each in recalls:
        await recalling.agree(each)
    assert await recalling.held() == (
        f"{(74_975_000 + sum(refunds) + held) / 10**6:.6f}",
        f"{(125_000_000 - sum(refunds) - held) / 10**6:.6f}",
    )


async def test_a_recall_that_ends_without_money_gives_the_room_back_to_refunds(recalling):
    await recalling.withdraw(await recalling.asked())
    assert not (await recalling.refund("25")).replayed


# Deciding ----------------------------------------------------------------------


async def test_the_payee_agrees_and_the_payer_has_it_free_of_charge_and_of_limits(recalling):
    bank = recalling.bank
    rooms = await bank.limits.rooms(recalling.payee, USDT)
    recall = await recalling.asked()
    first, second = await recalling.agree(recall), await recalling.agree(recall)
    assert (first.replayed, second.replayed, second.recall) == (False, True, first.recall)
    assert first.recall.closed_at is not None
    assert await recalling.held() == ("99.975000", "0.000000")
    assert await recalling.state(recall) == "agreed"
    after = await bank.limits.rooms(recalling.payee, USDT)
    assert [each.left for each in after] == [each.left for each in rooms]
    assert {each.window for each in after} == set(Window)


async def test_a_no_ends_nothing_and_the_payee_may_still_agree(recalling):
    recall = await recalling.asked()
    first, second = await recalling.decline(recall), await recalling.decline(recall)
    assert (first.replayed, second.replayed, second.recall) == (False, True, first.recall)
    assert first.recall.state is RecallState.DISPUTED
    assert await recalling.held() == ("74.975000", "0.000000")
    assert (await recalling.agree(recall)).recall.state is RecallState.AGREED
    assert (await refused(recalling.decline(recall))).data == {"state": "agreed"}


async def test_of_all_decisions_at_once_one_happens(recalling):
    recall = await recalling.asked()
    await recalling.decline(recall)
    may, hla = await recalling.officer("may"), await recalling.officer("hla")
    done = await asyncio.gather(
        recalling.agree(recall),
        recalling.withdraw(recall),
        recalling.vote(may, recall, Verdict.RETURN),
        recalling.vote(hla, recall, Verdict.RETURN),
        recalling.agree(recall),
        return_exceptions=True,
    )
    assert all(isinstance(each, Refusal) for each in done if isinstance(each, BaseException))
    assert {each.code for each in done if isinstance(each, Refusal)} <= {"recall_not_open"}
    state = await recalling.state(recall)
    has_it_back = {"agreed": True, "returned": True, "withdrawn": False}[state]
    assert await recalling.held() == (
        ("99.975000", "0.000000") if has_it_back else ("74.975000", "25.000000")
    )


@pytest.mark.parametrize(
    ("says", "state", "held"),
    [
        (Verdict.RETURN, "returned", ("99.975000", "0.000000")),
        (Verdict.KEEP, "kept", ("74.975000", "25.000000")),
    ],
)
async def test_two_officers_who_say_the_same_decide(recalling, says, state, held):
    may, hla = await recalling.officer("may"), await recalling.officer("hla")
    win = await recalling.officer("win")
    recall = await recalling.asked()
    await recalling.decline(recall)
    other = Verdict.KEEP if says is Verdict.RETURN else Verdict.RETURN
    first = await recalling.vote(may, recall, says)
    assert (first.recall.state, first.votes) == (RecallState.DISPUTED, {"may": says})
    assert (await recalling.vote(may, recall, says)) == first
    assert (await refused(recalling.vote(may, recall, other))).code == "recall_vote_stands"
    await recalling.vote(win, recall, other)
    assert await recalling.held() == ("74.975000", "0.000000")
    page = await disputed_recalls(recalling.books)
    assert [each.votes for each in page.disputed] == [{"may": says, "win": other}]
    last = await recalling.vote(hla, recall, says)
    assert last.recall.state == state
    assert await recalling.held() == held
    assert await recalling.state(recall) == state
    assert (await recalling.vote(may, recall, says)).recall.state == state
    late = await recalling.officer("late")
    assert (await refused(recalling.vote(late, recall, says))).data == {"state": state}
    assert (await disputed_recalls(recalling.books)).disputed == []


async def test_officers_wait_for_the_payee_and_then_need_no_answer(recalling):
    may, hla = await recalling.officer("may"), await recalling.officer("hla")
    recall = await recalling.asked()
    assert (await refused(recalling.vote(may, recall, Verdict.RETURN))).code == "recall_not_disputed"
    assert (await disputed_recalls(recalling.books)).disputed == []
    recalling.bank.clock.advance(3 * DAY + 1)
    assert await recalling.state(recall) == "disputed"
    assert [each.recall.id for each in (await disputed_recalls(recalling.books)).disputed] == [recall.id]
    for officer in (may, hla):
        await recalling.vote(officer, recall, Verdict.RETURN)
    assert await recalling.state(recall) == "returned"


async def test_an_officer_who_is_a_party_or_dismissed_does_not_count(recalling):
    may, hla, win = [await recalling.officer(name) for name in ("may", "hla", "win")]
    recall = await recalling.asked()
    await recalling.decline(recall)
    for party in (recalling.payer, recalling.payee):
        own = recalling.vote(may, recall, Verdict.RETURN, persons=[may.person_id, party.person_id])
        assert (await refused(own)).code == "recall_of_own"
    await recalling.vote(may, recall, Verdict.RETURN)
    async with recalling.bank.database.session() as session:
        assert await dismiss_officer(session, recalling.bank.clock, name="may")
    done = await recalling.vote(hla, recall, Verdict.RETURN)
    assert (done.recall.state, set(done.votes)) == (RecallState.DISPUTED, {"hla"})
    assert (await recalling.vote(win, recall, Verdict.RETURN)).recall.state is RecallState.RETURNED


async def test_what_nobody_decides_is_the_payees_again_by_itself(recalling):
    may = await recalling.officer("may")
    recall = await recalling.asked()
    await recalling.decline(recall)
    await recalling.vote(may, recall, Verdict.RETURN)
    recalling.bank.clock.advance(14 * DAY + 1)
    assert await recalling.state(recall) == "expired"
    for doing in (
        recalling.agree(recall),
        recalling.withdraw(recall),
        recalling.decline(recall),
        recalling.vote(await recalling.officer("hla"), recall, Verdict.RETURN),
    ):
        told = await refused(doing)
        assert (told.code, told.data) == ("recall_not_open", {"state": "expired"})
    found = await recall_by_id(recalling.books, wallet=recalling.payer, recall_id=recall.id)
    assert found.closed_at == recall.expires_at
    assert not (await recalling.refund("25")).replayed


async def test_a_process_whose_clock_is_behind_says_too_that_it_has_expired(recalling):
    recall = await recalling.asked()
    behind = SettableClock(recalling.bank.clock.now_ns())
    late = recalling.with_books(clock=behind)
    behind.advance(14 * DAY - 1)
    recalling.bank.clock.advance(14 * DAY + 1)
    for doing in (late.agree(recall), late.withdraw(recall), late.decline(recall)):
        told = await refused(doing)
        assert (told.code, told.data) == ("recall_not_open", {"state": "expired"})


# Lists -------------------------------------------------------------------------


async def test_lists_go_page_by_page_and_leave_out_what_came_to_nothing(recalling):
    bank = recalling.bank
    made = []
    for _ in range(OPEN_MAX):
        payment = (await bank.pay(bank.order(recalling.payer, recalling.payee, "1", USDT))).payment
        bank.clock.advance(1)
        made.append(await recalling.asked(payment_id=payment.id))
    await recalling.decline(made[0])
    seen: list[Recall] = []
    before = None
    while True:
        page = await list_recalls(
            recalling.books, wallet=recalling.payee, role=RecallRole.PAYEE, before=before, limit=2
        )
        seen += page.recalls
        before = page.next_before
        if before is None:
            break
    assert [each.id for each in seen] == [each.id for each in reversed(made)]
    none = await list_recalls(recalling.books, wallet=recalling.payee, role=RecallRole.PAYER)
    assert none.recalls == []
    disputed = await list_recalls(
        recalling.books, wallet=recalling.payer, role=RecallRole.PAYER, state=RecallState.DISPUTED
    )
    assert [each.id for each in disputed.recalls] == [made[0].id]
    su = await bank.wallet("su_su")
    stranger = list_recalls(recalling.books, wallet=su, role=RecallRole.PAYER, before=made[0].id)
    assert (await refused(stranger)).code == "recall_not_found"


async def test_a_window_of_nothing_allows_no_recall(recalling):
    closed = recalling.with_books(window=timedelta(0))
    recalling.bank.clock.advance(1)
    assert (await refused(closed.asked())).code == "recall_too_late"
