// Memory of a runtime that ran one line: what many of them add to their process's PSS, each.
// Invariant: one runtime was made and used before the first reading, so that what is there once is
// not counted.
import { Daemon, RESIDENT } from "../lib/daemon.mjs";
import { perRuntime, pssKib } from "../lib/machine.mjs";
import { PEERS, startPeer } from "../lib/peers.mjs";

export async function run(context) {
  const { sizes } = context;
  const figures = { "vm-system": await sessions(context, sizes.residentSessions) };
  for (const { key } of PEERS) {
    await context.withPeer(key, async () => {
      context.progress(key);
      const peer = await startPeer(key, context.peersDir);
      try {
        await peer.ask("hold", { count: 1 });
        const before = pssKib(peer.pid);
        await peer.ask("hold", { count: sizes.residentPeers });
        const kib = perRuntime(before, pssKib(peer.pid), sizes.residentPeers);
        figures[key] = { kib_each: kib, runtimes: sizes.residentPeers, process_kib: before };
      } finally {
        await peer.stop();
      }
    });
  }
  return figures;
}

async function sessions(context, count) {
  const folder = context.folder("memory");
  const daemon = await Daemon.start({ ...context.daemon(folder), args: RESIDENT(count + 100) });
  try {
    const template = await daemon.template();
    await daemon.populate(template, 8);
    const before = pssKib(daemon.pid);
    await daemon.populate(template, count);
    const after = pssKib(daemon.pid);
    const { held } = (await daemon.stats()).sessions;
    if (held < count) {
      throw new Error(`only ${held} of ${count} sessions are in memory`);
    }
    return { kib_each: perRuntime(before, after, count), runtimes: count, process_kib: before };
  } finally {
    await daemon.stop();
  }
}
