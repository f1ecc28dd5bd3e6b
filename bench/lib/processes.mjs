// The processes and the temporary folder of this run. Invariant: whatever way the run ends, each
// process that it started is told to end by its own id, and its folder is removed.
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const TMPFS = 0x01021994;
const running = new Set();
let folder = null;

/** Temporary files lie on a disk, so that what is durable costs what it costs. */
export function makeFolder(wanted, beside) {
  let parent = wanted ?? os.tmpdir();
  if (wanted === undefined && fs.statfsSync(parent).type === TMPFS) {
    fs.mkdirSync(beside, { recursive: true });
    parent = beside;
  }
  folder = fs.mkdtempSync(path.join(path.resolve(parent), "vm-bench-"));
  return folder;
}

export function onMemoryFileSystem(directory) {
  return fs.statfsSync(directory).type === TMPFS;
}

/** Has `child` ended with this run, at the latest. */
export function track(child) {
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}

/** Ends a process that this run started: in order, and after `graceMs` at once. */
export async function end(child, graceMs = 20_000) {
  if (child.exitCode !== null || child.signalCode !== null) {
    return;
  }
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), graceMs);
  await gone;
  clearTimeout(timer);
}

/** Runs a program to its end. @returns its stdout; throws what it said first if it fails or is late. */
export function output(command, args, { timeoutMs, echo = false, ...options }) {
  return new Promise((resolve, reject) => {
    const stderr = echo ? "inherit" : "pipe";
    const child = track(spawn(command, args, { ...options, stdio: ["ignore", "pipe", stderr] }));
    let [out, err] = ["", ""];
    child.stdout.on("data", (chunk) => (out += chunk));
    child.stderr?.on("data", (chunk) => (err = (err + chunk).slice(0, 4000)));
    const timer = setTimeout(() => {
      err = `it took longer than ${timeoutMs / 1000} s`;
      child.kill("SIGKILL");
    }, timeoutMs);
    child.once("error", (error) => {
      clearTimeout(timer);
      running.delete(child);
      reject(error);
    });
    child.once("close", (code) => {
      clearTimeout(timer);
      const name = path.basename(command);
      if (code === 0) {
        resolve(out);
      } else {
        const words = err
          .split("\n")
          .filter((line) => line.trim() && !/log of this run/.test(line));
        reject(new Error(`${name} ended with ${code}: ${words.slice(0, 2).join("; ")}`));
      }
    });
  });
}

export async function within(promise, timeoutMs, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: no answer in ${timeoutMs} ms`)), timeoutMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export async function cleanUp() {
  await Promise.all([...running].map((child) => end(child, 5_000)));
  if (folder !== null) {
    fs.rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    folder = null;
  }
}

/** For the end by a signal, where nothing can be waited for. */
export function cleanUpAtOnce() {
  for (const child of running) {
    child.kill("SIGKILL");
  }
  if (folder !== null) {
    fs.rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}
