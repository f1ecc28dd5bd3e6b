// How long from starting the process to the first 200 of /health. Invariant: the first start has an
// empty cache and an empty data folder; a warm one finds what the first left.
import path from "node:path";
import { Daemon } from "../lib/daemon.mjs";
import { Workerd } from "../lib/peers.mjs";
import { median } from "../lib/stats.mjs";

export async function run(context) {
  const { sizes } = context;
  const starts = { first: [], warm: [], workerd: [] };
  const warm = path.join(context.tmp, "warm-start");
  await startOnce(context.daemon(warm));
  for (let round = 0; round < Math.max(sizes.firstStarts, sizes.warmStarts); round++) {
    if (round < sizes.firstStarts) {
      const folder = context.folder("first-start");
      const cacheDir = path.join(folder, "cache");
      starts.first.push(await startOnce({ binary: context.binary, folder, cacheDir }));
    }
    if (round < sizes.warmStarts) {
      starts.warm.push(await startOnce(context.daemon(warm)));
      await context.withPeer("workerd", async () => {
        const workerd = await Workerd.start(context.peersDir);
        await workerd.stop();
        starts.workerd.push(workerd.startMs);
      });
    }
  }
  return {
    first_start_ms: median(starts.first),
    warm_start_ms: median(starts.warm),
    workerd_start_ms: starts.workerd.length > 0 ? median(starts.workerd) : null,
  };
}

async function startOnce(options) {
  const daemon = await Daemon.start(options);
  await daemon.stop();
  return daemon.startMs;
}
