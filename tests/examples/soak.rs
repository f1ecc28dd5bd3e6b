//! A daemon under hostile load for as long as one likes:
//!
//! ```text
//! cargo build --release
//! cargo run --release -p vm-tests --example soak -- 20 target/release/vm-system
//! ```
//!
//! runs the corpus of hostile scripts and ordinary snippets in sessions that come and go, cancels
//! and closes at random, and prints every minute what the daemon holds. It fails when an answer is
//! none of those that a client may get, when the daemon's memory or descriptors grow from the first
//! quarter to the last, or when the daemon does not end in order.
#![expect(clippy::unwrap_used, reason = "a soak may panic, and says where")]

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use vm_api::client::{Client, ClientError, NewRun, NewSession};
use vm_storage::{SessionFilter, SessionId, TemplateId};

const CLIENTS: u64 = 12;
const SESSIONS: usize = 40;
/// How often what the daemon holds is read.
const SAMPLE: Duration = Duration::from_secs(5);
/// How much more it may hold in the last quarter than in the first.
const GROWTH: f64 = 1.5;

/// What the clients share.
struct Soak {
    client: Client,
    template: TemplateId,
    worktree: PathBuf,
    scripts: Vec<String>,
    sessions: Vec<Mutex<Option<SessionId>>>,
    answered: AtomicU64,
    refused: AtomicU64,
}

/// What a process holds, as the kernel says.
#[derive(Clone, Copy)]
struct Sample {
    rss_mib: f64,
    descriptors: usize,
    threads: usize,
}

/// Numbers that differ from client to client.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

impl Soak {
    /// Takes an answer, or a refusal that a client has to expect here.
    fn accept<T>(&self, answer: Result<T, ClientError>) -> Option<T> {
        match answer {
            Ok(answer) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                Some(answer)
            }
            Err(ClientError::Refused(refusal))
                if matches!(
                    refusal.code.as_str(),
                    "SESSION_BUSY"
                        | "SESSION_NOT_READY"
                        | "OUTPUT_LIMIT_EXCEEDED"
                        | "CAPACITY_EXCEEDED"
                ) =>
            {
                self.refused.fetch_add(1, Ordering::Relaxed);
                None
            }
            Err(error) => panic!("an answer that no client may get: {error}"),
        }
    }

    async fn session(&self, index: usize) -> Option<SessionId> {
        let mut slot = self.sessions[index].lock().await;
        if slot.is_none() {
            let made = self.client.create_session(NewSession {
                template_id: self.template,
                workspace_id: "soak".to_owned(),
                base_commit_oid: "none".to_owned(),
                worktree_path: self.worktree.display().to_string(),
            });
            *slot = self.accept(made.await).map(|session| session.id);
        }
        *slot
    }

    async fn step(&self, numbers: &mut Numbers) {
        let index = numbers.below(SESSIONS);
        let Some(session) = self.session(index).await else { return };
        match numbers.below(20) {
            0..8 => {
                let path = self.scripts[numbers.below(self.scripts.len())].clone();
                let run = NewRun { path, args: serde_json::Map::new(), env: [].into() };
                self.accept(self.client.run_file(session, run).await);
            }
            8..15 => {
                let input = "var n = (globalThis.n ?? 0) + 1; console.log(n, { n }); [n]";
                self.accept(self.client.repl(session, input).await);
            }
            15..18 => {
                self.accept(self.client.cancel_running(session).await);
            }
            _ => {
                *self.sessions[index].lock().await = None;
                self.accept(self.client.close_session(session).await);
            }
        }
    }
}

