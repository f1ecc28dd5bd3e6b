// The results as Markdown. Invariant: it is made of results.json alone, and what was not measured
// says so, with the reason if there is one.
import { count, kib, ms, table, times } from "./figures.mjs";
import { PEERS } from "./peers.mjs";

const NOT = "not measured";

export function markdown(results) {
  const { sections, machine } = results;
  const lines = [
    "# Benchmarks",
    "",
    `${results.date}, ${machine.cores} cores of ${machine.cpu}, ${machine.ram_gib} GiB, ` +
      `${machine.kernel}, ${machine.file_system}; load ${machine.load_before} before the run. ` +
      `${results.versions["vm-system"]}, ${versionList(results)}.`,
    "",
    `Medians of ${results.rounds} rounds in which all took their turns` +
      `${results.quick ? ", of a quick run: too few samples to quote" : ""}. ` +
      "Made by `bench/run`; `bench/README.md` says what a row means and what it does not.",
    "",
  ];
  for (const [name, part] of Object.entries({ http, runtimes, kernels, flat, images, boot })) {
    const measured = sections[name] !== undefined || (name === "runtimes" && sections.memory);
    if (measured) {
      lines.push(...part(results), "");
    } else if (results.failed[name]) {
      lines.push(`\`${name}\` was not measured: ${results.failed[name]}`, "");
    }
  }
  if (results.failed.memory) {
    lines.push(`\`memory\` was not measured: ${results.failed.memory}`, "");
  }
  for (const why of new Set(Object.values(results.lost))) {
    const keys = Object.keys(results.lost).filter((key) => results.lost[key] === why);
    lines.push(`${keys.map((key) => `\`${key}\``).join(", ")}: not measured, ${why}`, "");
  }
  return `${lines.join("\n").trimEnd()}\n`;
}

function versionList({ versions }) {
  return Object.entries(versions)
    .filter(([name, version]) => name !== "vm-system" && version)
    .map(([name, version]) => `${name} ${version.replace(/^v/, "")}`)
    .join(", ");
}

function http({ sections }) {
  const of = sections.http;
  const floor = of.floor?.p50;
  const row = (label, figures, by) => {
    if (!figures) {
      return [label, NOT, "", "", "", "", by];
    }
    const rate = figures.per_second ? count(figures.per_second) : "";
    const over = floor ? times(figures.p50 / floor) : "";
    const more = floor && figures.p50 > floor ? `+${ms(figures.p50 - floor)}` : "";
    return [label, ms(figures.p50), ms(figures.p99), rate, over, more, by];
  };
  return [
    "## Durable requests over HTTP, beside the disk",
    "",
    ...table(
      ["", "p50", "p99", "a second", "over a bare commit", "more than it", "asked by"],
      [
        row("fdatasync after 4 KiB, appended", of.append, ""),
        row("fdatasync after 4 KiB, in place", of.overwrite, ""),
        row("a bare two-phase commit of redb", of.floor, ""),
        row("the store's commit of a `1+1`, in process", of.store, ""),
        row("`GET /health`: HTTP and the client alone", of.health, "Node"),
        row("new session, one client", of.create, "Node"),
        row("new session, one client", of.create_wrk, "wrk"),
        row("`1+1`, one client", of.repl, "Node"),
        row("`1+1`, one client", of.repl_wrk, "wrk"),
        row(
          `\`1+1\`, ${of.crowd_clients} clients on ${of.crowd_clients} sessions`,
          of.crowd,
          of.crowd_client,
        ),
      ],
    ),
  ];
}

function runtimes({ sections, lost }) {
  const took = sections.runtimes ?? {};
  const memory = sections.memory ?? {};
  const row = (label, key, is) => {
    const { fresh, warm } = took[key] ?? {};
    const held = memory[key]?.kib_each;
    const why = lost[key] === undefined ? NOT : "no: see below";
    return [
      label,
      fresh ? ms(fresh.p50) : why,
      fresh ? ms(fresh.p99) : "",
      fresh ? count(fresh.per_second) : "",
      warm ? ms(warm.p50) : "",
      warm ? ms(warm.p99) : "",
      held === undefined || held === null ? NOT : kib(held),
      ...is,
    ];
  };
  const bare = sections.kernels;
  const rows = [
    row("**vm-system, over HTTP**", "vm-system", ["Wasm memory", "fuel, memory, time", "yes"]),
  ];
  if (bare?.bare_fresh_ms) {
    const warm = bare.bare_warm_ms;
    rows.push([
      "**vm-system, in process, no commit**",
      ms(bare.bare_fresh_ms),
      "",
      "",
      warm ? ms(warm) : "",
      "",
      "",
      "Wasm memory",
      "fuel, memory, time",
      "no",
    ]);
  }
  rows.push(
    ...PEERS.map((peer) => row(peer.label, peer.key, [peer.isolated, peer.limits, peer.durable])),
  );
  const sizes = ["vm-system", "quickjs-module"].map((key) => memory[key]?.runtimes);
  const empties = ["vm-system", "workerd"]
    .filter((key) => took[key]?.empty)
    .map((key) => `${ms(took[key].empty.p50)} of ${key}'s`);
  const notes = [];
  if (empties.length > 0) {
    notes.push(`A request without work takes ${empties.join(" and ")} milliseconds over HTTP.`);
  }
  if (sizes[0]) {
    const peers = sizes[1] ? `, for peers of ${sizes[1]}` : "";
    notes.push(
      `Memory is the PSS that one more runtime took, of ${count(sizes[0])} sessions that each ran ` +
        `a line${peers}.`,
    );
  }
  return [
    "## A new runtime, its first `1+1`, and its end; and `1+1` in a warm one",
    "",
    ...table(
      [
        "",
        "new p50",
        "p99",
        "a second",
        "warm p50",
        "p99",
        "memory each",
        "isolated by",
        "limits",
        "durable",
      ],
      rows,
    ),
    "",
    "Rows over HTTP pay for a round trip and rows in process do not; vm-system's new runtime is " +
      `three requests with three commits. ${notes.join(" ")}`,
  ];
}

