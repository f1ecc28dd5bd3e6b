// A `vm-system serve` of this run, and the requests that sections make of it. Invariant: it listens
// on a free loopback port, and everything it keeps is in the folder it was given.
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { Connection } from "./http_client.mjs";
import { end, track, within } from "./processes.mjs";

const START_TIMEOUT_MS = 120_000;
const API = "/api/v1";

/** Sessions stay in memory, and are not put to rest while others are measured. */
export const RESIDENT = (sessions) => [
  "--max-resident",
  `${sessions}`,
  "--idle-hibernate",
  "86400",
];

export class Daemon {
  /**
   * @param options.binary the vm-system
   * @param options.folder where it keeps everything
   * @param options.cacheDir of compiled code; one that is kept makes the next start warm
   */
  static async start({ binary, folder, cacheDir, args = [] }) {
    fs.mkdirSync(path.join(folder, "worktree"), { recursive: true });
    const env = {
      PATH: process.env.PATH,
      HOME: folder,
      XDG_CACHE_HOME: folder,
      VM_SYSTEM_CACHE_DIR: cacheDir,
    };
    const flags = ["serve", "--log", "error", "--listen", "127.0.0.1:0", "--db", "vm.redb"];
    const from = performance.now();
    const child = track(
      spawn(binary, [...flags, ...args], { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] }),
    );
    const port = await within(listening(child), START_TIMEOUT_MS, "vm-system serve");
    const connection = await Connection.open(port);
    await connection.expect(200, "GET", `${API}/health`);
    return new Daemon(child, port, connection, folder, performance.now() - from);
  }

  constructor(child, port, connection, folder, startMs) {
    Object.assign(this, { child, port, connection, folder, startMs });
    this.worktree = path.join(folder, "worktree");
  }

  get pid() {
    return this.child.pid;
  }

  /** @returns the id of a new template. `settings` as the API has them. */
  async template({ settings, libraries = [], startupFiles = [] } = {}) {
    const { value } = await this.connection.expect(201, "POST", `${API}/templates`, {
      name: "bench",
    });
    const at = `${API}/templates/${value.id}`;
    if (settings !== undefined) {
      await this.connection.expect(200, "PATCH", at, { settings });
    }
    for (const name of libraries) {
      await this.#created(`${at}/libraries`, { name });
    }
    for (const file of startupFiles) {
      await this.#created(`${at}/startup-files`, { path: file });
    }
    return value.id;
  }

  async #created(at, body) {
    const answer = await this.connection.request("POST", at, body);
    if (answer.status !== 200 && answer.status !== 201) {
      throw new Error(`POST ${at} answered ${answer.status}: ${answer.text.slice(0, 300)}`);
    }
  }

  sessionRequest(template) {
    return {
      template_id: template,
      workspace_id: "bench",
      base_commit_oid: "none",
      worktree_path: this.worktree,
    };
  }

  /** @returns `{value: the session, ms}`. */
  create(template, connection = this.connection) {
    return connection.expect(201, "POST", `${API}/sessions`, this.sessionRequest(template));
  }

  /** @returns `{value: the execution, ms}`; throws when it did not end well. */
  async repl(session, input, connection = this.connection) {
    const body = { session_id: session, input };
    const answer = await connection.expect(201, "POST", `${API}/executions/repl`, body);
    if (answer.value.status !== "ok") {
      throw new Error(
        `a snippet ended as ${answer.value.status}: ${JSON.stringify(answer.value.error)}`,
      );
    }
    return answer;
  }

  closeSession(session, connection = this.connection) {
    return connection.expect(200, "DELETE", `${API}/sessions/${session}`);
  }

  /** Closes the sessions that are ready, but these. */
  async closeAllBut(kept) {
    const keep = new Set(kept);
    for (;;) {
      const at = `${API}/sessions?status=ready&limit=500`;
      const { value } = await this.connection.expect(200, "GET", at);
      const ids = value.map(({ id }) => id).filter((id) => !keep.has(id));
      if (ids.length === 0) {
        return;
      }
      for (const id of ids) {
        await this.closeSession(id);
      }
    }
  }

  /** Without work: what a round trip, this client and the server's HTTP cost. */
  health() {
    return this.connection.expect(200, "GET", `${API}/health`);
  }

  async stats() {
    return (await this.connection.expect(200, "GET", `${API}/ops/stats`)).value;
  }

  async libraries() {
    return (await this.connection.expect(200, "GET", `${API}/metadata/libraries`)).value;
  }

  /** Many sessions, each of which ran a line, made by eight clients at once. @returns their ids. */
  async populate(template, count, line = "var line = 1 + 1; line") {
    const ids = [];
    let left = count;
    const client = async () => {
      const connection = await Connection.open(this.port);
      while (left-- > 0) {
        const { value } = await this.create(template, connection);
        await this.repl(value.id, line, connection);
        ids.push(value.id);
      }
      connection.close();
    };
    await Promise.all(Array.from({ length: 8 }, client));
    return ids;
  }

  async stop() {
    this.connection.close();
    await end(this.child);
  }
}

/** @returns the port, once the daemon said that it accepts. */
function listening(child) {
  return new Promise((resolve, reject) => {
    let [out, err] = ["", ""];
    child.stdout.on("data", (chunk) => {
      out += chunk;
      const match = /listening on http:\/\/127\.0\.0\.1:(\d+)\n/.exec(out);
      if (match) {
        resolve(Number(match[1]));
      }
    });
    child.stderr.on("data", (chunk) => (err = (err + chunk).slice(-2000)));
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`vm-system serve ended with ${code}: ${err}`)));
  });
}
