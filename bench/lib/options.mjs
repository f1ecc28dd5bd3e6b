// The command line, and how much is measured. Invariant: a wrong flag ends the run before anything
// was built, installed or started.
import { parseArgs } from "node:util";

/** In the order in which they run. */
export const SECTIONS = ["boot", "http", "runtimes", "memory", "kernels", "flat", "images"];

const HELP = `bench/run [OPTIONS]

Builds vm-system, installs its peers into a temporary folder, runs the same work on all in turn, and
writes results.md, results.json and results.svg.

  --quick              everything smaller; only prints, unless --out is given
  --only A,B           of ${SECTIONS.join(", ")}; only prints, unless --out is given
  --rounds N           rounds in which all take their turns (5; quick: 2)
  --binary PATH        measure this vm-system; nothing is built
  --commit-floor PATH  a program that is given a folder and prints
                       {"p50_ms":0.4,"p99_ms":0.9}: a bare commit of the same bytes
  --bare-kernels PATH  a program that is given kernel files and prints {"fib":23.1,...}: best
                       milliseconds without limits; "fresh" and "warm" too, if it has them
  --peers-dir DIR      install the peers here and keep them, for the next run
  --no-peers           only vm-system
  --tmp DIR            where temporary folders are made: on the disk that is to be measured
  --out DIR            where results are written (bench/)
  --render FILE        only write the table and the chart of a results.json again
  --help`;

const FULL = {
  rounds: 5,
  fdatasync: 200,
  health: 1000,
  create: 400,
  repl: 1500,
  crowdSeconds: 4,
  fresh: 60,
  warm: 1000,
  residentSessions: 1000,
  residentPeers: 100,
  firstStarts: 3,
  warmStarts: 5,
  flatLive: 5000,
  flatFew: 10,
  flatExecutions: 1000,
  flatRequests: 300,
  imageCreates: 100,
  imageResident: 100,
};

const QUICK = {
  rounds: 2,
  fdatasync: 50,
  health: 100,
  create: 60,
  repl: 150,
  crowdSeconds: 1,
  fresh: 10,
  warm: 200,
  residentSessions: 100,
  residentPeers: 20,
  firstStarts: 1,
  warmStarts: 3,
  flatLive: 500,
  flatFew: 10,
  flatExecutions: 50,
  flatRequests: 50,
  imageCreates: 15,
  imageResident: 20,
};

/** @returns options, or null when the help was asked for and printed. */
export function readOptions(argv) {
  const { values } = parseArgs({
    args: argv,
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      rounds: { type: "string" },
      binary: { type: "string" },
      "commit-floor": { type: "string" },
      "bare-kernels": { type: "string" },
      "peers-dir": { type: "string" },
      "no-peers": { type: "boolean", default: false },
      tmp: { type: "string" },
      out: { type: "string" },
      render: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return null;
  }
  const only = values.only ? values.only.split(",") : SECTIONS;
  const unknown = only.filter((name) => !SECTIONS.includes(name));
  if (unknown.length > 0) {
    throw new Error(`no section is called ${unknown.join(", ")}; there are ${SECTIONS.join(", ")}`);
  }
  const sizes = { ...(values.quick ? QUICK : FULL) };
  if (values.rounds !== undefined) {
    sizes.rounds = Number(values.rounds);
    if (!Number.isInteger(sizes.rounds) || sizes.rounds < 1 || sizes.rounds > 100) {
      throw new Error("--rounds is a whole number from 1 to 100");
    }
  }
  return {
    quick: values.quick,
    sections: SECTIONS.filter((name) => only.includes(name)),
    sizes,
    binary: values.binary,
    commitFloor: values["commit-floor"],
    bareKernels: values["bare-kernels"],
    peersDir: values["peers-dir"],
    withPeers: !values["no-peers"],
    tmp: values.tmp,
    out: values.out,
    partial: values.quick || only !== SECTIONS,
    render: values.render,
  };
}
