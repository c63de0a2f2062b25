"""Watches over real HTTP: lists, resumed and interrupted watches, and how fresh all that is."""

import asyncio

import pytest
import structlog

from jhub_tokens.service.cluster.pace import LONG_S, PROBE_S, SHORT_S
from jhub_tokens.service.cluster.pods import PodSeen
from jhub_tokens.service.cluster.watching import FRESH_MS, Watch

from .conftest import SECOND_MS, until
from .fake_api import NAMESPACE, pod

PATH = f"/api/v1/namespaces/{NAMESPACE}/pods"


class Watched:
    """A watch that runs, with all it told and all it waited for."""

    def __init__(self, api, clock):
        self.changes, self.waits = [], []
        self.watch = Watch(
            "pods",
            api,
            PATH,
            PodSeen.of,
            clock,
            query={"labelSelector": "component=singleuser-server"},
            on_change=self.changes.append,
            remedy="give it",
            sleep=self.sleep,
        )
        self.task = asyncio.create_task(self.watch.run())

    async def sleep(self, seconds):
        self.waits.append(seconds)
        await asyncio.sleep(0.01)

    @property
    def names(self):
        return sorted(item.name for item in self.watch.items.values())

    def of(self, name):
        return [change for change in self.changes if change.item.name == name]


@pytest.fixture
async def watched(kube, clock):
    made = Watched(kube, clock)
    yield made
    made.task.cancel()
    await asyncio.gather(made.task, return_exceptions=True)


async def begun(watched, fake, count=1):
    await until(lambda: fake.watching == count and watched.watch.lists)


async def test_lists_page_by_page_and_then_follows(fake, watched, clock):
    fake.page_size = 2
    for number in range(5):
        await fake.put("pods", pod(f"p{number}"))
    await fake.put("pods", pod("other", labels={"component": "hub"}))
    await begun(watched, fake)
    await until(lambda: watched.names == [f"p{number}" for number in range(5)])
    assert {change.known_ms for change in watched.changes} == {None}
    clock.advance_ms(SECOND_MS)
    added = await fake.put("pods", pod("p9"))
    await until(lambda: "p9" in watched.names)
    await fake.remove("pods", added)
    await until(lambda: "p9" not in watched.names)
    change = watched.of("p9")[-1]
    assert (change.gone, change.at_ms, change.known_ms) == (True, clock.now_ms(), clock.now_ms())


async def test_goes_on_where_an_ended_watch_ended(fake, watched, clock):
    await begun(watched, fake)
    clock.advance_ms(40 * SECOND_MS)
    await fake.end_watches()
    await until(lambda: watched.watch.fresh_at_ms == clock.now_ms())
    await begun(watched, fake)
    await fake.put("pods", pod("late"))
    await until(lambda: watched.names == ["late"])
    assert watched.watch.lists == 1


async def test_a_silent_watch_is_stale_until_it_speaks(fake, watched, clock):
    await begun(watched, fake)
    assert watched.watch.is_fresh(clock.now_ms())
    clock.advance_ms(FRESH_MS + 1)
    assert not watched.watch.is_fresh(clock.now_ms())
    await fake.bookmark("pods")
    await until(lambda: watched.watch.is_fresh(clock.now_ms()))


async def test_watches_are_long_where_the_server_speaks_by_itself(fake, watched, clock):
    """A bookmark long before the end of a watch says so; one just before the end says nothing."""
    watches = lambda: [int(q["timeoutSeconds"]) for _, _, q in fake.asked if "watch" in q]  # noqa: E731
    await begun(watched, fake)
    clock.advance_ms((PROBE_S - 2) * SECOND_MS)
    await fake.bookmark("pods")
    await until(lambda: watched.watch.fresh_at_ms == clock.now_ms())
    await fake.end_watches()
    await until(lambda: watches() == [PROBE_S, PROBE_S] and fake.watching)
    clock.advance_ms(60 * SECOND_MS)
    await fake.bookmark("pods")
    await until(lambda: watched.watch.fresh_at_ms == clock.now_ms())
    await fake.end_watches()
    await until(lambda: watches()[2:] == [LONG_S] and fake.watching)
    assert PROBE_S * SECOND_MS < FRESH_MS, "an end alone keeps it fresh"

    # What cuts silent connections is left alone for a while.
    await fake.end_watches("drop")
    await until(lambda: watches()[3:] == [SHORT_S] and fake.watching)
    for count in range(5, 19):
        await fake.end_watches()
        await until(lambda count=count: len(watches()) == count and fake.watching)
    assert set(watches()[3:]) == {SHORT_S}
    await fake.end_watches()
    await until(lambda: watches()[18:] == [PROBE_S])
    assert watched.watch.lists == 1


