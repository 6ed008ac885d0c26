// Assistants: those of the system, one's own, their versions, and what their graphs look like.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import { UNKNOWN, connect, systemAssistant } from "./support.mjs";

const client = connect();
const make = (more = {}) => client.assistants.create({ graphId: "echo", name: `js ${randomUUID()}`, ...more });

test("every graph has an assistant, found by graph and metadata", async () => {
  const [assistant, ...others] = await client.assistants.search({
    graphId: "steps",
    metadata: { created_by: "system" },
  });
  assert.equal(others.length, 0);
  assert.equal(assistant.assistant_id, "01d10e59-d4b4-51ec-8e94-9b2716b34de8");
  assert.equal(assistant.name, "steps");
  assert.deepEqual(await client.assistants.get(assistant.assistant_id), assistant);
});

test("one's own assistant is created, found, used and deleted", async () => {
  const own = await make({
    graphId: "configured",
    metadata: { m: 1 },
    context: { tone: "own", size: 2 },
    description: "mine",
  });
  assert.deepEqual([own.version, own.description, own.metadata], [1, "mine", { m: 1 }]);
  assert.deepEqual(await client.assistants.search({ name: own.name }), [own]);
  assert.equal(await client.assistants.count({ name: own.name }), 1);
  const result = await client.runs.wait(null, own.assistant_id, { input: { number: 0 } });
  assert.deepEqual(result.seen.context, { tone: "own", size: 2 });
  await client.assistants.delete(own.assistant_id);
  await assert.rejects(client.assistants.get(own.assistant_id), { status: 404 });
});

test("a chosen id is taken once", async () => {
  const assistantId = randomUUID();
  const own = await make({ assistantId });
  await assert.rejects(make({ assistantId }), { status: 409 });
  assert.deepEqual(await make({ assistantId, ifExists: "do_nothing" }), own);
});

test("each update makes a version, and any version can be made the latest", async () => {
  const { assistant_id: id, name } = await make({ metadata: { m: 1 } });
  const second = await client.assistants.update(id, { name: `${name} again`, metadata: { n: 2 } });
  assert.deepEqual([second.version, second.metadata], [2, { m: 1, n: 2 }]);
  assert.deepEqual(
    (await client.assistants.getVersions(id)).map((each) => each.version),
    [2, 1],
  );
  const restored = await client.assistants.setLatest(id, 1);
  assert.deepEqual([restored.version, restored.name], [1, name]);
});

test("search goes in pages", async () => {
  const metadata = { mark: randomUUID() };
  const own = [await make({ metadata }), await make({ metadata })];
  const query = { metadata, sortBy: "created_at", sortOrder: "asc", limit: 1 };
  const page = await client.assistants.search({ ...query, includePagination: true });
  assert.deepEqual(page.assistants, [own[0]]);
  assert.equal(page.next, "1");
  const last = await client.assistants.search({ ...query, offset: Number(page.next), includePagination: true });
  assert.deepEqual(last, { assistants: [own[1]], next: null });
});

test("the drawing of a graph, with and without its subgraphs", async () => {
  const id = await systemAssistant(client, "nested");
  const plain = await client.assistants.getGraph(id);
  assert.deepEqual(
    plain.nodes.map((node) => node.id),
    ["__start__", "outer", "child", "__end__"],
  );
  assert.ok(plain.edges.some((edge) => edge.source === "outer" && edge.target === "child"));
  for (const xray of [true, 1]) {
    const deep = await client.assistants.getGraph(id, { xray });
    assert.ok(deep.nodes.some((node) => node.id.startsWith("child:")));
  }
});

test("schemas describe state and context", async () => {
  const schemas = await client.assistants.getSchemas(await systemAssistant(client, "configured"));
  assert.equal(schemas.graph_id, "configured");
  assert.ok(schemas.input_schema.properties.number);
  assert.ok(schemas.state_schema.properties.seen);
  assert.deepEqual(Object.keys(schemas.context_schema.properties).sort(), ["size", "tone"]);
});

test("subgraphs are listed, and found by namespace", async () => {
  const id = await systemAssistant(client, "deep");
  assert.deepEqual(Object.keys(await client.assistants.getSubgraphs(id)), ["middle"]);
  const all = await client.assistants.getSubgraphs(id, { recurse: true });
  assert.deepEqual(Object.keys(all), ["middle", "middle|inner"]);
  assert.deepEqual(Object.keys(await client.assistants.getSubgraphs(id, { namespace: "middle" })), ["middle"]);
});

test("what does not exist is not found", async () => {
  for (const ask of [
    () => client.assistants.get(UNKNOWN),
    () => client.assistants.getGraph(UNKNOWN),
    () => client.assistants.getSchemas(UNKNOWN),
    () => make({ graphId: "nope" }),
  ]) {
    await assert.rejects(ask, { status: 404 });
  }
});
