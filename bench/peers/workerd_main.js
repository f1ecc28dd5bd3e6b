// The worker that the runner asks. `/fresh` runs `1+1` in a new isolate, `/hold/ID` in the one of
// this id, and anything else answers without one. Invariant: an answer has a Content-Length.
const CODE = {
  compatibilityDate: "2025-07-01",
  mainModule: "main.js",
  modules: {
    "main.js": "export default { fetch() { return new Response(String(1 + 1)); } };",
  },
  globalOutbound: null,
};

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    let worker = null;
    if (pathname === "/fresh") {
      worker = env.LOADER.load(CODE);
    } else if (pathname.startsWith("/hold/")) {
      worker = env.LOADER.get(pathname, () => CODE);
    }
    if (worker === null) {
      return new Response("ok");
    }
    const answer = await worker.getEntrypoint().fetch(request);
    return new Response(await answer.text());
  },
};
