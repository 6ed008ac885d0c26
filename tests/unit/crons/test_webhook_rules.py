"""Where webhooks may go, how long they are tried, what they say and how they are signed."""

import hashlib
import hmac
from datetime import UTC, datetime
from ipaddress import IPv4Address

import orjson
import pytest
from threadmill_runs.queue.run import Run, RunState, Strategy
from threadmill_runs.webhooks.addresses import AddressRefused, AddressRule
from threadmill_runs.webhooks.deliverer import Patience
from threadmill_runs.webhooks.document import RunEnding, body, record_document, webhook_of
from threadmill_runs.webhooks.repo import Delivery
from threadmill_runs.webhooks.sender import signature

NOW = datetime(2026, 11, 22, 7, 23, tzinfo=UTC)
NOW_TEXT = "2026-11-22T07:23:00.000000+00:00"
METADATA_SERVICE = "169.254.169.254"
PUBLIC = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"]
LOOPBACK = ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"]
SITE = ["64:ff9b:1::7f00:1", "64:ff9b:1:a00:1::", "fec0::1"]
PRIVATE = ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", *SITE]
NEVER = [METADATA_SERVICE, "::ffff:169.254.169.254", "fe80::1", "fe80::1%eth0", "0.0.0.0", "::", "224.0.0.1", "ff02::1"]
# 6to4 and Teredo wrap an IPv4 address: what a relay would unpack counts.
WRAPPED = [
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "2002:7f00:1::",
    f"2001:0:4136:e378:8000:63bf:{0xFFFF ^ 0x0A00:x}:{0xFFFF ^ 0x0001:x}",
]


def permits(rule: AddressRule, address: str) -> bool:
    try:
        return rule.check([address]) == [address]
    except AddressRefused:
        return False


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_fine(address: str) -> None:
    assert permits(AddressRule(), address)


@pytest.mark.parametrize("address", LOOPBACK + PRIVATE + NEVER + WRAPPED)
def test_all_others_are_refused_by_default(address: str) -> None:
    assert not permits(AddressRule(), address)


@pytest.mark.parametrize("address", LOOPBACK)
def test_loopback_has_a_setting_of_its_own(address: str) -> None:
    assert permits(AddressRule(allow_loopback=True), address)
    assert not permits(AddressRule(allow_private=True), address)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_have_a_setting_of_their_own(address: str) -> None:
    assert permits(AddressRule(allow_private=True), address)
    assert not permits(AddressRule(allow_loopback=True), address)


@pytest.mark.parametrize("address", NEVER)
def test_nothing_allows_link_local_addresses(address: str) -> None:
    assert not permits(AddressRule(allow_loopback=True, allow_private=True), address)


def test_one_bad_address_of_a_name_spoils_all() -> None:
    with pytest.raises(AddressRefused):
        AddressRule().check([PUBLIC[0], "10.0.0.1"])
    assert IPv4Address(PUBLIC[0]).is_global


def delivery(attempt: int, age_seconds: float = 0.0) -> Delivery:
    return Delivery("r", "http://example.com", b"{}", attempt, NOW, NOW, age_seconds)


def test_pauses_double_up_to_a_bound() -> None:
    patience = Patience(max_attempts=100, give_up_seconds=3600, backoff_seconds=2, backoff_max_seconds=60)
    pauses = [patience.pause(delivery(attempt)) or 0 for attempt in (1, 2, 3, 10, 99)]
    for pause, middle in zip(pauses, (2, 4, 8, 60, 60), strict=True):
        assert middle * 0.8 <= pause <= middle * 1.2


def test_patience_ends_by_attempts_and_by_time() -> None:
    patience = Patience(max_attempts=3, give_up_seconds=100, backoff_seconds=2, backoff_max_seconds=60)
    assert patience.pause(delivery(2)) is not None
    assert patience.pause(delivery(3)) is None
    assert patience.pause(delivery(1, age_seconds=99)) is None


def test_signature_covers_time_and_body() -> None:
    expected = hmac.new(b"secret", b'1790000000.{"a":1}', hashlib.sha256).hexdigest()
    assert signature("secret", 1_790_000_000, b'{"a":1}') == f"t=1790000000,v1={expected}"


def test_webhook_is_found_in_kwargs_only_at_the_top() -> None:
    assert webhook_of(b'{"input":{"webhook":"http://x"},"webhook":null}') is None
    assert webhook_of(b'{"input":null,"webhook":null}') is None
    assert webhook_of(b'{"input":null,"webhook":"http://x"}') == "http://x"


def run() -> Run:
    return Run(
        run_id="r",
        thread_id="t",
        assistant_id="a",
        graph_id="g",
        state=RunState.RUNNING,
        metadata_json=b'{"m":1}',
        kwargs_json=b'{"webhook":"http://x"}',
        strategy=Strategy.ENQUEUE,
        stateless=False,
        keep_thread=True,
        request_id="",
        created_at=NOW,
        updated_at=NOW,
        started_at=NOW,
        ended_at=None,
        attempt=1,
        token=1,
        executor_id="e",
        cancel_action=None,
        cancel_reason=None,
    )


def test_body_is_the_run_and_what_came_of_it() -> None:
    document = record_document(run(), RunEnding("success", b"null", b'{"n":1}'))
    sent = orjson.loads(body(document, NOW, NOW))
    assert sent.pop("webhook_sent_at").endswith("+00:00")
    assert sent == {
        "run_id": "r",
        "thread_id": "t",
        "assistant_id": "a",
        "status": "success",
        "metadata": {"m": 1},
        "kwargs": {"webhook": "http://x"},
        "multitask_strategy": "enqueue",
        "created_at": NOW_TEXT,
        "updated_at": NOW_TEXT,
        "langsmith_session_name": None,
        "run_started_at": NOW_TEXT,
        "run_ended_at": NOW_TEXT,
        "values": {"n": 1},
    }


def test_body_of_a_failed_run_has_the_error_and_perhaps_no_values() -> None:
    error = {"error": "ValueError", "message": "no"}
    sent = orjson.loads(body(record_document(run(), RunEnding("error", orjson.dumps(error))), NOW, NOW))
    assert (sent["status"], sent["error"], sent["values"]) == ("error", error, None)
