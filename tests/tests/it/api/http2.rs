//! HTTP/2 without TLS, by prior knowledge.

use crate::harness::Daemon;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;

#[tokio::test]
async fn many_requests_on_one_connection_are_answered() {
    let daemon = Daemon::start();
    let template = daemon.template();
    let sessions: Vec<_> = (0..4).map(|_| daemon.session(&template)).collect();
    let stream = TcpStream::connect(daemon.address).await.unwrap();
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let requests = (0..200).map(|number: usize| {
        let (mut sender, url) = (sender.clone(), daemon.url("/api/v1/executions/repl"));
        let session = sessions[number % sessions.len()].clone();
        tokio::spawn(async move {
            let body = json!({"session_id": session, "input": format!("{number}")}).to_string();
            let request = Request::post(url).header("content-type", "application/json");
            let response = sender
                .send_request(request.body(Full::new(Bytes::from(body))).unwrap())
                .await
                .unwrap();
            assert_eq!(response.version(), Version::HTTP_2);
            let status = response.status().as_u16();
            let body: Value =
                serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes())
                    .unwrap();
            match status {
                201 => assert_eq!(body["result"]["json"], json!(number)),
                _ => assert_eq!((status, &body["error"]["code"]), (409, &json!("SESSION_BUSY"))),
            }
            status
        })
    });
    let mut ran = 0;
    for request in requests.collect::<Vec<_>>() {
        ran += usize::from(request.await.unwrap() == 201);
    }
    assert!(ran >= sessions.len(), "{ran} ran");
}

#[tokio::test]
async fn an_idle_connection_is_told_to_go() {
    let daemon = Daemon::with(&["--idle-timeout-s", "1", "--header-timeout-s", "1"]);
    let stream = TcpStream::connect(daemon.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    // A client of HTTP/2 sends frames between its requests, too; they do not count as one.
    for _ in 0..2 {
        let request =
            Request::get(daemon.url("/api/v1/health")).body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        drop(response.into_body().collect().await.unwrap());
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    let ended = tokio::time::timeout(Duration::from_secs(30), connection).await;
    assert!(ended.is_ok(), "it stayed open");
}

#[tokio::test]
async fn a_foreign_authority_is_refused() {
    let daemon = Daemon::start();
    let stream = TcpStream::connect(daemon.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request =
        Request::get("http://evil.example/api/v1/health").body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 403);
}
