// Crons: kept, found, changed and deleted. Their schedules are far away: none fires here.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { UNKNOWN, apiUrl, connect, newThread } from "./support.mjs";

const client = connect();
const { flags } = await (await fetch(`${apiUrl}/info`)).json();
const YEARLY = { schedule: "0 0 1 1 *", input: { text: "happy new year" } };

/** An assistant whose crons are this test's alone. */
async function ownAssistant() {
  return (await client.assistants.create({ graphId: "echo" })).assistant_id;
}

describe("crons", { skip: flags.crons ? false : "this server has no crons" }, () => {
  test("a cron is created, found, counted and deleted", async () => {
    const assistantId = await ownAssistant();
    const cron = await client.crons.create(assistantId, { ...YEARLY, metadata: { m: 1 } });
    assert.deepEqual([cron.schedule, cron.assistant_id, cron.thread_id], [YEARLY.schedule, assistantId, null]);
    assert.deepEqual([cron.payload.input, cron.metadata], [YEARLY.input, { m: 1 }]);
    const next = new Date(cron.next_run_date);
    assert.deepEqual([next.getUTCMonth(), next.getUTCDate(), next.getUTCHours()], [0, 1, 0]);
    assert.deepEqual(await client.crons.search({ assistantId }), [cron]);
    assert.equal(await client.crons.count({ assistantId }), 1);
    await client.crons.delete(cron.cron_id);
    assert.deepEqual(await client.crons.search({ assistantId }), []);
    await assert.rejects(client.crons.delete(cron.cron_id), { status: 404 });
  });

  test("a thread's cron is found by its thread and goes with it", async () => {
    const threadId = await newThread(client);
    const cron = await client.crons.createForThread(threadId, "echo", YEARLY);
    assert.equal(cron.thread_id, threadId);
    assert.deepEqual(
      (await client.crons.search({ threadId })).map((each) => each.cron_id),
      [cron.cron_id],
    );
    await client.threads.delete(threadId);
    assert.deepEqual(await client.crons.search({ threadId }), []);
  });

  test("a cron is changed and switched off", async () => {
    const assistantId = await ownAssistant();
    const { cron_id: cronId } = await client.crons.create(assistantId, YEARLY);
    const changed = await client.crons.update(cronId, { schedule: "0 0 2 1 *", enabled: false });
    assert.deepEqual([changed.schedule, changed.enabled], ["0 0 2 1 *", false]);
    assert.equal(new Date(changed.next_run_date).getUTCDate(), 2);
    assert.equal((await client.crons.search({ assistantId, enabled: false })).length, 1);
    assert.equal((await client.crons.search({ assistantId, enabled: true })).length, 0);
    await client.crons.delete(cronId);
  });

  test("crons are sorted, paged and selected from", async () => {
    const assistantId = await ownAssistant();
    const crons = [];
    for (const day of [1, 2])
      crons.push(await client.crons.create(assistantId, { ...YEARLY, schedule: `0 0 ${day} 1 *` }));
    const query = { assistantId, sortBy: "next_run_date", sortOrder: "asc", select: ["cron_id"] };
    assert.deepEqual(await client.crons.search({ ...query, limit: 1, offset: 1 }), [{ cron_id: crons[1].cron_id }]);
    for (const cron of crons) await client.crons.delete(cron.cron_id);
  });

  test("wrong schedules and unknown things are refused", async () => {
    await assert.rejects(client.crons.create("echo", { ...YEARLY, schedule: "bogus" }), {
      status: 422,
      message: /schedule/,
    });
    await assert.rejects(client.crons.create("nope", YEARLY), { status: 404 });
    await assert.rejects(client.crons.createForThread(UNKNOWN, "echo", YEARLY), { status: 404 });
    await assert.rejects(client.crons.update(UNKNOWN, { enabled: false }), { status: 404 });
  });
});
