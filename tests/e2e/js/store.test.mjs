// Long-term memory.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import { connect } from "./support.mjs";

const client = connect();
const freshRoot = () => `js-${randomUUID()}`;

test("an item is put, read, replaced and deleted", async () => {
  const namespace = [freshRoot(), "a"];
  const value = { n: 1, nest: { x: [1.5, null, "ü"] } };
  await client.store.putItem(namespace, "key", value);
  const item = await client.store.getItem(namespace, "key");
  assert.deepEqual([item.namespace, item.key, item.value], [namespace, "key", value]);
  assert.ok(Date.parse(item.createdAt) <= Date.parse(item.updatedAt));
  await client.store.putItem(namespace, "key", { m: 2 }, { index: false, ttl: 60 });
  const replaced = await client.store.getItem(namespace, "key", { refreshTtl: true });
  assert.deepEqual([replaced.value, replaced.createdAt], [{ m: 2 }, item.createdAt]);
  await client.store.deleteItem(namespace, "key");
  await client.store.deleteItem(namespace, "key"); // also when it is gone
});

test("a deleted or unknown item is null", async () => {
  assert.equal(await client.store.getItem([freshRoot()], "key"), null);
});

test("search finds below a prefix, by content and in pages", async () => {
  const root = freshRoot();
  for (const n of [0, 1, 2, 3]) await client.store.putItem([root, String(n % 2)], `k${n}`, { n, odd: n % 2 === 1 });
  const keys = async (options) =>
    (await client.store.searchItems([root], options)).items.map((item) => item.key).sort();
  assert.deepEqual(await keys(), ["k0", "k1", "k2", "k3"]);
  assert.deepEqual(await keys({ filter: { odd: true } }), ["k1", "k3"]);
  assert.deepEqual(await keys({ filter: { n: { $gte: 1, $lt: 3 } } }), ["k1", "k2"]);
  assert.equal((await keys({ limit: 3, offset: 2 })).length, 2);
  const {
    items: [item],
  } = await client.store.searchItems([root, "1"], { filter: { n: 3 } });
  assert.deepEqual(item.namespace, [root, "1"]);
  assert.ok(item.createdAt);
});

test("namespaces are listed by prefix, suffix and depth", async () => {
  const root = freshRoot();
  const all = [
    [root, "u1", "mem"],
    [root, "u1", "mem", "deep"],
    [root, "u2", "else"],
    [root, "u2", "mem"],
  ];
  for (const namespace of all) await client.store.putItem(namespace, "k", { n: 1 });
  const namespaces = async (options) => (await client.store.listNamespaces({ prefix: [root], ...options })).namespaces;
  assert.deepEqual(await namespaces(), all);
  assert.deepEqual(await namespaces({ suffix: ["mem"] }), [all[0], all[3]]);
  assert.deepEqual(await namespaces({ maxDepth: 2 }), [
    [root, "u1"],
    [root, "u2"],
  ]);
  assert.deepEqual(await namespaces({ limit: 1, offset: 2 }), [all[2]]);
});

test("an empty namespace is refused", async () => {
  await assert.rejects(client.store.putItem([], "k", { n: 1 }), { status: 400 });
});
