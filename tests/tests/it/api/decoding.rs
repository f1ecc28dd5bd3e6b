//! Bodies and requests that are not quite right.

use crate::harness::{Daemon, raw, reply_of};
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use ureq::http::Request;

#[test]
fn a_body_that_is_not_strict_json_is_refused() {
    let daemon = Daemon::start();
    let deep = format!(r#"{{"name":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    let cases: [&[u8]; 18] = [
        b"",
        b" ",
        b"{",
        b"null",
        b"[]",
        b"\"name\"",
        br#"{"name":"a"} {}"#,
        br#"{"name":"a"}x"#,
        br#"{"name":"a","name":"b"}"#,
        br#"{"name":"a","n\u0061me":"b"}"#,
        br#"{"name":"a","nmae":"b"}"#,
        br#"{"name":["a"]}"#,
        br#"{"name":1}"#,
        br#"{'name':"a"}"#,
        b"{\"name\":\"\xff\"}",
        br#"{"name":"\ud800"}"#,
        b"\xef\xbb\xbf{\"name\":\"a\"}",
        deep.as_bytes(),
    ];
    for body in cases {
        let reply = daemon.post_text("/templates", body);
        let shown = String::from_utf8_lossy(body);
        assert_eq!(reply.body["error"]["code"], "INVALID_REQUEST", "{shown}: {}", reply.body);
        assert_eq!(reply.status, 400);
    }
    let session = daemon.any_session();
    let twice =
        format!(r#"{{"session_id":"{session}","path":"a","args":{{"b":{{"a":1,"a":2}}}}}}"#);
    daemon.post_text("/executions/run-file", twice.as_bytes()).refused(400, "INVALID_REQUEST");
    assert_eq!(daemon.get("/templates").is(200).as_array().unwrap().len(), 1);
}

#[test]
fn only_json_is_taken_for_json() {
    let daemon = Daemon::start();
    let post = |headers: &[(&str, &str)]| {
        let mut request = Request::post(daemon.url("/api/v1/templates"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        daemon.send(request.body(br#"{"name":"a"}"#.to_vec()).unwrap())
    };
    for good in
        ["application/json", "APPLICATION/JSON; charset=utf-8", "application/json; charset=UTF-8"]
    {
        post(&[("content-type", good)]).is(201);
    }
    for bad in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin1",
        "application/jsonx",
        "json",
        "multipart/form-data; boundary=x",
        "",
    ] {
        post(&[("content-type", bad)]).refused(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    post(&[]).refused(415, "UNSUPPORTED_MEDIA_TYPE");
    let twice = [("content-type", "application/json"), ("content-type", "text/plain")];
    post(&twice).refused(415, "UNSUPPORTED_MEDIA_TYPE");
    let packed = [("content-type", "application/json"), ("content-encoding", "gzip")];
    post(&packed).refused(415, "UNSUPPORTED_MEDIA_TYPE");
    assert_eq!(daemon.get("/templates").is(200).as_array().unwrap().len(), 3);
}

#[test]
fn a_close_takes_no_body_or_an_empty_one() {
    let daemon = Daemon::start();
    let session = daemon.any_session();
    let path = format!("/sessions/{session}/close");
    daemon.post(&path, json!({"force": true})).refused(400, "INVALID_REQUEST");
    daemon.post_text(&path, b"{").refused(400, "INVALID_REQUEST");
    daemon.post(&path, json!({})).is(200);
}

#[test]
fn ids_are_uuids_in_their_usual_form() {
    let daemon = Daemon::start();
    let id = daemon.template();
    let hex = id.replace('-', "");
    daemon.get(&format!("/templates/{}", id.to_uppercase())).is(200);
    for wrong in [
        "1",
        "x",
        &hex,
        &format!("%7B{id}%7D"),
        &format!("urn:uuid:{id}"),
        &format!("{id}%00"),
        "%ff",
        &"a".repeat(5_000),
    ] {
        for path in ["templates", "sessions", "executions"] {
            daemon.get(&format!("/{path}/{wrong}")).refused(400, "VALIDATION_ERROR");
        }
    }
    daemon.request("POST", "/sessions/1/close", None).refused(400, "VALIDATION_ERROR");
    daemon.delete("/sessions/1").refused(400, "VALIDATION_ERROR");
    daemon.get("/executions/1/events").refused(400, "VALIDATION_ERROR");
}

#[test]
fn a_request_keeps_its_sane_id_and_gets_one_otherwise() {
    let daemon = Daemon::start();
    let with = |id: Option<&[u8]>| {
        let mut request = Request::get(daemon.url("/api/v1/nowhere"));
        if let Some(id) = id {
            request = request.header("x-request-id", id);
        }
        let reply = daemon.send(request.body(Vec::new()).unwrap());
        let id = reply.headers["x-request-id"].to_str().unwrap().to_owned();
        reply.refused(404, "ROUTE_NOT_FOUND");
        id
    };
    for sane in ["a", "trace-1.2_3:4/5+6=7@8~9", &"x".repeat(128)] {
        assert_eq!(with(Some(sane.as_bytes())), sane);
    }
    for odd in [&b"a b"[..], b"\"", b"<script>", "é".as_bytes(), b"\xff", &[b'x'; 129]] {
        let given = with(Some(odd));
        assert_eq!(given.len(), 36, "{given}");
    }
    assert_ne!(with(None), with(None));
}

#[test]
fn answers_are_compressed_for_who_asks_and_streams_are_not() {
    let daemon = Daemon::start();
    let ask = |path: &str, headers: &str| {
        let head = format!(
            "GET /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"
        );
        let mut stream = TcpStream::connect(daemon.address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let at = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let body = answer.split_off(at);
        (String::from_utf8(answer).unwrap().to_lowercase(), body)
    };
    let whole = |(head, body): (String, Vec<u8>)| -> Value {
        assert!(!head.contains("content-encoding") && head.contains("content-length"), "{head}");
        serde_json::from_slice(&body).unwrap()
    };
    let plain = whole(ask("/metadata/modules", ""));
    assert_eq!(whole(ask("/metadata/modules", "Accept-Encoding: identity, br;q=0\r\n")), plain);
    let (head, packed) = ask("/metadata/modules", "Accept-Encoding: gzip\r\n");
    assert!(
        head.contains("content-encoding: gzip") && head.contains("vary: accept-encoding"),
        "{head}"
    );
    assert!(packed.len() * 2 < plain.to_string().len(), "{} bytes", packed.len());
    let unpacked: Value = serde_json::from_reader(GzDecoder::new(&dechunked(&packed)[..])).unwrap();
    assert_eq!(unpacked, plain);
    let (head, _) = ask("/metadata/modules", "Accept-Encoding: br, gzip\r\n");
    assert!(head.contains("content-encoding: br"), "{head}");
    // What is small comes as it is, and so do events that are streamed.
    whole(ask("/health", "Accept-Encoding: gzip\r\n"));
    let session = daemon.any_session();
    let execution = daemon.repl(&session, "console.log('x'.repeat(10_000))");
    let path = format!("/executions/{}/events", execution["id"].as_str().unwrap());
    let (head, _) = ask(&path, "Accept-Encoding: gzip\r\nAccept: text/event-stream\r\n");
    assert!(head.contains("text/event-stream") && !head.contains("content-encoding"), "{head}");
    let (head, packed) = ask(&path, "Accept-Encoding: gzip\r\n");
    assert!(head.contains("content-encoding: gzip") && packed.len() < 1_000, "{head}");
    // Nor is what comes in pieces: it would hold a worker for as long as it is large.
    let long = daemon.repl(&session, "for (let i = 0; i < 8; i++) console.log('x'.repeat(20_000))");
    let path = format!("/executions/{}/events", long["id"].as_str().unwrap());
    let (head, body) = ask(&path, "Accept-Encoding: gzip\r\n");
    assert!(!head.contains("content-encoding") && body.len() > 160_000, "{head}");
}

/// A body without the chunks that it came in.
fn dechunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(at) = body.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&body[..at]).unwrap(), 16).unwrap();
        whole.extend_from_slice(&body[at + 2..at + 2 + size]);
        body = &body[at + 4 + size..];
    }
    whole
}

#[test]
fn unknown_routes_and_methods_are_refused() {
    let daemon = Daemon::start();
    for path in [
        "",
        "/",
        "/templates/",
        "//templates",
        "/Templates",
        "/templates/a/b",
        "/../api/v1/health",
        "/%2e%2e/health",
    ] {
        daemon.get(path).refused(404, "ROUTE_NOT_FOUND");
    }
    for (method, path, allowed) in [
        ("PUT", "/templates", "GET,HEAD,POST"),
        ("POST", "/health", "GET,HEAD"),
        ("DELETE", "/executions/repl", "POST"),
        ("OPTIONS", "/sessions", "GET,HEAD,POST"),
        ("BREW", "/sessions", "GET,HEAD,POST"),
    ] {
        let reply = daemon.request(method, path, None);
        let mut allow: Vec<_> = reply.headers["allow"].to_str().unwrap().split(',').collect();
        allow.sort_unstable();
        assert_eq!(allow.join(","), allowed, "{method} {path}");
        reply.refused(405, "METHOD_NOT_ALLOWED");
    }
}

#[test]
fn only_programs_of_this_machine_are_served() {
    let daemon = Daemon::start();
    let port = daemon.address.port();
    let get = |headers: &str| {
        let answer = raw(
            daemon.address,
            format!("GET /api/v1/health HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").as_bytes(),
        );
        let (status, body) = reply_of(&answer);
        (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    for good in [
        format!("Host: 127.0.0.1:{port}\r\n"),
        "Host: localhost\r\n".to_owned(),
        "Host: [::1]:1\r\n".to_owned(),
        format!("Host: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"),
    ] {
        assert_eq!(get(&good), (200, String::new()), "{good}");
    }
    for foreign in [
        "Host: evil.example\r\n",
        "Host: 127.0.0.1.evil.example\r\n",
        "Host: 192.168.1.1\r\n",
        "",
        "Host: localhost\r\nHost: evil.example\r\n",
        "Host: localhost\r\nOrigin: http://evil.example\r\n",
        "Host: localhost\r\nOrigin: null\r\n",
        "Host: localhost\r\nOrigin: http://localhost:9\r\n",
    ] {
        assert_eq!(get(foreign), (403, "FORBIDDEN_ORIGIN".to_owned()), "{foreign}");
    }
    let absolute = "GET http://evil.example/api/v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(reply_of(&raw(daemon.address, absolute.as_bytes())).0, 403);
    // The refusal comes first: nothing is done, and nothing is told of what there is.
    let create = "POST /api/v1/templates HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{\"name\":\"a\"}";
    assert_eq!(reply_of(&raw(daemon.address, create.as_bytes())).0, 403);
    assert_eq!(daemon.get("/templates").is(200), json!([]));
}
