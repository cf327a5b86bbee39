"""What is logged and counted of the DNS checks; a list that goes off must be heard."""

from __future__ import annotations

import io
import json

from tlsgate.config import LogFormat, LogLevel
from tlsgate.ops.log import EventLog
from tlsgate.ops.screening_metrics import ScreeningMetrics
from tlsgate.ops.screening_trace import ScreeningTrace


def test_what_befalls_servers_and_lists_is_logged_without_a_customer_s_key() -> None:
    output = io.BytesIO()
    log = EventLog(output, LogFormat.JSON, LogLevel.INFO)
    trace = ScreeningTrace(ScreeningMetrics(), log)
    trace.dns_down()
    trace.dns_up()
    zone = "0123456789abcdef0123456789abcdef.bl.example.org"
    trace.dnsbl_zone_off(zone, "it lists everybody")
    trace.dnsbl_zone_on(zone)
    trace.surbl_zone_off(zone, "it lists everybody")
    trace.surbl_zone_on(zone)
    trace.screening_fault("dnsbl", "ValueError")
    log.close()
    events = [json.loads(line) for line in output.getvalue().splitlines()]
    assert [{key: event[key] for key in event if key != "ts"} for event in events] == [
        {"level": "error", "event": "dns_down"},
        {"level": "info", "event": "dns_up"},
        {"level": "error", "event": "dnsbl_zone_off", "zone": "bl.example.org", "reason": "it lists everybody"},
        {"level": "info", "event": "dnsbl_zone_on", "zone": "bl.example.org"},
        {"level": "error", "event": "surbl_zone_off", "zone": "bl.example.org", "reason": "it lists everybody"},
        {"level": "info", "event": "surbl_zone_on", "zone": "bl.example.org"},
        {"level": "error", "event": "screening_fault", "check": "dnsbl", "reason": "ValueError"},
    ]


def test_each_check_is_counted() -> None:
    counted = ScreeningMetrics()
    log = EventLog(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
    trace = ScreeningTrace(counted, log)
    trace.dnsbl("bl.example.org", "listed")
    trace.screened("dnsbl", "reject")
    trace.screened("dnsbl", "reject")
    trace.surbl("multi.example.org", "not_listed")
    log.close()
    assert dict(counted.results) == {("dnsbl", "listed"): 1, ("dnsbl", "reject"): 2, ("surbl", "not_listed"): 1}
