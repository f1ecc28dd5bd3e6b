//! Every noun comes back as it was written, and looks on the wire as the contract says.

use crate::harness::{
    Place, all_templates, events_of, execution, executions_of, full_template, session, template,
    with_session,
};
use serde_json::{Value, json};
use vm_storage::{
    ConsoleLevel, Event, EventPayload, Execution, ExecutionCommit, ExecutionError,
    ExecutionErrorCode, ExecutionKind, ExecutionStatus, HostCalls, Metrics, Session, SessionStatus,
    Settings, TemplateId, TemplateSnapshot, ValuePayload, ValueType, now,
};

/// Text as a hostile script would choose it; lone surrogates arrive replaced.
const HOSTILE: &str = "\0 nul \u{fffd} \"quoted\\\" \u{1f600} \u{202e} \r\n\u{7f} {[";

fn full_execution(of: &Session) -> Execution {
    let mut env = std::collections::BTreeMap::new();
    env.insert(HOSTILE.to_owned(), HOSTILE.to_owned());
    Execution {
        kind: ExecutionKind::RunFile,
        input: Some(HOSTILE.to_owned()),
        path: Some(HOSTILE.to_owned()),
        args: json!({HOSTILE: [1.1, -0.1, 1e300, i64::MIN, HOSTILE]}).as_object().unwrap().clone(),
        env,
        status: ExecutionStatus::Timeout,
        result: Some(value(json!({"z": 1, "a": [null]}))),
        error: Some(ExecutionError {
            message: HOSTILE.to_owned(),
            stack: Some(HOSTILE.to_owned()),
            code: Some(ExecutionErrorCode::FuelExhausted),
        }),
        metrics: Metrics {
            fuel_used: u64::MAX,
            wall_ms: 1,
            peak_memory_bytes: 2,
            events: 3,
            output_bytes: 4,
            host: HostCalls { calls: 3, bytes_in: 4, bytes_out: 5, time_us: 6 },
        },
        ..execution(of.id)
    }
}

fn value(json: Value) -> ValuePayload {
    ValuePayload { value_type: ValueType::Object, preview: HOSTILE.to_owned(), json: Some(json) }
}

fn all_payloads() -> Vec<EventPayload> {
    let text = || HOSTILE.to_owned();
    let without_json = ValuePayload {
        value_type: ValueType::Undefined,
        preview: "undefined".to_owned(),
        json: None,
    };
    vec![
        EventPayload::InputEcho { text: text() },
        EventPayload::Console { level: ConsoleLevel::Debug, text: text() },
        EventPayload::Value(value(json!([HOSTILE, {HOSTILE: 0.1}]))),
        EventPayload::Value(value(Value::Null)),
        EventPayload::Value(without_json),
        EventPayload::Exception { message: text(), stack: Some(text()) },
        EventPayload::Exception { message: text(), stack: None },
        EventPayload::System { message: text(), level: ConsoleLevel::Warn },
        EventPayload::Stdout { text: text() },
        EventPayload::Stderr { text: String::new() },
    ]
}

#[tokio::test]
async fn every_noun_comes_back_as_it_was_written() {
    let place = Place::new();
    let storage = place.open();
    let template = full_template();
    let session = Session {
        template_id: template.id,
        status: SessionStatus::Crashed,
        closed_at: Some(now()),
        last_error: Some(HOSTILE.to_owned()),
        template: TemplateSnapshot::from(&template),
        ..session()
    };
    let execution = full_execution(&session);
    let new_events: Vec<Event> = (1..)
        .zip(all_payloads())
        .map(|(seq, payload)| Event { execution_id: execution.id, seq, ts: now(), payload })
        .collect();
    storage.create_template(template.clone()).await.unwrap();
    storage
        .commit_execution(ExecutionCommit {
            execution: execution.clone(),
            new_events: new_events.clone(),
            session: Some(session.clone()),
            heap: None,
            kv: None,
        })
        .await
        .unwrap();
    storage.shutdown().await.unwrap();

    let storage = place.open();
    assert_eq!(storage.template(template.id).unwrap(), Some(template.clone()));
    assert_eq!(all_templates(&storage), [template]);
    assert_eq!(storage.session(session.id).unwrap(), Some(session.clone()));
    assert_eq!(storage.execution(execution.id).unwrap(), Some(execution.clone()));
    assert_eq!(events_of(&storage, execution.id, 0), new_events);
    assert_eq!(executions_of(&storage, session.id, 50), [execution]);
}

