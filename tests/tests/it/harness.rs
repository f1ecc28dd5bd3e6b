//! What every test starts from: a folder of its own, a daemon of its own.

mod daemon;
mod folder;

pub(crate) use daemon::{Caller, Daemon, Reply, raw, reply_of};
pub(crate) use folder::{Ended, Folder};

/// The root of the project.
pub(crate) fn project() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
