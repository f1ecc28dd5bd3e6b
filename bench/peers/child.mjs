// A process in which one peer runs: `child.mjs ENGINE FOLDER`, with the packages in FOLDER. It is
// asked by messages and answers each with one. Invariant: it times its own work, so that what the
// messages cost is in no figure.
import { createRequire } from "node:module";
import path from "node:path";
import * as isolatedVm from "./isolated_vm.mjs";
import * as nodeVm from "./node_vm.mjs";
import * as quickjs from "./quickjs.mjs";

const ENGINES = {
  "node-vm": nodeVm.engine,
  "isolated-vm": isolatedVm.engine,
  "quickjs-module": quickjs.isolated,
  "quickjs-runtime": quickjs.shared,
};

const [name, folder] = process.argv.slice(2);
const held = [];

async function samples(count, work) {
  const times = [];
  for (let index = 0; index < count; index++) {
    const from = performance.now();
    await work();
    times.push(performance.now() - from);
  }
  return times;
}

async function answer(engine, { ask, count, source }) {
  switch (ask) {
    case "fresh":
      return samples(count, async () => {
        const runtime = await engine.make();
        runtime.evaluate("1+1");
        runtime.drop();
      });
    case "warm": {
      const runtime = await engine.make();
      runtime.evaluate("1+1");
      const times = [];
      for (let index = 0; index < count; index++) {
        const from = performance.now();
        runtime.evaluate("1+1");
        times.push(performance.now() - from);
      }
      runtime.drop();
      return times;
    }
    case "kernel": {
      const runtime = await engine.make();
      const from = performance.now();
      const value = runtime.evaluate(source);
      const ms = performance.now() - from;
      runtime.drop();
      return { ms, value };
    }
    case "hold":
      for (let index = 0; index < count; index++) {
        const runtime = await engine.make();
        runtime.evaluate("var line = 1 + 1; line");
        held.push(runtime);
      }
      globalThis.gc?.();
      return held.length;
    default:
      throw new Error(`nobody knows ${ask}`);
  }
}

const ready = (async () => ENGINES[name](createRequire(path.join(folder, "package.json"))))();

process.on("message", async (message) => {
  try {
    process.send({ id: message.id, value: await answer(await ready, message) });
  } catch (error) {
    process.send({ id: message.id, error: String(error.message ?? error) });
  }
});
process.on("disconnect", () => process.exit(0));
