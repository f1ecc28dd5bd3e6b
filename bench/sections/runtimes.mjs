// A new runtime, its first `1+1` and its end; and `1+1` in one that is warm: vm-system's sessions
// and the peers' isolates in turn. Invariant: each process lives through all rounds.
import { Daemon, RESIDENT } from "../lib/daemon.mjs";
import { PEERS, startPeer } from "../lib/peers.mjs";
import { ofRounds, rotated, summarize } from "../lib/stats.mjs";

export async function run(context) {
  const { sizes } = context;
  const engines = new Map();
  const rounds = {};
  try {
    engines.set("vm-system", await VmSystem.start(context));
    for (const { key } of PEERS) {
      await context.withPeer(key, async () =>
        engines.set(key, await startPeer(key, context.peersDir)),
      );
    }
    for (const [key, engine] of engines) {
      rounds[key] = { fresh: [], warm: [], empty: [] };
      await engine.ask("fresh", { count: 3 });
      await engine.ask("warm", { count: 50 });
    }
    for (let round = 0; round < sizes.rounds; round++) {
      context.progress(`round ${round + 1} of ${sizes.rounds}`);
      for (const [key, engine] of rotated([...engines], round)) {
        const asks = { fresh: sizes.fresh, warm: sizes.warm };
        if (key === "vm-system" || key === "workerd") {
          asks.empty = sizes.fresh;
        }
        await context.withPeer(key, async () => {
          for (const [what, count] of Object.entries(asks)) {
            rounds[key][what].push(summarize(await engine.ask(what, { count })));
          }
        });
      }
    }
  } finally {
    for (const engine of engines.values()) {
      await engine.stop();
    }
  }
  const figures = {};
  for (const [key, of] of Object.entries(rounds)) {
    const some = (what) => (of[what].length > 0 ? ofRounds(of[what]) : null);
    figures[key] = { fresh: some("fresh"), warm: some("warm"), empty: some("empty") };
  }
  return figures;
}

/** A daemon that answers the questions a peer does. */
class VmSystem {
  static async start(context) {
    const system = new VmSystem();
    const folder = context.folder("runtimes");
    system.daemon = await Daemon.start({ ...context.daemon(folder), args: RESIDENT(100) });
    system.template = await system.daemon.template();
    system.session = (await system.daemon.create(system.template)).value.id;
    return system;
  }

  async ask(what, { count }) {
    const samples = [];
    for (let index = 0; index < count; index++) {
      samples.push(await this[what]());
    }
    return samples;
  }

  async fresh() {
    const made = await this.daemon.create(this.template);
    const ran = await this.daemon.repl(made.value.id, "1+1");
    const closed = await this.daemon.closeSession(made.value.id);
    return made.ms + ran.ms + closed.ms;
  }

  async warm() {
    return (await this.daemon.repl(this.session, "1+1")).ms;
  }

  async empty() {
    return (await this.daemon.health()).ms;
  }

  stop() {
    return this.daemon.stop();
  }
}
