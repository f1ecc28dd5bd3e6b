//! Tokens: shown once, taken until they are revoked or expire, and only for what they are for.

use crate::harness::{Daemon, raw};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use ureq::http::Request;

const ID: &str = "01a20980-e265-7268-9926-9281df096b96";

#[test]
fn every_route_but_two_wants_a_token_that_is_ours() {
    let (daemon, token) = Daemon::with_auth(&[]);
    for path in ["/health", "/ready"] {
        daemon.get(path).is(200);
        daemon.as_(&token).get(path).is(200);
        daemon.as_("vms_wrong").get(path).is(200);
    }
    for path in
        ["/templates", "/sessions", "/ops/stats", "/tenants", "/metadata/modules", "/no/such"]
    {
        let reply = daemon.get(path);
        assert_eq!(reply.headers["www-authenticate"], "Bearer");
        reply.refused(401, "UNAUTHENTICATED");
    }
    let (head, secret) = token.rsplit_once('_').unwrap();
    let flipped = |text: &str| match text.strip_prefix('0') {
        Some(rest) => format!("1{rest}"),
        None => format!("0{}", &text[1..]),
    };
    let wrong = [
        String::new(),
        "vms_".to_owned(),
        token[1..].to_owned(),
        format!("{token}0"),
        token[..token.len() - 1].to_owned(),
        token.to_uppercase(),
        format!("{head}_{}", flipped(secret)),
        format!("vms_{}_{secret}", ID.replace('-', "")),
        format!("{head}_"),
        "x".repeat(4_000),
    ];
    for wrong in wrong {
        daemon.as_(&wrong).get("/templates").refused(401, "UNAUTHENTICATED");
    }
    let uri = daemon.url("/api/v1/templates");
    let with = |values: &[String]| {
        let mut request = Request::get(&uri);
        for value in values {
            request = request.header("authorization", value);
        }
        daemon.send(request.body(Vec::new()).unwrap()).status
    };
    assert_eq!(with(&[format!("bearer {token}")]), 200);
    assert_eq!(with(&[format!("Basic {token}")]), 401);
    assert_eq!(with(std::slice::from_ref(&token)), 401);
    let twice = [format!("Bearer {token}"), format!("Bearer {token}")];
    assert_eq!(with(&twice), 401);
    // Who has a token may come by any name of the host's.
    let request = format!(
        "GET /api/v1/templates HTTP/1.1\r\nHost: vm.example.com\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    assert!(raw(daemon.address, request.as_bytes()).starts_with("HTTP/1.1 200"));
    let log = daemon.log();
    assert!(!log.contains(secret), "a token is in the log");
}

#[test]
fn a_token_is_for_what_its_scopes_say() {
    let (daemon, admin) = Daemon::with_auth(&[]);
    let admin = daemon.as_(&admin);
    let tenant = admin.made("/tenants", json!({"name": "t"}));
    let of = |scopes: &[&str]| daemon.as_(&admin.token_of(&tenant, scopes));
    let [read, execute, manage] = [of(&["read"]), of(&["execute"]), of(&["manage"])];
    let template = manage.made("/templates", json!({"name": "t"}));
    for reader in [&read, &execute, &manage] {
        assert_eq!(reader.get("/templates").is(200)[0]["id"], template);
    }
    for other in [&read, &execute] {
        let refused = other.post("/templates", json!({"name": "t"})).refused(403, "FORBIDDEN");
        assert_eq!(refused["details"]["scope"], "manage");
        other.delete(&format!("/templates/{template}")).refused(403, "FORBIDDEN");
        other.get("/tokens").refused(403, "FORBIDDEN");
        other.delete(&format!("/sessions/{ID}")).refused(403, "FORBIDDEN");
    }
    let run = json!({"session_id": ID, "input": "1"});
    for other in [&read, &manage] {
        other.post("/executions/repl", run.clone()).refused(403, "FORBIDDEN");
        other.post(&format!("/executions/{ID}/cancel"), json!({})).refused(403, "FORBIDDEN");
    }
    execute.post("/executions/repl", run).refused(404, "SESSION_NOT_FOUND");
    for other in [&read, &execute, &manage] {
        for path in ["/tenants", "/ops/stats"] {
            let refused = other.get(path).refused(403, "FORBIDDEN");
            assert_eq!(refused["details"]["scope"], "admin");
        }
    }
    // Nobody gives what they have not, and the host itself is the local tenant's.
    let new = |scopes: &[&str]| json!({"name": "more", "scopes": scopes});
    manage.post("/tokens", new(&["manage", "read"])).is(201);
    manage.post("/tokens", new(&["execute"])).refused(403, "FORBIDDEN");
    manage.post("/tokens", new(&["admin"])).refused(400, "VALIDATION_ERROR");
    let local = "00000000-0000-0000-0000-000000000000";
    let body = json!({"name": "more", "scopes": ["read"], "tenant_id": local});
    manage.post("/tokens", body).refused(403, "FORBIDDEN");
    let body = json!({"name": "more", "scopes": ["admin"], "tenant_id": tenant});
    admin.post("/tokens", body).refused(400, "VALIDATION_ERROR");
    for body in [
        json!({"name": "x"}),
        json!({"name": "x", "scopes": []}),
        json!({"name": "x", "scopes": ["all"]}),
        json!({"scopes": ["read"]}),
        json!({"name": "x", "scopes": ["read"], "expires_at": "tomorrow"}),
        json!({"name": "x", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}),
        json!({"name": "x", "scopes": ["read"], "tenant_id": "t"}),
        json!({"name": "x", "scopes": ["read"], "tenant_id": ""}),
    ] {
        admin.post("/tokens", body).refused(400, "VALIDATION_ERROR");
    }
    let body = json!({"name": "x", "scopes": ["read"], "tenant_id": ID});
    admin.post("/tokens", body).refused(404, "TENANT_NOT_FOUND");
}

#[test]
fn a_token_is_listed_without_its_secret_and_ends_when_it_is_revoked_or_expires() {
    let (daemon, token) = Daemon::with_auth(&[]);
    let admin = daemon.as_(&token);
    let tenant = admin.made("/tenants", json!({"name": "t"}));
    let soon = vm_storage::now() + Duration::from_millis(1_500);
    let body =
        json!({"name": "brief", "scopes": ["read"], "tenant_id": tenant, "expires_at": soon});
    let brief = admin.post("/tokens", body).is(201);
    let lasting = admin
        .post("/tokens", json!({"name": "lasting", "scopes": ["manage"], "tenant_id": tenant}));
    let lasting = lasting.is(201);
    let secret = |made: &serde_json::Value| made["secret"].as_str().unwrap().to_owned();
    let (brief_secret, secret) = (secret(&brief), secret(&lasting));
    daemon.as_(&brief_secret).get("/templates").is(200);
    let listed = daemon.as_(&secret).get("/tokens").is(200);
    assert_eq!(listed, admin.get(&format!("/tokens?tenant_id={tenant}")).is(200));
    assert_eq!(listed.as_array().unwrap().len(), 2);
    for (listed, made) in listed.as_array().unwrap().iter().zip([&brief, &lasting]) {
        let mut made = made.clone();
        made.as_object_mut().unwrap().remove("secret");
        assert_eq!(listed, &made);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while daemon.as_(&brief_secret).get("/templates").status == 200 {
        assert!(Instant::now() < deadline, "it does not expire");
        std::thread::sleep(Duration::from_millis(50));
    }
    daemon.as_(&brief_secret).get("/templates").refused(401, "UNAUTHENTICATED");

    // Nobody takes what is more than their own, and nothing outlives what it was made with.
    let local = admin.token_of("00000000-0000-0000-0000-000000000000", &["manage"]);
    let bootstrap = admin.get("/tokens").is(200)[0]["id"].as_str().unwrap().to_owned();
    let refused = daemon.as_(&local).delete(&format!("/tokens/{bootstrap}"));
    assert_eq!(refused.refused(403, "FORBIDDEN")["details"]["scope"], "admin");
    let local_id = admin.get("/tokens").is(200)[1]["id"].as_str().unwrap().to_owned();
    daemon.as_(&local).delete(&format!("/tokens/{local_id}")).is(200);
    let year = vm_storage::now() + Duration::from_hours(24 * 365);
    let parent = json!({"name": "parent", "scopes": ["manage"], "expires_at": year});
    let parent = admin.post("/tokens", parent).is(201);
    let parent_of = daemon.as_(parent["secret"].as_str().unwrap());
    for wanted in [json!(null), json!("2999-01-01T00:00:00Z")] {
        let child = json!({"name": "child", "scopes": ["read"], "expires_at": wanted});
        let child = parent_of.post("/tokens", child).is(201);
        assert_eq!(child["expires_at"], parent["expires_at"]);
        daemon
            .as_(&admin.token)
            .delete(&format!("/tokens/{}", child["id"].as_str().unwrap()))
            .is(200);
    }
    admin.delete(&format!("/tokens/{}", parent["id"].as_str().unwrap())).is(200);

    let path = format!("/tokens/{}", lasting["id"].as_str().unwrap());
    admin.delete(&path).refused(404, "TOKEN_NOT_FOUND");
    assert_eq!(admin.get("/tokens").is(200).as_array().unwrap().len(), 1);
    // What it made outlives it, and so does its revocation a kill.
    let template = daemon.as_(&secret).made("/templates", json!({"name": "kept"}));
    daemon.as_(&secret).delete(&path).is(200);
    daemon.as_(&secret).get("/templates").refused(401, "UNAUTHENTICATED");
    let daemon = Daemon::in_folder(daemon.kill(), &["--auth"]);
    daemon.as_(&secret).get("/templates").refused(401, "UNAUTHENTICATED");
    daemon.get("/templates").refused(401, "UNAUTHENTICATED");
    let admin = daemon.as_(&token);
    let again = daemon.as_(&admin.token_of(&tenant, &["read"]));
    assert_eq!(again.get("/templates").is(200)[0]["id"], template);
    assert_eq!(admin.get("/templates").is(200), json!([]));
}

#[test]
fn what_a_token_began_ends_when_it_is_revoked() {
    let (daemon, token) = Daemon::with_auth(&[]);
    let admin = daemon.as_(&token);
    let made = admin.post("/tokens", json!({"name": "stolen", "scopes": ["admin"]})).is(201);
    let stolen = made["secret"].as_str().unwrap();
    let template = admin.made("/templates", json!({"name": "t"}));
    let limits = json!({"settings": {"limits": {"cpu_ms": 60_000, "wall_ms": 60_000}}});
    admin.patch(&format!("/templates/{template}"), limits).is(200);
    let session = admin.made("/sessions", daemon.session_body(&template));
    let late = |path: &str, body: &serde_json::Value| {
        let body = body.to_string();
        let mut stream = TcpStream::connect(daemon.address).unwrap();
        let head = format!(
            "POST /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {stolen}\r\n\
             Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{{",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        (stream, body[1..].to_owned())
    };
    let bodies = [
        ("/tokens", json!({"name": "another", "scopes": ["admin"]})),
        ("/templates", json!({"name": "another"})),
    ];
    let begun: Vec<_> = bodies.iter().map(|(path, body)| late(path, body)).collect();
    let script = "setInterval(() => console.log('on'), 20)";
    let run = json!({"session_id": session, "input": script}).to_string();
    let stream = std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let request = Request::post(daemon.url("/api/v1/executions/repl"))
                .header("content-type", "application/json")
                .header("authorization", format!("Bearer {token}"));
            daemon.send(request.body(run.into_bytes()).unwrap()).status
        });
        let deadline = Instant::now() + Duration::from_secs(30);
        let execution = loop {
            let list = admin.get(&format!("/executions?session_id={session}")).is(200);
            if list[0]["status"] == "running" {
                break list[0]["id"].as_str().unwrap().to_owned();
            }
            assert!(Instant::now() < deadline, "nothing runs");
        };
        let mut stream = TcpStream::connect(daemon.address).unwrap();
        let head = format!(
            "GET /api/v1/executions/{execution}/events HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Bearer {stolen}\r\nAccept: text/event-stream\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut first = [0; 64];
        stream.read_exact(&mut first).unwrap();
        admin.delete(&format!("/tokens/{}", made["id"].as_str().unwrap())).is(200);
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        admin.post(&format!("/executions/{execution}/cancel"), json!({})).is(200);
        running.join().unwrap();
        (ended.is_ok(), String::from_utf8_lossy(&rest).into_owned())
    });
    assert!(stream.0 && !stream.1.contains("event: end"), "{}", stream.1);
    for (mut stream, rest) in begun {
        stream.write_all(rest.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
    assert_eq!(admin.get("/tokens").is(200).as_array().unwrap().len(), 1);
    assert_eq!(admin.get("/templates").is(200).as_array().unwrap().len(), 1);
}
