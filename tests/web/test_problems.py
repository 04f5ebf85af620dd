"""Errors as answers, and their lines in the log."""

import logging

import aiohttp
import pytest

from qrbackends import (
    Client,
    ClientClosed,
    InvalidRequest,
    NotFound,
    QRBackendsError,
    RetryPolicy,
    ServiceUnavailable,
    UnknownQubit,
)
from qrbackends.emulator import Emulator
from qrbackends.web import api_app, problems, responses
from qrbackends.web.problems import ProblemLog, problem_of

from .serving import served

pytestmark = pytest.mark.anyio


def test_there_is_one_line_a_minute_for_each_kind_of_error(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    log = ProblemLog(lambda: now[0])
    here, there = (ServiceUnavailable("it is down", 503).about(region=one) for one in ("us-east", "eu-de"))
    for seconds in (0.0, 1.0, 59.0, 60.0, 61.0):
        now[0] = seconds
        log.add(here)
    log.add(there)
    log.add(ClientClosed("the client is closed"))
    first, second, *others = (one.getMessage() for one in caplog.records)
    assert first == f"ServiceUnavailable: {here}"
    assert second == f"ServiceUnavailable: {here} (and 2 more since the last line)"
    assert others == [f"ServiceUnavailable: {there}", "ClientClosed: the client is closed"]


@pytest.mark.parametrize(
    ("error", "detail", "level"),
    [
        (NotFound("no such", 404), "There is no such backend, or it has no such document.", logging.INFO),
        (UnknownQubit("no qubit 999"), "The device has no such qubit or gate.", logging.INFO),
        (InvalidRequest("no name"), "A name or a value in the request is not valid.", logging.INFO),
        (ServiceUnavailable("down", 503), "The service cannot be asked at the moment;", logging.WARNING),
    ],
)
def test_who_asks_wrongly_is_told_what_is_wrong_and_the_log_is_told_why(
    error: QRBackendsError, detail: str, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    found = problem_of(error)
    assert found.detail.startswith(detail)
    caplog.set_level(logging.INFO, problems.logger.name)
    ProblemLog().add(error, found.log_level)
    assert [one.levelno for one in caplog.records] == [level]


async def test_visitors_in_an_outage_do_not_fill_the_log(
    emulator: Emulator,
    web: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(responses, "problem_log", ProblemLog())  # other tests may have had the same errors
    for region in emulator.regions:
        await emulator.stop_region(region)
    caplog.set_level(logging.WARNING, problems.logger.name)
    async with (
        Client(emulator.account(), retry=RetryPolicy(attempts=1)) as client,
        served(api_app(client)) as url,
    ):
        for number in range(30):
            async with web.get(f"{url}/backends/backend_{number}") as answer:
                assert answer.status in (502, 503)
    kinds = {one.getMessage().partition(":")[0] for one in caplog.records if one.name == problems.logger.name}
    assert 1 <= len(kinds) == len([one for one in caplog.records if one.name == problems.logger.name])
