// Threads: rows, search, state, history and forks.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import { UNKNOWN, collect, connect, events, newThread, says, until } from "./support.mjs";

const client = connect();
const echo = (threadId, text = "hi") => client.runs.wait(threadId, "echo", { input: { text } });

test("a created thread is found as it was made", async () => {
  const threadId = randomUUID();
  const created = await client.threads.create({ threadId, metadata: { a: 1 } });
  assert.equal(created.thread_id, threadId);
  assert.deepEqual(created.metadata, { a: 1 });
  assert.equal(created.status, "idle");
  assert.deepEqual(await client.threads.get(threadId), created);
});

test("an id is taken once", async () => {
  const threadId = await newThread(client);
  await assert.rejects(client.threads.create({ threadId }), { status: 409, message: /already exists/ });
  const again = await client.threads.create({ threadId, ifExists: "do_nothing" });
  assert.equal(again.thread_id, threadId);
});

test("an unknown thread is not found, a wrong id is refused", async () => {
  await assert.rejects(client.threads.get(UNKNOWN), { status: 404 });
  await assert.rejects(client.threads.get("bad"), { status: 422, message: /must be a UUID/ });
});

test("threads are searched and counted by metadata, ids, status and values", async () => {
  const mark = randomUUID();
  const [first, second] = [
    await client.threads.create({ metadata: { mark, n: 1 } }),
    await client.threads.create({ metadata: { mark, n: 2 } }),
  ];
  await echo(second.thread_id, mark);
  const ids = async (query) => (await client.threads.search(query)).map((thread) => thread.thread_id);
  assert.deepEqual(await ids({ metadata: { mark, n: 1 } }), [first.thread_id]);
  assert.deepEqual(await ids({ ids: [second.thread_id] }), [second.thread_id]);
  assert.deepEqual(await ids({ values: { text: mark } }), [second.thread_id]);
  assert.deepEqual(await ids({ metadata: { mark }, status: "busy" }), []);
  const sorted = { metadata: { mark }, sortBy: "created_at", sortOrder: "asc" };
  assert.deepEqual(await ids(sorted), [first.thread_id, second.thread_id]);
  assert.deepEqual(await ids({ ...sorted, limit: 1, offset: 1 }), [second.thread_id]);
  assert.deepEqual(await client.threads.search({ ids: [first.thread_id], select: ["thread_id", "status"] }), [
    { thread_id: first.thread_id, status: "idle" },
  ]);
  assert.equal(await client.threads.count({ metadata: { mark } }), 2);
});

test("metadata is merged, a deleted thread is gone", async () => {
  const thread = await client.threads.create({ metadata: { a: 1 } });
  const changed = await client.threads.update(thread.thread_id, { metadata: { b: 2 } });
  assert.deepEqual(changed.metadata, { a: 1, b: 2 });
  await client.threads.delete(thread.thread_id);
  await assert.rejects(client.threads.get(thread.thread_id), { status: 404 });
});

test("a time to live is kept", async () => {
  assert.ok((await client.threads.create({ ttl: 60 })).thread_id);
});

test("a copy goes its own way", async () => {
  const threadId = await newThread(client);
  await client.runs.wait(threadId, "chat", { input: says("one") });
  const copy = await client.threads.copy(threadId);
  await client.runs.wait(copy.thread_id, "chat", { input: says("two") });
  const counts = [threadId, copy.thread_id].map(
    async (id) => (await client.threads.getState(id)).values.messages.length,
  );
  assert.deepEqual(await Promise.all(counts), [2, 4]);
});

test("a thread made of supersteps has their state", async () => {
  const update = (values, asNode) => ({ updates: [{ values, asNode }] });
  const thread = await client.threads.create({
    graphId: "echo",
    supersteps: [
      update({ text: "made" }, "__input__"),
      update({ text: "made" }, "__start__"),
      update({ answer: "up" }, "reply"),
    ],
  });
  const state = await client.threads.getState(thread.thread_id);
  assert.deepEqual(state.values, { text: "made", answer: "up" });
  assert.deepEqual(state.next, []);
});

