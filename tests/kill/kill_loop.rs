//! A daemon that is killed over and over under load, each time at another moment; after each kill
//! another is started on the same database and asked for everything that was acknowledged.
//!
//! Sessions count: every execution that is kept adds one to a counter and writes it all over their
//! heaps, so that a heap that is not exactly the one of its last acknowledged execution, or of the
//! one that was on its way, gives itself away.
//!
//! Used by the test `api::kill` and by the example `kill`, which kills thousands of times.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use vm_api::client::{Client, ClientError, ListPart, NewSession};
use vm_api::wire::Execution;
use vm_storage::{
    Event, ExecutionErrorCode, ExecutionId, ExecutionStatus, SessionFilter, SessionId,
    SessionStatus, TemplateId,
};

/// Clients at one time, each with sessions of its own.
const CLIENTS: u64 = 6;
/// Sessions of one client.
const SESSIONS: usize = 3;
/// Milliseconds from the first request to the kill, at most.
const LONGEST_LIFE_MS: u64 = 250;
/// Acknowledged executions of earlier rounds that are asked for again in each.
const SAMPLE: usize = 40;

/// What sessions begin with.
const BEGIN: &str = "
    var n = 0, list = [], big = new Uint8Array(300000);
    class Box { #n = 0; add() { return ++this.#n } } const box = new Box();
    const steps = (function*() { for (let i = 1; ; i++) yield i })(); 0";

/// Adds one; gives what every part of the heap says the count is.
const COUNT: &str = "n++; list.push(n); [n, box.add(), steps.next().value, list.length].join()";
/// The same, and writes the count over 300,000 bytes.
const FILL: &str =
    "n++; list.push(n); big.fill(n); [n, box.add(), steps.next().value, list.length].join()";
/// The same, and throws it.
const THROW: &str =
    "n++; list.push(n); throw [n, box.add(), steps.next().value, list.length].join()";
/// The same, and takes so long that it is committed as running before.
const LINGER: &str = "console.log('lingers'); var end = Date.now() + 70; while (Date.now() < end);
    n++; list.push(n); [n, box.add(), steps.next().value, list.length].join()";
/// Changes everything, and is stopped: nothing of it stays.
const STOPPED: &str = "n += 7; list = []; big.fill(255); for (;;) console.log('x'.repeat(30000))";
/// What the heap holds, without changing it.
const PROBE: &str = "[n, list.length, list.every((v, i) => v === i + 1),
    big.every(v => v === big[0]), n === 0 || big[0] <= n % 256 || n > 255].join()";

/// How often, with what, and where.
pub(crate) struct KillLoop {
    /// The binary.
    pub(crate) binary: PathBuf,
    /// A folder that is empty.
    pub(crate) folder: PathBuf,
    /// Folder of compiled code, if not the user's.
    pub(crate) cache_dir: Option<PathBuf>,
    /// Kills.
    pub(crate) kills: u64,
    /// What the random numbers are made of.
    pub(crate) seed: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    /// Kills.
    pub(crate) kills: u64,
    /// Executions that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Executions that were found though nobody was told of them.
    pub(crate) unacknowledged_kept: u64,
    /// Executions found stopped.
    pub(crate) stopped: u64,
    /// Heaps that were compared.
    pub(crate) heaps: u64,
    /// The longest that a start took.
    pub(crate) slowest_start: Duration,
}

/// Numbers that are the same for the same seed.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What is known of one session.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// What it counted when it was last acknowledged.
    count: u64,
    /// Whether something that counts was asked for and not answered.
    is_asked: bool,
    end: End,
}

/// Whether a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    No,
    /// Asked for, and not answered.
    CloseAsked,
    Closed,
    PurgeAsked,
    Purged,
}

/// What one client was told.
#[derive(Default)]
struct Told {
    sessions: BTreeMap<SessionId, Known>,
    executions: Vec<(Execution, Vec<Event>)>,
}

/// A daemon of one round.
struct Running {
    child: Child,
    client: Client,
    took: Duration,
}

impl KillLoop {
    /// Kills and checks, and panics where something that was acknowledged is missing or half there.
    pub(crate) async fn run(&self, mut progress: impl FnMut(&Report)) -> Report {
        let (mut dice, mut report) = (Dice(self.seed), Report::default());
        let worktree = self.folder.join("worktree");
        std::fs::create_dir_all(&worktree).unwrap();
        let mut told = Told::default();
        let mut template = None;
        for round in 0..self.kills {
            let daemon = self.start(&mut dice);
            report.slowest_start = report.slowest_start.max(daemon.took);
            check(&daemon.client, &mut told, &mut dice, &mut report).await;
            let template = match template {
                Some(template) => template,
                None => *template.insert(make_template(&daemon.client).await),
            };
            let now = self.live(daemon, template, &worktree, &mut told, &mut dice).await;
            report.acknowledged += now.executions.len() as u64;
            told.executions.extend(now.executions);
            told.sessions.extend(now.sessions);
            report.kills = round + 1;
            progress(&report);
        }
        let daemon = self.start(&mut dice);
        check(&daemon.client, &mut told, &mut dice, &mut report).await;
        end(daemon);
        report
    }

