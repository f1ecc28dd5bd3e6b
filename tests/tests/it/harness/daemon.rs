//! A daemon on a free port with a database, worktree and library folder of its own, and HTTP to it.

use super::Folder;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use ureq::http::{HeaderMap, Request};

/// How long a test waits for anything before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// A daemon, ended with the test.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) folder: Arc<Folder>,
    log: Arc<Mutex<String>>,
    log_reader: Option<JoinHandle<()>>,
    agent: ureq::Agent,
}

/// What the daemon answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// One with more flags.
    pub(crate) fn with(flags: &[&str]) -> Self {
        Self::under(&[], flags)
    }

    /// One with variables in its environment.
    pub(crate) fn under(environment: &[(&str, &str)], flags: &[&str]) -> Self {
        let folder = Folder::new();
        for name in ["worktree", "libraries"] {
            std::fs::create_dir(folder.path(name)).unwrap();
        }
        Self::spawn(Arc::new(folder), environment, flags)
    }

    /// One in the folder of another, which has ended.
    pub(crate) fn in_folder(folder: Arc<Folder>, flags: &[&str]) -> Self {
        Self::spawn(folder, &[], flags)
    }

    fn spawn(folder: Arc<Folder>, environment: &[(&str, &str)], flags: &[&str]) -> Self {
        let base = ["serve", "--listen", "127.0.0.1:0", "--library-dir", "libraries"];
        let mut command = folder.command(&[&base, flags].concat());
        let mut child = command.envs(environment.iter().copied()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let log_reader = std::thread::spawn({
            let log = Arc::clone(&log);
            move || {
                let mut line = String::new();
                while stderr.read_line(&mut line).unwrap_or(0) > 0 {
                    log.lock().unwrap().push_str(&std::mem::take(&mut line));
                }
            }
        });
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let url = line.strip_prefix("listening on http://").unwrap_or_else(|| {
            panic!("it said {line:?} and logged {}", log.lock().unwrap());
        });
        let address = url.trim_end().parse().unwrap();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            .build();
        let (agent, log_reader) = (config.into(), Some(log_reader));
        Self { child, address, folder, log, log_reader, agent }
    }

    /// One that asks for tokens, and a token of its local tenant that may do everything.
    pub(crate) fn with_auth(flags: &[&str]) -> (Self, String) {
        let folder = Folder::new();
        for name in ["worktree", "libraries"] {
            std::fs::create_dir(folder.path(name)).unwrap();
        }
        let made = folder.run(&["tenant", "bootstrap", "--output", "json"]);
        assert_eq!(made.code, 0, "{made:?}");
        let made: Value = serde_json::from_str(&made.stdout).unwrap();
        let token = made["secret"].as_str().unwrap().to_owned();
        let daemon = Self::spawn(Arc::new(folder), &[], &[&["--auth"], flags].concat());
        (daemon, token)
    }

    /// The same daemon for who shows a token.
    pub(crate) fn as_(&self, token: &str) -> Caller<'_> {
        Caller { daemon: self, token: token.to_owned() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends a request as it is.
    pub(crate) fn send(&self, request: Request<Vec<u8>>) -> Reply {
        // An empty body is none: some methods may not have one.
        let mut response = if request.body().is_empty() && request.method() != "POST" {
            self.agent.run(request.map(|_| ())).unwrap()
        } else {
            self.agent.run(request).unwrap()
        };
        let text = response.body_mut().with_config().limit(1 << 30).read_to_string().unwrap();
        let body = serde_json::from_str(&text).unwrap_or_else(|_| json!({ "not json": text }));
        Reply { status: response.status().as_u16(), headers: response.headers().clone(), body }
    }

    /// Asks for the events of an execution as they come; gives the status, and what to read them from.
    pub(crate) fn stream(
        &self,
        execution: &str,
        last_event_id: Option<u64>,
    ) -> (u16, BufReader<impl Read + use<>>) {
        let uri = self.url(&format!("/api/v1/executions/{execution}/events"));
        let mut request = Request::get(uri).header("accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id.to_string());
        }
        let response = self.agent.run(request.body(()).unwrap()).unwrap();
        let status = response.status().as_u16();
        (status, BufReader::new(response.into_body().into_reader()))
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.request("GET", path, None)
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Reply {
        self.request("POST", path, Some(body))
    }

    pub(crate) fn patch(&self, path: &str, body: Value) -> Reply {
        self.request("PATCH", path, Some(body))
    }

    pub(crate) fn delete(&self, path: &str) -> Reply {
        self.request("DELETE", path, None)
    }

    pub(crate) fn request(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        self.request_as(None, method, path, body)
    }

    fn request_as(
        &self,
        token: Option<&str>,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Reply {
        let mut request =
            Request::builder().method(method).uri(self.url(&format!("/api/v1{path}")));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        self.send(request.body(body).unwrap())
    }

    /// Sends a body as it is, said to be JSON.
    pub(crate) fn post_text(&self, path: &str, body: &[u8]) -> Reply {
        let request = Request::post(self.url(&format!("/api/v1{path}")));
        self.send(request.header("content-type", "application/json").body(body.to_vec()).unwrap())
    }

    /// A new template's id.
    pub(crate) fn template(&self) -> String {
        let template = self.post("/templates", json!({"name": "test"})).is(201);
        template["id"].as_str().unwrap().to_owned()
    }

    /// A new template whose limits are changed.
    pub(crate) fn template_with_limits(&self, limits: &Value) -> String {
        let template = self.template();
        self.patch(&format!("/templates/{template}"), json!({"settings": {"limits": limits}}))
            .is(200);
        template
    }

    /// Asks for a session on the folder's worktree.
    pub(crate) fn try_session(&self, template: &str) -> Reply {
        self.post("/sessions", self.session_body(template))
    }

    pub(crate) fn session_body(&self, template: &str) -> Value {
        json!({
            "template_id": template,
            "workspace_id": "ws",
            "base_commit_oid": "deadbeef",
            "worktree_path": self.folder.path("worktree"),
        })
    }

    /// A new session's id.
    pub(crate) fn session(&self, template: &str) -> String {
        let session = self.try_session(template).is(201);
        session["id"].as_str().unwrap().to_owned()
    }

    /// A new session of a new template.
    pub(crate) fn any_session(&self) -> String {
        self.session(&self.template())
    }

    pub(crate) fn try_repl(&self, session: &str, input: &str) -> Reply {
        self.post("/executions/repl", json!({"session_id": session, "input": input}))
    }

    pub(crate) fn repl(&self, session: &str, input: &str) -> Value {
        self.try_repl(session, input).is(201)
    }

    /// The preview of what a snippet gives.
    pub(crate) fn preview(&self, session: &str, input: &str) -> String {
        let execution = self.repl(session, input);
        let preview = execution["result"]["preview"].as_str();
        preview.unwrap_or_else(|| panic!("{input} gave {execution}")).to_owned()
    }

    /// Begins a snippet, and gives its execution, which goes on by itself.
    pub(crate) fn begin(&self, session: &str, input: &str) -> Value {
        let body = json!({"session_id": session, "input": input}).to_string().into_bytes();
        let request = Request::post(self.url("/api/v1/executions/repl"))
            .header("content-type", "application/json")
            .header("prefer", "wait=5, Respond-Async");
        let reply = self.send(request.body(body).unwrap());
        let location = reply.headers["location"].to_str().unwrap().to_owned();
        let execution = reply.is(202);
        assert_eq!(location, format!("/api/v1/executions/{}", execution["id"].as_str().unwrap()));
        execution
    }

    pub(crate) fn try_run_file(&self, session: &str, path: &str) -> Reply {
        self.post("/executions/run-file", json!({"session_id": session, "path": path}))
    }

    pub(crate) fn active_sessions(&self) -> u64 {
        self.get("/runtime/summary").is(200)["active_sessions"].as_u64().unwrap()
    }

    /// Waits until an execution of the session is listed as running.
    pub(crate) fn wait_until_running(&self, session: &str) -> Value {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let list = self.get(&format!("/executions?session_id={session}")).is(200);
            if list[0]["status"] == "running" {
                return list[0].clone();
            }
            assert!(std::time::Instant::now() < deadline, "nothing runs: {list}");
            std::thread::yield_now();
        }
    }

    /// What the daemon logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Waits until the daemon has ended, and gives its status and its whole log.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        self.log_reader.take().unwrap().join().unwrap();
        (status, self.log())
    }

    /// Kills the daemon, and gives its folder.
    pub(crate) fn kill(mut self) -> Arc<Folder> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        Arc::clone(&self.folder)
    }
}

