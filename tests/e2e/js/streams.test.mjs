// Streams: each mode, subgraphs, joining, taking up again, and connections that break.
import assert from "node:assert/strict";
import { connect as dial, createServer } from "node:net";
import { test } from "node:test";

import { Gate, apiUrl, collect, connect, events, newThread, readUpTo, runHas, says, startGated } from "./support.mjs";

const client = connect();
const stream = (threadId, graph, options) => collect(client.runs.stream(threadId, graph, options));
const texts = (parts) =>
  parts
    .filter((part) => part.event === "messages")
    .map((part) => part.data[0].content)
    .filter(Boolean);
const tokens = (count) => Array.from({ length: count }, (_, n) => `t${n} `);

test("metadata comes first, and the run has ended when its stream has", async () => {
  const threadId = await newThread(client);
  const announced = [];
  const options = { input: { text: "hi" }, onRunCreated: (created) => announced.push(created) };
  const parts = await stream(threadId, "echo", options);
  assert.deepEqual(events(parts), ["metadata", "values", "values"]);
  const { run_id: runId } = parts[0].data;
  assert.deepEqual(parts[0].data, { run_id: runId, attempt: 1 });
  assert.deepEqual(announced, [{ thread_id: threadId, run_id: runId }]);
  assert.equal((await client.runs.get(threadId, runId)).status, "success");
  assert.deepEqual((await client.threads.get(threadId)).values, parts.at(-1).data);
});

test("values are the whole state, updates what each node wrote", async () => {
  const values = await stream(null, "nested", { input: { log: ["in"] }, streamMode: "values" });
  assert.deepEqual(
    values.slice(1).map((part) => part.data.log.length),
    [1, 2, 5],
  );
  const updates = await stream(null, "echo", { input: { text: "hi" }, streamMode: "updates" });
  assert.deepEqual(
    updates.slice(1).map(({ event, data }) => ({ event, data })),
    [{ event: "updates", data: { reply: { answer: "echo: hi" } } }],
  );
});

test("message tuples are chunks with metadata", async () => {
  const parts = (await stream(null, "chat", { input: says("hello"), streamMode: "messages-tuple" })).slice(1);
  assert.ok(parts.length > 5);
  assert.equal(texts(parts).join(""), "you said hello as message 1");
  for (const {
    event,
    data: [chunk, metadata],
  } of parts) {
    assert.equal(event, "messages");
    assert.equal(chunk.type, "AIMessageChunk");
    assert.equal(metadata.langgraph_node, "answer");
  }
  assert.equal(new Set(parts.map((part) => part.data[0].id)).size, 1);
});

test("messages accumulate", async () => {
  const parts = await stream(null, "chat", { input: says("hello"), streamMode: "messages" });
  assert.deepEqual(events(parts).slice(0, 2), ["metadata", "messages/metadata"]);
  assert.deepEqual(new Set(events(parts.slice(2))), new Set(["messages/partial"]));
  assert.equal(parts.at(-1).data[0].content, "you said hello as message 1");
});

test("custom is what the writer got", async () => {
  const parts = await stream(null, "chat", { input: says("hello"), streamMode: "custom" });
  assert.deepEqual(
    parts.slice(1).map((part) => [part.event, part.data]),
    [["custom", { heard: "hello" }]],
  );
});

test("several modes at once keep their order", async () => {
  const streamMode = ["values", "updates", "custom", "messages-tuple"];
  const names = events(await stream(null, "chat", { input: says("hello"), streamMode }));
  assert.deepEqual(names.slice(0, 3), ["metadata", "values", "custom"]);
  assert.deepEqual(names.slice(-2), ["updates", "values"]);
  assert.deepEqual(new Set(names.slice(3, -2)), new Set(["messages"]));
});

