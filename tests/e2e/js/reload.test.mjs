// What `useStream` does for a page that is reloaded while a run streams: it remembers the run's id, joins again from
// the start or from the last event, and reads the history to draw the conversation.
import assert from "node:assert/strict";
import { test } from "node:test";

import { collect, connect, events, newThread, readUpTo, runHas, says } from "./support.mjs";

const client = connect();
// What the hook asks for when a component uses values, messages and custom events.
const ASKED = {
  streamMode: ["values", "messages-tuple", "custom", "updates"],
  streamSubgraphs: true,
  streamResumable: true,
  onDisconnect: "continue",
};
const text = (parts) =>
  parts
    .filter((part) => part.event === "messages")
    .map((part) => part.data[0].content)
    .join("");

test("a page that is reloaded sees the run from its start, and nothing twice", async () => {
  const threadId = await newThread(client);
  let run;
  const seen = await readUpTo("messages", (signal) =>
    client.runs.stream(threadId, "tokens", {
      ...ASKED,
      input: { ...says("go"), count: 40, pause: 0.02 },
      signal,
      onRunCreated: (created) => (run = created),
    }),
  );
  assert.deepEqual(run, { thread_id: threadId, run_id: seen[0].data.run_id });
  assert.ok(seen.every((part) => part.id));

  const joined = await collect(
    client.runs.joinStream(threadId, run.run_id, { lastEventId: "-1", streamMode: ASKED.streamMode }),
  );
  const replayed = seen.length;
  const data = (parts) => parts.map(({ id, event, data }) => ({ id, event, data }));
  assert.deepEqual(
    data(joined).filter((part) => part.event !== "metadata").slice(0, replayed - 1),
    data(seen).filter((part) => part.event !== "metadata"),
  );
  assert.equal(new Set(joined.map((part) => part.id)).size, joined.length);
  const whole = Array.from({ length: 40 }, (_, n) => `t${n} `).join("");
  assert.equal(text(joined), whole);
  await runHas(client, run, "success");

  const rest = await collect(
    client.runs.joinStream(threadId, run.run_id, { lastEventId: seen.at(-1).id, streamMode: ASKED.streamMode }),
  );
  assert.equal(text(seen) + text(rest), whole);
  assert.equal(events(rest).at(-1), "values");
});

test("the history is read page by page, newest first", async () => {
  const threadId = await newThread(client);
  for (const said of ["one", "two", "three"]) await client.runs.wait(threadId, "chat", { input: says(said) });
  const all = await client.threads.getHistory(threadId, { limit: 1000 });
  assert.equal(all[0].values.messages.length, 6);
  const pages = [];
  for (let before; ; ) {
    const page = await client.threads.getHistory(threadId, { limit: 4, ...(before && { before }) });
    if (page.length === 0) break;
    assert.ok(page.length <= 4);
    pages.push(...page);
    before = { configurable: { checkpoint_id: page.at(-1).checkpoint.checkpoint_id } };
  }
  const ids = (states) => states.map((state) => state.checkpoint.checkpoint_id);
  assert.deepEqual(ids(pages), ids(all));
  const parents = new Set(all.map((state) => state.parent_checkpoint?.checkpoint_id));
  assert.ok(ids(all).slice(1).every((id) => parents.has(id)));
});
