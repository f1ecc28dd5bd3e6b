//! Numbers, bounds and keeps the events of one execution, while it runs.
//!
//! Invariant: events are numbered from 1 without gaps, and no event that a script caused is kept
//! past the template's limits. Making them durable is `execution`'s part.

use crate::masks::Masks;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vm_storage::{ConsoleLevel, Event, EventPayload, ExecutionId, Limits, ValuePayload, now};

/// Sees every event as it is recorded, before it is durable: for a caller in the same process that
/// shows output as it happens. It is called on the thread that runs the script.
pub type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// Bytes of a value's preview that are kept.
pub(crate) const MAX_PREVIEW_BYTES: usize = 1024;
/// Bytes of a value's JSON from which it is left out.
pub(crate) const MAX_JSON_BYTES: usize = 64 * 1024;
/// Bytes of an exception's message, and of its stack, that are kept.
pub(crate) const MAX_EXCEPTION_BYTES: usize = 16 * 1024;

/// Bytes of the texts of one event. Written as JSON a text can take six times as much, which still
/// is a record that the store takes.
const MAX_EVENT_BYTES: u64 = 2 << 20;

/// Which limit an execution passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutputLimit {
    /// `max_events`.
    #[error("the execution passed its limit of {0} events")]
    Events(u64),
    /// One event, past what a record of the store can hold.
    #[error("the execution made an event larger than {} KiB", MAX_EVENT_BYTES >> 10)]
    EventSize,
    /// `max_output_kb`.
    #[error("the execution passed its limit of {0} KiB of output")]
    Output(u64),
}

/// The events of one execution so far.
pub(crate) struct Recorder {
    execution: ExecutionId,
    events: Vec<Event>,
    output_bytes: u64,
    max_events: u64,
    max_output_kb: u64,
    passed: Option<OutputLimit>,
    observer: Option<Observer>,
    masks: Option<Masks>,
}

/// A recorder that the store's imports and the execution that waits for them share. The lock is
/// held for one push at a time, and only by the thread that runs the script or waits for it.
#[derive(Clone)]
pub(crate) struct SharedRecorder(Arc<Mutex<Recorder>>);

impl SharedRecorder {
    pub(crate) fn new(execution: ExecutionId, limits: &Limits, observer: Option<Observer>) -> Self {
        Self(Arc::new(Mutex::new(Recorder {
            execution,
            events: Vec::new(),
            output_bytes: 0,
            max_events: limits.max_events,
            max_output_kb: limits.max_output_kb,
            passed: None,
            observer,
            masks: None,
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Recorder> {
        // A panic while an event was pushed leaves whole events; the list stays good.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder {
    /// Has no event show these from now on.
    pub(crate) fn mask(&mut self, masks: Masks) {
        self.masks = Some(masks);
    }

    /// Records an event that the script caused.
    pub(crate) fn push(&mut self, payload: EventPayload) -> Result<(), OutputLimit> {
        let payload = match &self.masks {
            Some(masks) => masked(payload, masks),
            None => payload,
        };
        let bytes = payload.output_bytes();
        self.check_room(bytes)?;
        self.output_bytes += bytes;
        self.append(payload);
        Ok(())
    }

    /// Whether an event of so many bytes may be recorded. From the first that may not, none may.
    pub(crate) fn check_room(&mut self, event_bytes: u64) -> Result<(), OutputLimit> {
        if let Some(passed) = self.passed {
            return Err(passed);
        }
        let bytes = self.output_bytes.saturating_add(event_bytes);
        let passed = if self.events.len() as u64 >= self.max_events {
            Some(OutputLimit::Events(self.max_events))
        } else if bytes > self.max_output_kb.saturating_mul(1 << 10) {
            Some(OutputLimit::Output(self.max_output_kb))
        } else if event_bytes > MAX_EVENT_BYTES {
            Some(OutputLimit::EventSize)
        } else {
            None
        };
        self.passed = passed;
        passed.map_or(Ok(()), Err)
    }

    /// Records what the host has to say, which no limit keeps out.
    pub(crate) fn system(&mut self, message: String, level: ConsoleLevel) {
        let message = match &self.masks {
            Some(masks) => masks.shown(message),
            None => message,
        };
        self.append(EventPayload::System { message, level });
    }

    fn append(&mut self, payload: EventPayload) {
        let seq = self.events.len() as u64 + 1;
        let event = Event { execution_id: self.execution, seq, ts: now(), payload };
        if let Some(observer) = &self.observer {
            observer(&event);
        }
        self.events.push(event);
    }

    /// The limit that was passed, if one was.
    pub(crate) fn passed(&self) -> Option<OutputLimit> {
        self.passed
    }

    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    pub(crate) fn output_bytes(&self) -> u64 {
        self.output_bytes
    }

    /// The last exception recorded.
    pub(crate) fn exception(&self) -> Option<(&str, Option<&str>)> {
        self.events.iter().rev().find_map(|event| match &event.payload {
            EventPayload::Exception { message, stack } => {
                Some((message.as_str(), stack.as_deref()))
            }
            EventPayload::InputEcho { .. }
            | EventPayload::Console { .. }
            | EventPayload::Value(_)
            | EventPayload::System { .. }
            | EventPayload::Stdout { .. }
            | EventPayload::Stderr { .. } => None,
        })
    }

    /// The last value recorded.
    pub(crate) fn value(&self) -> Option<&ValuePayload> {
        self.events.iter().rev().find_map(|event| match &event.payload {
            EventPayload::Value(value) => Some(value),
            EventPayload::InputEcho { .. }
            | EventPayload::Console { .. }
            | EventPayload::Exception { .. }
            | EventPayload::System { .. }
            | EventPayload::Stdout { .. }
            | EventPayload::Stderr { .. } => None,
        })
    }
}

/// The same event, less what it may not show.
fn masked(payload: EventPayload, masks: &Masks) -> EventPayload {
    let shown = |text| masks.shown(text);
    match payload {
        EventPayload::InputEcho { text } => EventPayload::InputEcho { text: shown(text) },
        EventPayload::Console { level, text } => EventPayload::Console { level, text: shown(text) },
        EventPayload::Value(ValuePayload { value_type, preview, mut json }) => {
            if let Some(json) = &mut json {
                masks.mask_json(json);
            }
            EventPayload::Value(ValuePayload { value_type, preview: shown(preview), json })
        }
        EventPayload::Exception { message, stack } => {
            EventPayload::Exception { message: shown(message), stack: stack.map(shown) }
        }
        EventPayload::System { message, level } => {
            EventPayload::System { message: shown(message), level }
        }
        EventPayload::Stdout { text } => EventPayload::Stdout { text: shown(text) },
        EventPayload::Stderr { text } => EventPayload::Stderr { text: shown(text) },
    }
}

/// A value's JSON as the guest wrote it, when it is JSON and small enough to keep.
pub(crate) fn parse_json(json: &str) -> Option<serde_json::Value> {
    if json.is_empty() || json.len() > MAX_JSON_BYTES {
        return None;
    }
    serde_json::from_str(json).ok()
}

/// The start of a text of which more is not kept, with a sign of that, in at most `max_bytes`.
pub(crate) fn cut_short(mut text: String, max_bytes: usize) -> String {
    const ELLIPSIS: char = '…';
    text.truncate(text.floor_char_boundary(max_bytes - ELLIPSIS.len_utf8()));
    text.push(ELLIPSIS);
    text
}
