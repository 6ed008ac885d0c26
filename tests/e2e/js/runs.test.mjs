// Runs: created, waited for, listed, joined, configured, failing; with and without a thread.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import { UNKNOWN, collect, connect, events, newThread, runHas, says } from "./support.mjs";

const client = connect();
const HI = { input: { text: "hi" } };
const ANSWER = { text: "hi", answer: "echo: hi" };

test("a run is created, joined and read again", async () => {
  const threadId = await newThread(client);
  const announced = [];
  const run = await client.runs.create(threadId, "echo", {
    ...HI,
    metadata: { m: 1 },
    onRunCreated: (created) => announced.push(created),
  });
  assert.deepEqual(announced, [{ run_id: run.run_id, thread_id: threadId }]);
  assert.equal(run.thread_id, threadId);
  assert.equal(run.metadata.m, 1);
  assert.deepEqual(await client.runs.join(threadId, run.run_id), ANSWER);
  const found = await client.runs.get(threadId, run.run_id);
  assert.equal(found.status, "success");
  assert.equal(found.assistant_id, run.assistant_id);
});

test("wait answers the values and says which run it was", async () => {
  const threadId = await newThread(client);
  const announced = [];
  const options = { ...HI, onRunCreated: (created) => announced.push(created) };
  assert.deepEqual(await client.runs.wait(threadId, "echo", options), ANSWER);
  assert.equal(announced[0].thread_id, threadId);
  assert.equal((await client.runs.get(threadId, announced[0].run_id)).status, "success");
});

test("runs are listed, newest first, by status and in pages", async () => {
  const threadId = await newThread(client);
  const ids = [];
  for (const text of ["one", "two", "three"]) {
    const run = await client.runs.create(threadId, "echo", { input: { text } });
    await client.runs.join(threadId, run.run_id);
    ids.unshift(run.run_id);
  }
  const listed = async (options) => (await client.runs.list(threadId, options)).map((run) => run.run_id);
  assert.deepEqual(await listed(), ids);
  assert.deepEqual(await listed({ limit: 1, offset: 1 }), [ids[1]]);
  assert.deepEqual(await listed({ status: "success" }), ids);
  assert.deepEqual(await listed({ status: "error" }), []);
  assert.deepEqual(await client.runs.list(threadId, { limit: 1, select: ["run_id"] }), [{ run_id: ids[0] }]);
});

test("a deleted run is gone", async () => {
  const threadId = await newThread(client);
  const run = await client.runs.create(threadId, "echo", HI);
  await client.runs.join(threadId, run.run_id);
  await client.runs.delete(threadId, run.run_id);
  await assert.rejects(client.runs.get(threadId, run.run_id), { status: 404 });
});

test("stateless runs need no thread", async () => {
  assert.deepEqual(await client.runs.wait(null, "echo", HI), ANSWER);
  const parts = await collect(client.runs.stream(null, "echo", { ...HI, streamMode: ["updates", "values"] }));
  assert.deepEqual(events(parts), ["metadata", "values", "updates", "values"]);
  assert.deepEqual(parts.at(-1).data, ANSWER);
});

test("a stateless stream announces its run", async () => {
  const announced = [];
  const options = { ...HI, onRunCreated: (created) => announced.push(created) };
  const parts = await collect(client.runs.stream(null, "echo", options));
  assert.equal(announced[0].run_id, parts[0].data.run_id);
});

test("a stateless run can keep its thread", async () => {
  const announced = [];
  const options = { ...HI, onCompletion: "keep", onRunCreated: (created) => announced.push(created) };
  await client.runs.wait(null, "echo", options);
  const [{ thread_id: threadId, run_id: runId }] = announced;
  assert.equal((await client.runs.get(threadId, runId)).status, "success");
  assert.deepEqual((await client.threads.get(threadId)).values, ANSWER);
});

test("a batch makes a run of each", async () => {
  const runs = await client.runs.createBatch([
    { assistantId: "echo", input: { text: "one" } },
    { assistantId: "echo", input: { text: "two" } },
  ]);
  assert.equal(new Set(runs.map((run) => run.run_id)).size, 2);
});

test("a missing thread is made when asked for", async () => {
  const threadId = randomUUID();
  await assert.rejects(client.runs.wait(threadId, "echo", HI), { status: 404 });
  assert.deepEqual(await client.runs.wait(threadId, "echo", { ...HI, ifNotExists: "create" }), ANSWER);
  assert.equal((await client.threads.get(threadId)).status, "idle");
});

test("context reaches the graph", async () => {
  const result = await client.runs.wait(null, "configured", {
    input: { number: 1 },
    context: { tone: "warm", size: 3 },
    config: { tags: ["js"], recursion_limit: 7 },
    metadata: { origin: "node" },
  });
  assert.equal(result.number, 2);
  assert.deepEqual(result.seen.context, { tone: "warm", size: 3 });
  assert.equal(result.seen.metadata.origin, "node");
  assert.ok(result.seen.tags.includes("js"));
  assert.equal(result.seen.recursion_limit, 7);
});

test("what a graph remembers is in the store", async () => {
  const user = randomUUID();
  await client.runs.wait(null, "chat", { input: says("remember"), config: { configurable: { user_id: user } } });
  assert.deepEqual((await client.store.getItem(["heard", user], "1")).value, { text: "remember" });
});

test("a failing run throws in wait, unless told not to", async () => {
  const threadId = await newThread(client);
  const input = { error: "ValueError", message: "no good" };
  await assert.rejects(client.runs.wait(threadId, "failing", { input }), { message: "ValueError: no good" });
  const result = await client.runs.wait(threadId, "failing", { input, raiseError: false });
  assert.deepEqual(result, { __error__: { error: "ValueError", message: "no good" } });
  const thread = await client.threads.get(threadId);
  assert.equal(thread.status, "error");
  assert.deepEqual(thread.error, { error: "ValueError", message: "no good" });
});

test("a failing stream ends in an error event, whose text may be masked", async () => {
  const threadId = await newThread(client);
  for (const [error, message] of [
    ["ValueError", "bad value here"],
    ["OSError", "An internal error occurred"],
  ]) {
    const parts = await collect(client.runs.stream(threadId, "failing", { input: { error }, streamMode: "updates" }));
    assert.deepEqual(events(parts), ["metadata", "error"]);
    assert.deepEqual(parts[1].data, { error, message });
    assert.equal((await runHas(client, { thread_id: threadId, ...parts[0].data }, "error")).status, "error");
  }
});

test("what cannot be run is refused before the stream", async () => {
  const threadId = await newThread(client);
  const refused = [
    ["nope", threadId, 422],
    [UNKNOWN, threadId, 404],
    ["echo", UNKNOWN, 404],
    ["echo", "bad", 422],
  ];
  for (const [assistant, thread, status] of refused) {
    await assert.rejects(client.runs.create(thread, assistant, HI), { status });
    await assert.rejects(collect(client.runs.stream(thread, assistant, HI)), { status });
  }
  await assert.rejects(client.runs.create(threadId, "echo", { ...HI, streamMode: "bogus" }), { status: 422 });
});

test("unicode and large documents arrive as they left", async () => {
  const text = 'grüße 🧵 \u2028 " \\ \r\n '.repeat(5000);
  const parts = await collect(client.runs.stream(null, "echo", { input: { text }, streamMode: "values" }));
  assert.equal(parts.at(-1).data.answer, `echo: ${text}`);
});