    fn start(&self, dice: &mut Dice) -> Running {
        let idle = ["0", "1", "30"][usize::try_from(dice.below(3)).unwrap()];
        let resident = ["2", "8", "1000"][usize::try_from(dice.below(3)).unwrap()];
        let began = Instant::now();
        let mut command = Command::new(&self.binary);
        command.current_dir(&self.folder).args(["--db", "vm.redb", "serve", "--log", "warn"]);
        command.args(["--listen", "127.0.0.1:0", "--idle-hibernate", idle]);
        command.args(["--max-resident", resident, "--max-executions", "64"]);
        if let Some(cache_dir) = &self.cache_dir {
            command.env("VM_SYSTEM_CACHE_DIR", cache_dir);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").expect("the daemon starts");
        Running { client: Client::new(url).unwrap(), child, took: began.elapsed() }
    }

    /// Has clients work until the daemon is killed; gives what they were told.
    async fn live(
        &self,
        mut daemon: Running,
        template: TemplateId,
        worktree: &Path,
        told: &mut Told,
        dice: &mut Dice,
    ) -> Told {
        let live = told.sessions.iter().filter(|(_, known)| known.end == End::No);
        let mut sessions: Vec<_> = live.map(|(id, known)| (*id, *known)).collect();
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let keep = sessions.len().saturating_sub(SESSIONS);
            let client = Worker {
                client: daemon.client.clone(),
                template,
                worktree: worktree.to_owned(),
                sessions: sessions.split_off(keep),
                dice: Dice(dice.0 ^ (number + 1).wrapping_mul(0x1234_5678_9abc_def1)),
                told: Told::default(),
            };
            clients.spawn(client.work());
        }
        let micros = 1_000 + dice.below(LONGEST_LIFE_MS * 1_000);
        tokio::time::sleep(Duration::from_micros(micros)).await;
        daemon.child.kill().unwrap();
        daemon.child.wait().unwrap();
        let mut now = Told::default();
        while let Some(client) = clients.join_next().await {
            let client = client.unwrap();
            now.sessions.extend(client.sessions);
            now.executions.extend(client.executions);
        }
        now
    }
}

/// One client.
struct Worker {
    client: Client,
    template: TemplateId,
    worktree: PathBuf,
    sessions: Vec<(SessionId, Known)>,
    dice: Dice,
    told: Told,
}

impl Worker {
    /// Works until the daemon is gone.
    async fn work(mut self) -> Told {
        while self.step().await.is_some() {}
        self.told.sessions.extend(self.sessions);
        self.told
    }

    async fn step(&mut self) -> Option<()> {
        if self.sessions.len() < SESSIONS {
            return self.begin().await;
        }
        let index = usize::try_from(self.dice.below(SESSIONS as u64)).unwrap();
        let script = match self.dice.below(40) {
            0..20 => COUNT,
            20..26 => FILL,
            26..30 => THROW,
            30..32 => LINGER,
            32..36 => return self.stopped(index).await,
            36..38 => PROBE,
            38 => return self.finish(index, End::CloseAsked, End::Closed).await,
            _ => return self.finish(index, End::PurgeAsked, End::Purged).await,
        };
        let (id, known) = &mut self.sessions[index];
        let counts = script != PROBE;
        known.is_asked = counts;
        let mut execution = self.client.repl(*id, script).await.ok()?;
        known.is_asked = false;
        known.count += u64::from(counts);
        let said = said(&execution);
        if counts {
            let n = known.count;
            assert_eq!(said, format!("{n},{n},{n},{n}"), "session {id}");
        }
        let events = execution.events.take().unwrap();
        self.told.executions.push((execution, events));
        Some(())
    }

    /// Makes a session.
    async fn begin(&mut self) -> Option<()> {
        let request = NewSession {
            template_id: self.template,
            workspace_id: "kill".to_owned(),
            base_commit_oid: "none".to_owned(),
            worktree_path: self.worktree.display().to_string(),
        };
        let session = self.client.create_session(request).await.ok()?;
        assert_eq!(session.status, SessionStatus::Ready);
        self.client.repl(session.id, BEGIN).await.ok()?;
        let known = Known { count: 0, is_asked: false, end: End::No };
        self.sessions.push((session.id, known));
        Some(())
    }

    /// Runs what passes the limit of events.
    async fn stopped(&mut self, index: usize) -> Option<()> {
        match self.client.repl(self.sessions[index].0, STOPPED).await {
            Err(ClientError::Refused(refusal)) => {
                assert_eq!(refusal.code, "OUTPUT_LIMIT_EXCEEDED", "{refusal:?}");
                Some(())
            }
            Err(_) => None,
            Ok(execution) => panic!("it was not stopped: {execution:?}"),
        }
    }

    async fn finish(&mut self, index: usize, asked: End, done: End) -> Option<()> {
        let (id, mut known) = self.sessions.swap_remove(index);
        known.end = asked;
        self.told.sessions.insert(id, known);
        match asked {
            End::PurgeAsked => self.client.purge_session(id).await.ok()?,
            _ => self.client.close_session(id).await.ok()?,
        };
        known.end = done;
        self.told.sessions.insert(id, known);
        Some(())
    }
}

