// The scenarios in TypeScript: grpc-js, with protos loaded when the program starts.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import * as grpc from "@grpc/grpc-js";
import * as loader from "@grpc/proto-loader";

const MESSAGE_BYTES_MAX = 32 << 20;
const RETRY = JSON.stringify({
  methodConfig: [{ name: [{}], retryPolicy: {
    maxAttempts: 4, initialBackoff: "0.05s", maxBackoff: "1s", backoffMultiplier: 2, retryableStatusCodes: ["UNAVAILABLE"],
  } }],
});

const definition = loader.loadSync(
  ["lienthong/interop/v1/interop.proto", "google/rpc/status.proto", "google/rpc/error_details.proto"],
  { includeDirs: process.env.PROTOS!.split(":"), longs: Number, enums: String, bytes: Buffer, arrays: true },
);
const root = grpc.loadPackageDefinition(definition) as any;
const SERVICES: Record<string, [any, string]> = {
  getRecord: [root.vn.thunghiem.v1.TrialService, "GetRecord"],
  putRecord: [root.vn.thunghiem.v1.TrialService, "PutRecord"],
  listRecords: [root.vn.thunghiem.v1.TrialService, "ListRecords"],
  sendRecords: [root.vn.thunghiem.v1.TrialService, "SendRecords"],
  mirror: [root.vn.thunghiem.v1.TrialService, "Mirror"],
  verifyRecord: [root.vn.dancu.v1.CitizenService, "VerifyRecord"],
  syncCitizens: [root.vn.dancu.v1.CitizenService, "SyncCitizens"],
  getEnterprise: [root.vn.dkdn.v1.EnterpriseService, "GetEnterprise"],
  getAdministrativeUnit: [root.vn.danhmuc.v1.AdministrativeUnitService, "GetAdministrativeUnit"],
  getNothing: [root.lienthong.interop.v1.NobodyService, "Get"],
};

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const clients = new Map<string, grpc.Client>();

for (let line = await lines.next(); !line.done; line = await lines.next()) {
  if (line.value.trim()) console.log(JSON.stringify(await play(JSON.parse(line.value))));
}
process.exit(0);

async function play(scenario: any): Promise<any> {
  const name = Object.keys(SERVICES).find((name) => name in scenario)!;
  const client = open(scenario, name);
  if (scenario.pause) {
    await callOnce(scenario, name, client);
    console.log("");
    await lines.next();
  }
  let outcome = await callOnce(scenario, name, client);
  if (name === "getAdministrativeUnit") {
    for (let times = 1; times < scenario.times && outcome.code === 0; times++) outcome = await callOnce(scenario, name, client);
  }
  return outcome;
}

function open({ caller, retry, gzip }: any, name: string): grpc.Client {
  const [service] = SERVICES[name];
  const key = `${caller} ${!!retry} ${!!gzip} ${service.serviceName}`;
  const known = clients.get(key);
  if (known) return known;
  const named = (name: string) => process.env[`LIENTHONG_${caller.toUpperCase()}_${name}`]!;
  const file = (name: string) => readFileSync(named(name));
  const credentials = grpc.credentials.createSsl(file("TRUST"), file("KEY"), file("CERTIFICATE"));
  const client = new service(named("NODE"), credentials, {
    "grpc.ssl_target_name_override": named("SERVER_NAME"),
    "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
    "grpc.max_send_message_length": MESSAGE_BYTES_MAX,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 500,
    "grpc.enable_retries": retry ? 1 : 0,
    ...(retry ? { "grpc.service_config": RETRY } : {}),
    ...(gzip ? { "grpc.default_compression_algorithm": grpc.compressionAlgorithms.gzip } : {}),
  });
  clients.set(key, client);
  return client;
}

