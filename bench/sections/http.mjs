// Durable requests over HTTP beside what the disk takes. Invariant: in each round all take their
// turn, the disk first, between and last, so that ratios are of the same minutes.
import { Connection } from "../lib/http_client.mjs";
import { Daemon, RESIDENT } from "../lib/daemon.mjs";
import { commitFloor, fdatasync } from "../lib/machine.mjs";
import { ofRounds, summarize } from "../lib/stats.mjs";
import * as byWrk from "../lib/wrk.mjs";

const CROWD = 16;

export async function run(context) {
  const { sizes } = context;
  const folder = context.folder("http");
  const daemon = await Daemon.start({ ...context.daemon(folder), args: RESIDENT(1000) });
  const wrk = await byWrk.hasWrk();
  const rounds = {
    append: [],
    overwrite: [],
    floor: [],
    store: [],
    health: [],
    create: [],
    create_wrk: [],
    repl: [],
    repl_wrk: [],
    crowd: [],
  };
  try {
    const template = await daemon.template();
    const sessions = await daemon.populate(template, CROWD);
    const disk = async () => {
      rounds.append.push(fdatasync(folder, sizes.fdatasync, { append: true }));
      rounds.overwrite.push(fdatasync(folder, sizes.fdatasync, { append: false }));
      if (context.commitFloor) {
        const { bare, store } = await commitFloor(context.commitFloor, folder);
        rounds.floor.push(bare);
        if (store !== null) {
          rounds.store.push(store);
        }
      }
    };
    await warmUp(daemon, template, sessions[0]);
    for (let round = 0; round < sizes.rounds; round++) {
      context.progress(`round ${round + 1} of ${sizes.rounds}`);
      await disk();
      rounds.health.push(await times(sizes.health, () => daemon.health()));
      rounds.create.push(await creates(daemon, template, sizes.create));
      if (wrk) {
        rounds.create_wrk.push(await byWrk.creates(daemon, template, 1));
        await daemon.closeAllBut(sessions);
      }
      await disk();
      rounds.repl.push(await times(sizes.repl, () => daemon.repl(sessions[0], "1+1")));
      if (wrk) {
        rounds.repl_wrk.push(await byWrk.repls(daemon, sessions.slice(0, 1), 2));
      }
      rounds.crowd.push(
        wrk
          ? await byWrk.repls(daemon, sessions, sizes.crowdSeconds)
          : await crowdByNode(daemon, sessions, sizes.repl),
      );
    }
    await disk();
  } finally {
    await daemon.stop();
  }
  const figures = Object.fromEntries(
    Object.entries(rounds).map(([name, of]) => [name, of.length > 0 ? ofRounds(of) : null]),
  );
  return { ...figures, crowd_clients: CROWD, crowd_client: wrk ? "wrk" : "Node" };
}

/** What no round should pay for: code that V8 and the daemon see for the first time. */
async function warmUp(daemon, template, session) {
  await times(200, () => daemon.health());
  await times(100, () => daemon.repl(session, "1+1"));
  await creates(daemon, template, 20);
}

async function times(count, work) {
  const samples = [];
  for (let index = 0; index < count; index++) {
    samples.push((await work()).ms);
  }
  return summarize(samples);
}

/** Sessions are made, timed; and closed again, not timed. */
async function creates(daemon, template, count) {
  const ids = [];
  const figures = await times(count, async () => {
    const made = await daemon.create(template);
    ids.push(made.value.id);
    return made;
  });
  for (const id of ids) {
    await daemon.closeSession(id);
  }
  return figures;
}

async function crowdByNode(daemon, sessions, each) {
  const samples = [];
  const from = performance.now();
  await Promise.all(
    sessions.map(async (session) => {
      const connection = await Connection.open(daemon.port);
      for (let index = 0; index < each; index++) {
        samples.push((await daemon.repl(session, "1+1", connection)).ms);
      }
      connection.close();
    }),
  );
  const seconds = (performance.now() - from) / 1000;
  return { ...summarize(samples), per_second: samples.length / seconds };
}
