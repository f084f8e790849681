// The scenarios in TypeScript: connect-node's gRPC transport, with code that protoc-gen-es generated.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { create, clone, fromJson, toJson, type DescService, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import { createClient, ConnectError, Code, encodeBinaryHeader, decodeBinaryHeader, type CallOptions, type Client } from "@connectrpc/connect";
import { createGrpcTransport, compressionGzip } from "@connectrpc/connect-node";
import { EntrySchema, NobodyService, OutcomeSchema, ScenarioSchema, type Entry, type Outcome, type Scenario } from "./gen/lienthong/interop/v1/interop_pb";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb";
import { CitizenService } from "./gen/vn/dancu/v1/citizen_pb";
import { AdministrativeUnitService } from "./gen/vn/danhmuc/v1/administrative_unit_pb";
import { EnterpriseService } from "./gen/vn/dkdn/v1/enterprise_pb";
import { RecordSchema, TrialService, type Record as Row, type Seen } from "./gen/vn/thunghiem/v1/trial_pb";

type Transport = ReturnType<typeof createGrpcTransport>;
const MESSAGE_BYTES_MAX = 32 << 20;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const transports = new Map<string, Transport>();

for (let line = await lines.next(); !line.done; line = await lines.next()) {
  if (!line.value.trim()) continue;
  const scenario = fromJson(ScenarioSchema, JSON.parse(line.value));
  const outcome = unsupported(scenario) ?? (await play(scenario));
  console.log(JSON.stringify(toJson(OutcomeSchema, outcome)));
}
process.exit(0);

function unsupported(scenario: Scenario): Outcome | undefined {
  const why =
    scenario.retry ? "connect has no retry of its own" :
    scenario.waitForReady && !scenario.pause ? "connect has no wait-for-ready: a call fails while its node is away" :
    scenario.id === "too_big_message" ? "Node's HTTP/2 loses an answer that comes before the request is whole; the deadline ends the call" : "";
  return why ? create(OutcomeSchema, { id: scenario.id, unsupported: why }) : undefined;
}

async function play(scenario: Scenario): Promise<Outcome> {
  const transport = open(scenario);
  if (scenario.pause) {
    await callOnce(scenario, transport);
    console.log("");
    await lines.next();
  }
  let outcome = await callOnce(scenario, transport);
  if (scenario.call.case === "getAdministrativeUnit") {
    for (let times = 1; times < scenario.times && outcome.code === 0; times++) outcome = await callOnce(scenario, transport);
  }
  return outcome;
}

function open({ caller, gzip }: Scenario): Transport {
  const key = `${caller} ${gzip}`;
  const known = transports.get(key);
  if (known) return known;
  const named = (name: string) => process.env[`LIENTHONG_${caller.toUpperCase()}_${name}`]!;
  const transport = createGrpcTransport({
    baseUrl: `https://${named("NODE")}`,
    nodeOptions: {
      servername: named("SERVER_NAME"),
      ca: readFileSync(named("TRUST")),
      cert: readFileSync(named("CERTIFICATE")),
      key: readFileSync(named("KEY")),
    },
    readMaxBytes: MESSAGE_BYTES_MAX,
    writeMaxBytes: MESSAGE_BYTES_MAX,
    ...(gzip ? { sendCompression: compressionGzip, acceptCompression: [compressionGzip], compressMinBytes: 0 } : {}),
  });
  transports.set(key, transport);
  return transport;
}

async function callOnce(scenario: Scenario, transport: Transport): Promise<Outcome> {
  const outcome = create(OutcomeSchema, { id: scenario.id, payloadIntact: true });
  const begun = performance.now();
  const elapsed = () => Math.round(performance.now() - begun);
  const cancelling = new AbortController();
  const options: CallOptions = {
    headers: headers(scenario.metadata),
    timeoutMs: scenario.deadlineMs || undefined,
    signal: cancelling.signal,
    onHeader: (headers) => { outcome.headMs ||= elapsed(); outcome.initial = entries(headers); },
    onTrailer: (trailers) => { outcome.trailers = entries(trailers); },
  };
  if (scenario.cancelAfterMs) {
    setTimeout(() => { outcome.cancelledAtMs = BigInt(Date.now()); cancelling.abort(); }, scenario.cancelAfterMs);
  }
  try {
    await call(scenario, transport, options, (answer) => { outcome.firstMs ||= elapsed(); take(outcome, answer); });
  } catch (thrown) {
    const error = ConnectError.from(thrown);
    outcome.code = error.code;
    outcome.message = error.rawMessage;
    outcome.trailers = [...outcome.trailers, ...entries(error.metadata)];
    details(outcome, error);
  }
  outcome.endedMs = elapsed();
  return outcome;
}

