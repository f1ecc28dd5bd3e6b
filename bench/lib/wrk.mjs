// Clients by `wrk`, where it is installed: it takes less of the processors that the server needs than
// Node does. Invariant: one thread, one connection and one body a client.
import fs from "node:fs";
import path from "node:path";
import { output } from "./processes.mjs";

export async function hasWrk() {
  // Without arguments it prints how it is used, and ends with 1.
  return output("wrk", ["--version"], { timeoutMs: 5_000 }).then(
    () => true,
    (error) => error.code !== "ENOENT",
  );
}

/** One round of `1+1` by as many clients as there are sessions. Latencies are in ms. */
export function repls(daemon, sessions, seconds) {
  const bodies = sessions.map((session_id) => ({ session_id, input: "1+1" }));
  return posts(daemon, "executions/repl", bodies, seconds);
}

/** One round of new sessions by one client; they are left open. */
export function creates(daemon, template, seconds) {
  return posts(daemon, "sessions", [daemon.sessionRequest(template)], seconds);
}

async function posts(daemon, route, bodies, seconds) {
  const script = path.join(daemon.folder, "posts.lua");
  fs.writeFileSync(script, lua(bodies));
  const count = `${bodies.length}`;
  const url = `http://127.0.0.1:${daemon.port}/api/v1/${route}`;
  const args = ["-t", count, "-c", count, "-d", `${seconds}s`, "-s", script, url];
  const said = await output("wrk", args, { timeoutMs: (seconds + 30) * 1000 });
  const figures = JSON.parse(/^FIGURES (.*)$/m.exec(said)[1]);
  if (figures.errors > 0) {
    throw new Error(`${figures.errors} of ${figures.requests} requests failed`);
  }
  return {
    p50: figures.p50_us / 1000,
    p99: figures.p99_us / 1000,
    per_second: figures.requests / (figures.duration_us / 1e6),
    samples: figures.requests,
  };
}

function lua(bodies) {
  return `local bodies = { ${bodies.map((body) => `[==[${JSON.stringify(body)}]==]`).join(", ")} }
local threads = 0
function setup(thread)
  threads = threads + 1
  thread:set("body", bodies[threads])
end
function init(args)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.body = body
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'FIGURES {"p50_us":%d,"p99_us":%d,"requests":%d,"duration_us":%d,"errors":%d}\\n',
    latency:percentile(50), latency:percentile(99), summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
`;
}
