"""The scenarios in Python: grpcio, with code that grpcio-tools generated."""

import base64
import os
import sys
import threading
import time

import grpc
from google.protobuf import json_format
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from lienthong.interop.v1 import interop_pb2 as interop
from lienthong.interop.v1 import interop_pb2_grpc as interop_grpc
from vn.dancu.v1 import citizen_pb2_grpc as dancu
from vn.danhmuc.v1 import administrative_unit_pb2_grpc as danhmuc
from vn.dkdn.v1 import enterprise_pb2_grpc as dkdn
from vn.thunghiem.v1 import trial_pb2_grpc as thunghiem

RETRY = """{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.05s",
  "maxBackoff": "1s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}"""
MESSAGE_BYTES_MAX = 32 << 20


def main():
    channels = {}
    for line in sys.stdin:
        if not line.strip():
            continue
        scenario = json_format.Parse(line, interop.Scenario())
        key = (scenario.caller, scenario.retry)
        if key not in channels:
            channels[key] = open_channel(*key)
        outcome = play(scenario, channels[key])
        print(json_format.MessageToJson(outcome, indent=None), flush=True)


def open_channel(caller, retry):
    def file(name):
        with open(os.environ[f"LIENTHONG_{caller.upper()}_{name}"], "rb") as opened:
            return opened.read()

    credentials = grpc.ssl_channel_credentials(file("TRUST"), file("KEY"), file("CERTIFICATE"))
    options = [
        ("grpc.ssl_target_name_override", os.environ[f"LIENTHONG_{caller.upper()}_SERVER_NAME"]),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.enable_retries", int(retry)),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
    ]
    if retry:
        options.append(("grpc.service_config", RETRY))
    return grpc.secure_channel(os.environ[f"LIENTHONG_{caller.upper()}_NODE"], credentials, options)


def methods(channel):
    trial = thunghiem.TrialServiceStub(channel)
    return {
        "get_record": (trial.GetRecord, "one"),
        "put_record": (trial.PutRecord, "one"),
        "list_records": (trial.ListRecords, "answers"),
        "send_records": (trial.SendRecords, "requests"),
        "mirror": (trial.Mirror, "both"),
        "verify_record": (dancu.CitizenServiceStub(channel).VerifyRecord, "one"),
        "sync_citizens": (dancu.CitizenServiceStub(channel).SyncCitizens, "answers"),
        "get_enterprise": (dkdn.EnterpriseServiceStub(channel).GetEnterprise, "one"),
        "get_administrative_unit": (danhmuc.AdministrativeUnitServiceStub(channel).GetAdministrativeUnit, "one"),
        "get_nothing": (interop_grpc.NobodyServiceStub(channel).Get, "one"),
    }


def play(scenario, channel):
    if scenario.pause:
        call_once(scenario, channel)
        print(flush=True)
        sys.stdin.readline()
    for _ in range(max(scenario.times, 1)):
        outcome = call_once(scenario, channel)
        if scenario.WhichOneof("call") != "get_administrative_unit" or outcome.code != 0:
            break
    return outcome


def call_once(scenario, channel):
    outcome = interop.Outcome(id=scenario.id, payload_intact=True)
    name = scenario.WhichOneof("call")
    method, shape = methods(channel)[name]
    request = getattr(scenario, name)
    if scenario.payload_bytes:
        request.record.du_lieu = payload(scenario.payload_bytes)
    answered = threading.Semaphore(0)
    begun = time.monotonic()
    call = start(scenario, method, shape, request, answered)
    elapsed = lambda: int((time.monotonic() - begun) * 1000)
    if scenario.cancel_after_ms:
        threading.Timer(scenario.cancel_after_ms / 1000, cancel, [call, outcome]).start()
    try:
        if shape in ("one", "requests"):
            answer = call.result()
            outcome.head_ms = outcome.first_ms = elapsed()
            take(outcome, answer)
        else:
            initial = call.initial_metadata()
            outcome.head_ms = elapsed()
            for answer in call:
                outcome.first_ms = outcome.first_ms or elapsed()
                take(outcome, answer)
                answered.release()
            del initial
    except (grpc.RpcError, grpc.FutureCancelledError):
        pass
    outcome.ended_ms = elapsed()
    answered.release()
    outcome.code = call.code().value[0]
    outcome.message = call.details() or ""
    details(outcome, call)
    outcome.initial.extend(entries(call.initial_metadata()))
    outcome.trailers.extend(entries(call.trailing_metadata()))
    return outcome


def start(scenario, method, shape, request, answered):
    def requests():
        for number in range(scenario.times):
            if number and shape == "both":
                answered.acquire()
            yield request
            request.ClearField("instruction")

    how = {
        "metadata": [(entry.key, value(entry)) for entry in scenario.metadata],
        "timeout": scenario.deadline_ms / 1000 or None,
        "wait_for_ready": scenario.wait_for_ready or None,
        "compression": grpc.Compression.Gzip if scenario.gzip else None,
    }
    if shape == "one":
        return method.future(request, **how)
    if shape == "requests":
        return method.future(requests(), **how)
    return method(requests() if shape == "both" else request, **how)


def cancel(call, outcome):
    outcome.cancelled_at_ms = int(time.time() * 1000)
    call.cancel()


def take(outcome, answer):
    outcome.messages += 1
    fields = answer.DESCRIPTOR.fields_by_name
    if "seen" in fields:
        outcome.seen.CopyFrom(answer.seen)
    if "last" in fields:
        outcome.counted = answer.messages
        record(outcome, answer.last)
    elif "record" in fields and answer.HasField("record"):
        record(outcome, answer.record)


def record(outcome, record):
    outcome.payload_bytes += len(record.du_lieu)
    outcome.payload_intact &= record.du_lieu == payload(len(record.du_lieu))
    outcome.last.CopyFrom(record)
    outcome.last.ClearField("du_lieu")


def payload(size):
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def details(outcome, call):
    if call.code() == grpc.StatusCode.OK:
        return
    status = rpc_status.from_call(call)
    for detail in status.details if status else []:
        outcome.details.append(detail.TypeName())
        info, retry, bad = (
            error_details_pb2.ErrorInfo(),
            error_details_pb2.RetryInfo(),
            error_details_pb2.BadRequest(),
        )
        if detail.Unpack(info):
            outcome.reason, outcome.domain = info.reason, info.domain
        elif detail.Unpack(retry):
            outcome.retry_delay_ms = retry.retry_delay.ToMilliseconds()
        elif detail.Unpack(bad):
            outcome.fields.extend(violation.field for violation in bad.field_violations)


def value(entry):
    return base64.b64decode(entry.value) if entry.key.endswith("-bin") else entry.value


def entries(metadata):
    for key, value in metadata or []:
        if key.startswith("trial-") or key == "mesh-exchange-id":
            text = base64.b64encode(value).decode() if isinstance(value, bytes) else value
            yield interop.Entry(key=key, value=text)


main()
