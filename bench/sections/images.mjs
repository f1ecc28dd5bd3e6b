// What a template with libraries and a startup file costs its later sessions beside an empty one.
// Invariant: the first session of each template is made before anything is timed, and sessions of
// both are made in turn.
import fs from "node:fs";
import path from "node:path";
import { Daemon, RESIDENT } from "../lib/daemon.mjs";
import { perRuntime, pssKib } from "../lib/machine.mjs";
import { output } from "../lib/processes.mjs";
import { median, percentile } from "../lib/stats.mjs";

const LIBRARIES = ["lodash", "moment", "ramda", "dayjs", "axios"];

/** It uses what was loaded, reads no clock and draws nothing. */
const STARTUP = `const row = (n) => ({ n, square: n * n, name: "row " + n });
globalThis.table = _.range(1000).map(row);
globalThis.total = R.sum(R.pluck("square", table));
`;

export async function run(context) {
  const { sizes } = context;
  const folder = context.folder("images");
  const libraries = path.join(folder, "libraries");
  context.progress("installing libraries");
  await output(context.binary, ["libs", "download", ...LIBRARIES, "--library-dir", libraries], {
    cwd: folder,
    timeoutMs: 300_000,
  });
  const args = ["--library-dir", libraries, ...RESIDENT(4 * sizes.imageResident + 500)];
  const daemon = await Daemon.start({ ...context.daemon(folder), args });
  try {
    fs.writeFileSync(path.join(daemon.worktree, "startup.js"), STARTUP);
    const installed = (await daemon.libraries())
      .filter(({ id }) => LIBRARIES.includes(id))
      .map(({ id, installed: [version] }) => `${id}-${version}`);
    const templates = {
      empty: await daemon.template(),
      loaded: await daemon.template({ libraries: installed, startupFiles: ["startup.js"] }),
    };
    const figures = { libraries: installed };
    for (const [name, template] of Object.entries(templates)) {
      const { value, ms } = await daemon.create(template);
      figures[name] = { first_create_ms: ms };
      await daemon.closeSession(value.id);
    }
    const p50s = { empty: [], loaded: [] };
    for (let round = 0; round < sizes.rounds; round++) {
      context.progress(`round ${round + 1} of ${sizes.rounds}`);
      for (const [name, template] of Object.entries(templates)) {
        const { p50, startup } = await creates(daemon, template, sizes.imageCreates);
        p50s[name].push(p50);
        figures[name].startup = startup;
      }
    }
    for (const [name, template] of Object.entries(templates)) {
      await daemon.populate(template, 8);
      const before = pssKib(daemon.pid);
      await daemon.populate(template, sizes.imageResident);
      figures[name].kib_each = perRuntime(before, pssKib(daemon.pid), sizes.imageResident);
      figures[name].create_p50 = median(p50s[name]);
    }
    figures.create_ratio = figures.loaded.create_p50 / figures.empty.create_p50;
    figures.memory_ratio =
      figures.loaded.kib_each === null ? null : figures.loaded.kib_each / figures.empty.kib_each;
    return figures;
  } finally {
    await daemon.stop();
  }
}

async function creates(daemon, template, count) {
  const [samples, ids] = [[], []];
  let startup = "unknown";
  for (let index = 0; index < count; index++) {
    const { value, ms } = await daemon.create(template);
    samples.push(ms);
    ids.push(value.id);
    startup = value.runtime_meta?.startup ?? startup;
  }
  for (const id of ids) {
    await daemon.closeSession(id);
  }
  return { p50: percentile(samples, 50), startup };
}
