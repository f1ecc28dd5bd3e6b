// What this machine is and what its disk costs. Invariant: nothing here names the machine: classes
// and counts, no host name and no path.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { output } from "./processes.mjs";
import { summarize } from "./stats.mjs";

const FILE_SYSTEMS = new Map([
  [0xef53, "ext4"],
  [0x58465342, "xfs"],
  [0x9123683e, "btrfs"],
  [0x01021994, "tmpfs"],
  [0x794c7630, "overlayfs"],
  [0x2fc12fc1, "zfs"],
]);

export function machineClass(folder) {
  const [cpu] = os.cpus();
  return {
    cpu: cpu?.model.trim() ?? "unknown",
    cores: os.cpus().length,
    ram_gib: Math.round(os.totalmem() / 2 ** 30),
    kernel: `${os.type()} ${os.release()}`,
    file_system: FILE_SYSTEMS.get(fs.statfsSync(folder).type) ?? "unknown",
    node: process.version,
    load_before: Number(os.loadavg()[0].toFixed(2)),
  };
}

/** One round of `count` times 4 KiB and fdatasync: appended, or where the file has room already. */
export function fdatasync(folder, count, { append }) {
  const file = path.join(folder, "fdatasync");
  const block = Buffer.alloc(4096, 1);
  const fd = fs.openSync(file, "w");
  if (!append) {
    fs.writeSync(fd, Buffer.alloc(4096 * count, 2));
    fs.fsyncSync(fd);
  }
  const samples = [];
  for (let index = 0; index < count; index++) {
    const from = performance.now();
    fs.writeSync(fd, block, 0, block.length, index * block.length);
    fs.fdatasyncSync(fd);
    samples.push(performance.now() - from);
  }
  fs.closeSync(fd);
  fs.rmSync(file);
  return summarize(samples);
}

/**
 * One round of the program of `--commit-floor`. It prints `{"p50_ms","p99_ms"}` of a bare commit, or
 * calls that `bare_commit_ms`, and may have the same of the store's under `store`.
 * @returns `{bare, store}`, each `{p50, p99}` in ms; `store` may be null.
 */
export async function commitFloor(program, folder) {
  const inside = fs.mkdtempSync(path.join(folder, "floor-"));
  try {
    const said = JSON.parse(await output(program, [inside], { timeoutMs: 120_000 }));
    const of = (figures) => ({
      p50: figures.p50_ms ?? figures.p50,
      p99: figures.p99_ms ?? figures.p99,
      per_second: null,
      samples: 0,
    });
    return { bare: of(said.bare_commit_ms ?? said), store: said.store ? of(said.store) : null };
  } finally {
    fs.rmSync(inside, { recursive: true, force: true });
  }
}

/** The proportional share of memory of a process, in KiB; null where the kernel does not say. */
export function pssKib(pid) {
  try {
    const match = /^Pss:\s+(\d+) kB/m.exec(fs.readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"));
    return match ? Number(match[1]) : null;
  } catch {
    return null;
  }
}

/** KiB that `count` runtimes added to a process; null if either was not measured. */
export function perRuntime(before, after, count) {
  return before === null || after === null ? null : (after - before) / count;
}
