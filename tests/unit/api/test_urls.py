"""The URL guard: which addresses are public, however they are written."""

from __future__ import annotations

import pytest

from api import urls
from api.problems import ApiError


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "no address",
        "",
    ],
)
def test_an_address_of_the_own_house_is_not_public(address: str) -> None:
    assert not urls.is_public(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700::6810:84e5", "64:ff9b::5db8:d70e"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert urls.is_public(address)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://[::1]/", "http://2130706433/", "http://0x7f.1/", "http://127.1/", "http://0/"],
)
async def test_loopback_is_refused_in_every_spelling(url: str) -> None:
    with pytest.raises(ApiError) as refusal:
        await urls.check(url, allow_private=False)
    assert refusal.value.status == 422


@pytest.mark.parametrize("url", ["http://[::1", "https:///path", "javascript:alert(1)", "http://a:b@c/", "http://a:0/"])
async def test_what_is_no_usable_url_is_refused_even_in_a_private_house(url: str) -> None:
    with pytest.raises(ApiError):
        await urls.check(url, allow_private=True)


async def test_the_resolver_leaves_out_private_addresses_and_says_so() -> None:
    with pytest.raises(OSError, match="public internet"):
        await urls.GuardedResolver(allow_private=False).resolve("localhost", 80)
    found = await urls.GuardedResolver(allow_private=True).resolve("localhost", 80)
    assert found


def test_a_literal_never_reaches_a_resolver_and_is_checked_by_itself() -> None:
    assert urls.literal_is_refused("http://127.0.0.1:80/", allow_private=False)
    assert urls.literal_is_refused("http://[::ffff:127.0.0.1]/", allow_private=False)
    assert not urls.literal_is_refused("http://127.0.0.1/", allow_private=True)
    assert not urls.literal_is_refused("http://example.com/", allow_private=False)
