"""A day settled again without the nodes: never more than either meter counted, and more rounds never bring less."""

from datetime import date

from cli.street.recheck import Contract, resettle
from energy_catalog import fontana

DAY = date(2016, 8, 2)
STREET = fontana.load_street()
HOMES = {home.number: home for home in STREET.homes}
HOURS = STREET.hours_of(DAY)


def test_a_contract_is_settled_at_the_lesser_of_the_two_meters() -> None:
    found = resettle([Contract(1, 2, [10**6] * 24)], homes=HOMES, hours=HOURS)
    lesser = tuple(min(HOMES[1].deficit_wh(t), HOMES[2].surplus_wh(t)) for t in HOURS)
    assert found.one_round_wh == found.three_rounds_wh == lesser
    assert found.not_drawn_wh == tuple(10**6 - HOMES[1].deficit_wh(t) for t in HOURS)
    assert found.not_injected_wh == tuple(10**6 - HOMES[2].surplus_wh(t) for t in HOURS)


def test_further_rounds_bring_what_the_first_left_between_homes_that_both_still_have_some() -> None:
    evening = next(i for i, t in enumerate(HOURS) if all(HOMES[n].deficit_wh(t) > 100 for n in (1, 2)))
    noon = max(range(24), key=lambda i: HOMES[3].surplus_wh(HOURS[i]))
    contracts = [Contract(b, s, [500] * 24) for b in (1, 2, 4, 5) for s in (3, 6, 7) if b != s]
    found = resettle(contracts, homes=HOMES, hours=HOURS)
    assert all(three >= one for one, three in zip(found.one_round_wh, found.three_rounds_wh, strict=True))
    assert found.one_round_wh[evening] <= sum(HOMES[s].surplus_wh(HOURS[evening]) for s in (3, 6, 7))
    assert found.three_rounds_wh[noon] <= sum(HOMES[b].deficit_wh(HOURS[noon]) for b in (1, 2, 4, 5))


def test_a_day_without_contracts_settles_nothing() -> None:
    assert resettle([], homes=HOMES, hours=HOURS).one_round_wh == (0,) * 24
