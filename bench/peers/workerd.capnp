# workerd with one worker, which loads others by its Worker Loader. Invariant: loopback alone.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "main", worker = .main)],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);

const main :Workerd.Worker = (
  modules = [(name = "workerd_main.js", esModule = embed "workerd_main.js")],
  compatibilityDate = "2025-07-01",
  compatibilityFlags = ["experimental"],
  bindings = [(name = "LOADER", workerLoader = (id = "bench"))],
);
