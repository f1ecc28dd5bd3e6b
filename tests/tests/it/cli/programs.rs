//! Programs from `fixtures` that use the network and a database, as a job runs them.

use crate::harness::{Folder, project};
use serde_json::json;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Barrier};

/// A site of ten pages, none of which it sends before all ten are asked for; gives its address.
fn site() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let all = Arc::new(Barrier::new(10));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let all = Arc::clone(&all);
            std::thread::spawn(move || serve(stream.unwrap(), &all));
        }
    });
    format!("http://{address}/")
}

fn serve(mut stream: TcpStream, all: &Barrier) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut line) = (String::new(), String::new());
    reader.read_line(&mut first).unwrap();
    while reader.read_line(&mut line).unwrap() > 2 {
        line.clear();
    }
    let path = first.split(' ').nth(1).unwrap();
    if path != "/new" {
        all.wait();
    }
    let (status, header, body) = match path {
        "/p3" => {
            ("302 Found", "location: http://169.254.169.254/latest/meta-data/\r\n", String::new())
        }
        "/p5" => ("301 Moved Permanently", "location: /new\r\n", String::new()),
        "/p7" => ("404 Not Found", "", String::new()),
        path => {
            ("200 OK", "", json!({"title": format!("page {path}"), "links": [1, 2]}).to_string())
        }
    };
    let len = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\n{header}content-length: {len}\r\nconnection: close\r\n\r\n");
    stream.write_all((head + &body).as_bytes()).unwrap();
}

#[test]
fn ten_pages_are_asked_for_at_once_and_no_redirect_leads_where_nothing_may() {
    let fixture = project().join("fixtures/fetch");
    let template = fixture.join("template.toml");
    let pages: Vec<_> = (0..10).map(|page| format!("p{page}")).collect();
    let args = json!({"site": site(), "pages": pages}).to_string();
    let program = fixture.join("check.mjs");
    let run = |more: &[&str]| {
        let base = ["run", program.to_str().unwrap(), "--template", template.to_str().unwrap()];
        Folder::new().run(&[&base, &["--args", &args][..], more].concat())
    };
    let ended = run(&["--allow-net", "127.0.0.1"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let mut expected = String::new();
    for page in 0..10 {
        let outcome = match page {
            3 => "EACCES: fetch failed: the template does not allow GET http://169.254.169.254"
                .to_owned(),
            5 => "page /new, 2 links, now /new".to_owned(),
            7 => "404 Not Found".to_owned(),
            page => format!("page /p{page}, 2 links"),
        };
        writeln!(expected, "p{page} {outcome}").unwrap();
    }
    assert_eq!(ended.stdout, expected + "10\n");
    // Without the host's word nobody is asked anything.
    let ended = run(&[]);
    assert_eq!(ended.stdout.matches("(serve --allow-net)").count(), 10, "{}", ended.stdout);
}

#[test]
fn a_hundred_thousand_rows_go_from_a_file_into_a_database() {
    let folder = Folder::new();
    for name in ["load.mjs", "template.toml"] {
        let path = project().join("fixtures/load").join(name);
        folder.file(name, &fs::read_to_string(path).unwrap());
    }
    let readings = |rows: u32| {
        let mut csv = "sensor,at,value\n".to_owned();
        for row in 0..rows {
            writeln!(csv, "s{},{},{}", row % 4, row / 4, f64::from(row % 100) / 8.0).unwrap();
        }
        csv
    };
    folder.file("readings.csv", &readings(100_000));
    let load = || folder.run(&["run", "load.mjs", "--template", "template.toml"]);
    let expected = "s0: 25000 readings, 6 on average\ns1: 25000 readings, 6.125 on average\n\
                    s2: 25000 readings, 6.25 on average\ns3: 25000 readings, 6.375 on average\n";
    let ended = load();
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    assert_eq!(ended.stdout, format!("{expected}100000\n"));
    // A row that is none: what was there stays, and nothing of this load is added.
    folder.file("readings.csv", &(readings(2000) + "s9,1,none\n"));
    let ended = load();
    assert_eq!(ended.code, 1);
    let told = "Uncaught SyntaxError: line 2002: 's9,1,none' is no reading\n";
    assert!(ended.stderr.starts_with(told), "{}", ended.stderr);
    folder.file("readings.csv", &readings(8));
    assert_eq!(load().stdout, format!("{expected}100000\n"));
}