#[tokio::test]
async fn what_was_never_written_is_none_or_empty() {
    let place = Place::new();
    let (storage, session) = with_session(&place).await;
    let unknown = execution(session.id);
    assert_eq!(storage.template(TemplateId::new()).unwrap(), None);
    assert_eq!(storage.session(vm_storage::SessionId::new()).unwrap(), None);
    assert_eq!(storage.execution(unknown.id).unwrap(), None);
    assert_eq!(storage.events(unknown.id, 0, 50).unwrap(), None);
    assert_eq!(executions_of(&storage, session.id, 50), []);
}

#[test]
fn default_settings_are_those_of_the_contract() {
    let contract = json!({
        "limits": {"cpu_ms": 2000, "wall_ms": 5000, "mem_mb": 128, "max_events": 50000,
            "max_output_kb": 256},
        "resolver": {"roots": ["."], "extensions": [".js", ".mjs"],
            "allow_absolute_repo_imports": true},
        "runtime": {"esm": true, "strict": false, "console": true},
    });
    assert_eq!(serde_json::to_value(Settings::default()).unwrap(), contract);
}

#[test]
fn nouns_look_on_the_wire_as_the_contract_says() {
    let session = session();
    let wire = serde_json::to_value(&session).unwrap();
    assert_eq!(
        keys(&wire),
        [
            "id",
            "template_id",
            "workspace_id",
            "base_commit_oid",
            "worktree_path",
            "status",
            "created_at",
            "runtime_meta"
        ]
    );
    assert_eq!(wire["status"], "ready");
    assert_eq!(
        keys(&wire["runtime_meta"]),
        ["settings", "capabilities", "startup_files", "exposed_modules", "libraries"]
    );
    let template = serde_json::to_value(template()).unwrap();
    assert_eq!(template["exposed_modules"], json!([]));
    let wire = serde_json::to_value(execution(session.id)).unwrap();
    assert_eq!(
        keys(&wire),
        [
            "id",
            "session_id",
            "kind",
            "input",
            "args",
            "env",
            "status",
            "started_at",
            "ended_at",
            "metrics"
        ]
    );
    assert_eq!(
        wire["metrics"],
        json!({"fuel_used": 0, "wall_ms": 0, "peak_memory_bytes": 0,
        "events": 0, "output_bytes": 0})
    );
    let full = serde_json::to_value(full_execution(&session)).unwrap();
    assert_eq!(full["kind"], "run_file");
    assert_eq!(full["error"]["code"], "FUEL_EXHAUSTED");
}

#[test]
fn an_event_looks_on_the_wire_as_the_contract_says() {
    let execution = execution(vm_storage::SessionId::new());
    let ts = "2026-01-02T03:04:05.000006Z".parse().unwrap();
    let payload = EventPayload::Value(ValuePayload {
        value_type: ValueType::Null,
        preview: "null".to_owned(),
        json: Some(Value::Null),
    });
    let event = Event { execution_id: execution.id, seq: 3, ts, payload };
    let wire = json!({"execution_id": execution.id.to_string(), "seq": 3,
        "ts": "2026-01-02T03:04:05.000006Z", "type": "value",
        "payload": {"type": "null", "preview": "null", "json": null}});
    assert_eq!(serde_json::to_value(&event).unwrap(), wire);
    assert_eq!(serde_json::from_value::<Event>(wire).unwrap(), event);
    let names: Vec<Value> = all_payloads()
        .iter()
        .map(|payload| serde_json::to_value(payload).unwrap()["type"].clone())
        .collect();
    assert_eq!(
        names,
        [
            "input_echo",
            "console",
            "value",
            "value",
            "value",
            "exception",
            "exception",
            "system",
            "stdout",
            "stderr"
        ]
    );
}

#[test]
fn only_what_a_script_put_out_counts_as_output() {
    let bytes: Vec<u64> = all_payloads().iter().map(EventPayload::output_bytes).collect();
    let text = HOSTILE.len() as u64;
    let json = serde_json::to_string(&json!([HOSTILE, {HOSTILE: 0.1}])).unwrap().len() as u64;
    assert_eq!(bytes, [0, text, text + json, text + 4, 9, 2 * text, text, 0, text, 0]);
}

#[test]
fn the_present_has_whole_microseconds() {
    assert_eq!(now().subsec_nanosecond() % 1_000, 0);
}

#[test]
fn ids_sort_by_creation_and_read_back_from_their_text() {
    let ids: Vec<TemplateId> = (0..1_000).map(|_| TemplateId::new()).collect();
    assert!(ids.is_sorted());
    assert_eq!(ids[0].to_string().parse::<TemplateId>().unwrap(), ids[0]);
    assert!("not-an-id".parse::<TemplateId>().is_err());
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}