test("the state is that of the last run, and agrees with the thread", async () => {
  const threadId = await newThread(client);
  assert.deepEqual((await client.threads.getState(threadId)).values, {});
  const result = await echo(threadId);
  const state = await client.threads.getState(threadId);
  assert.deepEqual(state.values, { text: "hi", answer: "echo: hi" });
  assert.deepEqual(state.values, result);
  assert.deepEqual((await client.threads.get(threadId)).values, result);
  assert.deepEqual(state.next, []);
  assert.equal(state.checkpoint.thread_id, threadId);
});

test("history goes from the newest back, and each checkpoint can be read", async () => {
  const threadId = await newThread(client);
  await echo(threadId);
  const history = await client.threads.getHistory(threadId);
  assert.deepEqual(
    history.map((state) => state.metadata.step),
    [1, 0, -1],
  );
  const [newest, middle, oldest] = history;
  assert.deepEqual(await client.threads.getHistory(threadId, { limit: 1 }), [newest]);
  const before = { configurable: newest.checkpoint };
  assert.deepEqual(await client.threads.getHistory(threadId, { before }), [middle, oldest]);
  assert.deepEqual(await client.threads.getHistory(threadId, { metadata: { source: "input" } }), [oldest]);
  assert.deepEqual(await client.threads.getHistory(threadId, { checkpoint: middle.checkpoint }), [middle]);
  for (const checkpoint of [middle.checkpoint, middle.checkpoint.checkpoint_id]) {
    const state = await client.threads.getState(threadId, checkpoint);
    assert.deepEqual(state.next, ["reply"]);
    assert.deepEqual(state.checkpoint, middle.checkpoint);
  }
});

test("an update decides what comes next", async () => {
  const threadId = await newThread(client);
  await client.runs.wait(threadId, "ask", { input: { question: "?" } });
  const { checkpoint } = await client.threads.updateState(threadId, { values: { log: ["by hand"] }, asNode: "ask" });
  const state = await client.threads.getState(threadId);
  assert.equal(state.checkpoint.checkpoint_id, checkpoint.checkpoint_id);
  assert.deepEqual(state.values.log, ["prepared", "by hand"]);
  assert.deepEqual(state.next, ["finish"]);
  const result = await client.runs.wait(threadId, "ask", { input: null });
  assert.deepEqual(result.log, ["prepared", "by hand", "finished"]);
});

test("an update as an unknown node is refused", async () => {
  const threadId = await newThread(client);
  await echo(threadId);
  const update = client.threads.updateState(threadId, { values: {}, asNode: "nonode" });
  await assert.rejects(update, { status: 400, message: /Node nonode does not exist/ });
});

test("a fork of a past checkpoint runs from there", async () => {
  const threadId = await newThread(client);
  await echo(threadId, "first");
  const [, base] = await client.threads.getHistory(threadId);
  const fork = await client.threads.updateState(threadId, { values: { text: "other" }, checkpoint: base.checkpoint });
  const { checkpoint_id: checkpointId } = fork.checkpoint;
  const result = await client.runs.wait(threadId, "echo", { input: null, checkpointId });
  assert.deepEqual(result, { text: "other", answer: "echo: other" });
  assert.deepEqual((await client.threads.getState(threadId)).values, result);
});

test("the thread's stream follows run after run", async () => {
  const threadId = await newThread(client);
  for (const text of ["one", "two"]) {
    await collect(
      client.runs.stream(threadId, "echo", { input: { text }, streamMode: "updates", streamResumable: true }),
    );
  }
  const leaving = new AbortController();
  const parts = [];
  const reading = (async () => {
    for await (const part of client.threads.joinStream(threadId, { lastEventId: "0", signal: leaving.signal })) {
      parts.push(part);
    }
  })();
  const done = () => parts.filter((part) => part.data?.status === "run_done");
  await until(() => done().length === 2);
  leaving.abort();
  await reading.catch((error) => assert.equal(error.name, "AbortError"));
  const answers = parts.filter((part) => part.event === "updates").map((part) => part.data.reply.answer);
  assert.deepEqual(answers, ["echo: one", "echo: two"]);
  assert.equal(events(parts)[0], "metadata");
});