fn sample(pid: u32) -> Sample {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| -> f64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
    let threads = field("Threads:") as usize;
    Sample { rss_mib: field("VmRSS:") / 1024.0, descriptors, threads }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Starts a daemon in a folder, and gives it with its address.
fn daemon(binary: &Path, folder: &Path) -> (Child, String) {
    let mut child = Command::new(binary)
        .args(["serve", "--listen", "127.0.0.1:0", "--log", "error", "--db"])
        .arg(folder.join("soak.redb"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim_end().trim_start_matches("listening on ").to_owned())
}

async fn template(client: &Client, url: &str) -> TemplateId {
    let template = client.create_template("soak", None, false).await.unwrap();
    let limits = r#"{"settings":{"limits":{"cpu_ms":100,"wall_ms":2000,"mem_mb":64,"max_events":200,"max_output_kb":64}}}"#;
    let url = format!("{url}/api/v1/templates/{}", template.id);
    let changed = tokio::task::spawn_blocking(move || {
        ureq::patch(url).header("content-type", "application/json").send(limits).unwrap().status()
    });
    assert_eq!(changed.await.unwrap(), 200);
    template.id
}

/// Copies the corpus into the worktree, and gives the names of its scripts.
fn scripts(worktree: &Path) -> Vec<String> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/hostile");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        std::fs::copy(&path, worktree.join(&name)).unwrap();
        names.push(name);
    }
    names.sort();
    names
}

/// Loads the daemon until `end`, and gives what it held meanwhile.
async fn load(soak: &Arc<Soak>, pid: u32, end: Instant) -> Vec<Sample> {
    let clients: Vec<_> = (0..CLIENTS)
        .map(|seed| {
            let soak = Arc::clone(soak);
            tokio::spawn(async move {
                let mut numbers = Numbers(seed);
                while Instant::now() < end {
                    soak.step(&mut numbers).await;
                }
            })
        })
        .collect();
    let (mut samples, begun, mut minutes) = (Vec::new(), Instant::now(), 0);
    while Instant::now() < end {
        tokio::time::sleep(SAMPLE).await;
        let now = sample(pid);
        samples.push(now);
        if begun.elapsed().as_secs() / 60 > minutes {
            minutes = begun.elapsed().as_secs() / 60;
            println!(
                "{minutes} min: {} answered, {} refused; {:.0} MiB, {} descriptors, {} threads",
                soak.answered.load(Ordering::Relaxed),
                soak.refused.load(Ordering::Relaxed),
                now.rss_mib,
                now.descriptors,
                now.threads,
            );
        }
    }
    for client in clients {
        client.await.unwrap();
    }
    samples
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let minutes: f64 = args.next().map_or(20.0, |minutes| minutes.parse().unwrap());
    let binary = args.next().unwrap_or_else(|| "target/release/vm-system".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let worktree = folder.path().join("worktree");
    std::fs::create_dir(&worktree).unwrap();
    let scripts = scripts(&worktree);
    let (mut child, url) = daemon(Path::new(&binary), folder.path());
    let client = Client::new(&url).unwrap();
    let template = template(&client, &url).await;
    let soak = Arc::new(Soak {
        client: client.clone(),
        template,
        worktree,
        scripts,
        sessions: (0..SESSIONS).map(|_| Mutex::new(None)).collect(),
        answered: AtomicU64::new(0),
        refused: AtomicU64::new(0),
    });
    println!("{} MiB before", sample(child.id()).rss_mib.round());
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let samples = load(&soak, child.id(), end).await;
    let quarter = samples.len().div_ceil(4);
    let of =
        |samples: &[Sample], what: fn(&Sample) -> f64| median(samples.iter().map(what).collect());
    let mut sound = true;
    for (name, what) in [
        ("MiB", (|sample| sample.rss_mib) as fn(&Sample) -> f64),
        ("descriptors", |sample| f64::from(u32::try_from(sample.descriptors).unwrap())),
    ] {
        let first = of(&samples[..quarter], what);
        let last = of(&samples[samples.len() - quarter..], what);
        println!("median {name}: {first:.0} in the first quarter, {last:.0} in the last");
        sound &= last <= first * GROWTH;
    }
    for session in client.sessions(&SessionFilter::default()).await.unwrap() {
        client.close_session(session.id).await.unwrap();
    }
    assert_eq!(client.summary().await.unwrap().active_sessions, 0);
    println!("{:.0} MiB after all sessions were closed", sample(child.id()).rss_mib);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let status = child.wait().unwrap();
    println!(
        "{} answered, {} refused; {status}",
        soak.answered.load(Ordering::Relaxed),
        soak.refused.load(Ordering::Relaxed)
    );
    if sound && status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
