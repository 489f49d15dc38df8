//! What is fetched before a task starts.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{command, container, fails, refused, run, sandbox, shell, with, written};
use crate::support::engine::TestEngine;

/// A server of the files of a directory. `/moved/x` is a redirect to `/x`; `/stuck` never comes to an end.
struct Files {
    dir: TempDir,
    url: String,
    /// Requests for what never comes to an end, and how many of those were given up.
    stuck: Arc<(AtomicU32, AtomicU32)>,
}

impl Files {
    fn serve() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stuck = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
        let (root, counts) = (dir.path().to_owned(), stuck.clone());
        // It ends with the test's process, as its listener does.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, counts) = (root.clone(), counts.clone());
                std::thread::spawn(move || answer(stream, &root, &counts));
            }
        });
        Self { dir, url, stuck }
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.dir.path().join(name), content).unwrap();
    }
    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }
    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.url)
    }
    /// Makes an archive, with a program of the machine, of a file called like it that says so.
    fn archive(&self, name: &str, program: &str, arguments: &[&str]) {
        let inner = tempfile::tempdir().unwrap();
        let file = format!("from-{name}");
        std::fs::create_dir(inner.path().join("in")).unwrap();
        std::fs::write(inner.path().join("in").join(&file), format!("{name}\n")).unwrap();
        let path = self.path(name);
        let made =
            Command::new(program).args(arguments).args([&path, "in"]).current_dir(inner.path()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    }
    fn waits_for(&self, what: &str, holds: impl Fn(u32, u32) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds(self.stuck.0.load(Ordering::Relaxed), self.stuck.1.load(Ordering::Relaxed)) {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn answer(mut stream: TcpStream, root: &Path, counts: &(AtomicU32, AtomicU32)) {
    let mut asked = vec![0; 4096];
    let read = stream.read(&mut asked).unwrap_or(0);
    let head = String::from_utf8_lossy(&asked[..read]).into_owned();
    let path = head.split(' ').nth(1).unwrap_or("/").split('?').next().unwrap_or_default().to_owned();
    let (status, more, body) = match path.strip_prefix("/moved/") {
        Some(name) => ("302 Found", format!("Location: /{name}\r\n"), Vec::new()),
        None => match std::fs::read(root.join(path.trim_start_matches('/'))) {
            Ok(body) => ("200 OK", String::new(), body),
            Err(_) => ("404 Not Found", String::new(), b"no such file".to_vec()),
        },
    };
    if path == "/stuck" {
        counts.0.fetch_add(1, Ordering::Relaxed);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun");
        // Until the other side closes.
        let _ = stream.read(&mut asked);
        counts.1.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}Connection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}

fn artifact(uri: &str) -> Value {
    json!({ "uri": uri })
}

/// Lists the files below a directory with what they hold.
fn contents(dir: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).trim_end().to_owned();
                found.push((path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn artifacts_are_in_the_sandbox_before_a_command_starts() {
    let engine = TestEngine::start();
    let files = Files::serve();
    files.write("hello.txt", "hello\n");
    files.write("tool", "#!/bin/sh\necho tool ran > ran\n");
    files.write("kept.tgz", "not unpacked\n");
    for (name, program, arguments) in [
        ("a.tar", "tar", &["-cf"][..]),
        ("a.tgz", "tar", &["-czf"]),
        ("a.tar.gz", "tar", &["-czf"]),
        ("a.tar.bz2", "tar", &["-cjf"]),
        ("a.tbz2", "tar", &["-cjf"]),
        ("a.tar.xz", "tar", &["-cJf"]),
        ("a.txz", "tar", &["-cJf"]),
        ("a.zip", "zip", &["-qr"]),
    ] {
        files.archive(name, program, arguments);
    }
    files.write("notes.txt", "alone\n");
    shell("gzip", &[&files.path("notes.txt")]);
    let mut fetch: Vec<Value> =
        ["a.tar", "a.tgz", "a.tar.gz", "a.tar.bz2", "a.tbz2", "a.tar.xz", "a.txz", "a.zip", "notes.txt.gz"]
            .iter()
            .map(|name| artifact(&files.at(name)))
            .collect();
    fetch.extend([
        json!({ "uri": files.at("moved/hello.txt?token=x"), "cache": true }),
        json!({ "uri": format!("file://{}", files.path("hello.txt")), "destPath": "some/where/else.txt" }),
        json!({ "uri": files.at("tool"), "executable": true }),
        json!({ "uri": files.at("kept.tgz"), "extract": false }),
    ]);
    let app = command("./tool && cat hello.txt some/where/else.txt in/from-a.zip notes.txt > seen; exec sleep 1000");
    run(&engine, "fetcher", &with(app, "fetch", json!(fetch)));
    let sandbox = sandbox(&engine, "fetcher");
    assert_eq!(written(&sandbox.join("ran")), "tool ran");
    assert_eq!(written(&sandbox.join("seen")), "hello\nhello\na.zip\nalone");
    let unpacked: Vec<String> = contents(&sandbox.join("in")).into_iter().map(|(_, text)| text).collect();
    assert_eq!(unpacked, ["a.tar", "a.tar.bz2", "a.tar.gz", "a.tar.xz", "a.tbz2", "a.tgz", "a.txz", "a.zip"]);
    assert_eq!(std::fs::read_to_string(sandbox.join("kept.tgz")).unwrap(), "not unpacked\n");
    let beside = std::fs::read_dir(sandbox.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(beside.into_iter().all(|name| !name.to_string_lossy().starts_with("unpacking")));
}

#[test]
fn a_container_finds_artifacts_in_its_sandbox_whoever_it_runs_as() {
    let engine = TestEngine::start();
    let files = Files::serve();
    let inner = tempfile::tempdir().unwrap();
    std::fs::write(inner.path().join("private"), "private\n").unwrap();
    std::fs::set_permissions(inner.path().join("private"), std::fs::Permissions::from_mode(0o600)).unwrap();
    shell("tar", &["-czf", &files.path("x.tgz"), "-C", inner.path().to_str().unwrap(), "private"]);
    let app = container("cat /mnt/mesos/sandbox/private > /mnt/mesos/sandbox/seen; exec sleep 1000");
    let app = with(with(app, "uris", json!([files.at("x.tgz")])), "user", json!("1234"));
    run(&engine, "fetcher", &app);
    assert_eq!(written(&sandbox(&engine, "fetcher").join("seen")), "private");
}

#[test]
fn what_cannot_be_fetched_fails_the_task_and_says_why() {
    let engine = TestEngine::start();
    let files = Files::serve();
    files.write("broken.tgz", "this is no archive\n");
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("x"), "x").unwrap();
    let climbing = outside.path().join("inner");
    std::fs::create_dir(&climbing).unwrap();
    shell("tar", &["-cPf", &files.path("climbing.tar"), "-C", climbing.to_str().unwrap(), "../x"]);
    std::os::unix::fs::symlink(outside.path(), climbing.join("link")).unwrap();
    shell("tar", &["-cf", &files.path("link.tar"), "-C", climbing.to_str().unwrap(), "link"]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let through_link =
        [artifact(&files.at("link.tar")), json!({ "uri": files.at("broken.tgz"), "destPath": "link/y" })];
    for (number, (fetch, uri, why)) in [
        (json!([artifact(&files.at("missing"))]), files.at("missing"), "404 Not Found"),
        (json!([artifact("file:///no/such/file")]), "file:///no/such/file".to_owned(), "No such file"),
        (json!([artifact("file:///dev/zero")]), "file:///dev/zero".to_owned(), "no regular file"),
        (json!([artifact(&files.at("broken.tgz"))]), files.at("broken.tgz"), "gzip"),
        (json!([artifact(&files.at("climbing.tar"))]), files.at("climbing.tar"), "not inside of the sandbox"),
        (json!(through_link), files.at("broken.tgz"), "symbolic links"),
        (json!([artifact(&format!("http://{closed}/x"))]), format!("http://{closed}/x"), "refused"),
    ]
    .into_iter()
    .enumerate()
    {
        let app = with(command("exec sleep 1000"), "fetch", fetch);
        let message = fails(&engine, &format!("bad{number}"), &app);
        assert!(message.contains(&format!("cannot fetch {uri}: ")) && message.contains(why), "{why}: {message}");
    }
    assert!(engine.processes().is_empty());
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 2);
}

#[test]
fn an_engine_that_keeps_apps_from_the_machine_fetches_nothing_of_it() {
    let engine = TestEngine::start_with(&[], None);
    let files = Files::serve();
    files.write("secret", "secret\n");
    let app = |uri: &str| with(container("exec sleep 1000"), "fetch", json!([artifact(uri)]));
    for uri in ["file:///etc/passwd", "/etc/passwd"] {
        let said = refused(&engine, &app(uri));
        assert!(said.contains("/fetch(0)/uri") && said.contains("keeps apps from the machine"), "{said}");
    }
    let port = files.url.rsplit(':').next().unwrap();
    for (number, host) in ["127.0.0.1", "localhost", "[::ffff:7f00:1]", "169.254.169.254"].iter().enumerate() {
        let message = fails(&engine, &format!("bad{number}"), &app(&format!("http://{host}:{port}/secret")));
        assert!(message.contains("which apps of this engine are kept from"), "{message}");
    }
    // The bridge's own address, by which containers reach the machine.
    let format = "{{(index .IPAM.Config 0).Gateway}}";
    let gateway = shell("docker", &["network", "inspect", "-f", format, engine.network()]);
    let message = fails(&engine, "bridge", &app(&format!("http://{gateway}:{port}/secret")));
    assert!(message.contains("this machine's own address"), "{message}");
}

/// `openssl s_server`, which serves the files of its directory.
struct Secured(Child);

impl Drop for Secured {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn https_is_for_servers_with_a_certificate_that_the_machine_trusts() {
    let dir = tempfile::tempdir().unwrap();
    super::certificates(dir.path());
    std::fs::write(dir.path().join("hello.txt"), "hello\n").unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Command::new("openssl")
        .args(["s_server", "-quiet", "-WWW", "-cert", "cert.pem", "-key", "key.pem", "-accept"])
        .arg(format!("localhost:{port}"))
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _server = Secured(server);
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("localhost", port)).is_err() {
        assert!(Instant::now() < deadline, "openssl does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut engine = TestEngine::start();
    let app = with(
        command("cp hello.txt seen; exec sleep 1000"),
        "fetch",
        json!([artifact(&format!("https://localhost:{port}/hello.txt"))]),
    );
    let message = fails(&engine, "unknown", &app);
    assert!(message.contains("certificate"), "{message}");
    engine.set("SSL_CERT_FILE", dir.path().join("ca.pem").to_str().unwrap());
    run(&engine, "known", &app);
    assert_eq!(written(&sandbox(&engine, "known").join("seen")), "hello");
}

#[test]
fn a_launch_that_is_given_up_fetches_no_more() {
    let engine = TestEngine::start();
    let files = Files::serve();
    for (name, app) in [("command", command("exec sleep 1000")), ("container", container("exec sleep 1000"))] {
        let app = with(app, "fetch", json!([artifact(&files.at("stuck"))]));
        let begun = files.stuck.0.load(Ordering::Relaxed);
        engine.put(&format!("/v2/apps/{name}"), &app).ok();
        files.waits_for("the fetch begins", |asked, _| asked > begun);
        engine.delete(&format!("/v2/apps/{name}")).ok();
        files.waits_for("the fetch ends", |asked, given_up| asked == given_up);
        engine.settled();
    }
    assert!(engine.processes().is_empty() && engine.containers().is_empty());
}

#[test]
fn a_launch_that_takes_too_long_is_tried_again() {
    let engine = TestEngine::start_with(&["--allow-commands", "--task-launch-timeout", "1"], None);
    let files = Files::serve();
    for (name, app) in [("command", command("exec sleep 1000")), ("container", container("exec sleep 1000"))] {
        let begun = files.stuck.0.load(Ordering::Relaxed);
        let app = with(app, "fetch", json!([artifact(&files.at("stuck"))]));
        engine.put(&format!("/v2/apps/{name}"), &app).ok();
        files.waits_for("it is tried again", |asked, given_up| asked >= begun + 2 && given_up > begun);
        let found = engine.get(&format!("/v2/apps/{name}")).json();
        assert!(found["app"].get("lastTaskFailure").is_none(), "{found:#}");
        engine.delete(&format!("/v2/apps/{name}")).ok();
        engine.settled();
    }
}