/// A client that shows a token.
pub(crate) struct Caller<'a> {
    daemon: &'a Daemon,
    pub(crate) token: String,
}

impl Caller<'_> {
    pub(crate) fn request(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        self.daemon.request_as(Some(&self.token), method, path, body)
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.request("GET", path, None)
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Reply {
        self.request("POST", path, Some(body))
    }

    pub(crate) fn patch(&self, path: &str, body: Value) -> Reply {
        self.request("PATCH", path, Some(body))
    }

    pub(crate) fn delete(&self, path: &str) -> Reply {
        self.request("DELETE", path, None)
    }

    /// What was made by a POST, by its id.
    pub(crate) fn made(&self, path: &str, body: Value) -> String {
        self.post(path, body).is(201)["id"].as_str().unwrap().to_owned()
    }

    /// A token of a tenant, made by who may.
    pub(crate) fn token_of(&self, tenant: &str, scopes: &[&str]) -> String {
        let body = json!({"name": "test", "scopes": scopes, "tenant_id": tenant});
        self.post("/tokens", body).is(201)["secret"].as_str().unwrap().to_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Reply {
    /// The body, if the status is this one.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// The error, if it is this one.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Value {
        let found = (self.status, self.body["error"]["code"].as_str().unwrap_or_default());
        assert_eq!(found, (status, code), "{}", self.body);
        self.body["error"].clone()
    }
}

/// Sends bytes on a connection of their own, and reads until the server closes it. A server that is
/// killed meanwhile answers nothing, wherever that meets the connection.
pub(crate) fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let Ok(mut stream) = TcpStream::connect(address) else { return String::new() };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A server that refuses early may close before it has read everything.
    drop(stream.write_all(bytes));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status and body of one answer as it came over the wire.
pub(crate) fn reply_of(answer: &str) -> (u16, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}
