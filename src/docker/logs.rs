//! What a container wrote, as Docker keeps it: streamed, however much that is.
//!
//! Not by bollard: its decoder waits for the end of a line, which a container with a terminal need never write, and for
//! the end of a frame.

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures_util::{Stream, StreamExt as _};
use reqwest::StatusCode;

use super::{ContainerOutput, Docker, DockerError, is_missing};

/// Docker begins to answer at once, also when there is nothing to tell.
const PATIENCE: Duration = Duration::from_secs(30);

/// The client for streams of bytes; made when it is wanted first.
#[derive(Debug, Default)]
pub(super) struct RawClient(OnceLock<reqwest::Client>);

impl RawClient {
    pub(super) fn get(&self, socket: &super::Socket) -> &reqwest::Client {
        self.0.get_or_init(|| {
            // The error says that another provider is installed already, which will do as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
            reqwest::Client::builder()
                .unix_socket(socket.0.clone())
                .no_proxy()
                .tls_certs_only([])
                // A connection ends with its stream.
                .pool_max_idle_per_host(0)
                .build()
                .expect("a client without certificates of its own is always made")
        })
    }
}

impl Docker {
    /// The last `messages` of what a container wrote; without a number, all that Docker keeps.
    ///
    /// It is not followed: Docker 20.10 gives a follower some of it twice, or nothing any more, when it begins a new
    /// file of its log.
    pub async fn container_log(
        &self,
        id: &str,
        messages: Option<u32>,
        has_terminal: bool,
    ) -> Result<impl Stream<Item = Result<LogPiece, DockerError>> + Send + use<>, DockerError> {
        let mut frames = Frames::new(has_terminal);
        let tail = messages.map_or_else(|| "all".to_owned(), |messages| messages.to_string());
        let query = format!("stdout=1&stderr=1&tail={tail}&timestamps={}", u8::from(!has_terminal));
        let url = format!("http://docker/containers/{id}/logs?{query}");
        let asked = tokio::time::timeout(PATIENCE, self.raw.get(&self.socket).get(url).send()).await;
        let asked = asked.map_err(|_| self.log_failure(id, io::Error::from(io::ErrorKind::TimedOut)))?;
        let answer = asked.map_err(|cause| self.log_failure(id, io::Error::other(cause.without_url())))?;
        match answer.status() {
            StatusCode::OK => {}
            // Removed, or being removed, and its log with it.
            StatusCode::NOT_FOUND | StatusCode::CONFLICT => return Err(no_such(id)),
            status => return Err(self.log_failure(id, io::Error::other(format!("it answered {status}")))),
        }
        let (docker, id) = (self.clone(), id.to_owned());
        let pieces = self.vigil.along(answer.bytes_stream()).map(move |bytes| match bytes {
            Ok(Ok(bytes)) => frames.feed(bytes).into_iter().map(Ok).collect(),
            Ok(Err(cause)) => vec![Err(docker.log_failure(&id, io::Error::other(cause.without_url())))],
            Err(silent) => vec![Err(docker.silent(silent))],
        });
        Ok(pieces.flat_map(futures_util::stream::iter))
    }

    /// Whether a container's output is that of a terminal, without messages.
    pub async fn has_terminal(&self, id: &str) -> Result<bool, DockerError> {
        match self.api().await?.inspect_container(id, None).await {
            Ok(found) => Ok(found.config.and_then(|config| config.tty).unwrap_or(false)),
            Err(cause) if is_missing(&cause) => Err(no_such(id)),
            Err(cause) => Err(self.failure(format!("inspect the container {id:.12}"), cause)),
        }
    }

    fn log_failure(&self, id: &str, err: io::Error) -> DockerError {
        self.failure(format!("read the log of {id:.12}"), bollard::errors::Error::IOError { err })
    }
}

fn no_such(id: &str) -> DockerError {
    DockerError::NotFound { what: "container", name: id.to_owned() }
}

/// A piece of one of a container's outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPiece {
    pub output: ContainerOutput,
    /// At the beginning of a message: when it was written, in Docker's words. A terminal's output has no messages.
    pub stamp: Option<String>,
    /// At the end of a message.
    pub ends: bool,
}

/// Takes apart what Docker sends: the outputs of a container as messages in frames, or the plain bytes of its terminal.
/// What of a message is there is given at once.
#[derive(Debug)]
struct Frames {
    terminal: bool,
    at: Place,
}

/// Where in the stream the next byte stands.
#[derive(Debug)]
enum Place {
    Header { bytes: [u8; HEADER], known: usize },
    Stamp { kind: u8, left: usize, text: Vec<u8> },
    Payload { kind: u8, left: usize },
}

/// The kind of the frame, three unused bytes, and the length of what follows.
const HEADER: usize = 8;
/// Kinds of frames. Docker's own complaints are of a third kind, and no output of the container.
const STDOUT: u8 = 1;
const STDERR: u8 = 2;

/// A stamp is a time with nanoseconds and an offset; what is longer is none.
const LONGEST_STAMP: usize = 40;

const BETWEEN: Place = Place::Header { bytes: [0; HEADER], known: 0 };

impl Frames {
    fn new(terminal: bool) -> Self {
        Self { terminal, at: BETWEEN }
    }

