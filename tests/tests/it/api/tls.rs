//! Requests of scripts over TLS: a server that the machine trusts is reached, and no other is.

use crate::harness::Daemon;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// Answers every request over TLS, until the test's process ends.
fn server(certified: &CertifiedKey<KeyPair>) -> SocketAddr {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let config = Arc::clone(&config);
            // A client that does not trust this server ends the connection.
            std::thread::spawn(move || drop(answer(stream.unwrap(), config)));
        }
    });
    address
}

fn answer(stream: TcpStream, config: Arc<ServerConfig>) -> std::io::Result<()> {
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    let mut line = String::new();
    while stream.read_line(&mut line)? > 2 {
        line.clear();
    }
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecure";
    stream.get_mut().write_all(answer.as_bytes())?;
    stream.get_mut().conn.send_close_notify();
    stream.get_mut().flush()
}

#[test]
fn a_server_is_reached_whose_certificate_is_trusted_and_is_for_its_name() {
    let names = || vec!["localhost".to_owned()];
    let trusted = generate_simple_self_signed(names()).unwrap();
    let foreign = generate_simple_self_signed(names()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let certificates = folder.path().join("trusted.pem");
    std::fs::write(&certificates, trusted.cert.pem()).unwrap();
    let certificates = certificates.to_str().unwrap();
    let daemon = Daemon::under(
        &[("SSL_CERT_FILE", certificates)],
        &["--allow-net", "127.0.0.1", "--allow-net", "::1"],
    );
    let (trusted, foreign) = (server(&trusted).port(), server(&foreign).port());
    let template = daemon.template();
    let capability = json!({"kind": "net", "name": "fetch", "enabled": true, "config": {
        "origins": ["https://localhost:*", "https://127.0.0.1:*"], "addresses": ["127.0.0.1", "::1"],
    }});
    daemon.post(&format!("/templates/{template}/capabilities"), capability).is(201);
    let session = daemon.session(&template);
    let tried = |url: String| {
        let script = format!(
            "await fetch('{url}').then(r => r.text(), e => `${{e.name}} ${{e.cause?.code}}`)"
        );
        daemon.preview(&session, &script)
    };
    assert_eq!(tried(format!("https://localhost:{trusted}/")), "'secure'");
    // Nobody vouches for this one; and the first is not for that name.
    for url in [format!("https://localhost:{foreign}/"), format!("https://127.0.0.1:{trusted}/")] {
        assert_eq!(tried(url.clone()), "'TypeError ECONNREFUSED'", "{url}");
    }
}
