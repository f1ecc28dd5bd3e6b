//! What a session and an execution cost, alone and with their commits.
//!
//! `cargo bench -p vm-host --features bench`. The figures are in ARCHITECTURE.md; compare two
//! rows of one run, not one row of two machines.

use criterion::{Criterion, criterion_group, criterion_main};
use std::path::PathBuf;
use vm_host::bare::BareEngine;
use vm_host::{Host, HostOptions, PageTracking, SessionRequest, Source};
use vm_storage::{Storage, StorageOptions, Template};

fn cache_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("modules")
}

fn repl() -> Source {
    Source::Repl { input: "1+1".to_owned() }
}

fn bare(criterion: &mut Criterion) {
    let tokio = tokio::runtime::Runtime::new().expect("a runtime starts");
    let engine =
        BareEngine::new(Some(cache_dir()), PageTracking::Kernel).expect("the engine starts");
    tokio.block_on(engine.learn());
    criterion.bench_function("new session + 1+1 + drop, no commit", |bencher| {
        bencher.to_async(&tokio).iter(async || {
            let mut runtime = engine.runtime().await.expect("the pool has room");
            runtime.evaluate("1+1").await
        });
    });
    let mut runtime = tokio.block_on(engine.runtime()).expect("the pool has room");
    criterion.bench_function("warm 1+1, no commit", |bencher| {
        bencher.iter(|| tokio.block_on(runtime.evaluate("1+1")));
    });
}

/// `1+1` as a transaction on heaps of several sizes: what its pages cost beside running it, on the
/// good path and when it is rolled back.
fn transactions(criterion: &mut Criterion) {
    let tokio = tokio::runtime::Runtime::new().expect("a runtime starts");
    for tracking in [PageTracking::Kernel, PageTracking::Comparison] {
        let engine = BareEngine::new(Some(cache_dir()), tracking).expect("the engine starts");
        for mib in [1, 16, 64] {
            let mut runtime = tokio.block_on(engine.runtime()).expect("the pool has room");
            let fill = format!(
                "var heap = []; for (let i = 0; i < {mib}; i++) heap.push(new Uint8Array(1 << 20).fill(i + 1))"
            );
            tokio.block_on(engine.transaction(&mut runtime, &fill));
            let (memory, kept) = runtime.bytes();
            println!("{mib} MiB of heap: memory of {memory} bytes, {kept} bytes to go back to");
            criterion.bench_function(&format!("{tracking:?}: 1+1, heap of {mib} MiB"), |bencher| {
                bencher.iter(|| tokio.block_on(engine.transaction(&mut runtime, "1+1")));
            });
            let touch = "var n = ~~globalThis.n + 1; heap[0].fill(n); 1+1";
            criterion.bench_function(
                &format!("{tracking:?}: a MiB changed, heap of {mib} MiB"),
                |bencher| {
                    bencher.iter(|| tokio.block_on(engine.transaction(&mut runtime, touch)));
                },
            );
            let mut slot = Some(runtime);
            criterion.bench_function(
                &format!("{tracking:?}: roll back, heap of {mib} MiB"),
                |bencher| {
                    bencher.iter(|| {
                        let runtime = slot.take().expect("put back below");
                        slot = Some(tokio.block_on(engine.roll_back(runtime)));
                    });
                },
            );
        }
    }
}

fn durable(criterion: &mut Criterion) {
    let tokio = tokio::runtime::Runtime::new().expect("a runtime starts");
    // Beside the build, so that the disk is the machine's and not a memory file system.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the folder is writable");
    let template = Template::new("bench");
    let request = SessionRequest {
        template_id: template.id,
        workspace_id: "bench".to_owned(),
        base_commit_oid: "none".to_owned(),
        worktree_path: folder.path().display().to_string(),
    };
    let host = tokio.block_on(async {
        let db = folder.path().join("vm.redb");
        let (storage, _) = Storage::open(&db, StorageOptions::default()).expect("a new file opens");
        let library_dir = folder.path().to_owned();
        let options = HostOptions {
            max_resident: 64,
            cache_dir: Some(cache_dir()),
            ..HostOptions::new(library_dir)
        };
        let host = Host::start(storage, options).await.expect("the host starts");
        host.storage().create_template(template).await.expect("it is new");
        host
    });
    let session = tokio.block_on(host.create_session(request.clone(), None)).expect("it starts");
    criterion.bench_function("warm 1+1, durable", |bencher| {
        bencher.to_async(&tokio).iter(async || {
            host.execute(session.id, repl(), None).await.expect("it ends").events.len()
        });
    });
    for mib in [1, 16, 64] {
        let session =
            tokio.block_on(host.create_session(request.clone(), None)).expect("it starts");
        let run = |input: String| {
            tokio.block_on(host.execute(session.id, Source::Repl { input }, None)).expect("it ends")
        };
        run(format!(
            "var heap = []; for (let i = 0; i < {mib}; i++) heap.push(new Uint8Array(1 << 20).fill(i + 1))"
        ));
        criterion.bench_function(&format!("durable 1+1, heap of {mib} MiB"), |bencher| {
            bencher.iter(|| run("1+1".to_owned()));
        });
        let touch = "var n = ~~globalThis.n + 1; heap[0].fill(n); 1+1";
        criterion.bench_function(
            &format!("durable: a MiB changed, heap of {mib} MiB"),
            |bencher| {
                bencher.iter(|| run(touch.to_owned()));
            },
        );
        criterion.bench_function(
            &format!("restore and 1+1, durable, heap of {mib} MiB"),
            |bencher| {
                bencher.iter(|| {
                    assert!(host.hibernate(session.id), "nothing runs in it");
                    run("1+1".to_owned())
                });
            },
        );
    }
    criterion.bench_function("restore and 1+1, durable, a heap of a few objects", |bencher| {
        bencher.to_async(&tokio).iter(async || {
            assert!(host.hibernate(session.id), "nothing runs in it");
            host.execute(session.id, repl(), None).await.expect("it ends").events.len()
        });
    });
    // Three commits: the session, the execution, the close.
    criterion.bench_function("new session + 1+1 + close, durable", |bencher| {
        bencher.to_async(&tokio).iter(async || {
            let session = host.create_session(request.clone(), None).await.expect("it starts");
            host.execute(session.id, repl(), None).await.expect("it ends");
            host.close_session(session.id).await.expect("it closes")
        });
    });
}

criterion_group!(benches, bare, transactions, durable);
criterion_main!(benches);
