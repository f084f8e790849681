"""The scenarios with `buf curl`: a call is a command. What a command line has no word for is said."""

import base64
import json
import os
import subprocess
import sys
import time

SERVICES = {
    "getRecord": "vn.thunghiem.v1.TrialService/GetRecord",
    "putRecord": "vn.thunghiem.v1.TrialService/PutRecord",
    "listRecords": "vn.thunghiem.v1.TrialService/ListRecords",
    "sendRecords": "vn.thunghiem.v1.TrialService/SendRecords",
    "mirror": "vn.thunghiem.v1.TrialService/Mirror",
    "verifyRecord": "vn.dancu.v1.CitizenService/VerifyRecord",
    "syncCitizens": "vn.dancu.v1.CitizenService/SyncCitizens",
    "getEnterprise": "vn.dkdn.v1.EnterpriseService/GetEnterprise",
    "getAdministrativeUnit": "vn.danhmuc.v1.AdministrativeUnitService/GetAdministrativeUnit",
    "getNothing": "lienthong.interop.v1.NobodyService/Get",
}
CODES = (
    "ok canceled unknown invalid_argument deadline_exceeded not_found already_exists permission_denied "
    "resource_exhausted failed_precondition aborted out_of_range unimplemented internal unavailable data_loss "
    "unauthenticated"
).split()
ARGUMENT_BYTES_MAX = 100_000


def main():
    for line in sys.stdin:
        if line.strip():
            scenario = json.loads(line)
            print(json.dumps(cannot(scenario) or play(scenario)), flush=True)


def cannot(scenario):
    reasons = [
        (scenario.get("cancelAfterMs"), "a command is not cancelled, it is interrupted: shown by the deadline"),
        (scenario.get("gzip"), "buf curl compresses nothing that it sends"),
        (scenario.get("retry"), "buf curl does not try again"),
        (scenario.get("pause"), "each command has a connection of its own"),
        (scenario.get("waitForReady"), "buf curl does not wait: a command fails while its node is away"),
        (scenario["id"] == "early_head", "buf curl tells no times"),
        ("big_message" in scenario["id"], "buf curl reads messages of at most 4 MiB"),
    ]
    for holds, why in reasons:
        if holds:
            return {"id": scenario["id"], "unsupported": why}
    return None


def play(scenario):
    name = next(name for name in SERVICES if name in scenario)
    for _ in range(scenario.get("times", 1) if name == "getAdministrativeUnit" else 1):
        outcome = call(scenario, name)
        if outcome["code"]:
            break
    return outcome


def call(scenario, name):
    named = lambda part: os.environ[f"LIENTHONG_{scenario['caller'].upper()}_{part}"]
    command = ["buf", "curl", "--protocol", "grpc", "--schema", os.environ["PROTOS"], "--servername", named("SERVER_NAME")]
    command += ["--cacert", named("TRUST"), "--cert", named("CERTIFICATE"), "--key", named("KEY"), "--verbose"]
    for entry in scenario.get("metadata", []):
        command += ["-H", f"{entry['key']}: {entry['value']}"]
    if "deadlineMs" in scenario:
        command += ["--timeout", f"{scenario['deadlineMs']}ms"]
    command += ["--data", "@-", f"https://{named('NODE')}/{SERVICES[name]}"]
    begun = time.monotonic()
    done = subprocess.run(command, input=requests(scenario, name), capture_output=True, text=True, timeout=60)
    outcome = {"id": scenario["id"], "code": 0, "messages": 0, "payloadBytes": 0, "payloadIntact": True}
    outcome["endedMs"] = int((time.monotonic() - begun) * 1000)
    for answer in documents(done.stdout):
        take(outcome, answer)
    if done.returncode:
        failed(outcome, done.stderr)
    outcome["initial"], outcome["trailers"] = told(done.stderr)
    return outcome


def requests(scenario, name):
    """One JSON document a message."""
    request = scenario[name]
    if scenario.get("payloadBytes"):
        request.setdefault("record", {})["duLieu"] = encoded(scenario["payloadBytes"])
    rest = {key: value for key, value in request.items() if key != "instruction"}
    times = scenario.get("times", 0) if name in ("sendRecords", "mirror") else 1
    return "\n".join(json.dumps(request if number == 0 else rest) for number in range(times))


def encoded(size):
    return base64.b64encode((bytes(range(251)) * (size // 251 + 1))[:size]).decode()


def documents(text):
    decoder, place = json.JSONDecoder(), 0
    while place < len(text.rstrip()):
        document, end = decoder.raw_decode(text[place:].lstrip())
        place += len(text[place:]) - len(text[place:].lstrip()) + end
        yield document


def take(outcome, answer):
    outcome["messages"] += 1
    outcome["seen"] = answer.get("seen", {})
    outcome["counted"] = answer.get("messages", 0)
    record = dict(answer.get("record") or answer.get("last") or {})
    payload = record.pop("duLieu", "")
    size = len(payload) // 4 * 3 - payload.count("=")
    outcome["payloadBytes"] += size
    outcome["payloadIntact"] &= payload == encoded(size)
    outcome["last"] = record


def failed(outcome, text):
    """The error is the JSON document at the end of what the command says on stderr."""
    start = text.rfind("\n{\n")
    try:
        error = json.loads(text[start:])
    except ValueError:
        outcome["code"], outcome["message"] = 14, text.strip().splitlines()[-1]
        return
    outcome["code"] = CODES.index(error["code"])
    outcome["message"] = error.get("message", "")
    for detail in error.get("details", []):
        kind = detail["type"]
        value = converted(kind, detail["value"])
        outcome.setdefault("details", []).append(kind)
        if kind == "google.rpc.ErrorInfo":
            outcome["reason"], outcome["domain"] = value["reason"], value["domain"]
        elif kind == "google.rpc.RetryInfo":
            outcome["retryDelayMs"] = int(float(value["retryDelay"].rstrip("s")) * 1000)
        elif kind == "google.rpc.BadRequest":
            outcome["fields"] = [violation["field"] for violation in value["fieldViolations"]]


def converted(kind, value):
    """A detail comes as bytes; `buf convert` reads them."""
    command = ["buf", "convert", os.environ["PROTOS"], "--type", kind, "--from", "-#format=binpb", "--to", "-#format=json"]
    done = subprocess.run(command, input=base64.b64decode(padded(value)), capture_output=True, timeout=60)
    return json.loads(done.stdout) if done.returncode == 0 else {}


def told(text):
    """Initial metadata and trailers, as --verbose shows them: `buf: < (#1) Key: value`, trailers last."""
    groups = [[]]
    for line in text.splitlines():
        if not line.startswith("buf: < "):
            continue
        key, _, value = line.partition(") ")[2].partition(": ")
        key = key.lower()
        if not key:
            groups.append([])
        elif key.startswith("trial-") or key == "mesh-exchange-id":
            groups[-1].append({"key": key, "value": padded(value) if key.endswith("-bin") else value})
    return groups[0], groups[-1]


def padded(value):
    return value + "=" * (-len(value) % 4)


main()
