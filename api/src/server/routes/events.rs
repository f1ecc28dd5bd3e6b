//! The events of an execution: as a list, awaited, and as a stream of server-sent events.
//!
//! ```text
//!  id: 7                                  the event's seq, from which a reader goes on
//!  event: console                         its type
//!  data: {"execution_id":…,"seq":7,…}     the event
//!
//!  event: end                             the execution is over
//!  data: {"id":…,"status":"ok",…}         what became of it
//! ```
//!
//! Invariant: what is sent is durable, in order and without gaps; a stream is read no faster than its
//! client takes it, and keeps no execution waiting.

use crate::error::ApiError;
use crate::server::App;
use crate::server::answer::{Answer, Answered};
use crate::server::query::{Parameters, PathId, number, wait};
use crate::wire;
use axum::Extension;
use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, stream};
use http::HeaderMap;
use http::header::{ACCEPT, HeaderName};
use serde::Deserialize;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use vm_host::{EventFeed, HostError, Principal};
use vm_storage::{Event, ExecutionId, Page};

/// How often a stream without events says that it is there: more often than proxies give up.
const HEARTBEAT: Duration = Duration::from_secs(15);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct After {
    after_seq: Option<String>,
    wait: Option<String>,
}

pub(super) async fn events(
    app: App,
    Extension(principal): Extension<Arc<Principal>>,
    PathId(id): PathId<ExecutionId>,
    Parameters(after): Parameters<After>,
    headers: HeaderMap,
) -> Answered {
    let after_seq = number("after_seq", after.after_seq, 0, 0..=u64::MAX)?;
    let time = wait(after.wait)?;
    if wants_stream(&headers) {
        return streamed(app, principal, id, last_event_id(&headers)?.unwrap_or(after_seq)).await;
    }
    if !time.is_zero() {
        some(&app, id, after_seq, time).await?;
    }
    let first = events_page(&app, id, after_seq).await?;
    if first.next.is_none() {
        return Ok(Answer::ok(&first.items));
    }
    Ok(Answer::streamed(Body::from_stream(pages(app, id, first))))
}

/// Whether a client asks for a stream by its media type.
fn wants_stream(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = values.flat_map(|value| value.split(','));
    ranges.any(|range| {
        let mime = range.trim().parse::<mime::Mime>().ok();
        mime.is_some_and(|mime| mime.essence_str() == mime::TEXT_EVENT_STREAM.as_ref())
    })
}

/// The event after which a client that was cut off goes on.
fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let text = value.to_str().unwrap_or("?").to_owned();
    // A client that has seen no event yet sends it empty, or not at all.
    if text.is_empty() {
        return Ok(None);
    }
    number("Last-Event-ID", Some(text), 0, 0..=u64::MAX).map(Some)
}

/// Waits until there are events, there will be none, or the time is over.
async fn some(app: &App, id: ExecutionId, after_seq: u64, time: Duration) -> Result<(), HostError> {
    let until = Instant::now() + time;
    let mut feed = app.host.follow(id, after_seq);
    while read(app, &mut feed).await?.is_empty() {
        if !tokio::time::timeout_at(until, feed.more()).await.unwrap_or(false) {
            break;
        }
    }
    Ok(())
}

async fn read(app: &App, feed: &mut EventFeed) -> Result<Vec<Event>, HostError> {
    let _reading = app.reads.acquire().await;
    feed.now().await
}

/// Answers with the events as they become durable, to the execution's end.
async fn streamed(
    app: App,
    principal: Arc<Principal>,
    id: ExecutionId,
    after_seq: u64,
) -> Answered {
    let mut feed = app.host.follow(id, after_seq);
    let first = read(&app, &mut feed).await?;
    if first.is_empty() && app.host.execution(id).await?.status.is_over() {
        // It tells clients that come again by themselves not to.
        return Ok(Answer::no_content());
    }
    let streaming = Streaming { app, principal, id, feed, first: Some(first), is_over: false };
    Ok(Answer::event_stream(Body::from_stream(frames(streaming))))
}

/// A stream of events under way.
struct Streaming {
    app: App,
    /// Who asked for it.
    principal: Arc<Principal>,
    id: ExecutionId,
    feed: EventFeed,
    /// What was read before the stream began.
    first: Option<Vec<Event>>,
    is_over: bool,
}

/// Events as frames; an error ends the connection, so that the client comes again.
fn frames(streaming: Streaming) -> impl Stream<Item = Result<Bytes, HostError>> {
    stream::try_unfold(streaming, async |mut streaming| {
        let frame = streaming.next().await?;
        Ok(frame.map(|frame| (Bytes::from(frame), streaming)))
    })
}

impl Streaming {
    async fn next(&mut self) -> Result<Option<String>, HostError> {
        if self.is_over {
            return Ok(None);
        }
        loop {
            // Who comes again is told why.
            self.app.host.check(&self.principal)?;
            let events = match self.first.take() {
                Some(first) => first,
                None => read(&self.app, &mut self.feed).await?,
            };
            if !events.is_empty() {
                return Ok(Some(events.iter().map(frame).collect()));
            }
            match tokio::time::timeout(HEARTBEAT, self.feed.more()).await {
                Ok(true) => {}
                Ok(false) => {
                    self.is_over = true;
                    let execution = self.app.host.execution(self.id).await?;
                    let json = json(&wire::Execution::from(execution));
                    return Ok(Some(format!("event: end\ndata: {json}\n\n")));
                }
                Err(_) => return Ok(Some(":\n\n".to_owned())),
            }
        }
    }
}

fn frame(event: &Event) -> String {
    let json = json(event);
    format!("id: {}\nevent: {}\ndata: {json}\n\n", event.seq, event.payload.kind())
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("checked by their types: events and executions are JSON")
}

async fn events_page(
    app: &App,
    id: ExecutionId,
    after_seq: u64,
) -> Result<Page<Event, u64>, HostError> {
    let _reading = app.reads.acquire().await;
    app.host.events(id, after_seq).await
}

/// A JSON array of events, a page at a time, beginning with the one that was read, so that what one client
/// reads is never in memory whole. A page that cannot be read ends the connection before the array is
/// whole, so that the client sees it.
fn pages(
    app: App,
    id: ExecutionId,
    first: Page<Event, u64>,
) -> impl Stream<Item = Result<Bytes, HostError>> {
    enum Next {
        First(Page<Event, u64>),
        After(u64),
        Nothing,
    }
    stream::try_unfold((app, Next::First(first)), move |(app, next)| async move {
        let (opening, Page { items, next }) = match next {
            Next::First(page) => ("[", page),
            Next::After(seq) => (",", events_page(&app, id, seq).await?),
            Next::Nothing => return Ok(None),
        };
        let json = json(&items);
        let inner = &json[1..json.len() - 1];
        // A page that follows a full one may be empty; then there is nothing to part.
        let opening = if inner.is_empty() { "" } else { opening };
        let closing = if next.is_none() { "]" } else { "" };
        let piece = Bytes::from(format!("{opening}{inner}{closing}"));
        Ok(Some((piece, (app, next.map_or(Next::Nothing, Next::After)))))
    })
}
