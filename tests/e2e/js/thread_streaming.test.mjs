// Thread streaming: `client.threads.stream` and the engine of `useStream`, over both transports.
//
// The generation 2.0.0 of the SDK has neither. WebSockets are node's own: up to version 21 it has to be told so.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import { Gate, connect, says, until } from "./support.mjs";

const SDK = process.env.LANGGRAPH_SDK ?? "langgraph-sdk-1";
const client = connect();
const skip = typeof client.threads.stream !== "function" && "this SDK does not stream threads";
const { StreamController } = skip ? {} : await import(`${SDK}/stream`);
const TRANSPORTS = ["sse", ...(globalThis.WebSocket ? ["websocket"] : [])];

async function collect(source, take = (part) => part) {
  const parts = [];
  for await (const part of source) parts.push(await take(part));
  return parts;
}

for (const transport of TRANSPORTS) {
  const each = (name, body) => test(`${transport}: ${name}`, { skip }, body);

  /** A stream of a thread, by default of a new one, for `use`. */
  const streaming = async (assistantId, use, threadId = randomUUID()) => {
    const thread = client.threads.stream(threadId, { assistantId, transport });
    try {
      return await use(thread, threadId);
    } finally {
      await thread.close();
    }
  };

  /** What `useStream` is made of, for `use`; without a thread's id it makes one. */
  const controlling = async (assistantId, use, threadId = null) => {
    const controller = new StreamController({ assistantId, client, threadId, transport });
    const deactivate = controller.activate?.();
    try {
      return await use(controller, () => controller.rootStore.getSnapshot());
    } finally {
      deactivate?.();
      await controller.dispose();
    }
  };

  each("a run has an output", () =>
    streaming("two_steps", async (thread) => {
      assert.ok((await thread.run.start({ input: { n: 1 } })).run_id);
      assert.deepEqual(await thread.output, { n: 3, log: ["first", "second"] });
    }),
  );

  each("values of a run", () =>
    streaming("two_steps", async (thread) => {
      await thread.run.start({ input: { n: 1 } });
      assert.deepEqual(await collect(thread.values, ({ n }) => n), [1, 2, 3]);
    }),
  );

  each("messages of a run", () =>
    streaming("tokens", async (thread) => {
      await thread.run.start({ input: says("go", { count: 20, pause: 0.005 }) });
      const whole = Array.from({ length: 20 }, (_, n) => `t${n} `).join("");
      assert.deepEqual(await collect(thread.messages, (message) => message.text), [whole]);
    }),
  );

  each("tool calls of a run", () =>
    streaming("agent_calls", async (thread) => {
      await thread.run.start({ input: says("add") });
      const [call] = await collect(thread.toolCalls, ({ name, input }) => ({ name, input }));
      assert.deepEqual(call, { name: "add", input: { a: 2, b: 3 } });
    }),
  );

  each("subgraphs of a run", () =>
    streaming("nested", async (thread) => {
      await thread.run.start({ input: { log: [] } });
      assert.deepEqual(await collect(thread.subgraphs, ({ name }) => name), ["child"]);
    }),
  );

  each("what nodes write reaches those who ask for its name", () =>
    streaming("two_steps_progress", async (thread) => {
      await thread.run.start({ input: { n: 1 } });
      assert.deepEqual(await collect(thread.extensions.progress, ({ step }) => step), ["first", "second"]);
    }),
  );

  each("what was said before somebody listened is told", () =>
    streaming("tokens", async (thread) => {
      await thread.run.start({ input: says("go", { count: 3 }) });
      await thread.output;
      const subscription = await thread.subscribe(["messages"]);
      const seen = [];
      for await (const event of subscription) {
        seen.push(event.params.data.event);
        if (event.params.data.event === "message-finish") break;
      }
      assert.equal(seen[0], "message-start");
      assert.equal(seen.filter((event) => event === "content-block-delta").length, 3);
    }),
  );

  each("an interrupt is answered", () =>
    streaming("ask", async (thread, threadId) => {
      await thread.run.start({ input: { question: "ok?" } });
      const [asked] = await until(() => thread.interrupted && thread.interrupts.length && thread.interrupts);
      assert.deepEqual(asked.payload, { question: "ok?" });
      await thread.input.respond({ interrupt_id: asked.interruptId, namespace: asked.namespace, response: "yes" });
      await until(async () => (await client.threads.getState(threadId)).values.log?.at(-1) === "finished");
    }),
  );

  each("an interrupt in a subgraph is answered", () =>
    streaming("nested", async (thread, threadId) => {
      await thread.run.start({ input: { ask: true, log: [] } });
      const [asked] = await until(() => thread.interrupts.length && thread.interrupts);
      assert.match(asked.namespace[0], /^child:/);
      await thread.input.respond({ interrupt_id: asked.interruptId, namespace: asked.namespace, response: "yes" });
      await until(async () => (await client.threads.getState(threadId)).values.log?.at(-1) === "inner yes");
    }),
  );

  each("the second stream of a thread sees its own run", async () => {
    const threadId = randomUUID();
    const first = async (thread) => {
      await thread.run.start({ input: { n: 1 } });
      await thread.output;
    };
    await streaming("two_steps", first, threadId);
    const second = async (thread) => {
      await thread.run.start({ input: { n: 100 } });
      assert.equal((await thread.output).n, 102);
    };
    await streaming("two_steps", second, threadId);
  });

  each("a failed run tells why", () =>
    streaming("failing", async (thread) => {
      const seen = [];
      thread.onEvent((event) => seen.push(event));
      await thread.run.start({ input: { message: "no such luck" } });
      const failed = await until(() => seen.find((event) => event.params.data.event === "failed"));
      assert.equal(failed.params.data.error, "no such luck");
    }),
  );

  each("a refused run tells a code", () =>
    streaming("no-such-graph", async (thread) => {
      await assert.rejects(thread.run.start({ input: {} }), { code: "unknown_error" });
    }),
  );

  each("a conversation goes on over several runs", () =>
    controlling("chat", async (controller, now) => {
      for (const said of ["one", "two"]) await controller.submit(says(said));
      await until(() => now().messages.length === 4);
      assert.equal(now().isLoading, false);
      assert.deepEqual(now().messages.map((message) => message.getType()), ["human", "ai", "human", "ai"]);
    }),
  );

  each("a page that is reloaded while a run is under way follows it to its end", async () => {
    const gate = new Gate();
    const { gate: file } = gate.input("A");
    const threadId = randomUUID();
    await streaming("two_steps", (thread) => thread.run.start({ input: { n: 1, gate: file } }), threadId);
    const follow = async (controller, now) => {
      await controller.hydrationPromise;
      await until(() => now().isLoading);
      gate.open();
      await until(() => !now().isLoading);
      assert.equal(now().values.n, 3);
    };
    await until(async () => (await client.threads.getState(threadId)).values?.n === 2);
    await controlling("two_steps", follow, threadId);
  });

  each("a page of a paused thread that is reloaded shows the question, and answers it", async () => {
    let threadId;
    await controlling("nested", async (controller, now) => {
      await controller.submit({ ask: true, log: [] });
      assert.equal((await until(() => now().interrupt)).value, "inner?");
      threadId = now().threadId;
    });
    await until(async () => (await client.threads.get(threadId)).status === "interrupted");
    const answer = async (controller, now) => {
      await controller.hydrationPromise;
      assert.equal(now().isLoading, false);
      assert.equal(now().interrupts.length, 1);
      await controller.respond("yes", { interruptId: now().interrupts[0].id });
      await until(() => !now().isLoading && now().values.log?.at(-1) === "inner yes");
      assert.deepEqual(now().interrupts, []);
    };
    await controlling("nested", answer, threadId);
  });

  each("a page of an idle thread that is reloaded goes on with the conversation", async () => {
    let threadId;
    await controlling("chat", async (controller, now) => {
      await controller.submit(says("one"));
      threadId = now().threadId;
    });
    const goOn = async (controller, now) => {
      await controller.hydrationPromise;
      await until(() => now().messages.length === 2);
      await controller.submit(says("two"));
      await until(() => now().messages.length === 4);
    };
    await controlling("chat", goOn, threadId);
  });
}
