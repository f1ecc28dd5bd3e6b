// The chart of the results, as SVG. Invariant: it brings its own background, so that it reads the
// same on a light and on a dark page, and what was not measured is left out.
import { kib, ms } from "./figures.mjs";
import { PEERS } from "./peers.mjs";

const WIDTH = 860;
const LABEL = 250;
const RIGHT = 90;
const WIDE = { bar: 16, row: 24, close: 18 };
const THIN = { bar: 10, row: 18, close: 11 };
const INSIDE = WIDTH - LABEL - RIGHT - 40;

const STYLE = `
  .card { fill: #ffffff; stroke: #d0d7de; }
  .title { font: 600 15px sans-serif; fill: #1f2328; }
  .note { font: 12px sans-serif; fill: #59636e; }
  .label { font: 13px sans-serif; fill: #1f2328; }
  .value { font: 12px sans-serif; fill: #59636e; }
  .small { font: 10px sans-serif; fill: #59636e; }
  .line { stroke: #59636e; stroke-width: 1; stroke-dasharray: 3 3; }
  .ours { fill: #0969da; }
  .bare { fill: #80b8ff; }
  .peer { fill: #afb8c1; }
  .quoted { fill: #d4a72c; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #3d444d; }
    .title, .label { fill: #f0f6fc; }
    .note, .value, .small { fill: #9198a1; }
    .line { stroke: #9198a1; }
    .ours { fill: #4493f8; }
    .bare { fill: #1f5fae; }
    .peer { fill: #656c76; }
    .quoted { fill: #9e6a03; }
  }
`;