async def test_what_happened_during_an_interruption_has_no_instant(fake, watched, clock):
    """Replayed after a drop, an event is about some instant since the watch was fresh."""
    here = await fake.put("pods", pod("p"))
    await begun(watched, fake)
    fresh_ms = watched.watch.fresh_at_ms
    fake.refusals[PATH] = 503
    await fake.end_watches("drop")
    await until(lambda: watched.watch.problem is not None)
    clock.advance_ms(60 * SECOND_MS)
    fake.kinds["pods"].clear()
    await fake._happens("pods", "DELETED", here)
    del fake.refusals[PATH]
    await until(lambda: watched.of("p")[-1].gone)
    change = watched.of("p")[-1]
    assert (change.known_ms, change.at_ms) == (fresh_ms, clock.now_ms())


async def test_resumed_events_are_late_until_it_has_caught_up(fake, watched, clock):
    await begun(watched, fake)
    fresh_ms = watched.watch.fresh_at_ms
    clock.advance_ms(30 * SECOND_MS)
    await fake.end_watches("drop")
    await until(lambda: watched.waits)
    await begun(watched, fake)
    await fake.put("pods", pod("a"))
    await until(lambda: watched.of("a"))
    assert watched.of("a")[-1].known_ms == fresh_ms
    assert watched.watch.fresh_at_ms == fresh_ms
    await fake.bookmark("pods")
    await until(lambda: watched.watch.fresh_at_ms == clock.now_ms())
    await fake.put("pods", pod("b"))
    await until(lambda: watched.of("b"))
    assert watched.of("b")[-1].known_ms == clock.now_ms()
    assert watched.watch.lists == 1


async def test_an_expired_version_is_listed_anew(fake, watched, clock):
    gone = await fake.put("pods", pod("gone"))
    await fake.put("pods", pod("stays"))
    await begun(watched, fake)
    fresh_ms = watched.watch.fresh_at_ms
    fake.vanish("pods", gone)
    fake.forget()
    clock.advance_ms(20 * SECOND_MS)
    await fake.end_watches("drop")
    await until(lambda: watched.names == ["stays"])
    change = watched.of("gone")[-1]
    assert (change.gone, change.known_ms) == (True, fresh_ms)
    assert watched.watch.lists == 2


async def test_an_error_within_a_watch_lists_anew(fake, watched):
    await begun(watched, fake)
    await fake.end_watches("error")
    await until(lambda: watched.watch.lists == 2)
    assert watched.waits


async def test_a_line_that_breaks_off_is_told_again(fake, watched):
    await begun(watched, fake)
    fake.torn = 1
    await fake.put("pods", pod("p"))
    await until(lambda: watched.names == ["p"])
    assert watched.watch.lists == 1


async def test_backs_off_while_the_server_is_away(fake, watched):
    await begun(watched, fake)
    fake.refusals[PATH] = 500
    await fake.end_watches("drop")
    await until(lambda: len(watched.waits) > 7)
    assert watched.waits[5] > 5 and max(watched.waits) < 40
    del fake.refusals[PATH]
    await until(lambda: watched.watch.problem is None)


async def test_a_missing_permission_is_told_with_its_remedy(fake, kube, clock):
    fake.refusals[PATH] = 403
    with structlog.testing.capture_logs() as logs:
        watched = Watched(kube, clock)
        await until(lambda: len(watched.waits) > 2)
        watched.task.cancel()
        await asyncio.gather(watched.task, return_exceptions=True)
    said = [entry for entry in logs if entry["event"] == "the cluster cannot be watched"]
    assert len(said) == 1
    assert said[0]["remedy"] == "give it"
    assert not watched.watch.is_fresh(clock.now_ms())
    assert min(watched.waits) > 30


async def test_an_odd_object_ends_nothing(fake, watched):
    await begun(watched, fake)
    odd = pod("odd")
    del odd["metadata"]["name"]
    await fake.put("pods", odd)
    await fake.put("pods", pod("sound"))
    await until(lambda: watched.names == ["sound"])
