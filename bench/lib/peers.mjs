// The peers: installed by npm at the versions of peers/package-lock.json, each in a process of its
// own. Invariant: one that cannot be installed or run is a reason in the table, and the rest go on.
import { fork, spawn } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Connection } from "./http_client.mjs";
import { end, output, track, within } from "./processes.mjs";

const HERE = fileURLToPath(new URL("../peers/", import.meta.url));
const INSTALL_TIMEOUT_MS = 900_000;
const ANSWER_TIMEOUT_MS = 180_000;

/** What is true of a peer as it is measured here. */
export const PEERS = [
  {
    key: "workerd",
    label: "workerd, Worker Loader, over HTTP",
    package: "workerd",
    isolated: "V8 isolate",
    limits: "none here",
    durable: "no",
  },
  {
    key: "isolated-vm",
    label: "isolated-vm, in process",
    package: "isolated-vm",
    isolated: "V8 isolate",
    limits: "memory",
    durable: "no",
  },
  {
    key: "quickjs-module",
    label: "quickjs-emscripten, a module each, in process",
    package: "quickjs-emscripten",
    isolated: "Wasm memory",
    limits: "none here",
    durable: "no",
  },
  {
    key: "quickjs-runtime",
    label: "quickjs-emscripten, one module, in process",
    package: "quickjs-emscripten",
    isolated: "one Wasm memory for all",
    limits: "none here",
    durable: "no",
  },
  {
    key: "node-vm",
    label: "Node's vm, in process",
    package: null,
    isolated: "no",
    limits: "no",
    durable: "no",
  },
];

/** Installs what there is to install. @returns the folder with node_modules. */
export async function install(folder) {
  fs.mkdirSync(folder, { recursive: true });
  for (const file of ["package.json", "package-lock.json"]) {
    fs.copyFileSync(path.join(HERE, file), path.join(folder, file));
  }
  const stamp = path.join(folder, "installed-lock.json");
  const lock = fs.readFileSync(path.join(HERE, "package-lock.json"));
  if (fs.existsSync(stamp) && fs.readFileSync(stamp).equals(lock)) {
    return;
  }
  const args = ["ci", "--no-audit", "--no-fund", "--loglevel", "error"];
  await output("npm", args, { cwd: folder, timeoutMs: INSTALL_TIMEOUT_MS });
  fs.writeFileSync(stamp, lock);
}

/** @returns the versions that are installed, by package. */
export function versions(folder) {
  const found = {};
  for (const name of new Set(PEERS.map((peer) => peer.package).filter(Boolean))) {
    try {
      const manifest = path.join(folder, "node_modules", name, "package.json");
      found[name] = JSON.parse(fs.readFileSync(manifest, "utf8")).version;
    } catch {
      found[name] = null;
    }
  }
  return found;
}

/** A Node process with one engine in it. */
export class Peer {
  #asked = new Map();
  #next = 1;

  static async start(key, folder) {
    const child = track(
      fork(path.join(HERE, "child.mjs"), [key, folder], {
        // isolated-vm needs the first; the second lets memory be measured without garbage.
        execArgv: ["--no-node-snapshot", "--expose-gc"],
        stdio: ["ignore", "ignore", "ignore", "ipc"],
      }),
    );
    const peer = new Peer(child);
    await peer.ask("warm", { count: 1 });
    return peer;
  }

  constructor(child) {
    this.child = child;
    child.on("message", ({ id, value, error }) => {
      const { resolve, reject } = this.#asked.get(id);
      this.#asked.delete(id);
      error === undefined ? resolve(value) : reject(new Error(error));
    });
    child.on("exit", (code, signal) => this.#fail(`its process ended with ${code ?? signal}`));
    child.on("error", (error) => this.#fail(error.message));
  }

  get pid() {
    return this.child.pid;
  }

  #fail(why) {
    for (const { reject } of this.#asked.values()) {
      reject(new Error(why));
    }
    this.#asked.clear();
  }

  ask(what, rest = {}) {
    const id = this.#next++;
    const answer = new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject }));
    this.child.send({ id, ask: what, ...rest });
    return within(answer, ANSWER_TIMEOUT_MS, what);
  }

  stop() {
    return end(this.child);
  }
}

/** workerd in a process of its own, asked over HTTP with the client that asks vm-system. */
export class Workerd {
  static async start(folder) {
    const require = createRequire(path.join(folder, "package.json"));
    const program = require("workerd").default;
    const from = performance.now();
    const args = ["serve", "--experimental", "--control-fd=3", path.join(HERE, "workerd.capnp")];
    const child = track(spawn(program, args, { stdio: ["ignore", "ignore", "ignore", "pipe"] }));
    const port = await within(listening(child), 30_000, "workerd");
    const connection = await Connection.open(port);
    const workerd = new Workerd(child, connection);
    await workerd.#get("/");
    workerd.startMs = performance.now() - from;
    return workerd;
  }

  constructor(child, connection) {
    Object.assign(this, { child, connection });
  }

  get pid() {
    return this.child.pid;
  }

  async #get(at) {
    const { status, text, ms } = await this.connection.request("GET", at);
    if (status !== 200) {
      throw new Error(`workerd answered ${status}: ${text.slice(0, 200)}`);
    }
    return ms;
  }

  /** The same questions as a `Peer` answers. */
  async ask(what, { count }) {
    const at = {
      empty: () => "/",
      fresh: () => "/fresh",
      warm: () => "/hold/warm",
      hold: (n) => `/hold/${n}`,
    };
    const times = [];
    for (let index = 0; index < count; index++) {
      times.push(await this.#get(at[what](index)));
    }
    return times;
  }

  async stop() {
    this.connection.close();
    await end(this.child);
  }
}

function listening(child) {
  return new Promise((resolve, reject) => {
    let said = "";
    child.stdio[3].on("data", (chunk) => {
      said += chunk;
      const match = /"event":"listen".*"port":(\d+)/.exec(said);
      if (match) {
        resolve(Number(match[1]));
      }
    });
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`workerd ended with ${code}`)));
  });
}

export function startPeer(key, folder) {
  return key === "workerd" ? Workerd.start(folder) : Peer.start(key, folder);
}
