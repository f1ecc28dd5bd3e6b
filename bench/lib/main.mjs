// The run: builds, installs, has each section measure, writes what they found. Invariant: a section
// that fails is a reason in the results, and what follows runs.
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { chart } from "./chart.mjs";
import { machineClass } from "./machine.mjs";
import { readOptions } from "./options.mjs";
import { install, PEERS, versions } from "./peers.mjs";
import { cleanUp, cleanUpAtOnce, makeFolder, onMemoryFileSystem, output } from "./processes.mjs";
import { markdown } from "./report.mjs";

const BENCH = fileURLToPath(new URL("../", import.meta.url));
const REPOSITORY = path.dirname(path.dirname(path.join(BENCH, "x")));
const BUILD_TIMEOUT_MS = 3_600_000;

const say = (text) => process.stderr.write(`${text}\n`);

export async function main(argv) {
  let options;
  try {
    options = readOptions(argv);
  } catch (error) {
    say(`bench: ${error.message}`);
    process.exitCode = 2;
    return;
  }
  if (options === null) {
    return;
  }
  if (options.render) {
    const results = JSON.parse(fs.readFileSync(options.render, "utf8"));
    write(results, options.out ?? path.dirname(options.render));
    return;
  }
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.once(signal, () => {
      cleanUpAtOnce();
      process.exit(130);
    });
  }
  try {
    const results = await measure(options);
    console.log(markdown(results));
    const out = options.out ?? (options.partial ? null : BENCH);
    if (out !== null) {
      write(results, out);
    }
    process.exitCode = Object.values(results.failed).length > 0 ? 1 : 0;
  } catch (error) {
    say(`bench: ${error.message}`);
    process.exitCode = 1;
  } finally {
    await cleanUp();
  }
}

function write(results, out) {
  fs.mkdirSync(out, { recursive: true });
  fs.writeFileSync(path.join(out, "results.json"), `${JSON.stringify(results, null, 2)}\n`);
  fs.writeFileSync(path.join(out, "results.md"), markdown(results));
  fs.writeFileSync(path.join(out, "results.svg"), chart(results));
}

async function measure(options) {
  const began = Date.now();
  const programs = await build(options);
  const tmp = makeFolder(options.tmp, path.join(REPOSITORY, "target"));
  if (onMemoryFileSystem(tmp)) {
    say("bench: the temporary folder is in memory, where fdatasync costs nothing; see --tmp");
  }
  const context = new Context(options, programs, tmp);
  if (options.withPeers) {
    say("== installing the peers");
    await install(context.peersDir).catch((error) => context.loseAll(reason(error, context)));
  } else {
    context.loseAll("left out by --no-peers");
  }
  const results = {
    date: new Date().toISOString().slice(0, 10),
    quick: options.quick,
    rounds: options.sizes.rounds,
    machine: machineClass(tmp),
    versions: {
      "vm-system": (await output(programs.binary, ["--version"], { timeoutMs: 10_000 })).trim(),
      ...versions(context.peersDir),
      node: process.version,
    },
    sections: {},
    failed: {},
    lost: context.lost,
  };
  for (const name of options.sections) {
    context.section = name;
    say(`== ${name}`);
    const from = Date.now();
    try {
      const { run } = await import(`../sections/${name}.mjs`);
      results.sections[name] = await run(context);
      say(`   ${((Date.now() - from) / 1000).toFixed(0)} s`);
    } catch (error) {
      results.failed[name] = reason(error, context);
      say(`   failed: ${results.failed[name]}`);
    }
  }
  results.seconds = Math.round((Date.now() - began) / 1000);
  return results;
}

/** @returns the programs: those that were named, and otherwise builds of this repository. */
async function build(options) {
  const programs = {
    binary: options.binary && path.resolve(options.binary),
    commitFloor: options.commitFloor && path.resolve(options.commitFloor),
    bareKernels: options.bareKernels && path.resolve(options.bareKernels),
  };
  if (options.binary) {
    return programs;
  }
  const cargo = async (...what) => {
    say(`== cargo build --release --locked ${what.join(" ")}`);
    const args = ["build", "--release", "--locked", ...what];
    await output("cargo", args, { cwd: REPOSITORY, timeoutMs: BUILD_TIMEOUT_MS, echo: true });
  };
  const target = path.resolve(REPOSITORY, process.env.CARGO_TARGET_DIR ?? "target", "release");
  const example = async (name, crate, ...flags) => {
    if (!fs.existsSync(path.join(REPOSITORY, crate, "examples", `${name}.rs`))) {
      return undefined;
    }
    await cargo("-p", `vm-${crate}`, "--example", name, ...flags);
    return path.join(target, "examples", name);
  };
  await cargo();
  programs.binary = path.join(target, "vm-system");
  programs.commitFloor ??= await example("commit_floor", "storage");
  programs.bareKernels ??= await example("bare_kernels", "host", "--features", "bench");
  return programs;
}

/** An error in one line, without the paths and hosts of this machine. */
function reason(error, context) {
  return String(error.message ?? error)
    .split("\n")[0]
    .replaceAll(context.tmp, "TMP")
    .replaceAll(REPOSITORY, ".")
    .replace(/https?:\/\/\S+/g, "URL")
    .replace(/(^|[\s'"(])\/[\w./+@-]+/g, "$1PATH")
    .slice(0, 200);
}

/** What sections are given. */
class Context {
  /** Why a peer has no figures, by its key. */
  lost = {};
  #folders = 0;

  constructor(options, programs, tmp) {
    Object.assign(this, programs);
    this.sizes = options.sizes;
    this.tmp = tmp;
    this.peersDir = options.peersDir ? path.resolve(options.peersDir) : path.join(tmp, "peers");
    this.cacheDir = path.join(tmp, "cache");
  }

  /** A new folder for a daemon. */
  folder(name) {
    const folder = path.join(this.tmp, `${name}-${this.#folders++}`);
    fs.mkdirSync(folder);
    return folder;
  }

  /** What a daemon is started with; the compiled guest is shared by all. */
  daemon(folder) {
    return { binary: this.binary, folder, cacheDir: this.cacheDir };
  }

  /** Does something with a peer, unless it is lost; if that fails, it is. */
  async withPeer(key, work) {
    if (this.lost[key] !== undefined) {
      return;
    }
    try {
      await work();
    } catch (error) {
      if (key === "vm-system") {
        throw error;
      }
      this.lost[key] = reason(error, this);
      say(`   ${key}: ${this.lost[key]}`);
    }
  }

  /** No package could be installed; what Node has itself is left. */
  loseAll(why) {
    for (const peer of PEERS) {
      if (peer.package !== null || why.startsWith("left out")) {
        this.lost[peer.key] = why;
      }
    }
  }

  progress(text) {
    say(`   ${text}`);
  }
}
