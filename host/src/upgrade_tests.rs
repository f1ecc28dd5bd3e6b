//! Sessions of one version under the next: each goes on in the guest that it was made with.
//!
//! Inside the crate, because a host of another guest is none that callers can make.

use crate::{GuestError, Host, HostError, HostOptions, SessionRequest, Source, test_cache_dir};
use std::path::Path;
use vm_storage::{SessionId, Storage, StorageOptions, Template};

/// The guest of another version: the same but for a section that says so, and so another hash.
fn other_guest() -> Vec<u8> {
    let name = b"another version";
    let mut guest = vm_guest::wasm().to_vec();
    let length = |bytes: usize| u8::try_from(bytes).unwrap();
    guest.extend([0, length(name.len() + 1), length(name.len())]);
    guest.extend(name);
    guest
}

async fn start(folder: &Path, guest: Vec<u8>) -> Host {
    let (storage, _) = Storage::open(&folder.join("vm.redb"), StorageOptions::default()).unwrap();
    let options = HostOptions {
        cache_dir: Some(test_cache_dir()),
        guest_dir: Some(folder.join("guests")),
        ..HostOptions::new(folder.join("libraries"))
    };
    Host::of_guest(guest.into(), storage, options).await.unwrap()
}

async fn stop(host: Host) {
    host.shutdown(std::future::ready(())).await.unwrap();
}

async fn session(host: &Host, folder: &Path) -> SessionId {
    let template = Template::new("upgrade");
    let request = SessionRequest {
        template_id: template.id,
        workspace_id: "upgrade".to_owned(),
        base_commit_oid: "none".to_owned(),
        worktree_path: folder.display().to_string(),
    };
    host.storage().create_template(template).await.unwrap();
    host.create_session(request, None).await.unwrap().id
}

async fn run(host: &Host, session: SessionId, input: &str) -> Result<String, HostError> {
    let source = Source::Repl { input: input.to_owned() };
    let finished = host.execute(session, source, None).await?;
    Ok(finished.execution.result.expect("it gives a value").preview)
}

fn guests(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("guests")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_in_its_own_guest_after_an_upgrade() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let before = start(folder, other_guest()).await;
    let old = session(&before, folder).await;
    run(&before, old, "var n = 0; const next = () => ++n; next()").await.unwrap();
    let bound = before.engine().guest.binding.clone();
    stop(before).await;

    let after = start(folder, vm_guest::wasm().to_vec()).await;
    assert_ne!(after.engine().guest.binding.guest, bound.guest);
    assert_eq!(after.engine().guest.binding.image, bound.image);
    let new = session(&after, folder).await;
    assert_eq!(run(&after, old, "next()").await.unwrap(), "2");
    assert_eq!(run(&after, new, "typeof next").await.unwrap(), "'undefined'");
    assert_eq!(after.storage().session(old).unwrap().unwrap().engine, Some(bound.clone()));
    assert_eq!(guests(folder), 2);
    stop(after).await;

    // Without it the session is refused, and is what it was once it is back.
    let kept = folder.join("guests").join(format!("{}.wasm", bound.guest));
    std::fs::rename(&kept, folder.join("moved")).unwrap();
    let after = start(folder, vm_guest::wasm().to_vec()).await;
    let refused = run(&after, old, "next()").await.unwrap_err();
    let missing = GuestError::Missing { hash: bound.guest };
    assert!(
        matches!(&refused, HostError::GuestUnavailable { source, .. } if *source == missing),
        "{refused}"
    );
    std::fs::rename(folder.join("moved"), &kept).unwrap();
    assert_eq!(run(&after, old, "next()").await.unwrap(), "3");
    // A file of its name that is another is never run.
    assert!(after.hibernate(old));
    stop(after).await;
    std::fs::write(&kept, vm_guest::wasm()).unwrap();
    let after = start(folder, vm_guest::wasm().to_vec()).await;
    let refused = run(&after, old, "next()").await.unwrap_err();
    assert!(
        matches!(refused, HostError::GuestUnavailable { source: GuestError::Unusable { .. }, .. }),
        "{refused}"
    );
    stop(after).await;
}
