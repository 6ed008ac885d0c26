// What the tests share: the SDK under test, waiting for facts, and gates in graphs.
//
// THREADMILL_URL is the server's base URL. LANGGRAPH_SDK is the package that holds the SDK: two generations are
// installed, see package.json.
import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

const { Client } = await import(process.env.LANGGRAPH_SDK ?? "@langchain/langgraph-sdk");

export const apiUrl = process.env.THREADMILL_URL ?? "http://127.0.0.1:8123";
export const UNKNOWN = "0195f000-0000-7000-8000-0000000fffff";
const DEADLINE_MILLISECONDS = 30_000;
const POLL_MILLISECONDS = 20;

/** The unmodified SDK. */
export function connect(url = apiUrl) {
  return new Client({ apiUrl: url });
}

/** The id of a fresh thread. */
export async function newThread(client) {
  return (await client.threads.create()).thread_id;
}

/** The id of the assistant that the server made for a graph. */
export async function systemAssistant(client, graphId) {
  const [assistant] = await client.assistants.search({ graphId, metadata: { created_by: "system" } });
  return assistant.assistant_id;
}

/** A conversation's input. */
export function says(content, more = {}) {
  return { messages: [{ role: "user", content }], ...more };
}

/** Asks `probe` again and again; answers its first true answer. */
export async function until(probe) {
  const deadline = Date.now() + DEADLINE_MILLISECONDS;
  for (;;) {
    const answer = await probe();
    if (answer) return answer;
    assert.ok(Date.now() < deadline, `never true: ${probe}`);
    await pause(POLL_MILLISECONDS);
  }
}

/** The run, once it has this status. */
export function runHas(client, run, status) {
  return until(async () => {
    const found = await client.runs.get(run.thread_id, run.run_id);
    return found.status === status && found;
  });
}

/**
 * Everything that a stream gives. SDK 2.0.0 makes an event without name or data of each heartbeat of a resumable
 * stream; those are left out.
 */
export async function collect(stream) {
  const parts = [];
  for await (const part of stream) if (part.event) parts.push(part);
  return parts;
}

/** Reads up to the first event of this name, then leaves by the signal that `open` was given. Answers what was read. */
export async function readUpTo(name, open) {
  const leaving = new AbortController();
  const parts = [];
  try {
    for await (const part of open(leaving.signal)) {
      parts.push(part);
      if (part.event === name) leaving.abort();
    }
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  }
  assert.equal(parts.at(-1)?.event, name);
  return parts;
}

export function events(parts) {
  return parts.map((part) => part.event);
}

/** What runs of the graph `gated` wait at. */
export class Gate {
  #file = join(mkdtempSync(join(tmpdir(), "threadmill-gate-")), "gate");

  static opened() {
    const gate = new Gate();
    gate.open();
    return gate;
  }

  /** A run's input; `name` shows in its log as `entered <name>` and `left <name>`. */
  input(name) {
    return { gate: this.#file, name };
  }

  open() {
    writeFileSync(this.#file, "");
  }
}

/** A run that has passed the node `enter` and waits at its gate. */
export async function startGated(client, threadId, gate, options = {}) {
  const run = await client.runs.create(threadId, "gated", { input: gate.input("A"), ...options });
  await runHas(client, run, "running");
  await until(async () => {
    const state = await client.threads.getState(threadId);
    return state.next.includes("wait") && state.values.log?.includes("entered A");
  });
  return run;
}