function callOnce(scenario: any, name: string, client: any): Promise<any> {
  const outcome: any = { id: scenario.id, code: 0, messages: 0, payloadBytes: 0, payloadIntact: true };
  const method = SERVICES[name][1];
  const { requestStream, responseStream } = client[method];
  const request = structured(scenario[name]);
  if (scenario.payloadBytes) request.record = { ...request.record, duLieu: payload(scenario.payloadBytes) };
  const begun = performance.now();
  const elapsed = () => Math.round(performance.now() - begun);
  const options: grpc.CallOptions = scenario.deadlineMs ? { deadline: Date.now() + scenario.deadlineMs } : {};
  const metadata = new grpc.Metadata({ waitForReady: !!scenario.waitForReady });
  for (const { key, value } of scenario.metadata ?? []) {
    metadata.add(key, key.endsWith("-bin") ? Buffer.from(value, "base64") : value);
  }
  return new Promise((ended) => {
    const take = (answer: any) => { outcome.firstMs ??= elapsed(); add(outcome, answer); };
    const done = (_: grpc.ServiceError | null, answer?: any) => { if (answer) take(answer); };
    const call = requestStream
      ? responseStream ? client[method](metadata, options) : client[method](metadata, options, done)
      : responseStream ? client[method](request, metadata, options) : client[method](request, metadata, options, done);
    call.on("metadata", (initial: grpc.Metadata) => { outcome.headMs ??= elapsed(); outcome.initial = entries(initial); });
    call.on("status", (status: grpc.StatusObject) => {
      Object.assign(outcome, { code: status.code, message: status.code ? status.details : "", endedMs: elapsed() });
      outcome.trailers = entries(status.metadata);
      details(outcome, status.metadata);
      // An answer is given after its status.
      setImmediate(() => ended(outcome));
    });
    let sent = 0;
    const send = () => {
      if (sent === (scenario.times ?? 0)) return call.end();
      call.write(sent++ ? { ...request, instruction: undefined } : request);
    };
    if (responseStream) {
      call.on("error", () => {});
      call.on("data", (answer: any) => { take(answer); if (requestStream) send(); });
    }
    if (requestStream) {
      if (responseStream) send();
      else while (sent < scenario.times) send();
      if (!responseStream) call.end();
    }
    if (scenario.cancelAfterMs) {
      setTimeout(() => { outcome.cancelledAtMs = Date.now(); call.cancel(); }, scenario.cancelAfterMs);
    }
  });
}

// Protobuf's JSON writes durations as text; the loader takes them as they are declared.
function structured(message: any): any {
  if (typeof message === "string" && /^-?\d+(\.\d+)?s$/.test(message)) {
    const seconds = Number.parseFloat(message);
    return { seconds: Math.trunc(seconds), nanos: Math.round((seconds % 1) * 1e9) };
  }
  if (Array.isArray(message)) return message.map(structured);
  if (typeof message !== "object" || message === null) return message;
  return Object.fromEntries(Object.entries(message).map(([key, value]) => [key, structured(value)]));
}

function add(outcome: any, answer: any) {
  outcome.messages++;
  if (answer.seen) {
    const { timeLeft, ...seen } = answer.seen;
    outcome.seen = seen;
    if (timeLeft) outcome.seen.timeLeft = `${timeLeft.seconds + timeLeft.nanos / 1e9}s`;
  }
  if (answer.messages !== undefined) outcome.counted = answer.messages;
  const row = answer.record ?? answer.last;
  if (!row?.maBanGhi && !row?.duLieu) return;
  const { duLieu, ...last } = row;
  const bytes: Buffer = duLieu ?? Buffer.alloc(0);
  outcome.payloadBytes += bytes.length;
  outcome.payloadIntact &&= bytes.equals(payload(bytes.length));
  outcome.last = last;
}

function payload(bytes: number): Buffer {
  const made = Buffer.alloc(bytes);
  for (let i = 0; i < bytes; i++) made[i] = i % 251;
  return made;
}

function details(outcome: any, trailers: grpc.Metadata) {
  const [bytes] = trailers.get("grpc-status-details-bin");
  if (!bytes) return;
  const decode = (type: string, bytes: any) => {
    const { deserialize } = (definition[type] ?? {}) as any;
    return deserialize?.(bytes);
  };
  const status = decode("google.rpc.Status", bytes);
  outcome.details = [];
  outcome.fields = [];
  for (const detail of status.details) {
    const type = detail.type_url?.split("/").pop() ?? detail.typeUrl?.split("/").pop();
    outcome.details.push(type);
    const read = decode(type, detail.value);
    if (type === "google.rpc.ErrorInfo") Object.assign(outcome, { reason: read.reason, domain: read.domain });
    if (type === "google.rpc.RetryInfo") outcome.retryDelayMs = read.retryDelay.seconds * 1000 + read.retryDelay.nanos / 1e6;
    if (type === "google.rpc.BadRequest") outcome.fields.push(...read.fieldViolations.map((violation: any) => violation.field));
  }
}

// Repeated keys of text arrive in one text, joined by ", ", as Node's HTTP/2 has it.
function entries(metadata: grpc.Metadata): any[] {
  return Object.keys(metadata.getMap()).filter((key) => key.startsWith("trial-") || key === "mesh-exchange-id")
    .flatMap((key) => metadata.get(key).flatMap((value) => (typeof value === "string" ? value.split(", ") : value.toString("base64")))
      .map((value) => ({ key, value })));
}
