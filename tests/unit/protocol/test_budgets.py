from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay_runner.protocol.budgets import Budget, Budgets, Spent, day_of, total

LEFT = st.none() | st.integers(1, 1000)
BUDGETS = st.builds(Budget, turns=LEFT, tokens=LEFT, cost_usd=st.none() | st.floats(0.01, 100))
SPENT = st.builds(Spent, turns=st.integers(0, 2000), tokens=st.integers(0, 2000), cost_usd=st.floats(0, 200))


@given(BUDGETS, SPENT)
def test_a_budget_is_used_up_when_one_of_its_measures_is(budget: Budget, spent: Spent) -> None:
    over = [
        most is not None and used >= most
        for most, used in (
            (budget.turns, spent.turns), (budget.tokens, spent.tokens), (budget.cost_usd, spent.cost_usd)
        )
    ]  # fmt: skip
    assert (budget.used_up(spent) is not None) == any(over)


@given(BUDGETS, BUDGETS, BUDGETS, SPENT, SPENT)
def test_the_stricter_of_two_counts_and_a_named_sender_has_its_own(
    agent: Budget, sender: Budget, named: Budget, hers: Spent, his: Spent
) -> None:
    budgets = Budgets(agent, sender, {"agent:eve": named})
    spent = {"agent:eve": hers, "agent:bob": his}
    for who, mine in (("agent:eve", named), ("agent:bob", sender)):
        refused = budgets.refusal(who, spent)
        over = agent.used_up(total(spent.values())) or mine.used_up(spent[who])
        assert (refused is not None) == (over is not None)
        assert refused is None or (refused.startswith("over budget: ") and "\n" not in refused)


@given(st.floats(0, 4e9))
def test_later_days_sort_later(now: float) -> None:
    assert day_of(now) <= day_of(now + 1) < day_of(now + 86400.0)


def test_nothing_is_limited_unless_somebody_said_so() -> None:
    assert Budgets().refusal("agent:bob", {"agent:bob": Spent(10**9, 10**12, 1e9)}) is None
    assert Budgets().wanted() == frozenset()


def test_what_has_to_be_measured() -> None:
    assert Budgets(Budget(turns=1), Budget(), {"agent:bob": Budget(cost_usd=1)}).wanted() == {"turns", "cost"}
    assert Budgets(sender=Budget(tokens=5)).wanted() == {"tokens"}
