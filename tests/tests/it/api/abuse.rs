//! Clients that abuse HTTP itself, while others are served.

use crate::harness::{Daemon, raw, reply_of};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Reads until the server closes, and gives how long that took.
fn wait_for_close(stream: &mut TcpStream) -> Duration {
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let began = Instant::now();
    let mut rest = Vec::new();
    // A reset is a close too; a timeout is not.
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "it was not closed");
    }
    began.elapsed()
}

#[test]
fn ten_thousand_idle_connections_keep_nobody_out() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let daemon = Daemon::with(&["--log", "warn"]);
    let session = daemon.any_session();
    let idle: Vec<_> = (0..10_000)
        .map(|number| {
            let mut stream = TcpStream::connect(daemon.address).unwrap();
            // Some have begun a request and say no more.
            if number % 3 == 0 {
                stream.write_all(b"GET /api/v1/hea").unwrap();
            }
            stream
        })
        .collect();
    assert_eq!(daemon.preview(&session, "6 * 7"), "42");
    let mut fresh = TcpStream::connect(daemon.address).unwrap();
    fresh.write_all(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut line = String::new();
    BufReader::new(fresh).read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 200 OK\r\n");
    drop(idle);
}

#[test]
fn past_the_limit_of_connections_the_longest_idle_gives_way() {
    let daemon = Daemon::with(&["--max-connections", "20"]);
    let mut idle: Vec<_> = (0..20).map(|_| TcpStream::connect(daemon.address).unwrap()).collect();
    let answer = raw(
        daemon.address,
        b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(reply_of(&answer).0, 200, "{answer}");
    // The first that came was the one that idled longest.
    wait_for_close(&mut idle[0]);
    for _ in 0..200 {
        let answer = raw(
            daemon.address,
            b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        );
        assert_eq!(reply_of(&answer).0, 200, "{answer}");
    }
}

#[test]
fn slow_headers_bodies_and_idleness_end_a_connection() {
    let flags = ["--header-timeout-s", "1", "--body-timeout-s", "1", "--idle-timeout-s", "2"];
    let daemon = Daemon::with(&flags);
    let connect = || TcpStream::connect(daemon.address).unwrap();
    std::thread::scope(|scope| {
        // A byte now and then does not help.
        scope.spawn(|| {
            let mut slow = connect();
            let began = Instant::now();
            while slow.write_all(b"G").and_then(|()| slow.write_all(b"E")).is_ok() {
                assert!(began.elapsed() < Duration::from_secs(30), "it was never closed");
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        scope.spawn(|| {
            let mut slow = connect();
            slow.write_all(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nX-A: ").unwrap();
            wait_for_close(&mut slow);
        });
        // The preface of HTTP/2, and then nothing.
        scope.spawn(|| {
            let mut slow = connect();
            slow.write_all(b"PRI * HTTP/2.0\r\n").unwrap();
            wait_for_close(&mut slow);
        });
        scope.spawn(|| {
            wait_for_close(&mut connect());
        });
        // After an answer the connection may idle, and then goes.
        scope.spawn(|| {
            let mut kept = connect();
            for _ in 0..2 {
                kept.write_all(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
                let mut answer = [0; 4096];
                let read = kept.read(&mut answer).unwrap();
                assert!(answer[..read].starts_with(b"HTTP/1.1 200"));
                std::thread::sleep(Duration::from_millis(1_200));
            }
            wait_for_close(&mut kept);
        });
        scope.spawn(|| {
            let answer = raw(daemon.address, b"POST /api/v1/templates HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{");
            assert_eq!(reply_of(&answer).0, 408, "{answer}");
        });
        scope.spawn(|| {
            for _ in 0..20 {
                daemon.get("/health").is(200);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
    });
}

#[test]
fn a_long_execution_outlives_the_idle_timeout() {
    let daemon = Daemon::with(&["--idle-timeout-s", "1", "--header-timeout-s", "1"]);
    let limits = serde_json::json!({"cpu_ms": 3_600_000, "wall_ms": 3_600_000});
    let session = daemon.session(&daemon.template_with_limits(&limits));
    let input = "const end = Date.now() + 1500; while (Date.now() < end); 'done'";
    assert_eq!(daemon.preview(&session, input), "'done'");
}

#[test]
fn huge_and_many_headers_are_refused() {
    let daemon = Daemon::start();
    let huge = format!(
        "GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nX-A: {}\r\n\r\n",
        "a".repeat(1 << 20)
    );
    let many = format!(
        "GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        "X-A: a\r\n".repeat(1_000)
    );
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(1 << 20));
    for request in [huge, many, long] {
        let answer = raw(daemon.address, request.as_bytes());
        let (status, _) = reply_of(&answer);
        // It may be closed before all was sent, and the answer lost with it.
        assert!(matches!(status, 0 | 414 | 431), "{answer}");
        daemon.get("/health").is(200);
    }
}

#[test]
fn requests_that_could_be_read_two_ways_are_refused() {
    let daemon = Daemon::start();
    let body = r#"{"name":"smuggled"}"#;
    for headers in [
        "Content-Length: 19\r\nContent-Length: 20\r\n",
        "Content-Length: 19\r\nTransfer-Encoding: identity\r\n",
        "Content-Length: +19\r\n",
        "Content-Length: 0x13\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Content-Length : 19\r\n",
    ] {
        let answer = raw(daemon.address, format!("POST /api/v1/templates HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\r\n{body}").as_bytes());
        let (status, _) = reply_of(&answer);
        // It may be closed before all was read, and the answer lost with it.
        assert!(status == 0 || (400..500).contains(&status), "{headers}: {answer}");
    }
    for bytes in [
        &b"\0\0\0\0"[..],
        b"\x16\x03\x01\x02\x00\x01",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n\r\nnonsense\r\n\r\n",
    ] {
        let answer = raw(daemon.address, bytes);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(daemon.get("/templates").is(200), serde_json::json!([]));
}

#[test]
fn both_lengths_at_once_are_one_request_at_most() {
    let daemon = Daemon::start();
    // RFC 9112 lets a server take the chunks, if it closes afterwards; then the rest is no request.
    let smuggle = "POST /api/v1/templates HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{\"name\":\"a\"}\r\n0\r\n\r\nPOST /api/v1/templates HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"name\":\"b\"}";
    let mut stream = TcpStream::connect(daemon.address).unwrap();
    stream.write_all(smuggle.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer));
    let names: Vec<_> = daemon
        .get("/templates")
        .is(200)
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(names.len() <= 2 && !names.contains(&"c".to_owned()), "{names:?}: {answer}");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let daemon = Daemon::start();
    let one = |path: &str| format!("GET /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let last = "GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let requests = one("health").repeat(50) + &one("nowhere") + &one("templates").repeat(50) + last;
    let answer = raw(daemon.address, requests.as_bytes());
    let statuses: Vec<_> =
        answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]).collect();
    assert_eq!(statuses.len(), 102);
    assert_eq!(statuses.iter().position(|status| *status == "404"), Some(50));
    assert_eq!(statuses.iter().filter(|status| **status == "200").count(), 101);
}

#[test]
fn large_bodies_are_refused_and_the_refusal_is_read() {
    let daemon = Daemon::with(&["--max-body-kb", "64"]);
    let size = 8 << 20;
    let mut sized = format!("POST /api/v1/templates HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n").into_bytes();
    sized.resize(sized.len() + size, b' ');
    let mut chunked = b"POST /api/v1/templates HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..128 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.resize(chunked.len() + 65_536, b' ');
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let announced = b"POST /api/v1/templates HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 999999999999\r\nExpect: 100-continue\r\n\r\n".to_vec();
    for request in [sized, chunked, announced] {
        let answer = raw(daemon.address, &request);
        let (status, body) = reply_of(&answer);
        assert_eq!(
            (status, &body["error"]["code"]),
            (413, &"PAYLOAD_TOO_LARGE".into()),
            "{answer}"
        );
    }
}

#[test]
fn a_client_that_never_reads_loses_its_connection() {
    let daemon = Daemon::with(&["--write-timeout-s", "1"]);
    let limits = serde_json::json!({"max_output_kb": 65_536});
    let session = daemon.session(&daemon.template_with_limits(&limits));
    let execution =
        daemon.repl(&session, "for (let i = 0; i < 40; i++) console.log('x'.repeat(1 << 20))");
    let path = format!("/api/v1/executions/{}/events", execution["id"].as_str().unwrap());
    let mut stream = TcpStream::connect(daemon.address).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
    // It is sent more than the kernel's buffers hold, and reads nothing until the server has gone.
    let deadline = Instant::now() + Duration::from_secs(30);
    while stream.write_all(b"\r\n").is_ok() {
        assert!(Instant::now() < deadline, "it was never closed");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_answer_that_is_read_slowly_comes_whole() {
    let daemon = Daemon::with(&["--idle-timeout-s", "1"]);
    let limits = serde_json::json!({"max_output_kb": 65_536});
    let session = daemon.session(&daemon.template_with_limits(&limits));
    let execution =
        daemon.repl(&session, "for (let i = 0; i < 40; i++) console.log('x'.repeat(1 << 20))");
    let path = format!("/api/v1/executions/{}/events", execution["id"].as_str().unwrap());
    let mut stream = TcpStream::connect(daemon.address).unwrap();
    // In HTTP/1.0 an answer of many pages comes as it is, not in chunks.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    // Some three seconds in all, without a pause as long as the idle timeout.
    while Read::by_ref(&mut stream).take(1 << 20).read_to_end(&mut answer).unwrap() > 0 {
        std::thread::sleep(Duration::from_millis(80));
    }
    let (status, events) = crate::harness::reply_of(&String::from_utf8(answer).unwrap());
    assert_eq!((status, &events), (200, &execution["events"]));
}