test("debug, tasks, checkpoints and events are streamed", async () => {
  const threadId = await newThread(client);
  const streamMode = ["debug", "tasks", "checkpoints", "events"];
  const parts = await stream(threadId, "echo", { input: { text: "hi" }, streamMode });
  const of = (name) => parts.filter((part) => part.event === name).map((part) => part.data);
  assert.deepEqual(
    of("tasks").map((task) => task.name),
    ["reply", "reply"],
  );
  assert.deepEqual(
    of("checkpoints").map((checkpoint) => checkpoint.metadata.step),
    [-1, 0, 1],
  );
  assert.deepEqual(
    of("debug").map((debug) => debug.type),
    ["checkpoint", "checkpoint", "task", "task_result", "checkpoint"],
  );
  assert.equal(of("events")[0].event, "on_chain_start");
});

test("subgraphs are named in the event, and silent unless asked for", async () => {
  const options = { input: { log: [] }, streamMode: "updates" };
  const [, outer, inner, child] = await stream(null, "nested", { ...options, streamSubgraphs: true });
  assert.deepEqual([outer.event, child.event], ["updates", "updates"]);
  assert.match(inner.event, /^updates\|child:/);
  assert.deepEqual(inner.data, { inner: { log: ["inner unasked"] } });
  const plain = await stream(null, "nested", options);
  assert.deepEqual(
    plain.slice(1).map((part) => Object.keys(part.data)),
    [["outer"], ["child"]],
  );
});

test("tokens of a subgraph two levels down carry its whole path", async () => {
  const options = { input: says("go"), streamMode: ["messages-tuple", "custom"], streamSubgraphs: true };
  const parts = (await stream(null, "deep", options)).slice(1);
  const words = parts.filter((part) => part.event.startsWith("messages|"));
  assert.equal(words.map((part) => part.data[0].content).join(""), "deep words here");
  for (const part of parts) assert.match(part.event, /^(messages|custom)\|middle:[^|]+\|inner:[^|]+$/);
});

test("a tool call streams in pieces, its result as a message", async () => {
  const parts = await stream(null, "agent", { input: says("add"), streamMode: "messages-tuple" });
  const messages = parts.slice(1).map((part) => part.data[0]);
  const pieces = messages.flatMap((message) => message.tool_call_chunks ?? []);
  assert.deepEqual(JSON.parse(pieces.map((piece) => piece.args).join("")), { a: 2, b: 3 });
  assert.equal(messages.find((message) => message.type === "tool").content, "5");
});

test("joining readers see the same, from the start", async () => {
  const threadId = await newThread(client);
  const gate = new Gate();
  const run = await startGated(client, threadId, gate, { streamMode: ["updates", "custom"], streamResumable: true });
  const join = (options) => client.runs.joinStream(threadId, run.run_id, { lastEventId: "-1", ...options });
  await readUpTo("custom", (signal) => join({ signal }));
  const readers = [collect(join()), collect(join()), collect(join())];
  gate.open();
  const [first, ...others] = await Promise.all(readers);
  assert.deepEqual(events(first), ["metadata", "updates", "custom", "updates"]);
  for (const other of others) assert.deepEqual(other, first);
});

test("a reader that joins later gets what comes next", async () => {
  const threadId = await newThread(client);
  const gate = new Gate();
  await startGated(client, threadId, gate);
  const input = Gate.opened().input("B");
  const run = await client.runs.create(threadId, "gated", { input, streamMode: "updates" });
  // The first run is let on only when the server has answered: what the second one says is then to come.
  const watched = connect();
  const caller = watched.runs.asyncCaller;
  const send = caller.fetch.bind(caller);
  const answered = new Promise((resolve) => {
    caller.fetch = async (...request) => {
      const response = await send(...request);
      resolve();
      return response;
    };
  });
  const reading = collect(watched.runs.joinStream(threadId, run.run_id));
  await answered;
  gate.open();
  const updates = (await reading).filter((part) => part.event === "updates");
  assert.deepEqual(
    updates.map((part) => part.data),
    [{ enter: { log: ["entered B"] } }, { wait: { log: ["left B"] } }],
  );
});

