//! A typed client of the REST API, for the command line, for tests, and for other programs.
//!
//! Invariant: an answer is either of the type that the method names or a [`ClientError`] that tells
//! a refusal from a daemon that is not there.

mod error;
mod tenants;

pub use error::{ClientError, Refusal};

use crate::wire::{
    AddCapability, AddName, AddStartupFile, Artifact, BASE, BackupMade, Capability, CatalogueEntry,
    Compacted, CreateSession, CreateTemplate, Execution, Health, MakeBackup, NameChanged, RunFile,
    RunSnippet, RuntimeSummary, Session, StartupFile, Stats, Template, TemplateDeleted,
    TemplateDetail, UpdateTemplate,
};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, LINK};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;
use vm_storage::{
    Event, ExecutionId, ExecutionStatus, SessionFilter, SessionId, SessionStatus, TemplateId,
};

/// Bytes of an answer: more than the events of one execution can be.
const MAX_ANSWER_BYTES: usize = 1 << 30;

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// A client of one daemon. Cheap to clone; clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    /// What every request shows, if anything.
    authorization: Option<HeaderValue>,
    http: HttpClient<HttpConnector, Full<Bytes>>,
}

/// What a session is made of.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The template.
    pub template_id: TemplateId,
    /// The client's name for the workspace.
    pub workspace_id: String,
    /// The commit the worktree was made from.
    pub base_commit_oid: String,
    /// Absolute path of the worktree, as the daemon sees it.
    pub worktree_path: String,
}

/// A file to run.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// Its path in the worktree.
    pub path: String,
    /// What the script sees as `__ARGS__`.
    pub args: Map<String, Value>,
    /// What the script sees as `__ENV__`.
    pub env: BTreeMap<String, String>,
}