    fn feed(&mut self, mut bytes: Bytes) -> Vec<LogPiece> {
        if self.terminal {
            return vec![LogPiece { output: ContainerOutput::Out(bytes), stamp: None, ends: false }];
        }
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            self.at = match std::mem::replace(&mut self.at, BETWEEN) {
                Place::Header { bytes: mut header, known } => {
                    let taken = bytes.len().min(HEADER - known);
                    bytes.copy_to_slice(&mut header[known..known + taken]);
                    header_of(header, known + taken)
                }
                Place::Stamp { kind, left, text } => stamp(kind, left, text, &mut bytes, &mut pieces),
                Place::Payload { kind, left } => {
                    let piece = bytes.split_to(bytes.len().min(left));
                    let left = left - piece.len();
                    pieces.extend(output(kind, piece).map(|output| LogPiece { output, stamp: None, ends: left == 0 }));
                    payload(kind, left)
                }
            };
        }
        pieces
    }
}

/// Reads the time before a message, up to the space behind it.
fn stamp(kind: u8, left: usize, mut text: Vec<u8>, bytes: &mut Bytes, pieces: &mut Vec<LogPiece>) -> Place {
    let within = &bytes[..bytes.len().min(left).min(LONGEST_STAMP - text.len())];
    let end = within.iter().position(|byte| *byte == b' ');
    let taken = end.unwrap_or(within.len());
    text.extend_from_slice(&bytes.split_to(taken));
    let left = left - taken;
    if end.is_some() {
        bytes.advance(1);
        let (stamp, left) = (Some(String::from_utf8_lossy(&text).into_owned()), left - 1);
        pieces.extend(output(kind, Bytes::new()).map(|output| LogPiece { output, stamp, ends: left == 0 }));
        payload(kind, left)
    } else if text.len() == LONGEST_STAMP || left == 0 {
        pieces.extend(output(kind, text.into()).map(|output| LogPiece { output, stamp: None, ends: left == 0 }));
        payload(kind, left)
    } else {
        Place::Stamp { kind, left, text }
    }
}

fn output(kind: u8, bytes: Bytes) -> Option<ContainerOutput> {
    match kind {
        STDOUT => Some(ContainerOutput::Out(bytes)),
        STDERR => Some(ContainerOutput::Err(bytes)),
        _ => None,
    }
}

fn payload(kind: u8, left: usize) -> Place {
    if left == 0 { BETWEEN } else { Place::Payload { kind, left } }
}

fn header_of(bytes: [u8; HEADER], known: usize) -> Place {
    if known < HEADER {
        return Place::Header { bytes, known };
    }
    let [kind, _, _, _, length @ ..] = bytes;
    match usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX) {
        0 => BETWEEN,
        left => Place::Stamp { kind, left, text: Vec::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of both outputs and the stamps, from a stream that comes in pieces of `size`.
    fn decoded(stream: &[u8], size: usize, terminal: bool) -> ([Vec<u8>; 2], Vec<String>) {
        let mut frames = Frames::new(terminal);
        let (mut outputs, mut stamps) = ([Vec::new(), Vec::new()], Vec::new());
        for piece in stream.chunks(size) {
            for LogPiece { output, stamp, .. } in frames.feed(Bytes::copy_from_slice(piece)) {
                stamps.extend(stamp);
                match output {
                    ContainerOutput::Out(bytes) => outputs[0].extend_from_slice(&bytes),
                    ContainerOutput::Err(bytes) => outputs[1].extend_from_slice(&bytes),
                }
            }
        }
        (outputs, stamps)
    }

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 0, 0, 0][..], &length, payload].concat()
    }

    #[test]
    fn outputs_are_told_apart_wherever_the_stream_is_cut() {
        let stream = [
            frame(1, b"2026-11-24T06:03:11.123456789Z to out\n"),
            frame(2, b"2026-11-24T08:03:11.123456789+02:00 to err\n"),
            frame(1, b""),
            frame(3, b"oops of Docker's"),
            frame(1, b"t1 "),
            frame(1, b"t2 \0\xff \n"),
        ];
        let stream = stream.concat();
        for size in 1..stream.len() {
            let ([out, err], stamps) = decoded(&stream, size, false);
            assert_eq!((out.as_slice(), err.as_slice()), (&b"to out\n\0\xff \n"[..], &b"to err\n"[..]), "{size}");
            let all = ["2026-11-24T06:03:11.123456789Z", "2026-11-24T08:03:11.123456789+02:00", "t1", "t2"];
            assert_eq!(stamps, all, "{size}");
        }
    }

    #[test]
    fn a_message_without_a_time_loses_nothing() {
        let long = [b'x'; 100];
        let stream = [frame(1, b"short"), frame(1, &long)].concat();
        for size in [1, 7, 50, 200] {
            let ([out, _], stamps) = decoded(&stream, size, false);
            assert_eq!((out, stamps.len()), ([&b"short"[..], &long].concat(), 0));
        }
    }

    #[test]
    fn a_terminals_bytes_are_taken_as_they_are() {
        let bytes = b"\x01\x02 no frame, and no end of a line";
        assert_eq!(decoded(bytes, 3, true).0[0], bytes);
    }

    #[test]
    fn a_part_of_a_message_is_given_at_once() {
        let mut frames = Frames::new(false);
        let whole = frame(1, &[b"t ", &[b'x'; 100][..]].concat());
        let given = frames.feed(Bytes::copy_from_slice(&whole[..50]));
        let out = |length| ContainerOutput::Out(Bytes::from(vec![b'x'; length]));
        let beginning = LogPiece { output: out(0), stamp: Some("t".into()), ends: false };
        assert_eq!(given, [beginning, LogPiece { output: out(40), stamp: None, ends: false }]);
        let rest = frames.feed(Bytes::copy_from_slice(&whole[50..]));
        assert_eq!(rest, [LogPiece { output: out(60), stamp: None, ends: true }]);
    }
}
