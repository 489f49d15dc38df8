//! `/v2/events`: what happens, as it happens.

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::super::event::{self, Frame};
use super::super::reading::Refusal;
use super::Api;
use super::answer::Answer;
use super::request::Asked;

/// How often a silent stream shows that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// One client's stream.
struct Stream {
    events: broadcast::Receiver<Frame>,
    /// The kinds that the client wants; none means all.
    kinds: Vec<String>,
    shutdown: CancellationToken,
    _detached: Detached,
}

/// Tells the others when a client has gone, however it went.
struct Detached {
    api: Api,
    client: String,
}

impl Drop for Detached {
    fn drop(&mut self) {
        self.api.tell(crate::marathon::EventKind::EventStreamDetached { remote_address: self.client.clone() });
    }
}

impl Stream {
    async fn next(&mut self) -> Option<Bytes> {
        let silent = tokio::time::sleep(KEEP_ALIVE);
        tokio::pin!(silent);
        loop {
            let frame = tokio::select! {
                frame = self.events.recv() => frame,
                () = &mut silent => return Some(Bytes::from_static(b"\r\n")),
                () = self.shutdown.cancelled() => return None,
            };
            match frame {
                Ok(frame) if self.kinds.is_empty() || self.kinds.iter().any(|kind| **kind == *frame.kind) => {
                    return Some(Bytes::copy_from_slice(frame.text.as_bytes()));
                }
                Ok(_) => {}
                // A client that lags is cut off, and asks anew for what it missed.
                Err(_) => return None,
            }
        }
    }
}

impl Api {
    pub(super) fn events(&self, asked: &Asked) -> Result<Answer, Refusal> {
        if !asked.wants_stream() {
            return Err(Refusal::reason(405, "Method Not Allowed"));
        }
        let client = asked.client_ip().to_string();
        let events = self.shared().hub.listen();
        self.tell(event::stream_attached(client.clone()));
        let stream = Stream {
            events,
            kinds: asked.all("event_type"),
            shutdown: self.shared().shutdown.clone(),
            _detached: Detached { api: self.clone(), client },
        };
        let frames = stream::unfold(stream, |mut stream| async move {
            let frame = stream.next().await?;
            Some((Ok::<_, std::convert::Infallible>(frame), stream))
        });
        Ok(Answer::stream("text/event-stream;charset=utf-8", Body::from_stream(frames)))
    }

    /// What is no consequence of the state needs no owner to tell it.
    fn tell(&self, kind: crate::marathon::EventKind) {
        let timestamp = super::Moment::now().to_string();
        self.shared().hub.send(&crate::marathon::Event { timestamp, kind });
    }
}
