"""The street's made-up part: seeded, complete, and never dearer than the utility."""

import pytest

from cli.plan import SELLERS
from cli.street import cast
from energy_catalog import fontana


@pytest.mark.parametrize("homes", [0, 2, 18])
def test_too_few_or_too_many_homes_are_refused(homes: int) -> None:
    with pytest.raises(ValueError, match="3 to 17 homes"):
        cast.cast(fontana.load_street(), homes=homes, seed=1)


@pytest.mark.parametrize("homes", range(3, 18))
def test_one_node_is_a_prosumers_own_and_the_aggregators_share_the_rest(homes: int) -> None:
    members = cast.cast(fontana.load_street(), homes=homes, seed=1)
    count = {seller: sum(member.seller == seller for member in members) for seller in SELLERS}
    assert count["bpp-solo"] == 1
    assert min(count.values()) >= 1
    assert abs(count["bpp-east"] - count["bpp-west"]) <= 1
    assert sum(count.values()) == homes == len({member.meter_id for member in members})


@pytest.mark.parametrize("seed", range(20))
def test_every_price_with_wheeling_stays_below_the_retail_tariff(seed: int) -> None:
    street = fontana.load_street()
    retail = sorted(set(street.price_micro_per_kwh))
    for member in cast.cast(street, homes=17, seed=seed):
        assert member.tariff.off_peak_micro + cast.WHEELING_MICRO_PER_KWH < retail[0]
        assert member.tariff.peak_micro + cast.WHEELING_MICRO_PER_KWH < 400_000


def test_some_homes_have_flat_prices_and_others_time_of_use() -> None:
    members = cast.cast(fontana.load_street(), homes=17, seed=1)
    flat = [member for member in members if member.tariff.is_flat]
    assert 0 < len(flat) < 17
    assert set(flat[0].tariff.to_json()) == {"flat_price_per_kwh"}
    other = next(member for member in members if not member.tariff.is_flat).tariff.to_json()
    bands = other["time_of_use"]["bands"]
    assert other["time_of_use"]["zone"] == "Etc/GMT+8"
    assert [(band["from"], band["to"]) for band in bands] == [
        ("00:00", "15:00"),
        ("15:00", "20:00"),
        ("20:00", "24:00"),
    ]
    assert float(bands[1]["price_per_kwh"]) > float(bands[0]["price_per_kwh"])


def test_the_same_seed_gives_the_same_street() -> None:
    street = fontana.load_street()
    assert cast.cast(street, homes=17, seed=5) == cast.cast(street, homes=17, seed=5)
    assert cast.cast(street, homes=17, seed=5) != cast.cast(street, homes=17, seed=6)