/// What a snippet gave or threw.
fn said(execution: &Execution) -> String {
    let value = execution.execution.result.as_ref().map(|value| value.preview.clone());
    let thrown = execution.execution.error.as_ref().map(|error| error.message.clone());
    let said = value.or(thrown).unwrap_or_default();
    said.trim_start_matches("Uncaught ").trim_matches('\'').to_owned()
}

async fn make_template(client: &Client) -> TemplateId {
    client.create_template("kill", None, false).await.unwrap().id
}

fn end(mut daemon: Running) {
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
}

/// Compares what the daemon has with what was acknowledged.
async fn check(client: &Client, told: &mut Told, dice: &mut Dice, report: &mut Report) {
    let mut live = 0;
    let sessions = std::mem::take(&mut told.sessions);
    let mut gone = Vec::new();
    for (id, mut known) in sessions {
        let status = match client.session(id).await {
            Ok(session) => Some(session.status),
            Err(error) if error.code().is_some() => None,
            Err(error) => panic!("session {id}: {error}"),
        };
        let is_right = match known.end {
            End::No => status == Some(SessionStatus::Ready),
            End::CloseAsked => status.is_some(),
            End::Closed => status == Some(SessionStatus::Closed),
            End::PurgeAsked => true,
            End::Purged => status.is_none(),
        };
        assert!(is_right, "session {id} is {status:?}, and what is known is {known:?}");
        if status == Some(SessionStatus::Ready) {
            live += 1;
            check_heap(client, id, &mut known, report).await;
            known.end = End::No;
        } else {
            gone.extend(status.is_none().then_some(id));
            known.end = if status.is_none() { End::Purged } else { End::Closed };
        }
        check_history(client, id, status, report).await;
        if known.end == End::No || dice.below(4) > 0 {
            told.sessions.insert(id, known);
        }
    }
    let summary = client.summary().await.unwrap();
    // Sessions whose making was not answered may be there too.
    assert!(summary.active_sessions >= live, "{live} are ready, and {summary:?}");
    let filter = SessionFilter { statuses: vec![SessionStatus::Starting], template_id: None };
    assert_eq!(client.sessions(&filter).await.unwrap().len(), 0, "nobody starts them");
    told.executions.retain(|(execution, _)| !gone.contains(&execution.execution.session_id));
    for (execution, events) in &told.executions {
        let id = execution.execution.id;
        assert_eq!(client.execution(id).await.unwrap(), *execution);
        assert_eq!(client.events(id, 0).await.unwrap(), *events, "execution {id}");
    }
    // All of the last round were asked for; of older ones, some in each round.
    while told.executions.len() > SAMPLE {
        let index = usize::try_from(dice.below(told.executions.len() as u64)).unwrap();
        told.executions.swap_remove(index);
    }
}

/// The heap is that of the last acknowledged execution, or of the one that was on its way.
async fn check_heap(client: &Client, id: SessionId, known: &mut Known, report: &mut Report) {
    let probed = said(&client.repl(id, PROBE).await.unwrap());
    let mut parts = probed.split(',');
    let count: u64 = parts.next().unwrap().parse().unwrap();
    let may_be = known.count..=known.count + u64::from(known.is_asked);
    assert!(may_be.contains(&count), "session {id} counts {count}, and what is known is {known:?}");
    assert_eq!(probed, format!("{count},{count},true,true,true"), "session {id}");
    report.unacknowledged_kept += count - known.count;
    report.heaps += 1;
    (known.count, known.is_asked) = (count, false);
}

/// Every execution is whole: over, with all its events.
async fn check_history(
    client: &Client,
    id: SessionId,
    status: Option<SessionStatus>,
    report: &mut Report,
) {
    let part = ListPart { limit: 20, cursor: None };
    let listed = match client.executions_page(id, &part).await {
        Ok(listed) => listed.items,
        Err(error) => {
            assert!(status.is_none() && error.code().is_some(), "session {id}: {error}");
            return;
        }
    };
    for Execution { execution, .. } in listed {
        assert_ne!(execution.status, ExecutionStatus::Running, "{}", execution.id);
        let code = execution.error.as_ref().and_then(|error| error.code);
        report.stopped += u64::from(code == Some(ExecutionErrorCode::HostStopped));
        let seqs = seqs(client, execution.id).await;
        let whole: Vec<u64> = (1..=execution.metrics.events).collect();
        assert_eq!(seqs, whole, "execution {}", execution.id);
    }
}

async fn seqs(client: &Client, id: ExecutionId) -> Vec<u64> {
    client.events(id, 0).await.unwrap().iter().map(|event| event.seq).collect()
}

/// Runs a loop on a runtime of its own.
pub(crate) fn run(kill_loop: KillLoop, progress: impl FnMut(&Report)) -> Report {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let kill_loop = Arc::new(kill_loop);
    runtime.block_on(kill_loop.run(progress))
}