function kernels({ sections }) {
  const of = sections.kernels;
  const time = (value) => (value === undefined || value === null ? NOT : ms(value));
  const rows = Object.entries(of.kernels).map(([name, kernel]) => [
    name,
    time(kernel.ms["vm-system"]),
    String(kernel.wall_ms),
    time(kernel.limits_off_ms),
    time(kernel.ms["quickjs-module"]),
    kernel.over_quickjs === null ? NOT : times(kernel.over_quickjs),
    times(kernel.go_over_quickjs_quoted),
    kernel.ahead_of_go === null ? NOT : kernel.ahead_of_go ? "yes" : "no",
    time(kernel.ms["isolated-vm"]),
    time(kernel.ms["node-vm"]),
    `${(kernel.fuel / 1e6).toFixed(0)} M`,
  ]);
  const ratio = (value) => (value === null ? NOT : times(value));
  rows.push([
    "geometric mean over quickjs-emscripten",
    ratio(of.geometric_mean_over_quickjs),
    ratio(of.geometric_mean_execution_alone),
    ratio(of.geometric_mean_limits_off),
    times(1),
    "",
    times(of.geometric_mean_go_quoted),
    `${of.ahead_of_go} of ${rows.length}`,
    ratio(of.geometric_mean_isolated_vm),
    ratio(of.geometric_mean_node_vm),
    "",
  ]);
  return [
    "## Compute, milliseconds, best of the rounds",
    "",
    ...table(
      [
        "",
        "vm-system",
        "execution alone",
        "limits off",
        "quickjs-emscripten",
        "over quickjs-emscripten",
        "Go, quoted",
        "ahead of Go",
        "isolated-vm",
        "Node's vm",
        "fuel",
      ],
      rows,
    ),
    "",
    "vm-system is metered and durable: its column is the best request less the best `1+1`, with the " +
      "commit of what the kernel left in memory; `execution alone` is its own `metrics.wall_ms`. " +
      "With limits off it runs in process, without fuel and commits. The Go daemon (goja) was not " +
      "run: its ratio over quickjs-emscripten is quoted from an earlier run, on another machine, " +
      "of kernels like these. isolated-vm and " +
      "Node's vm have V8's compiler.",
  ];
}

function flat({ sections }) {
  const of = sections.flat;
  const row = (name) => {
    const { live_sessions, events, create_p50, create_ratio, repl_p50, repl_ratio } = of[name];
    return [
      count(live_sessions),
      count(events),
      ms(create_p50),
      create_ratio === undefined ? "" : times(create_ratio),
      ms(repl_p50),
      repl_ratio === undefined ? "" : times(repl_ratio),
    ];
  };
  return [
    "## Beside many",
    "",
    ...table(
      ["live sessions", "events in the database", "new session p50", "ratio", "`1+1` p50", "ratio"],
      ["few", "many", "events"].map(row),
    ),
  ];
}

function images({ sections }) {
  const of = sections.images;
  const row = (label, figures) => [
    label,
    ms(figures.first_create_ms),
    ms(figures.create_p50),
    figures.kib_each === null ? NOT : kib(figures.kib_each),
    figures.startup,
  ];
  return [
    "## Sessions of a template with libraries",
    "",
    ...table(
      ["template", "first session", "later ones, p50", "memory each", "startup"],
      [
        row("empty", of.empty),
        row(`${of.libraries.join(", ")} and a startup file`, of.loaded),
        [
          "ratio",
          "",
          times(of.create_ratio),
          of.memory_ratio === null ? "" : times(of.memory_ratio),
          "",
        ],
      ],
    ),
  ];
}

function boot({ sections }) {
  const of = sections.boot;
  const rows = [
    ["vm-system, the first start: no cache, no data", ms(of.first_start_ms)],
    ["vm-system, a warm start", ms(of.warm_start_ms)],
    ["workerd, a warm start", of.workerd_start_ms === null ? NOT : ms(of.workerd_start_ms)],
  ];
  return ["## From starting the process to its first answer", "", ...table(["", "median"], rows)];
}
