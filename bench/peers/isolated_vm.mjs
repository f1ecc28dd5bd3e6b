// isolated-vm: a V8 isolate for each runtime, with a memory limit. Invariant: dropping one disposes
// of its isolate at once.
const MEMORY_MIB = 512;

export function engine(require) {
  const ivm = require("isolated-vm");
  return {
    make() {
      const isolate = new ivm.Isolate({ memoryLimit: MEMORY_MIB });
      const context = isolate.createContextSync();
      return {
        evaluate: (source) => context.evalSync(source),
        drop: () => isolate.dispose(),
      };
    },
  };
}