export function chart(results) {
  const panels = [durable(results), fresh(results), memory(results), compute(results)];
  let y = 28;
  const parts = [];
  for (const panel of panels.filter((each) => each.rows.length > 0)) {
    parts.push(drawn(panel, y));
    y += heightOf(panel);
  }
  const { machine, date } = results;
  const foot =
    `${date}, ${machine.cores} cores of ${machine.cpu}, ${machine.file_system}; ` +
    "medians of alternated rounds, kernels best of them";
  parts.push(text(24, y, "note", foot));
  const height = y + 20;
  const size = `viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}"`;
  const about = "Benchmarks of vm-system beside its peers";
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" aria-label="${about}">
<style>${STYLE}</style>
<rect class="card" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="8"/>
${parts.join("\n")}
</svg>
`;
}

function durable({ sections }) {
  const of = sections.http;
  const rows = of
    ? [
        ["fdatasync after 4 KiB, appended", of.append, "peer"],
        ["a bare two-phase commit of redb", of.floor, "peer"],
        ["1+1, one client", of.repl, "ours"],
        ["new session, one client", of.create, "ours"],
        [`1+1, ${of.crowd_clients} clients at once`, of.crowd, "ours"],
      ]
    : [];
  return {
    title: "Durable requests over HTTP, beside the disk",
    note: "p50, linear; less is better",
    rows: rows
      .filter(([, figures]) => figures)
      .map(([label, figures, look]) => ({
        label,
        look,
        value: figures.p50,
        shown: ms(figures.p50),
      })),
  };
}

function fresh({ sections }) {
  const rows = [];
  const of = sections.runtimes ?? {};
  if (of["vm-system"]) {
    const { p50 } = of["vm-system"].fresh;
    rows.push({ label: "vm-system, HTTP, durable", look: "ours", value: p50 });
  }
  if (sections.kernels?.bare_fresh_ms) {
    rows.push({
      label: "vm-system, in process, no commit",
      look: "ours",
      value: sections.kernels.bare_fresh_ms,
    });
  }
  for (const peer of PEERS.filter(({ key }) => of[key]?.fresh)) {
    rows.push({ label: short(peer.key), look: "peer", value: of[peer.key].fresh.p50 });
  }
  return {
    title: "A new runtime, its first 1+1, and its end",
    note: "p50, logarithmic; less is better. Peers are neither durable nor metered",
    log: true,
    rows: rows.map((row) => ({ ...row, shown: ms(row.value) })),
  };
}

function memory({ sections }) {
  const of = sections.memory ?? {};
  const rows = [{ key: "vm-system" }, ...PEERS]
    .filter(({ key }) => of[key]?.kib_each > 0)
    .map(({ key }) => ({
      label: key === "vm-system" ? "vm-system" : short(key),
      look: key === "vm-system" ? "ours" : "peer",
      value: of[key].kib_each,
      shown: kib(of[key].kib_each),
    }));
  return { title: "Memory that one more runtime takes", note: "PSS, linear; less is better", rows };
}

function compute({ sections }) {
  const of = sections.kernels;
  const rows = [];
  for (const [name, kernel] of Object.entries(of?.kernels ?? {})) {
    const quickjs = kernel.ms["quickjs-module"];
    if (!quickjs) {
      continue;
    }
    const bars = [
      ["ours", kernel.over_quickjs],
      ["bare", kernel.limits_off_ms && kernel.limits_off_ms / quickjs],
      ["quoted", kernel.go_over_quickjs_quoted],
    ].filter(([, ratio]) => ratio);
    for (const [index, [look, value]] of bars.entries()) {
      const label = index === 0 ? name : "";
      rows.push({ label, look, value, shown: `${value.toFixed(2)}x`, close: index > 0 });
    }
  }
  return {
    title: "Compute: time over quickjs-emscripten's, which is the line at 1",
    note: "linear; less is better",
    legend: [
      ["ours", "metered and durable"],
      ["bare", "no limits, no commits"],
      ["quoted", "Go daemon, quoted, not run"],
    ].filter(([look]) => rows.some((row) => row.look === look)),
    thin: true,
    line: 1,
    rows,
  };
}

function short(key) {
  const names = {
    workerd: "workerd, HTTP",
    "quickjs-module": "quickjs-emscripten, a module",
    "quickjs-runtime": "quickjs-emscripten, shared module",
    "node-vm": "Node's vm (isolates nothing)",
  };
  return names[key] ?? key;
}

const sizeOf = (panel) => (panel.thin ? THIN : WIDE);

/** Bars that belong to the one above stand closer to it. */
const stepOf = (panel, row) => (row.close ? sizeOf(panel).close : sizeOf(panel).row);

function heightOf(panel) {
  return 72 + panel.rows.reduce((sum, row) => sum + stepOf(panel, row), 0);
}

function drawn(panel, top) {
  const { bar } = sizeOf(panel);
  const most = Math.max(...panel.rows.map((row) => row.value));
  const least = Math.min(...panel.rows.map((row) => row.value));
  // A logarithmic bar begins a part of a decade below the least, so that this has a length too.
  const from = 10 ** Math.floor(Math.log10(least) - 0.2);
  const length = (value) =>
    panel.log ? (INSIDE * Math.log(value / from)) / Math.log(most / from) : (INSIDE * value) / most;
  const left = LABEL + 24;
  const parts = [text(24, top, "title", panel.title), text(24, top + 18, "note", panel.note)];
  for (const [index, [look, label]] of (panel.legend ?? []).entries()) {
    const x = left + index * 165;
    parts.push(
      `<rect class="${look}" x="${x}" y="${top + 9}" width="10" height="10" rx="2"/>`,
      text(x + 16, top + 18, "note", label),
    );
  }
  let y = top + 34;
  const first = y;
  for (const [index, row] of panel.rows.entries()) {
    y += index === 0 ? 0 : stepOf(panel, row);
    const width = Math.max(1, length(row.value)).toFixed(1);
    const base = y + bar / 2 + 4;
    parts.push(
      text(left - 10, base, "label", row.label, "end"),
      `<rect class="${row.look}" x="${left}" y="${y}" width="${width}" height="${bar}" rx="2"/>`,
      text(left + Number(width) + 8, base, panel.thin ? "small" : "value", row.shown),
    );
  }
  if (panel.line) {
    const x = (left + length(panel.line)).toFixed(1);
    parts.push(`<line class="line" x1="${x}" x2="${x}" y1="${first - 6}" y2="${y + bar + 6}"/>`);
  }
  return parts.join("\n");
}

function text(x, y, style, content, anchor = "start") {
  const escaped = content.replace(/&/g, "&amp;").replace(/</g, "&lt;");
  const at = `x="${x.toFixed(1)}" y="${y}" text-anchor="${anchor}"`;
  return `<text class="${style}" ${at}>${escaped}</text>`;
}
