//! Health, the summary of live sessions, and the catalogues of what templates may name.

use crate::libraries;
use crate::server::App;
use crate::server::answer::{Answer, Answered};
use crate::wire::{CatalogueEntry, Health, RuntimeSummary};
use vm_host::{Summary, catalogue};

pub(super) async fn health() -> Answer {
    Answer::ok(&Health { status: "ok".to_owned() })
}

pub(super) async fn summary(app: App) -> Answered {
    let _reading = app.reads.acquire().await;
    let Summary { live_sessions, live_session_ids } = app.host.summary().await?;
    Ok(Answer::ok(&RuntimeSummary {
        active_sessions: live_sessions,
        active_session_ids: live_session_ids,
    }))
}

pub(super) async fn engines() -> Answer {
    let engines: Vec<_> = catalogue::ENGINES.iter().map(CatalogueEntry::engine).collect();
    Answer::ok(&engines)
}

pub(super) async fn modules() -> Answer {
    let modules = catalogue::MODULES.iter().map(|entry| CatalogueEntry::grant(entry, "module"));
    let others =
        catalogue::CAPABILITIES.iter().map(|(kind, entry)| CatalogueEntry::grant(entry, kind));
    Answer::ok(&modules.chain(others).collect::<Vec<_>>())
}

pub(super) async fn libraries(app: App) -> Answered {
    let installed = app.host.libraries_installed().await?;
    Ok(Answer::ok(&libraries::catalogue(&installed)))
}
