//! The modules that a template's libraries and startup files are made into.

use crate::harness::{Daemon, Folder};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

/// A template with a startup file, and the form that each of so many sessions began in.
fn sessions(daemon: &Daemon, startup: &str, count: usize) -> (String, Vec<Value>) {
    fs::write(daemon.folder.path("worktree").join("init.js"), startup).unwrap();
    let template = daemon.template();
    let file = json!({"path": "init.js", "mode": "eval"});
    daemon.post(&format!("/templates/{template}/startup-files"), file).is(201);
    let forms = (0..count).map(|_| {
        let session = daemon.try_session(&template).is(201);
        session["runtime_meta"]["startup"].clone()
    });
    let forms = forms.collect();
    (template, forms)
}

#[test]
fn the_modules_of_a_template_are_listed_and_downloaded() {
    let daemon = Daemon::start();
    let (template, forms) = sessions(&daemon, "var n = 41; console.log('up')", 3);
    assert_eq!(forms, ["replayed", "image", "image"]);
    let path = format!("/templates/{template}/artifacts");
    let listed = daemon.get(&path).is(200);
    let [replayed, image] = &listed.as_array().unwrap()[..] else { panic!("{listed}") };
    assert_eq!((&replayed["form"], &replayed["hits"]), (&json!("replayed"), &json!(1)));
    assert_eq!((&image["form"], &image["hits"]), (&json!("image"), &json!(2)));
    assert_eq!(image["sources"][0]["name"], "init.js");
    assert_eq!(image["sources"][0]["kind"], "startup_file");
    assert_eq!(image["inputs"], json!([]));
    for artifact in [replayed, image] {
        let hash = artifact["hash"].as_str().unwrap();
        let url = daemon.url(&format!("/api/v1{path}/{hash}"));
        let file = daemon.folder.path("artifact.wasm");
        let curl = std::process::Command::new("curl")
            .args(["-sS", "-D", "-", "-o"])
            .args([file.to_str().unwrap(), &url])
            .output()
            .unwrap();
        let head = String::from_utf8(curl.stdout).unwrap();
        assert!(head.contains("content-type: application/wasm"), "{head}");
        let module = fs::read(&file).unwrap();
        assert_eq!(module.len() as u64, artifact["bytes"].as_u64().unwrap());
        assert!(module.starts_with(b"\0asm"));
    }
    for wrong in ["0", &"0".repeat(64), "..", "%2e%2e%2fvm-system.redb"] {
        daemon.get(&format!("{path}/{wrong}")).refused(404, "ARTIFACT_NOT_FOUND");
    }
    let nobody = "/templates/01890000-0000-7000-8000-000000000000/artifacts";
    daemon.get(nobody).refused(404, "TEMPLATE_NOT_FOUND");
    daemon.get(&format!("{nobody}/0")).refused(404, "TEMPLATE_NOT_FOUND");
}

#[test]
fn modules_outlive_the_daemon_and_images_can_be_turned_off() {
    let daemon = Daemon::start();
    let (template, _) = sessions(&daemon, "var n = 1", 1);
    let daemon = Daemon::in_folder(daemon.kill(), &[]);
    let session = daemon.try_session(&template).is(201);
    assert_eq!(session["runtime_meta"]["startup"], "image");
    let daemon = Daemon::in_folder(daemon.kill(), &["--no-images"]);
    let other = daemon.try_session(&template).is(201);
    assert_eq!(other["runtime_meta"]["startup"], "replayed");
    // A session that began with an image goes on all the same.
    assert_eq!(daemon.preview(session["id"].as_str().unwrap(), "n"), "1");
}

#[test]
fn modules_are_listed_and_downloaded_from_the_command_line() {
    let daemon = Daemon::start();
    let (template, _) = sessions(&daemon, "1", 2);
    let folder = Folder::new();
    let url = daemon.url("");
    let run = |args: &[&str]| folder.run(&[&["--server-url", &url, "template"], args].concat());
    let listed = run(&["list-artifacts", &template]);
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    let image = listed.stdout.lines().find(|line| line.contains(" image ")).unwrap();
    let hash = image.split_whitespace().next().unwrap();
    let got = run(&["get-artifact", &template, hash, "--to", "image.wasm"]);
    assert_eq!(got.code, 0, "{}", got.stderr);
    assert!(fs::read(folder.path("image.wasm")).unwrap().starts_with(b"\0asm"));
    assert_ne!(run(&["get-artifact", &template, hash, "--to", "image.wasm"]).code, 0);
}

#[test]
fn a_module_is_not_in_memory_for_clients_that_do_not_read_it() {
    let daemon = Daemon::start();
    let startup = "var large = new Uint8Array(24 << 20).fill(1)";
    let (template, _) = sessions(&daemon, startup, 1);
    let path = format!("/templates/{template}/artifacts");
    let listed = daemon.get(&path).is(200);
    let image = listed.as_array().unwrap().iter().find(|one| one["form"] == "image").unwrap();
    assert!(image["bytes"].as_u64().unwrap() > 24 << 20);
    let resident_mib = || {
        let status = format!("/proc/{}/status", daemon.pid().as_raw_nonzero());
        let status = fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
    };
    let before = resident_mib();
    let request = format!(
        "GET /api/v1{path}/{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        image["hash"].as_str().unwrap()
    );
    let readers: Vec<_> = (0..24)
        .map(|_| {
            let mut stream = TcpStream::connect(daemon.address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut head = [0; 12];
            stream.read_exact(&mut head).unwrap();
            assert_eq!(&head, b"HTTP/1.1 200");
            stream
        })
        .collect();
    // All of them would be 576 MiB.
    let grown = resident_mib().saturating_sub(before);
    assert!(grown < 150, "{grown} MiB for {} readers", readers.len());
}
