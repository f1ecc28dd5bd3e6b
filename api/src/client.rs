//! A typed client of the REST API, for the command line, for tests, and for other programs.
//!
//! Invariant: an answer is either of the type that the method names or a [`ClientError`] that tells
//! a refusal from a daemon that is not there.

mod error;

pub use error::{ClientError, Refusal};

use crate::wire::{
    AddCapability, AddName, AddStartupFile, BASE, Capability, CatalogueEntry, CreateSession,
    CreateTemplate, Execution, Health, NameChanged, RunFile, RunSnippet, RuntimeSummary, Session,
    StartupFile, Template, TemplateDeleted, TemplateDetail, UpdateTemplate,
};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write;
use vm_storage::{
    Event, ExecutionId, ExecutionStatus, SessionFilter, SessionId, SessionStatus, TemplateId,
};

/// Bytes of an answer: more than the events of one execution can be.
const MAX_ANSWER_BYTES: usize = 1 << 30;

/// A client of one daemon. Cheap to clone; clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
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
        Ok(Self { base: url.trim_end_matches('/').to_owned(), http })
    }

    /// Whether the daemon answers.
    pub async fn health(&self) -> Answer<Health> {
        self.get("/health").await
    }

    /// The sessions that are live.
    pub async fn summary(&self) -> Answer<RuntimeSummary> {
        self.get("/runtime/summary").await
    }

    /// The catalogue of `engines`, `modules` or `libraries`.
    pub async fn catalogue(&self, kind: &str) -> Answer<Vec<CatalogueEntry>> {
        self.get(&format!("/metadata/{kind}")).await
    }

    /// All templates.
    pub async fn templates(&self) -> Answer<Vec<Template>> {
        self.get("/templates").await
    }

    /// A new template.
    pub async fn create_template(&self, name: &str, engine: Option<&str>) -> Answer<Template> {
        let (name, engine) = (Some(name.to_owned()), engine.map(str::to_owned));
        self.post("/templates", &CreateTemplate { name, engine }).await
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

    /// Sessions that a filter accepts, newest first.
    pub async fn sessions(&self, filter: &SessionFilter) -> Answer<Vec<Session>> {
        let statuses: Vec<_> = filter.statuses.iter().map(|status| status_name(*status)).collect();
        let template = filter.template_id.map(|id| id.to_string()).unwrap_or_default();
        self.get(&format!("/sessions?status={}&template_id={template}", statuses.join(","))).await
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

    /// Executions of a session, newest first.
    pub async fn executions(&self, session: SessionId, limit: usize) -> Answer<Vec<Execution>> {
        self.get(&format!("/executions?session_id={session}&limit={limit}")).await
    }

    /// Runs a snippet.
    pub async fn repl(&self, session: SessionId, input: &str) -> Answer<Execution> {
        let (session_id, input) = (Some(session.to_string()), Some(input.to_owned()));
        self.post("/executions/repl", &RunSnippet { session_id, input }).await
    }

    /// Runs a file of the worktree.
    pub async fn run_file(&self, session: SessionId, run: NewRun) -> Answer<Execution> {
        let body = RunFile {
            session_id: Some(session.to_string()),
            path: Some(run.path),
            args: Some(run.args),
            env: Some(run.env),
        };
        self.post("/executions/run-file", &body).await
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

    async fn get<R: DeserializeOwned>(&self, path: &str) -> Answer<R> {
        self.send::<(), R>(Method::GET, path, None).await
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
        let body = body.map(|body| {
            serde_json::to_vec(body).expect("checked by their types: the shapes of `wire` are JSON")
        });
        let mut request =
            Request::builder().method(method).uri(format!("{}{BASE}{path}", self.base));
        if body.is_some() {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let request = request
            .body(Full::from(body.unwrap_or_default()))
            .expect("checked by `new` and `encoded`: the address is a URI, and so are the paths");
        let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| {
            ClientError::Unreachable { url: self.base.clone(), source }
        };
        let response =
            self.http.request(request).await.map_err(|error| unreachable(cause(&error)))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(unreachable)?.to_bytes();
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| self.protocol(&error));
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
