//! Requests over the network: what is granted is reached, and nothing else is, however it is named.

use crate::harness::server::{Server, respond};
use crate::harness::{TestHost, capability, console, said, secrets, template, with_startup};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Barrier, mpsc};
use vm_storage::{
    CapabilityKind, ExecutionErrorCode, ExecutionStatus, SessionId, StartupForm, Template,
};

/// A host that lets templates name this machine.
async fn allowing_loopback() -> TestHost {
    TestHost::with(|options| options.allowed_addresses = vec!["127.0.0.0/8".to_owned()]).await
}

/// A template with a grant of each config.
fn with_net(configs: &[Value]) -> Template {
    let grant = |config: &Value| capability(CapabilityKind::Net, "fetch", config.clone());
    Template { capabilities: configs.iter().map(grant).collect(), ..template() }
}

/// What a request gives: its status and text, or the code and message of what it throws.
async fn tried(test: &TestHost, session: SessionId, args: &str) -> String {
    let script = format!(
        "await fetch({args}).then(async r => `${{r.status}} ${{await r.text()}}`)
            .catch(e => `${{e.cause?.code ?? e.name}} ${{e.message}}`)"
    );
    test.preview(session, &script).await.trim_matches('\'').to_owned()
}

/// A server that says what it was asked.
fn echo() -> Server {
    Server::start(|asked, stream| {
        let said = json!({
            "method": asked.method, "path": asked.path,
            "body": String::from_utf8_lossy(&asked.body),
            "headers": asked.headers.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        });
        respond(
            stream,
            "200 Fine",
            "content-type: application/json\r\nx-two: a\r\nx-two: b\r\nset-cookie: c=1\r\n",
            said.to_string().as_bytes(),
        );
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_out_and_its_response_comes_back_as_the_standard_has_them() {
    let (test, server) = (allowing_loopback().await, echo());
    let grant = json!({"origins": [server.origin()], "methods": ["GET", "POST", "PUT", "HEAD"]});
    let session = test.session(with_net(&[grant])).await;
    test.repl(session, &format!("var url = '{}'", server.url("/a?b=1#c"))).await;
    for (input, expected) in [
        ("var r = await fetch(url); [r.status, r.ok, r.statusText, r.url === url, r.redirected, r.type, r.bodyUsed].join()",
         "'200,true,Fine,true,false,basic,false'"),
        ("[...r.headers].filter(([name]) => name !== 'content-length' && name !== 'connection')",
         "[ [ 'content-type', 'application/json' ], [ 'set-cookie', 'c=1' ], [ 'x-two', 'a, b' ] ]"),
        ("try { r.headers.set('a', 'b') } catch (e) { e.name }", "'TypeError'"),
        ("const said = await (await fetch(url)).json(); [said.method, said.path, said.body]",
         "[ 'GET', '/a?b=1', '' ]"),
        ("(await (await fetch(url, { method: 'post', body: 'grüße', headers: { 'X-Own': 'me' } })).json()).headers['x-own']", "'me'"),
        ("const put = await (await fetch(new Request(url, { method: 'PUT', body: new URLSearchParams({ a: 'b c' }) }))).json();
          [put.method, put.body, put.headers['content-type']]",
         "[ 'PUT', 'a=b+c', 'application/x-www-form-urlencoded;charset=UTF-8' ]"),
        ("const head = await fetch(url, { method: 'HEAD' }); [head.status, await head.text()]", "[ 200, '' ]"),
        // What is the client's to say is not the script's.
        ("const own = (await (await fetch(url, { headers: { host: 'evil.test', 'content-length': '9', connection: 'x', 'proxy-x': 'y' } })).json()).headers;
          [own.host === new URL(url).host, own['content-length'], own['proxy-x'], own['user-agent'].split('/')[0]]",
         "[ true, undefined, undefined, 'vm-system' ]"),
        ("const twice = await fetch(url); const copy = twice.clone(); [await twice.text() === await copy.text(), twice.bodyUsed]", "[ true, true ]"),
        ("try { await r.text() } catch (e) { e.cause.code }", "'EBADF'"),
        ("const once = await fetch(url); await once.text(); try { await once.text() } catch (e) { e.message }", "'The body was used already'"),
        ("try { await fetch('http://u:p@x.test/') } catch (e) { e.name }", "'TypeError'"),
        ("try { await fetch('nowhere') } catch (e) { e.code }", "'ERR_INVALID_URL'"),
        ("try { await fetch(url, { headers: { a: 'x'.repeat(70_000) } }) } catch (e) { e.cause.code }", "'EMSGSIZE'"),
        ("try { await fetch(url, { body: 'x' }) } catch (e) { e.name }", "'TypeError'"),
        ("try { await fetch(url, { method: 'TRACE' }) } catch (e) { e.name }", "'TypeError'"),
        ("try { await fetch(url, { headers: { 'a b': 'c' } }) } catch (e) { e.name }", "'TypeError'"),
        ("try { await fetch(url, { headers: { a: 'b\\r\\nc: d' } }) } catch (e) { e.name }", "'TypeError'"),
    ] {
        let shown = test.preview(session, input).await;
        // However it is laid out.
        let flat = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(flat, expected, "{input}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_requests_are_under_way_at_once() {
    let test = allowing_loopback().await;
    // None is answered before all ten are there.
    let all = Arc::new(Barrier::new(10));
    let server = Server::start(move |asked, stream| {
        all.wait();
        respond(stream, "200 OK", "", asked.path.as_bytes());
    });
    let session = test.session(with_net(&[json!({"origins": [server.origin()]})])).await;
    let script = format!(
        "const texts = await Promise.all(Array.from({{ length: 10 }},
            async (_, i) => (await fetch('{}' + i)).text())); texts.join(' ')",
        server.url("/")
    );
    let finished = test.repl(session, &script).await;
    assert_eq!(finished.execution.result.unwrap().preview, "'/0 /1 /2 /3 /4 /5 /6 /7 /8 /9'");
    let used = finished.execution.metrics.host;
    assert!(used.calls >= 30 && used.bytes_in > 1_000, "{used:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_reached_that_is_not_granted_however_it_is_named() {
    let (test, server) = (allowing_loopback().await, echo());
    let port = server.address.port();
    let none = test.session(template()).await;
    let url = format!("'{}'", server.url("/"));
    assert_eq!(
        tried(&test, none, &url).await,
        "EACCES fetch failed: the template allows no requests"
    );
    let grants = [
        json!({"origins": [format!("http://127.0.0.1:{port}"), "http://localhost:1", "https://*", "http://*:*"]}),
    ];
    let session = test.session(with_net(&grants)).await;
    let refused = |reason: &str| format!("EACCES fetch failed: {reason}");
    let unnamed = |address: &str| {
        refused(&format!("the address {address} is not public, and the template does not name it"))
    };
    for (args, expected) in [
        (
            format!("'http://127.0.0.1:{port}/', {{ method: 'POST' }}"),
            refused(&format!("the template does not allow POST http://127.0.0.1:{port}")),
        ),
        ("'ftp://x.test/'".to_owned(), refused("the template does not allow GET ftp://x.test")),
        ("'data:text/plain,x'".to_owned(), refused("the template does not allow GET null")),
        // A wildcard names no address that is not public, in whatever notation.
        (format!("'http://127.0.0.2:{port}/'"), unnamed("127.0.0.2")),
        ("'http://169.254.169.254/latest/meta-data/'".to_owned(), unnamed("169.254.169.254")),
        ("'http://0251.0376.0251.0376/'".to_owned(), unnamed("169.254.169.254")),
        ("'http://0xa9fea9fe/'".to_owned(), unnamed("169.254.169.254")),
        ("'http://10.1/'".to_owned(), unnamed("10.0.0.1")),
        ("'http://[::ffff:10.0.0.1]/'".to_owned(), unnamed("::ffff:10.0.0.1")),
        ("'http://[::1]/'".to_owned(), unnamed("::1")),
        ("'http://[fd00::1]/'".to_owned(), unnamed("fd00::1")),
        ("'http://100.64.0.1/'".to_owned(), unnamed("100.64.0.1")),
        ("'http://0/'".to_owned(), unnamed("0.0.0.0")),
        ("'http://224.0.0.1/'".to_owned(), unnamed("224.0.0.1")),
    ] {
        assert_eq!(tried(&test, session, &args).await, expected, "{args}");
    }
    // The name leads to this machine, which naming the name does not name.
    let by_name = tried(&test, session, "'http://localhost:1/'").await;
    assert!(by_name.starts_with("EACCES ") && by_name.contains("does not name it"), "{by_name}");
    assert!(server.asked().is_empty());

    let named = [
        json!({"origins": [format!("http://localhost:{port}")], "addresses": ["127.0.0.1", "::1"]}),
    ];
    let session = test.session(with_net(&named)).await;
    let reached = tried(&test, session, &format!("'http://localhost:{port}/'")).await;
    // Where the name has another address too, it has to be allowed by the host as well.
    assert!(reached.starts_with("200 ") || reached.contains("host does not allow"), "{reached}");
    assert_eq!(
        tried(&test, session, &url).await,
        refused(&format!("the template does not allow GET http://127.0.0.1:{port}"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_public_needs_the_host_too() {
    let (test, server) = (TestHost::start().await, echo());
    let session = test.session(with_net(&[json!({"origins": [server.origin()]})])).await;
    assert_eq!(
        tried(&test, session, &format!("'{}'", server.url("/"))).await,
        "EACCES fetch failed: the address 127.0.0.1 is not public, and the host does not allow it \
         (serve --allow-net)"
    );
    assert!(server.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_redirect_is_checked_like_the_first_request() {
    let (test, other) = (allowing_loopback().await, echo());
    let (target, unlisted) = (other.url("/there"), echo());
    let elsewhere = unlisted.url("/");
    let server = Server::start(move |asked, stream| {
        let to = match asked.path.as_str() {
            "/other" => target.as_str(),
            "/unlisted" => elsewhere.as_str(),
            "/metadata" => "http://169.254.169.254/latest",
            "/file" => "file:///etc/passwd",
            "/round" => "/round",
            "/post" => "/shown",
            _ => {
                return respond(
                    stream,
                    "200 OK",
                    "",
                    format!("{} {}", asked.method, asked.path).as_bytes(),
                );
            }
        };
        respond(stream, "302 Found", &format!("location: {to}\r\n"), b"gone");
    });
    let origins = [server.origin(), other.origin(), "http://169.254.169.254".to_owned()];
    let grant = json!({"origins": origins, "methods": ["GET", "POST"], "max_redirects": 3});
    let session = test.session(with_net(&[grant])).await;
    test.repl(session, &format!("var base = '{}'", server.origin())).await;
    for (args, expected) in [
        (
            "base + '/metadata'",
            "EACCES fetch failed: the address 169.254.169.254 is not public, and the host does not allow it (serve --allow-net)",
        ),
        ("base + '/round'", "ELOOP fetch failed: it was redirected more than 3 times"),
        ("base + '/round', { redirect: 'error' }", "ELOOP fetch failed: it was redirected"),
        ("base + '/round', { redirect: 'manual' }", "302 gone"),
        ("base + '/post', { method: 'POST', body: 'x' }", "200 GET /shown"),
        ("base + '/file'", "EACCES fetch failed: the template does not allow GET null"),
    ] {
        assert_eq!(tried(&test, session, args).await, expected, "{args}");
    }
    let got = tried(&test, session, "base + '/unlisted'").await;
    assert!(got.contains("the template does not allow GET"), "{got}");
    assert!(unlisted.asked().is_empty());
    let got = test.preview(session,
        "const r = await fetch(base + '/other', { headers: { authorization: 'mine', cookie: 'c', 'x-keep': 'k' } });
         const { headers } = await r.json(); [r.redirected, r.url.endsWith('/there'), headers.authorization, headers.cookie, headers['x-keep']]").await;
    assert_eq!(got, "[ true, true, undefined, undefined, 'k' ]");
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_counts_and_times_are_bounded() {
    let test = allowing_loopback().await;
    // A MiB of zeros, packed: 1 KiB.
    let packed = {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![b'0'; 1 << 20]).unwrap();
        encoder.finish().unwrap()
    };
    let server = Server::start(move |asked, stream| match asked.path.as_str() {
        "/bomb" => respond(stream, "200 OK", "content-encoding: gzip\r\n", &packed),
        "/large" => respond(stream, "200 OK", "", &vec![b'x'; 100_001]),
        "/fits" => respond(stream, "200 OK", "", &vec![b'x'; 100_000]),
        "/endless" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b'x'; 1000]).is_ok() {}
        }
        // Until the client goes.
        "/silent" => drop(std::io::Read::read(stream, &mut [0; 1])),
        _ => respond(stream, "200 OK", "", b"small"),
    });
    let grant = json!({
        "origins": [server.origin()], "methods": ["GET", "POST"], "max_requests": 9,
        "max_request_bytes": 10, "max_response_bytes": 100_000, "timeout_ms": 300,
    });
    let session = test.session(with_net(&[grant])).await;
    let base = format!("const base = '{}';", server.origin());
    let too_large = "'EMSGSIZE response'";
    let script = format!(
        "{base} const codes = [];
         for (const [path, init] of [['/fits'], ['/large'], ['/bomb'], ['/endless'], ['/silent'],
                 ['/x', {{ method: 'POST', body: '01234567890' }}], ['/x', {{ method: 'POST', body: '0123456789' }}]]) {{
             try {{ codes.push((await (await fetch(base + path, init)).text()).length) }}
             catch (e) {{ codes.push(`${{e.cause.code}} ${{e.message.match(/response|request|longer/)}}`) }}
         }} codes"
    );
    let flat = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(
        flat(test.preview(session, &script).await),
        format!(
            "[ 100000, {too_large}, {too_large}, {too_large}, 'ETIMEDOUT longer', 'EMSGSIZE request', 5 ]"
        )
    );
    let many = format!(
        "{base} let made = 0; try {{ for (;;) {{ await fetch(base + '/x'); made++ }} }} catch (e) {{ [made, e.cause.code] }}"
    );
    assert_eq!(test.preview(session, &many).await, "[ 9, 'EDQUOT' ]");
    let held = format!(
        "{base} const all = await Promise.allSettled(Array.from({{ length: 70 }}, () => fetch(base + '/silent')));
         [...new Set(all.map(one => one.reason.cause.code))].sort()"
    );
    assert_eq!(test.preview(session, &held).await, "[ 'EDQUOT', 'ETIMEDOUT' ]");
}

/// A server that keeps silent, and says when a client of it is gone.
fn silent() -> (Server, mpsc::Receiver<()>, mpsc::Receiver<()>) {
    let (arrive, came) = mpsc::channel();
    let (leave, gone) = mpsc::channel();
    let server = Server::start(move |_, stream: &mut TcpStream| {
        arrive.send(()).unwrap();
        let _ = std::io::Read::read(stream, &mut [0; 1]);
        leave.send(()).unwrap();
    });
    (server, came, gone)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_ends_with_its_execution_and_a_signal() {
    let (test, (server, came, gone)) = (allowing_loopback().await, silent());
    let grant = with_net(&[json!({"origins": [server.origin()]})]);
    let mut short = grant.clone();
    short.id = vm_storage::TemplateId::new();
    short.settings.limits.wall_ms = 300;
    let (session, limited) = (test.session(grant).await, test.session(short).await);
    let url = server.url("/");

    let finished = test.repl(limited, &format!("var x = 1; await fetch('{url}')")).await;
    assert_eq!(finished.execution.status, ExecutionStatus::Timeout);
    assert_eq!(finished.execution.error.unwrap().code, Some(ExecutionErrorCode::WallTimeExceeded));
    gone.recv().unwrap();
    assert_eq!(test.preview(limited, "typeof x").await, "'undefined'");
    came.recv().unwrap();

    // What throws ends the execution with all it has under way.
    let finished = test
        .repl(
            session,
            &format!("fetch('{url}'); setTimeout(() => {{ throw new Error('over') }}, 50)"),
        )
        .await;
    assert_eq!(finished.execution.error.unwrap().message, "Error: over");
    gone.recv().unwrap();
    came.recv().unwrap();

    let running = test.begin(session, &format!("await fetch('{url}')")).await;
    came.recv().unwrap();
    test.host.cancel_execution(running.id).await.unwrap();
    assert_eq!(running.finished().await.execution.status, ExecutionStatus::Cancelled);
    gone.recv().unwrap();

    for (signal, name) in [
        ("AbortSignal.timeout(20)", "TimeoutError"),
        (
            "(() => { const c = new AbortController(); setTimeout(() => c.abort(), 20); return c.signal })()",
            "AbortError",
        ),
        ("AbortSignal.abort()", "AbortError"),
    ] {
        // A timeout's timer keeps nothing waiting; the request does.
        let script = format!(
            "try {{ await fetch('{url}', {{ signal: {signal} }}) }} catch (e) {{ e.name }}"
        );
        assert_eq!(test.preview(session, &script).await, format!("'{name}'"), "{signal}");
    }
    gone.recv().unwrap();
    gone.recv().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_read_as_it_comes_and_timers_go_on_meanwhile() {
    let test = allowing_loopback().await;
    let (release, released) = mpsc::channel::<()>();
    let (release, released) = (std::sync::Mutex::new(release), std::sync::Mutex::new(released));
    let server = Server::start(move |asked, stream| {
        if asked.path == "/next" {
            release.lock().unwrap().send(()).unwrap();
            return respond(stream, "204 No Content", "", b"");
        }
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(format!("{head}{}", chunk("one")).as_bytes()).unwrap();
        // The next part comes when the client has seen this one.
        released.lock().unwrap().recv().unwrap();
        stream.write_all(format!("{}0\r\n\r\n", chunk("two")).as_bytes()).unwrap();
    });
    let session = test.session(with_net(&[json!({"origins": [server.origin()]})])).await;
    let script = format!(
        "let ticks = 0; const timer = setInterval(() => ticks++, 1);
         const parts = [];
         for await (const part of (await fetch('{0}')).body) {{
             parts.push(new TextDecoder().decode(part));
             if (parts.length === 1) {{
                 await new Promise(done => setTimeout(done, 5));
                 await fetch('{1}');
             }}
         }}
         clearInterval(timer); [parts, ticks > 0]",
        server.url("/"),
        server.url("/next")
    );
    assert_eq!(test.preview(session, &script).await, "[ [ 'one', 'two' ], true ]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_goes_where_it_is_for_and_no_script_sees_it() {
    let (server, other) = (echo(), echo());
    let file = secrets(&format!(
        "[secrets.KEY]\nvalue = 'hunter2'\norigins = ['{}']\n[secrets.REGION]\nvalue = 'eu-1'\npublic = true\n",
        server.origin()
    ));
    let test = TestHost::with(|options| {
        options.allowed_addresses = vec!["127.0.0.1".to_owned()];
        options.secrets = Some(file.path().to_owned());
    })
    .await;
    let mut template = with_net(&[json!({"origins": [server.origin(), other.origin()]})]);
    let env = json!({"names": ["KEY", "REGION", "MISSING"]});
    template.capabilities.push(capability(CapabilityKind::Env, "env", env));
    let session = test.session(template.clone()).await;
    let seen = test.preview(session, "[process.env.REGION, process.env.KEY.replace(/[0-9a-f]{24}/, '…'), Object.keys(__ENV__)]").await;
    assert_eq!(seen, "[ 'eu-1', 'vm-secret-KEY-…', [ 'KEY', 'REGION' ] ]");
    let script = format!(
        "const r = await fetch('{}', {{ headers: {{ authorization: `Bearer ${{process.env.KEY}}` }} }});
         const text = await r.text(); [text.includes('hunter2'), JSON.parse(text).headers.authorization === `Bearer ${{process.env.KEY}}`]",
        server.url("/")
    );
    assert_eq!(test.preview(session, &script).await, "[ false, true ]");
    assert_eq!(server.asked()[0].header("authorization"), Some("Bearer hunter2"));
    let elsewhere = tried(
        &test,
        session,
        &format!("'{}', {{ headers: {{ 'x-key': process.env.KEY }} }}", other.url("/")),
    )
    .await;
    assert!(elsewhere.contains("the secret KEY may not be sent to"), "{elsewhere}");
    assert!(other.asked().is_empty());

    // The request's own environment is there beside it, and before it.
    test.file("env.js", "JSON.stringify([process.env.REGION, process.env.OWN, __ENV__.REGION])");
    let source = vm_host::Source::File {
        path: "env.js".to_owned(),
        args: serde_json::Map::new(),
        env: [("OWN".to_owned(), "mine".to_owned())].into(),
    };
    let finished = test.host.execute(session, source, None).await.unwrap();
    assert_eq!(finished.execution.result.unwrap().preview, "'[\"eu-1\",\"mine\",\"eu-1\"]'");
    assert_eq!(finished.execution.env.len(), 1, "no secret is in the record");

    // Another session of the same template has another placeholder; one without the grant has none.
    let second = test.another(&template).await.unwrap();
    let placeholder = "process.env.KEY";
    assert_ne!(test.preview(session, placeholder).await, test.preview(second, placeholder).await);
    let none = test.session(crate::harness::template()).await;
    assert_eq!(test.preview(none, "[process.env, __ENV__]").await, "[ {}, {} ]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_startup_that_uses_the_network_or_its_environment_is_replayed() {
    let server = echo();
    let file = secrets("[secrets.REGION]\nvalue = 'eu-1'\n");
    let test = TestHost::with(|options| {
        options.allowed_addresses = vec!["127.0.0.1".to_owned()];
        options.secrets = Some(file.path().to_owned());
    })
    .await;
    test.file(
        "fetches.js",
        format!("await fetch('{}').then(r => r.text()); var ready = 1", server.url("/")),
    );
    test.file("looks.js", "var region = process.env.REGION");
    test.file("neither.js", "var ready = 1");
    for (path, form) in [
        ("fetches.js", StartupForm::Replayed),
        ("looks.js", StartupForm::Replayed),
        ("neither.js", StartupForm::Image),
    ] {
        let mut template = with_startup(&[(path, 1)]);
        template.capabilities = vec![
            capability(CapabilityKind::Net, "fetch", json!({"origins": [server.origin()]})),
            capability(CapabilityKind::Env, "env", json!({"names": ["REGION"]})),
        ];
        let first = test.session(template.clone()).await;
        let second = test.another(&template).await.unwrap();
        assert_eq!(crate::images::form(&test, first).await, StartupForm::Replayed);
        assert_eq!(crate::images::form(&test, second).await, form, "{path}");
    }
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_leaves_an_event_where_calls_are_audited() {
    let (test, server) = (allowing_loopback().await, echo());
    let mut template = with_net(&[json!({"origins": [server.origin()]})]);
    template.settings.runtime.audit = true;
    let session = test.session(template).await;
    let url = server.url("/a?token=hunter2#x");
    let finished = test.repl(session, &format!("await fetch('{url}'); console.log('done')")).await;
    let said = said(&finished);
    assert_eq!(said.len(), 1, "{said:?}");
    let expected = format!("host call: fetch 'GET {}': ", server.url("/a"));
    assert!(said[0].starts_with(&expected), "{said:?}");
    assert_eq!(console(&finished.events), ["done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_nobody_wants_are_closed() {
    let test = allowing_loopback().await;
    let server = Server::start(|asked, stream| {
        if asked.path == "/empty" {
            return respond(stream, "404 Not Found", "", b"");
        }
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n";
        let _ = stream.write_all(head.as_bytes());
        // Until the client goes away.
        let _ = std::io::Read::read(stream, &mut [0]);
    });
    let grant =
        json!({"origins": [server.origin()], "methods": ["GET", "POST"], "max_requests": 1000});
    let session = test.session(with_net(&[grant])).await;
    for script in [
        "const c = new AbortController(); await fetch(url, { signal: c.signal }); c.abort()",
        "await (await fetch(url)).body.cancel()",
        "await fetch(url + 'empty')",
    ] {
        let script = format!(
            "var url = '{}'; for (let i = 0; i < 80; i++) {{ {script} }} 'done'",
            server.url("/")
        );
        assert_eq!(test.preview(session, &script).await, "'done'", "{script}");
    }
    let aborted =
        "const c = new AbortController(); const r = await fetch(url, { signal: c.signal });
        c.abort(new Error('mine')); await r.text().catch(e => e.message)";
    assert_eq!(test.preview(session, aborted).await, "'mine'");
    let endless = "await fetch(url, { method: 'POST', duplex: 'half', body: new ReadableStream({
        pull(c) { c.enqueue(new Uint8Array(1 << 20)) } }) }).catch(e => e.message)";
    let told = test.preview(session, endless).await;
    assert_eq!(told, "'The body has more than 16777216 bytes'");
}
