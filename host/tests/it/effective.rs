//! What a session has of its template is what it is told to have.

use crate::harness::{TestHost, capability, template};
use serde_json::{Value, json};
use vm_storage::{CapabilityKind, Template};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_what_its_template_says_and_its_host_allows() {
    let secrets = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secrets.path(), "[secrets.KEY]\nvalue = 'hunter2'\n").unwrap();
    let test = TestHost::with(|options| {
        options.allowed_programs = vec!["true".to_owned(), "false".to_owned()];
        options.allowed_addresses = vec!["10.1.0.0/16".to_owned(), "::1".to_owned()];
        options.secrets = Some(secrets.path().to_owned());
    })
    .await;
    let effective =
        |template: &Template| serde_json::to_value(test.host.effective(&template.into())).unwrap();
    assert_eq!(effective(&template()), json!({"modules": [], "capabilities": []}));
    let of = |kind, name, config: Value| capability(kind, name, config);
    let said = Template {
        modules: ["kv", "nothing", "fs", "exec", "database"].map(str::to_owned).to_vec(),
        capabilities: vec![
            of(CapabilityKind::Fs, "fs", json!({"write": true, "deny": ["x"]})),
            of(CapabilityKind::Module, "exec", json!({"programs": ["true", "sh"]})),
            of(CapabilityKind::Module, "kv", json!({"prefixes": ["a/"]})),
            of(CapabilityKind::Module, "kv", json!({"prefixes": ["a/b"], "read_only": true})),
            of(CapabilityKind::Module, "kv", json!("no config")),
            of(CapabilityKind::Env, "env", json!({"names": ["KEY", "MISSING"]})),
            of(
                CapabilityKind::Net,
                "fetch",
                json!({"origins": ["https://*", "http://10.1.0.1", "http://10.2.0.1"], "addresses": ["10.0.0.0/8", "::/0", "192.168.0.1"]}),
            ),
            of(CapabilityKind::Global, "whatever", json!({"a": 1})),
        ],
        ..template()
    };
    let expected = json!({
        "modules": ["database", "exec", "fs", "kv"],
        "capabilities": [
            {"kind": "module", "name": "database", "config": {
                "files": [], "write": false, "max_rows": 1_000_000, "max_result_bytes": 16_777_216,
                "max_file_bytes": 1_073_741_824,
            }},
            {"kind": "env", "name": "env", "config": {"names": ["KEY"]}},
            {"kind": "module", "name": "exec", "config":
                {"programs": ["true"], "max_output_bytes": 1_048_576}},
            {"kind": "module", "name": "fs", "config": {"write": true, "deny": ["x"]}},
            // What fits no config leaves nothing.
            {"kind": "module", "name": "kv", "config": {"read_only": true, "prefixes": []}},
            {"kind": "net", "name": "fetch", "config": {
                "origins": ["https://*", "http://10.1.0.1"], "methods": ["GET", "HEAD"],
                "addresses": ["10.1.0.0/16", "::1"], "max_requests": 100, "max_redirects": 5,
                "max_request_bytes": 1_048_576, "max_response_bytes": 8_388_608,
                "timeout_ms": 30_000,
            }},
        ],
    });
    assert_eq!(effective(&said), expected);
    // A capability does nothing without its module, nor one that is not enabled.
    let mut less = said.clone();
    less.modules = vec!["kv".to_owned()];
    less.capabilities.retain(|capability| capability.config != json!("no config"));
    less.capabilities
        .iter_mut()
        .filter(|it| it.kind != CapabilityKind::Module)
        .for_each(|it| it.enabled = false);
    let expected = json!({"modules": ["kv"], "capabilities": [
        {"kind": "module", "name": "kv", "config": {"read_only": true, "prefixes": ["a/b"]}},
    ]});
    assert_eq!(effective(&less), expected);
}
