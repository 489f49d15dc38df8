//! An engine that is told to end: who is being served is served, nobody new is, and it does end.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use super::until;
use crate::support::engine::{TestEngine, run};
use crate::support::events::Events;

/// Longer than a drain may take, with all that may hold it up.
const BOUND: Duration = Duration::from_secs(10);

/// A request of which so much of the body is sent.
fn half_sent(address: SocketAddr, path: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    let length = body.len();
    write!(
        stream,
        "PUT {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{}",
        &body[..length / 2]
    )
    .unwrap();
    stream
}

fn refuses(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err()
}

#[test]
fn a_request_that_is_half_sent_is_answered_while_new_connections_are_refused() {
    let mut engine = TestEngine::start();
    let address = engine.address();
    let body = json!({ "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 32, "instances": 0 }).to_string();
    let mut stream = half_sent(address, "/v2/apps/late", &body);
    let mut events = Events::of(address, "").unwrap();
    // It has been read when the engine has answered somebody who came later.
    engine.get("/ping").ok();
    std::thread::sleep(Duration::from_millis(100));
    run("kill", &["-TERM", &engine.pid().to_string()]);
    until("refused", || refuses(address));
    assert!(events.ends(BOUND), "those who listen are told by the end of their stream");
    stream.write_all(&body.as_bytes()[body.len() / 2..]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(engine.ended(BOUND).success());
    engine.launch();
    assert_eq!(engine.get("/v2/apps/late").status, 200, "what was answered as accepted is there");
}

#[test]
fn a_client_that_never_sends_the_rest_does_not_keep_the_engine() {
    let mut engine = TestEngine::start();
    let _waits = half_sent(engine.address(), "/v2/apps/never", "{\"cmd\": \"sleep 1\"}");
    let _idle = TcpStream::connect(engine.address()).unwrap();
    let begun = Instant::now();
    run("kill", &["-TERM", &engine.pid().to_string()]);
    assert!(engine.ended(BOUND).success());
    assert!(begun.elapsed() < BOUND);
    engine.launch();
    assert_eq!(engine.get("/v2/apps/never").status, 404);
}
