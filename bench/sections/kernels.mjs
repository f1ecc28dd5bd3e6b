// Eight compute kernels, the same source on all, best of the rounds. Invariant: each runs in a
// runtime that is new, and has the same value everywhere, or there is no figure at all.
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Daemon } from "../lib/daemon.mjs";
import { startPeer } from "../lib/peers.mjs";
import { output } from "../lib/processes.mjs";
import { geometricMean, rotated } from "../lib/stats.mjs";

const FOLDER = fileURLToPath(new URL("../kernels/", import.meta.url));
const KERNELS = ["fib", "loop", "string", "json", "sort", "regexp", "objects", "classes"];
const ENGINES = ["quickjs-module", "isolated-vm", "node-vm"];

/** Quoted from an earlier run on another machine, in ms: they say ratios, and were not run here. */
const QUOTED = {
  go: {
    fib: 63,
    loop: 1162,
    string: 191,
    json: 355,
    sort: 915,
    regexp: 69,
    objects: 138,
    classes: 412,
  },
  quickjs: {
    fib: 23,
    loop: 274,
    string: 51,
    json: 333,
    sort: 154,
    regexp: 33,
    objects: 87,
    classes: 155,
  },
};

const LIMITS = { cpu_ms: 120_000, wall_ms: 120_000, mem_mb: 256 };

export async function run(context) {
  const sources = new Map(
    KERNELS.map((name) => [name, fs.readFileSync(path.join(FOLDER, `${name}.js`), "utf8")]),
  );
  const daemon = await Daemon.start(context.daemon(context.folder("kernels")));
  const peers = new Map();
  const found = new Map(
    KERNELS.map((name) => [name, { values: {}, ms: {}, trivial: Infinity, wall_ms: [], fuel: 0 }]),
  );
  const bare = [];
  try {
    const template = await daemon.template({ settings: { limits: LIMITS } });
    for (const key of ENGINES) {
      await context.withPeer(key, async () =>
        peers.set(key, await startPeer(key, context.peersDir)),
      );
    }
    await warmUp(context, peers, sources);
    for (let round = 0; round < context.sizes.rounds; round++) {
      context.progress(`round ${round + 1} of ${context.sizes.rounds}`);
      for (const [name, source] of sources) {
        for (const key of rotated(["vm-system", ...peers.keys()], round)) {
          if (key === "vm-system") {
            await onVmSystem(daemon, template, source, found.get(name));
            continue;
          }
          const peer = peers.get(key);
          await context.withPeer(key, async () => {
            const { ms, value } = await peer.ask("kernel", { source });
            note(found.get(name), key, ms, value);
          });
        }
      }
      if (context.bareKernels) {
        const files = KERNELS.map((name) => path.join(FOLDER, `${name}.js`));
        bare.push(JSON.parse(await output(context.bareKernels, files, { timeoutMs: 300_000 })));
      }
    }
  } finally {
    await daemon.stop();
    for (const peer of peers.values()) {
      await peer.stop();
    }
  }
  return summary(found, bare);
}

/** V8 compiles what it runs often better, in steps: a round that is not timed is for those. */
async function warmUp(context, peers, sources) {
  for (const source of sources.values()) {
    for (const [key, peer] of peers) {
      await context.withPeer(key, () => peer.ask("kernel", { source }));
    }
  }
}

/**
 * In a new session, as requests, and `1+1` in the same session. What `1+1` takes is subtracted from
 * the best of the rounds once, and is the best of its own: the least of many differences would be that
 * of the round in which the disk stalled a `1+1`, and can be less than nothing.
 */
async function onVmSystem(daemon, template, source, figures) {
  const session = (await daemon.create(template)).value.id;
  await daemon.repl(session, "1+1");
  const { value: execution, ms } = await daemon.repl(session, source);
  for (let index = 0; index < 5; index++) {
    figures.trivial = Math.min(figures.trivial, (await daemon.repl(session, "1+1")).ms);
  }
  await daemon.closeSession(session);
  note(figures, "vm-system", ms, execution.result.json);
  figures.wall_ms.push(execution.metrics.wall_ms);
  figures.fuel = execution.metrics.fuel_used;
}

function note(figures, engine, ms, value) {
  figures.values[engine] = value;
  figures.ms[engine] = Math.min(figures.ms[engine] ?? Infinity, ms);
}

function summary(found, bare) {
  const kernels = {};
  for (const [name, { values, ms, trivial, wall_ms, fuel }] of found) {
    const different = new Set(Object.values(values));
    if (different.size !== 1) {
      throw new Error(`${name} has more than one value: ${JSON.stringify(values)}`);
    }
    const requestMs = ms["vm-system"];
    ms["vm-system"] -= trivial;
    if (!(ms["vm-system"] > 0)) {
      throw new Error(`${name} took ${requestMs} ms and 1+1 took ${trivial}: too noisy to tell`);
    }
    const times = bare.map((round) => round[name]).filter((value) => typeof value === "number");
    const quickjs = ms["quickjs-module"] ?? null;
    const goOverQuickjs = QUOTED.go[name] / QUOTED.quickjs[name];
    const ratio = quickjs === null ? null : ms["vm-system"] / quickjs;
    kernels[name] = {
      ms,
      limits_off_ms: times.length > 0 ? Math.min(...times) : null,
      request_ms: requestMs,
      trivial_ms: trivial,
      wall_ms: Math.min(...wall_ms),
      fuel,
      value: [...different][0],
      over_quickjs: ratio,
      go_ms_quoted: QUOTED.go[name],
      go_over_quickjs_quoted: goOverQuickjs,
      ahead_of_go: ratio === null ? null : ratio < goOverQuickjs,
    };
  }
  const of = Object.values(kernels);
  const ratios = (value) => {
    const all = of.map((kernel) => value(kernel) / kernel.ms["quickjs-module"]);
    return all.every(Number.isFinite) && all.every((ratio) => ratio > 0)
      ? geometricMean(all)
      : null;
  };
  const floor = (field) => {
    const times = bare.map((round) => round[field]).filter((value) => typeof value === "number");
    return times.length > 0 ? Math.min(...times) : null;
  };
  return {
    kernels,
    geometric_mean_over_quickjs: ratios((kernel) => kernel.ms["vm-system"]),
    geometric_mean_execution_alone: ratios((kernel) => kernel.wall_ms),
    geometric_mean_limits_off: ratios((kernel) => kernel.limits_off_ms ?? NaN),
    geometric_mean_isolated_vm: ratios((kernel) => kernel.ms["isolated-vm"] ?? NaN),
    geometric_mean_node_vm: ratios((kernel) => kernel.ms["node-vm"] ?? NaN),
    geometric_mean_go_quoted: geometricMean(of.map((kernel) => kernel.go_over_quickjs_quoted)),
    ahead_of_go: of.filter((kernel) => kernel.ahead_of_go).length,
    bare_fresh_ms: floor("fresh"),
    bare_warm_ms: floor("warm"),
  };
}
