"""Receiving letters over real sockets into a real database: the duplicates, and what is stored."""

from __future__ import annotations

from tests.support.post_office import office


async def test_a_good_letter_is_stored_acknowledged_and_processed(database_url: str) -> None:
    async with office(database_url) as here:
        body = here.letter()
        status, answer, _ = await here.post(body)
        assert (status, answer) == (200, {"message": {"ack": {"status": "ACK"}}})
        await here.until(lambda: here.processed)
        [row] = await here.rows("SELECT * FROM inbox")
        assert row["body"] == body
        assert row["state"] == "DONE"
