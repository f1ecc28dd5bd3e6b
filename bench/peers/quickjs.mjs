// quickjs-emscripten: QuickJS in WebAssembly, run by V8. Invariant: `isolated` gives each runtime a
// WebAssembly module and memory of its own; in `shared` all are in one memory, and a fault of the
// engine in one reaches the others.

/** Never read. */
let held = null;

function runtimeIn(module) {
  const runtime = module.newRuntime();
  const context = runtime.newContext();
  return {
    evaluate(source) {
      const handle = context.unwrapResult(context.evalCode(source));
      const value = context.dump(handle);
      handle.dispose();
      return value;
    },
    drop() {
      context.dispose();
      runtime.dispose();
    },
  };
}

export async function isolated(require) {
  const { newQuickJSWASMModule } = require("quickjs-emscripten");
  // While one lives, V8 has the compiled code of all; what it optimized is not lost between rounds.
  held = await newQuickJSWASMModule();
  return { make: async () => runtimeIn(await newQuickJSWASMModule()) };
}

export async function shared(require) {
  const { newQuickJSWASMModule } = require("quickjs-emscripten");
  const module = await newQuickJSWASMModule();
  return { make: () => runtimeIn(module) };
}
