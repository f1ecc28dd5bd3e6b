// Whether size costs time: creating a session and `1+1` beside few sessions and many, in an empty
// database and in one of many events. Invariant: the three daemons are asked in turn, in another
// order each round, so that none always pays for what the same other left to the disk.
import { Connection } from "../lib/http_client.mjs";
import { Daemon, RESIDENT } from "../lib/daemon.mjs";
import { median, percentile, rotated } from "../lib/stats.mjs";

/** With the echo of the input and the value, 1,001 events. */
const MANY_EVENTS = "for (let i = 0; i < 999; i++) console.log(i)";

export async function run(context) {
  const { sizes } = context;
  const daemons = {};
  const p50s = {};
  const start = async (name) => {
    const args = RESIDENT(sizes.flatLive + 1000);
    daemons[name] = await Daemon.start({ ...context.daemon(context.folder(name)), args });
    const template = await daemons[name].template();
    p50s[name] = { create: [], repl: [] };
    return { daemon: daemons[name], template };
  };
  const figures = {};
  try {
    const setups = {
      few: await start("few"),
      many: await start("many"),
      events: await start("events"),
    };
    context.progress(`${sizes.flatLive} sessions`);
    await setups.few.daemon.populate(setups.few.template, sizes.flatFew);
    await setups.many.daemon.populate(setups.many.template, sizes.flatLive);
    context.progress(`${sizes.flatExecutions} executions of a thousand events`);
    await fill(setups.events, sizes);
    for (const [name, { daemon }] of Object.entries(setups)) {
      const { sessions, storage } = await daemon.stats();
      figures[name] = { live_sessions: sessions.live, events: storage.events };
    }
    for (const setup of Object.values(setups)) {
      setup.session = (await setup.daemon.create(setup.template)).value.id;
      await round(setup, 20);
    }
    for (let index = 0; index < sizes.rounds; index++) {
      context.progress(`round ${index + 1} of ${sizes.rounds}`);
      for (const [name, setup] of rotated(Object.entries(setups), index)) {
        const { create, repl } = await round(setup, sizes.flatRequests);
        p50s[name].create.push(create);
        p50s[name].repl.push(repl);
      }
    }
  } finally {
    for (const daemon of Object.values(daemons)) {
      await daemon.stop();
    }
  }
  for (const [name, of] of Object.entries(p50s)) {
    Object.assign(figures[name], { create_p50: median(of.create), repl_p50: median(of.repl) });
    figures[name].p50s = of;
  }
  for (const name of ["many", "events"]) {
    figures[name].create_ratio = figures[name].create_p50 / figures.few.create_p50;
    figures[name].repl_ratio = figures[name].repl_p50 / figures.few.repl_p50;
  }
  return figures;
}

async function fill({ daemon, template }, sizes) {
  const sessions = await daemon.populate(template, sizes.flatFew);
  let left = sizes.flatExecutions;
  await Promise.all(
    sessions.map(async (session) => {
      const connection = await Connection.open(daemon.port);
      while (left-- > 0) {
        await daemon.repl(session, MANY_EVENTS, connection);
      }
      connection.close();
    }),
  );
}

/** @returns p50s in ms; the sessions are closed again, not timed. */
async function round({ daemon, template, session }, count) {
  const [creates, repls, ids] = [[], [], []];
  for (let index = 0; index < count; index++) {
    const { value, ms } = await daemon.create(template);
    creates.push(ms);
    ids.push(value.id);
  }
  for (const id of ids) {
    await daemon.closeSession(id);
  }
  for (let index = 0; index < count; index++) {
    repls.push((await daemon.repl(session, "1+1")).ms);
  }
  return { create: percentile(creates, 50), repl: percentile(repls, 50) };
}