impl NewRun {
    fn body(self, session: SessionId) -> RunFile {
        RunFile {
            session_id: Some(session.to_string()),
            path: Some(self.path),
            args: Some(self.args),
            env: Some(self.env),
            on_busy: None,
        }
    }
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPart {
    /// Items at most; 0 leaves it to the daemon.
    pub limit: usize,
    /// Where the part before ended.
    pub cursor: Option<String>,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// What it holds.
    pub items: Vec<T>,
    /// Where the list goes on; none at its end.
    pub next: Option<String>,
}

/// A part of the API's answers: what a method of the client gives.
pub type Answer<T> = Result<T, ClientError>;

impl Client {
    /// A client of the daemon at a URL such as `http://127.0.0.1:3210`.
    ///
    /// # Errors
    /// [`ClientError::Address`].
    pub fn new(url: &str) -> Result<Self, ClientError> {
        let wrong = || ClientError::Address { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let plain = matches!(uri.path(), "" | "/") && uri.query().is_none();
        if uri.scheme_str() != Some("http") || uri.authority().is_none() || !plain {
            return Err(wrong());
        }
        let http = HttpClient::builder(TokioExecutor::new()).build_http();
        let base = url.trim_end_matches('/').to_owned();
        Ok(Self { base, authorization: None, http })
    }

    /// The same client, which shows a token with every request.
    ///
    /// # Errors
    /// [`ClientError::Token`] when it is no text that a header can hold.
    pub fn with_token(mut self, token: &str) -> Result<Self, ClientError> {
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        let mut value = value.map_err(|_| ClientError::Token)?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    /// Whether the daemon answers.
    pub async fn health(&self) -> Answer<Health> {
        self.get("/health").await
    }

    /// Whether the daemon takes work; a refusal says why not.
    pub async fn ready(&self) -> Answer<Health> {
        self.get("/ready").await
    }

    /// What the daemon holds and has done.
    pub async fn stats(&self) -> Answer<Stats> {
        self.get("/ops/stats").await
    }

    /// A backup, by a name or by the time.
    pub async fn backup(&self, name: Option<&str>) -> Answer<BackupMade> {
        self.post("/ops/backup", &MakeBackup { name: name.map(str::to_owned) }).await
    }

    /// Makes the database's file as small as it can be.
    pub async fn compact(&self) -> Answer<Compacted> {
        self.send::<(), _>(Method::POST, "/ops/compact", None).await
    }

    /// The sessions that are live.
    pub async fn summary(&self) -> Answer<RuntimeSummary> {
        self.get("/runtime/summary").await
    }

    /// The catalogue of `engines`, `modules` or `libraries`.
    pub async fn catalogue(&self, kind: &str) -> Answer<Vec<CatalogueEntry>> {
        self.get(&format!("/metadata/{kind}")).await
    }

    /// The first templates, oldest first; all of them when there are 1,000 at most.
    pub async fn templates(&self) -> Answer<Vec<Template>> {
        Ok(self.templates_page(&ListPart::default()).await?.items)
    }

    /// A part of the templates, oldest first.
    pub async fn templates_page(&self, part: &ListPart) -> Answer<Listed<Template>> {
        self.list("/templates?", part).await
    }

    /// A new template; where it is to be `unique`, no other such one has its name.
    pub async fn create_template(
        &self,
        name: &str,
        engine: Option<&str>,
        unique: bool,
    ) -> Answer<Template> {
        let (name, engine) = (Some(name.to_owned()), engine.map(str::to_owned));
        let unique = unique.then_some(true);
        self.post("/templates", &CreateTemplate { name, engine, unique }).await
    }

    /// A template with its parts.
    pub async fn template(&self, id: TemplateId) -> Answer<TemplateDetail> {
        self.get(&format!("/templates/{id}")).await
    }

    /// Changes a template.
    pub(crate) async fn update_template(
        &self,
        id: TemplateId,
        change: &UpdateTemplate,
    ) -> Answer<TemplateDetail> {
        self.send(Method::PATCH, &format!("/templates/{id}"), Some(change)).await
    }

    /// Deletes a template.
    pub async fn delete_template(&self, id: TemplateId) -> Answer<TemplateDeleted> {
        self.delete(&format!("/templates/{id}")).await
    }

    /// The modules that a template's libraries and startup files were made into, oldest first.
    pub async fn artifacts(&self, id: TemplateId) -> Answer<Vec<Artifact>> {
        self.get(&format!("/templates/{id}/artifacts")).await
    }

    /// The bytes of one of them.
    pub async fn artifact(&self, id: TemplateId, hash: &str) -> Answer<Bytes> {
        let path = format!("/templates/{id}/artifacts/{}", encoded(hash));
        Ok(self.request::<()>(Method::GET, &path, None, &[]).await?.0)
    }

    /// What a template grants.
    pub async fn capabilities(&self, id: TemplateId) -> Answer<Vec<Capability>> {
        self.get(&format!("/templates/{id}/capabilities")).await
    }

    /// Adds a capability to a template.
    pub(crate) async fn add_capability(
        &self,
        id: TemplateId,
        capability: &AddCapability,
    ) -> Answer<Capability> {
        self.post(&format!("/templates/{id}/capabilities"), capability).await
    }

    /// What runs when a session starts, in order.
    pub async fn startup_files(&self, id: TemplateId) -> Answer<Vec<StartupFile>> {
        self.get(&format!("/templates/{id}/startup-files")).await
    }

    /// Adds a startup file to a template.
    pub async fn add_startup_file(
        &self,
        id: TemplateId,
        path: &str,
        order_index: i64,
        mode: &str,
    ) -> Answer<StartupFile> {
        let file = AddStartupFile {
            path: Some(path.to_owned()),
            order_index: Some(order_index.into()),
            mode: Some(mode.to_owned()),
        };
        self.post(&format!("/templates/{id}/startup-files"), &file).await
    }

    /// The names of a template's `modules` or `libraries`.
    pub async fn names(&self, id: TemplateId, list: &str) -> Answer<Vec<String>> {
        self.get(&format!("/templates/{id}/{list}")).await
    }

    /// Adds a name to a template's `modules` or `libraries`.
    pub async fn add_name(&self, id: TemplateId, list: &str, name: &str) -> Answer<NameChanged> {
        let name = Some(name.to_owned());
        self.post(&format!("/templates/{id}/{list}"), &AddName { name }).await
    }

    /// Removes a name from a template's `modules` or `libraries`.
    pub async fn remove_name(&self, id: TemplateId, list: &str, name: &str) -> Answer<NameChanged> {
        self.delete(&format!("/templates/{id}/{list}/{}", encoded(name))).await
    }

    /// The first sessions that a filter accepts, newest first.
    pub async fn sessions(&self, filter: &SessionFilter) -> Answer<Vec<Session>> {
        Ok(self.sessions_page(filter, &ListPart::default()).await?.items)
    }

    /// A part of the sessions that a filter accepts, newest first.
    pub async fn sessions_page(
        &self,
        filter: &SessionFilter,
        part: &ListPart,
    ) -> Answer<Listed<Session>> {
        let statuses: Vec<_> = filter.statuses.iter().map(|status| status_name(*status)).collect();
        let template = filter.template_id.map(|id| id.to_string()).unwrap_or_default();
        let path = format!("/sessions?status={}&template_id={template}&", statuses.join(","));
        self.list(&path, part).await
    }

    /// A new session.
    pub async fn create_session(&self, session: NewSession) -> Answer<Session> {
        let body = CreateSession {
            template_id: Some(session.template_id.to_string()),
            workspace_id: Some(session.workspace_id),
            base_commit_oid: Some(session.base_commit_oid),
            worktree_path: Some(session.worktree_path),
        };
        self.post("/sessions", &body).await
    }

    /// One session.
    pub async fn session(&self, id: SessionId) -> Answer<Session> {
        self.get(&format!("/sessions/{id}")).await
    }

    /// Ends a session.
    pub async fn close_session(&self, id: SessionId) -> Answer<Session> {
        self.send::<(), _>(Method::POST, &format!("/sessions/{id}/close"), None).await
    }

    /// Ends a session, as `DELETE`.
    pub async fn delete_session(&self, id: SessionId) -> Answer<Session> {
        self.delete(&format!("/sessions/{id}")).await
    }

    /// Ends a session and removes it, with its executions and their events.
    pub async fn purge_session(&self, id: SessionId) -> Answer<Session> {
        self.delete(&format!("/sessions/{id}?purge=true")).await
    }

    /// The newest executions of a session, newest first.
    pub async fn executions(&self, session: SessionId, limit: usize) -> Answer<Vec<Execution>> {
        Ok(self.executions_page(session, &ListPart { limit, cursor: None }).await?.items)
    }

    /// A part of the executions of a session, newest first.
    pub async fn executions_page(
        &self,
        session: SessionId,
        part: &ListPart,
    ) -> Answer<Listed<Execution>> {
        self.list(&format!("/executions?session_id={session}&"), part).await
    }

    /// Runs a snippet.
    pub async fn repl(&self, session: SessionId, input: &str) -> Answer<Execution> {
        let (session_id, input) = (Some(session.to_string()), Some(input.to_owned()));
        self.post("/executions/repl", &RunSnippet { session_id, input, on_busy: None }).await
    }

    /// Runs a file of the worktree.
    pub async fn run_file(&self, session: SessionId, run: NewRun) -> Answer<Execution> {
        self.post("/executions/run-file", &run.body(session)).await
    }

    /// Begins to run a file of the worktree; gives the execution as soon as it is durable.
    pub async fn begin_file(&self, session: SessionId, run: NewRun) -> Answer<Execution> {
        let headers = [(PREFER, HeaderValue::from_static("respond-async"))];
        let body = run.body(session);
        let path = "/executions/run-file";
        Ok(self.exchange(Method::POST, path, Some(&body), &headers).await?.0)
    }

    /// One execution.
    pub async fn execution(&self, id: ExecutionId) -> Answer<Execution> {
        self.get(&format!("/executions/{id}")).await
    }

    /// Ends an execution; one that is over stays as it is.
    pub async fn cancel_execution(&self, id: ExecutionId) -> Answer<Execution> {
        self.send::<(), _>(Method::POST, &format!("/executions/{id}/cancel"), None).await
    }

    /// Ends what runs in a session, if anything does.
    pub async fn cancel_running(&self, session: SessionId) -> Answer<Option<Execution>> {
        let newest = self.executions(session, 1).await?.into_iter().next();
        match newest.map(|Execution { execution, .. }| execution) {
            Some(execution) if execution.status == ExecutionStatus::Running => {
                self.cancel_execution(execution.id).await.map(Some)
            }
            Some(_) | None => Ok(None),
        }
    }

    /// Events of an execution with a `seq` above `after_seq`.
    pub async fn events(&self, id: ExecutionId, after_seq: u64) -> Answer<Vec<Event>> {
        self.get(&format!("/executions/{id}/events?after_seq={after_seq}")).await
    }

    /// The same; where there are none yet, waits for some until the execution or the time is over.
    pub async fn events_awaited(
        &self,
        id: ExecutionId,
        after_seq: u64,
        wait: Duration,
    ) -> Answer<Vec<Event>> {
        let wait = wait.as_millis();
        self.get(&format!("/executions/{id}/events?after_seq={after_seq}&wait={wait}ms")).await
    }

    async fn get<R: DeserializeOwned>(&self, path: &str) -> Answer<R> {
        self.send::<(), R>(Method::GET, path, None).await
    }

    /// A part of a list, of a path that its query can be added to.
    async fn list<T: DeserializeOwned>(&self, path: &str, part: &ListPart) -> Answer<Listed<T>> {
        let limit = if part.limit == 0 { String::new() } else { part.limit.to_string() };
        let cursor = part.cursor.as_deref().map(encoded).unwrap_or_default();
        let path = format!("{path}limit={limit}&cursor={cursor}");
        let (items, headers) = self.exchange::<(), _>(Method::GET, &path, None, &[]).await?;
        Ok(Listed { items, next: headers.get(LINK).and_then(next_cursor) })
    }

    async fn delete<R: DeserializeOwned>(&self, path: &str) -> Answer<R> {
        self.send::<(), R>(Method::DELETE, path, None).await
    }

    async fn post<B: Serialize, R: DeserializeOwned>(&self, path: &str, body: &B) -> Answer<R> {
        self.send(Method::POST, path, Some(body)).await
    }

    async fn send<B: Serialize, R: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Answer<R> {
        Ok(self.exchange(method, path, body, &[]).await?.0)
    }

    async fn exchange<B: Serialize, R: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Answer<(R, HeaderMap)> {
        let (body, headers) = self.request(method, path, body, headers).await?;
        let answer = serde_json::from_slice(&body).map_err(|error| self.protocol(&error))?;
        Ok((answer, headers))
    }

    async fn request<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Answer<(Bytes, HeaderMap)> {
        let body = body.map(|body| {
            serde_json::to_vec(body).expect("checked by their types: the shapes of `wire` are JSON")
        });
        let mut request =
            Request::builder().method(method).uri(format!("{}{BASE}{path}", self.base));
        if body.is_some() {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request
            .body(Full::from(body.unwrap_or_default()))
            .expect("checked by `new` and `encoded`: the address is a URI, and so are the paths");
        let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| {
            ClientError::Unreachable { url: self.base.clone(), source }
        };
        let response =
            self.http.request(request).await.map_err(|error| unreachable(cause(&error)))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(unreachable)?.to_bytes();
        if status.is_success() {
            return Ok((body, headers));
        }
        Err(self.refusal(status, &body))
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> ClientError {
        #[derive(serde::Deserialize)]
        struct Envelope {
            error: Body,
        }
        #[derive(serde::Deserialize)]
        struct Body {
            code: String,
            message: String,
            #[serde(default)]
            details: Map<String, Value>,
        }
        match serde_json::from_slice::<Envelope>(body) {
            Ok(Envelope { error: Body { code, message, details } }) => {
                ClientError::Refused(Box::new(Refusal { status, code, message, details }))
            }
            Err(error) => self.protocol(&format_args!("status {status}, {error}")),
        }
    }

    fn protocol(&self, reason: &dyn std::fmt::Display) -> ClientError {
        ClientError::Protocol { url: self.base.clone(), reason: reason.to_string() }
    }
}

/// The innermost cause: what the kernel said, rather than which layer heard it.
fn cause(error: &hyper_util::client::legacy::Error) -> Box<dyn std::error::Error + Send + Sync> {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text.into()
}

/// The cursor in a `Link` header that names the next part of a list.
fn next_cursor(link: &HeaderValue) -> Option<String> {
    let (target, relation) = link.to_str().ok()?.split_once('>')?;
    let query = target.strip_prefix('<')?.split_once('?')?.1;
    let cursor = query.split('&').find_map(|parameter| parameter.strip_prefix("cursor="))?;
    relation.contains("rel=\"next\"").then(|| cursor.to_owned())
}

/// A name as one segment of a path.
fn encoded(name: &str) -> String {
    let mut segment = String::with_capacity(name.len());
    for &byte in name.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            write!(segment, "%{byte:02X}").expect("writing to a text cannot fail");
        }
    }
    segment
}

fn status_name(status: SessionStatus) -> &'static str {
    match status {
        SessionStatus::Starting => "starting",
        SessionStatus::Ready => "ready",
        SessionStatus::Crashed => "crashed",
        SessionStatus::Closed => "closed",
    }
}
