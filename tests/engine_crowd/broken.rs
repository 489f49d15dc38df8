//! Requests that are too large, too slow, or none at all.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{beside_another, modest, unharmed};
use crate::support::engine::TestEngine;

/// Longer than the engine waits for a head or a body.
const LONGER_THAN_PATIENCE: Duration = Duration::from_secs(45);

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONGER_THAN_PATIENCE)).unwrap();
    stream
}

/// What is answered until the engine ends the connection.
fn answer(stream: &mut TcpStream) -> String {
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => text.extend_from_slice(&buffer[..count]),
            // What is not read any more is refused by a reset.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the connection was not ended: {error}"),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The status of an answer; none where there is none.
fn status(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()
}

fn head(address: SocketAddr, length: usize) -> String {
    format!(
        "PUT /v2/apps/x HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

#[test]
fn a_body_over_the_limit_is_refused_and_not_kept() {
    const TOO_LARGE: usize = 64 << 20;
    let engine = TestEngine::start();
    let (answers, times) = beside_another(&engine, || {
        let said = (0..4).map(|turn| {
            let mut stream = connect(engine.address());
            // Announced as it is, and, in the next, sent in pieces of which nobody knows how many there will be.
            let announced = turn % 2 == 0;
            let begin = if announced {
                head(engine.address(), TOO_LARGE)
            } else {
                let head = head(engine.address(), 0);
                head.replace("Content-Length: 0", "Transfer-Encoding: chunked")
            };
            stream.write_all(begin.as_bytes()).unwrap();
            let piece = vec![b' '; 64 << 10];
            for _ in 0..TOO_LARGE / piece.len() {
                let framed = [format!("{:x}\r\n", piece.len()).into_bytes(), piece.clone(), b"\r\n".to_vec()].concat();
                // It may be refused before all of it is sent.
                if stream.write_all(if announced { &piece } else { &framed }).is_err() {
                    break;
                }
            }
            if !announced {
                let _ = stream.write_all(b"0\r\n\r\n");
            }
            status(&answer(&mut stream))
        });
        said.collect::<Vec<_>>()
    });
    // Who goes on sending may miss the answer, for the connection is ended then; most do not.
    assert!(answers.iter().all(|answer| matches!(answer, Some(413) | None)), "{answers:?}");
    let mut polite = connect(engine.address());
    let body = vec![b' '; 9 << 20];
    polite.write_all(head(engine.address(), body.len()).as_bytes()).unwrap();
    polite.write_all(&body).unwrap();
    assert_eq!(status(&answer(&mut polite)), Some(413));
    unharmed(&times);
    modest(&engine);
}

/// All at once, since each takes the engine's whole patience.
#[test]
fn heads_and_bodies_that_do_not_come_are_given_up() {
    const EACH: usize = 100;
    let engine = TestEngine::start();
    let address = engine.address();
    let (ends, times) = beside_another(&engine, || {
        let mut heads: Vec<_> = (0..EACH)
            .map(|_| {
                let mut stream = connect(address);
                stream.write_all(b"GET /v2/apps HTTP/1.1\r\nHost: x\r\nX-Slow: ").unwrap();
                stream
            })
            .collect();
        let mut bodies: Vec<_> = (0..EACH)
            .map(|_| {
                let mut stream = connect(address);
                stream.write_all(format!("{}{{\"cmd\":", head(address, 1000)).as_bytes()).unwrap();
                stream
            })
            .collect();
        let begun = Instant::now();
        // A byte now and then does not make a head that ends.
        let mut drip = connect(address);
        drip.write_all(b"GET /ping HTTP/1.1\r\nX-Drip: ").unwrap();
        while drip.write_all(b"x").is_ok() {
            assert!(begun.elapsed() < LONGER_THAN_PATIENCE, "a head that never ends is waited for");
            std::thread::sleep(Duration::from_millis(500));
        }
        let heads: Vec<_> = heads.iter_mut().map(|stream| status(&answer(stream))).collect();
        let bodies: Vec<_> = bodies.iter_mut().map(|stream| status(&answer(stream))).collect();
        (heads, bodies)
    });
    assert!(ends.0.iter().all(|end| matches!(end, None | Some(408))), "{:?}", ends.0);
    assert!(ends.1.iter().all(|end| *end == Some(408)), "{:?}", ends.1);
    assert_eq!(engine.get("/v2/apps/x").status, 404);
    unharmed(&times);
    modest(&engine);
}

#[test]
fn garbage_and_heads_without_end_are_refused_and_concern_nobody_else() {
    let engine = TestEngine::start();
    let address = engine.address();
    let noise: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
    let long = |count: usize| format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(count)).into_bytes();
    let many = (0..1000).map(|n| format!("X-{n}: {n}")).collect::<Vec<_>>().join("\r\n");
    let huge = format!("GET /ping HTTP/1.1\r\nHost: x\r\nX-Huge: {}\r\n\r\n", "x".repeat(4 << 20));
    let nonsense: [(&str, Vec<u8>); 10] = [
        ("noise", noise),
        ("zeros", vec![0; 10_000]),
        ("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("no version", b"GET /v2/apps\r\n\r\n".to_vec()),
        ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("a long URL", long(1 << 20)),
        ("many headers", format!("GET /ping HTTP/1.1\r\n{many}\r\n\r\n").into_bytes()),
        ("a huge header", huge.into_bytes()),
        ("a length that is none", b"PUT /v2/apps/x HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n".to_vec()),
        (
            "two lengths",
            b"PUT /v2/apps/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n".to_vec(),
        ),
    ];
    let ((), times) = beside_another(&engine, || {
        for (what, bytes) in &nonsense {
            let mut stream = connect(address);
            // It may be refused before all of it is sent.
            let _ = stream.write_all(bytes);
            let _ = stream.shutdown(Shutdown::Write);
            let said = answer(&mut stream);
            let refused = status(&said).is_none_or(|status| (400..500).contains(&status));
            assert!(refused, "{what}: {said}");
        }
    });
    assert_eq!(engine.get("/v2/apps").ok().json(), json!({ "apps": [] }));
    unharmed(&times);
    modest(&engine);
}

#[test]
fn requests_sent_at_once_are_answered_in_order() {
    const COUNT: usize = 200;
    let engine = TestEngine::start();
    let mut stream = connect(engine.address());
    let requests = (0..COUNT).map(|n| {
        let last = if n + 1 == COUNT { "Connection: close\r\n" } else { "" };
        format!("GET /v2/apps/a{n} HTTP/1.1\r\nHost: x\r\n{last}\r\n")
    });
    let all = requests.collect::<Vec<_>>().concat();
    stream.write_all(all.as_bytes()).unwrap();
    let said = answer(&mut stream);
    let places: Vec<_> = (0..COUNT).map(|n| said.find(&format!("App '/a{n}' does not exist"))).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{said:.2000}");
    assert_eq!(said.matches("HTTP/1.1 404").count(), COUNT);
}

/// Whether one that has said that it will send no more is answered is left open: it cannot be told from one that left.
#[test]
fn a_client_that_leaves_in_the_middle_leaves_nothing_half_done() {
    let engine = TestEngine::start();
    let body = json!({ "cmd": "exec sleep 1000", "instances": 0 }).to_string();
    let request = |app: &str, sent: usize| {
        let head = head(engine.address(), body.len()).replace("/x ", &format!("/{app} "));
        format!("{head}{}", &body[..sent])
    };
    let ((), times) = beside_another(&engine, || {
        for n in 0..50 {
            let mut half_closed = connect(engine.address());
            half_closed.write_all(request(&format!("whole{n}"), body.len()).as_bytes()).unwrap();
            half_closed.shutdown(Shutdown::Write).unwrap();
            let said = status(&answer(&mut half_closed));
            let there = engine.get(&format!("/v2/apps/whole{n}")).status;
            assert!(matches!(said, None | Some(201)), "{said:?}");
            assert!(there == 200 || said.is_none(), "accepted, and not there");
            let mut gone = connect(engine.address());
            gone.write_all(request(&format!("part{n}"), 9).as_bytes()).unwrap();
        }
    });
    let apps = engine.get("/v2/apps").ok().json();
    let whole = |app: &serde_json::Value| app["id"].as_str().unwrap().starts_with("/whole") && app["cmd"].is_string();
    assert!(apps["apps"].as_array().unwrap().iter().all(whole), "{apps:#}");
    unharmed(&times);
    modest(&engine);
}
