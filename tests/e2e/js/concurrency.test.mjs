// Several runs on one thread, and cancelling.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Gate, UNKNOWN, connect, newThread, runHas, startGated } from "./support.mjs";

const client = connect();

test("a rejected run is a conflict and changes nothing", async () => {
  const threadId = await newThread(client);
  const gate = new Gate();
  const first = await startGated(client, threadId, gate);
  const second = client.runs.create(threadId, "gated", { input: gate.input("B"), multitaskStrategy: "reject" });
  await assert.rejects(second, { status: 409, message: /already running/ });
  assert.equal((await client.runs.list(threadId)).length, 1);
  gate.open();
  assert.deepEqual((await client.runs.join(threadId, first.run_id)).log, ["entered A", "left A"]);
});

test("an enqueued run waits its turn", async () => {
  const threadId = await newThread(client);
  const gate = new Gate();
  await startGated(client, threadId, gate);
  const input = Gate.opened().input("B");
  const second = await client.runs.create(threadId, "gated", { input, multitaskStrategy: "enqueue" });
  assert.equal((await client.runs.get(threadId, second.run_id)).status, "pending");
  assert.equal((await client.threads.get(threadId)).status, "busy");
  gate.open();
  const result = await client.runs.join(threadId, second.run_id);
  assert.deepEqual(result.log, ["entered A", "left A", "entered B", "left B"]);
});

test("an interrupting run keeps the checkpoints of the other, a rolling back one does not", async () => {
  for (const [multitaskStrategy, log] of [
    ["interrupt", ["entered A", "entered B", "left B"]],
    ["rollback", ["entered B", "left B"]],
  ]) {
    const threadId = await newThread(client);
    await startGated(client, threadId, new Gate());
    const result = await client.runs.wait(threadId, "gated", { input: Gate.opened().input("B"), multitaskStrategy });
    assert.deepEqual(result.log, log);
  }
});

test("a cancelled run is interrupted and can be continued", async () => {
  const threadId = await newThread(client);
  const gate = new Gate();
  const run = await startGated(client, threadId, gate);
  await client.runs.cancel(threadId, run.run_id, true);
  assert.equal((await client.runs.get(threadId, run.run_id)).status, "interrupted");
  assert.equal((await client.threads.get(threadId)).status, "interrupted");
  gate.open();
  assert.deepEqual((await client.runs.wait(threadId, "gated", { input: null })).log, ["entered A", "left A"]);
});

test("a cancel need not be waited for", async () => {
  const threadId = await newThread(client);
  const run = await startGated(client, threadId, new Gate());
  await client.runs.cancel(threadId, run.run_id);
  await runHas(client, run, "interrupted");
});

test("a rolled back run leaves no trace", async () => {
  const threadId = await newThread(client);
  const run = await startGated(client, threadId, new Gate());
  await client.runs.cancel(threadId, run.run_id, true, "rollback");
  await assert.rejects(client.runs.get(threadId, run.run_id), { status: 404 });
  assert.equal((await client.threads.get(threadId)).status, "idle");
  assert.deepEqual((await client.threads.getState(threadId)).values, {});
});

test("a delayed run is cancelled before it starts", async () => {
  const threadId = await newThread(client);
  const run = await client.runs.create(threadId, "echo", { input: { text: "hi" }, afterSeconds: 3600 });
  await client.runs.cancel(threadId, run.run_id, true);
  assert.equal((await client.runs.get(threadId, run.run_id)).status, "interrupted");
});

test("an unknown run cannot be cancelled", async () => {
  const threadId = await newThread(client);
  await assert.rejects(client.runs.cancel(threadId, UNKNOWN), { status: 404 });
});
