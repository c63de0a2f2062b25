"""An end that is learned late gives back what was charged for the time after it."""

from .conftest import HOUR_MS


def test_deducted_overrun_is_given_back_when_the_server_had_ended_before(make_world):
    world = make_world(overrun="deduct")
    member, identity = world.join("smith")  # 2 tokens a month, 1 an hour
    _, period_end_ms = world.ledger.periods(member.member_id)[0]
    world.clock.set_ms(period_end_ms - 5 * HOUR_MS)
    key = world.hub.run(member, identity)
    started_ms = world.clock.now_ms()
    # Nobody can stop it, so 3 tokens of overrun; 2 are deducted from the next allotment.
    world.pass_time(6 * HOUR_MS, step_ms=HOUR_MS)
    assert world.tokens(member) == 0
    # It had ended after an hour: there never was any overrun.
    world.hub.end(key, started_ms + HOUR_MS)
    assert world.ledger.totals()["overrun_grains"] == 0
    assert world.tokens(member) == 2 + 1  # the whole allotment, and what lapsed returned
