// Graphs that stop for a person, and how they go on.
import assert from "node:assert/strict";
import { test } from "node:test";

import { collect, connect, newThread } from "./support.mjs";

const client = connect();
const QUESTION = { input: { question: "ok?" } };

test("an interrupt is in the result, the state and the thread", async () => {
  const threadId = await newThread(client);
  const result = await client.runs.wait(threadId, "ask", QUESTION);
  const [interrupt] = result.__interrupt__;
  assert.deepEqual(interrupt.value, { question: "ok?" });
  const state = await client.threads.getState(threadId);
  assert.deepEqual(state.next, ["ask"]);
  assert.deepEqual(state.tasks[0].interrupts, [{ id: interrupt.id, value: { question: "ok?" } }]);
  const thread = await client.threads.get(threadId);
  assert.equal(thread.status, "interrupted");
  assert.deepEqual(thread.interrupts, { [state.tasks[0].id]: state.tasks[0].interrupts });
});

test("streams show the interrupt, and the command's answer goes on", async () => {
  const threadId = await newThread(client);
  const asked = await collect(client.runs.stream(threadId, "ask", { ...QUESTION, streamMode: ["values", "updates"] }));
  const shown = asked.filter((part) => part.data.__interrupt__);
  assert.deepEqual(shown.map((part) => part.event).sort(), ["updates", "values"]);
  for (const part of shown) assert.deepEqual(part.data.__interrupt__[0].value, { question: "ok?" });
  const resumed = await collect(
    client.runs.stream(threadId, "ask", { command: { resume: "yes" }, streamMode: "updates" }),
  );
  assert.deepEqual(
    resumed.slice(1).map((part) => part.data),
    [{ ask: { log: ["answered yes"] } }, { finish: { log: ["finished"] } }],
  );
  const thread = await client.threads.get(threadId);
  assert.equal(thread.status, "idle");
  assert.deepEqual(thread.interrupts, {});
});

test("falsy answers are answers", async () => {
  for (const [resume, said] of [
    [false, "False"],
    [0, "0"],
    ["", ""],
  ]) {
    const threadId = await newThread(client);
    await client.runs.wait(threadId, "ask", QUESTION);
    const result = await client.runs.wait(threadId, "ask", { command: { resume } });
    assert.deepEqual(result.log, ["prepared", `answered ${said}`, "finished"]);
  }
});

test("two questions at once are answered by id", async () => {
  const threadId = await newThread(client);
  const { __interrupt__: interrupts } = await client.runs.wait(threadId, "choices", { input: { log: [] } });
  const resume = Object.fromEntries(interrupts.map(({ id, value }) => [id, value === "left?" ? "L" : "R"]));
  const result = await client.runs.wait(threadId, "choices", { command: { resume } });
  assert.deepEqual(result.log, ["left L", "right R"]);
});

test("a breakpoint stops before a node, no input goes on", async () => {
  const threadId = await newThread(client);
  await client.runs.wait(threadId, "nested", { input: { log: [] }, interruptBefore: ["child"] });
  assert.deepEqual((await client.threads.getState(threadId)).next, ["child"]);
  assert.equal((await client.threads.get(threadId)).status, "interrupted");
  const result = await client.runs.wait(threadId, "nested", { input: null });
  assert.equal(result.log.at(-1), "inner unasked");
});

test("a breakpoint stops after a node", async () => {
  const threadId = await newThread(client);
  const result = await client.runs.wait(threadId, "nested", { input: { log: [] }, interruptAfter: ["outer"] });
  assert.deepEqual(result.log, ["outer"]);
});

test("an interrupt in a subgraph shows that graph's state", async () => {
  const threadId = await newThread(client);
  await client.runs.wait(threadId, "nested", { input: { ask: true, log: [] } });
  const [task] = (await client.threads.getState(threadId)).tasks;
  assert.equal(task.checkpoint.checkpoint_ns, `child:${task.id}`);
  const [open] = (await client.threads.getState(threadId, undefined, { subgraphs: true })).tasks;
  assert.deepEqual(open.state.next, ["inner"]);
  const result = await client.runs.wait(threadId, "nested", { command: { resume: "yes" } });
  assert.equal(result.log.at(-1), "inner yes");
});

test("a command updates and goes to a node", async () => {
  const threadId = await newThread(client);
  await client.runs.wait(threadId, "nested", { input: { log: [] } });
  const command = { update: { log: ["told"] }, goto: "child" };
  const { log } = await client.runs.wait(threadId, "nested", { command });
  assert.ok(log.includes("told"));
  assert.equal(log.at(-1), "inner unasked");
});