test("a finished run's stream can be taken up after any event, by mode too", async () => {
  const threadId = await newThread(client);
  const options = { input: says("go", { count: 20 }), streamMode: ["messages-tuple", "values"], streamResumable: true };
  const whole = await stream(threadId, "tokens", options);
  const { run_id: runId } = whole[0].data;
  assert.equal(new Set(whole.map((part) => part.id)).size, whole.length);
  for (const index of [0, 1, 11, whole.length - 1]) {
    const rest = await collect(client.runs.joinStream(threadId, runId, { lastEventId: whole[index].id }));
    assert.deepEqual(rest, whole.slice(index + 1));
  }
  assert.deepEqual(await collect(client.runs.joinStream(threadId, runId)), []);
  const filtered = await collect(
    client.runs.joinStream(threadId, runId, { lastEventId: "-1", streamMode: ["values"] }),
  );
  assert.deepEqual(
    filtered,
    whole.filter((part) => part.event === "values"),
  );
});

test("a run goes on when its reader leaves, and can be joined again", async () => {
  const threadId = await newThread(client);
  const gate = new Gate();
  const options = {
    input: gate.input("A"),
    streamMode: ["updates", "custom"],
    streamResumable: true,
    onDisconnect: "continue",
  };
  const head = await readUpTo("custom", (signal) => client.runs.stream(threadId, "gated", { ...options, signal }));
  const { run_id: runId } = head[0].data;
  gate.open();
  const lastEventId = head.at(-1).id;
  const tail = await collect(client.runs.joinStream(threadId, runId, { lastEventId }));
  assert.deepEqual(
    tail.map((part) => part.data),
    [{ wait: { log: ["left A"] } }],
  );
});

test("a run is cancelled when its reader leaves and asked for it", async () => {
  const threadId = await newThread(client);
  const options = { input: new Gate().input("A"), streamMode: "custom", onDisconnect: "cancel" };
  const head = await readUpTo("custom", (signal) => client.runs.stream(threadId, "gated", { ...options, signal }));
  await runHas(client, { thread_id: threadId, ...head[0].data }, "interrupted");
});

test("a joining reader may cancel by leaving", async () => {
  const threadId = await newThread(client);
  const run = await startGated(client, threadId, new Gate(), { streamMode: "custom", streamResumable: true });
  const options = { lastEventId: "-1", cancelOnDisconnect: true };
  await readUpTo("custom", (signal) => client.runs.joinStream(threadId, run.run_id, { ...options, signal }));
  await runHas(client, run, "interrupted");
});

/** A proxy that cuts each of its first event streams after so many bytes; answers its server. */
async function cutter(cutAfter) {
  const { hostname, port } = new URL(apiUrl);
  const server = createServer((down) => {
    const up = dial(Number(port), hostname);
    let left = null;
    down
      .on("error", () => up.destroy())
      .on("close", () => up.destroy())
      .pipe(up);
    up.on("error", () => down.destroy()).on("close", () => down.destroy());
    up.on("data", (chunk) => {
      if (left === null && cutAfter.length && chunk.includes("text/event-stream")) left = cutAfter.shift();
      if (left === null || chunk.length < left) {
        down.write(chunk);
        left = left && left - chunk.length;
      } else down.write(chunk.subarray(0, left), () => down.resetAndDestroy());
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

test("the SDK reconnects by itself and misses nothing", async (t) => {
  const cuts = [2500, 6000];
  const server = await cutter(cuts);
  t.after(() => server.close());
  const cautious = connect(`http://127.0.0.1:${server.address().port}`);
  const threadId = await newThread(client);
  const input = says("go", { count: 40, pause: 0.01 });
  const parts = await collect(
    cautious.runs.stream(threadId, "tokens", { input, streamMode: "messages-tuple", streamResumable: true }),
  );
  assert.deepEqual(cuts, []);
  assert.deepEqual(texts(parts), tokens(40));
  assert.equal(events(parts).filter((name) => name === "metadata").length, 1);
});