async function call(scenario: Scenario, transport: Transport, options: CallOptions, answer: (message: object) => void) {
  const trial = createClient(TrialService, transport);
  const { case: name, value } = scenario.call;
  if ("record" in (value ?? {}) || scenario.payloadBytes) fill(value as { record?: Row }, scenario.payloadBytes);
  let acknowledge = () => {};
  async function* requests<T extends { instruction?: unknown }>(request: T, inTurn: boolean) {
    for (let number = 0; number < scenario.times; number++) {
      const answered = new Promise<void>((done) => { acknowledge = done; });
      yield number ? { ...request, instruction: undefined } : request;
      if (inTurn) await answered;
    }
  }
  switch (name) {
    case "getRecord": return answer(await trial.getRecord(value, options));
    case "putRecord": return answer(await trial.putRecord(value, options));
    case "sendRecords": return answer(await trial.sendRecords(requests(value, false), options));
    case "listRecords":
      for await (const message of trial.listRecords(value, options)) answer(message);
      return;
    case "mirror":
      for await (const message of trial.mirror(requests(value, true), options)) { answer(message); acknowledge(); }
      return;
    case "verifyRecord": return answer(await createClient(CitizenService, transport).verifyRecord(value, options));
    case "syncCitizens":
      for await (const message of createClient(CitizenService, transport).syncCitizens(value, options)) answer(message);
      return;
    case "getEnterprise": return answer(await createClient(EnterpriseService, transport).getEnterprise(value, options));
    case "getAdministrativeUnit":
      return answer(await createClient(AdministrativeUnitService, transport).getAdministrativeUnit(value, options));
    case "getNothing": return answer(await createClient(NobodyService, transport).get(value, options));
  }
}

function fill(request: { record?: Row }, bytes: number) {
  if (bytes) request.record = { ...(request.record ?? create(RecordSchema)), duLieu: payload(bytes) };
}

function take(outcome: Outcome, answer: object) {
  const { record, last, seen, messages } = answer as { record?: Row; last?: Row; seen?: Seen; messages?: bigint };
  outcome.messages++;
  outcome.seen = seen;
  if (messages !== undefined) outcome.counted = messages;
  const row = record ?? last;
  if (row?.$typeName !== "vn.thunghiem.v1.Record") return;
  outcome.payloadBytes += BigInt(row.duLieu.length);
  outcome.payloadIntact &&= Buffer.compare(row.duLieu, payload(row.duLieu.length)) === 0;
  outcome.last = { ...row, duLieu: new Uint8Array() };
}

function payload(bytes: number): Uint8Array {
  const made = new Uint8Array(bytes);
  for (let i = 0; i < bytes; i++) made[i] = i % 251;
  return made;
}

function details(outcome: Outcome, error: ConnectError) {
  outcome.details = error.details.map((detail) => ("type" in detail ? detail.type : detail.desc.typeName));
  const info = error.findDetails(ErrorInfoSchema)[0];
  outcome.reason = info?.reason ?? "";
  outcome.domain = info?.domain ?? "";
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  if (delay) outcome.retryDelayMs = delay.seconds * 1000n + BigInt(Math.round(delay.nanos / 1e6));
  outcome.fields = error.findDetails(BadRequestSchema).flatMap((bad) => bad.fieldViolations.map((violation) => violation.field));
}

function headers(metadata: Entry[]): Headers {
  const headers = new Headers();
  for (const { key, value } of metadata) {
    headers.append(key, key.endsWith("-bin") ? encodeBinaryHeader(Buffer.from(value, "base64")) : value);
  }
  return headers;
}

// Repeated keys arrive in one text, joined by ", ", as HTTP's own Headers have it.
function entries(headers: Headers): Entry[] {
  const told = [...headers].filter(([key]) => key.startsWith("trial-") || key === "mesh-exchange-id");
  return told.flatMap(([key, text]) => text.split(", ").map((part) => {
    const value = key.endsWith("-bin") ? Buffer.from(decodeBinaryHeader(part)).toString("base64") : part;
    return create(EntrySchema, { key, value });
  }));
}
