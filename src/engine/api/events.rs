//! `/v2/events`: what happens, as it happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::super::event::{self, Frame};
use super::super::listen::Connection;
use super::super::reading::Refusal;
use super::Api;
use super::answer::Answer;
use super::request::Asked;

/// How often a silent stream shows that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What a client may lag behind, in events, before it is cut off: Marathon's own default.
const MAX_OUTSTANDING: usize = 1024;

/// And in bytes, since an event may hold a whole definition.
const MAX_OUTSTANDING_BYTES: usize = 16 << 20;

/// One client's stream: takes in every event as it comes, however slowly the client reads.
struct Feed {
    events: broadcast::Receiver<Frame>,
    /// The kinds that the client wants; none means all.
    kinds: Vec<String>,
    client: mpsc::Sender<Bytes>,
    /// How many bytes the client has not taken yet.
    outstanding: Arc<AtomicUsize>,
    connection: Connection,
    shutdown: CancellationToken,
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

impl Feed {
    /// Until the client goes, or is cut off because it does not read.
    async fn run(mut self) {
        loop {
            let bytes = tokio::select! {
                frame = self.events.recv() => match frame {
                    Ok(frame) if !self.wants(&frame) => continue,
                    Ok(frame) => frame.text,
                    // Many more came at once than anybody could have read.
                    Err(_) => return self.connection.cut(),
                },
                () = tokio::time::sleep(KEEP_ALIVE) => Bytes::from_static(b"\r\n"),
                () = self.shutdown.cancelled() => return,
                () = self.client.closed() => return,
            };
            let outstanding = self.outstanding.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
            let sent = self.client.try_send(bytes);
            // It asks anew for what it missed. Its connection takes nothing in, so that it cannot be told.
            if outstanding > MAX_OUTSTANDING_BYTES || matches!(sent, Err(mpsc::error::TrySendError::Full(_))) {
                return self.connection.cut();
            }
        }
    }

    fn wants(&self, frame: &Frame) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|kind| **kind == *frame.kind)
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
        let (sender, receiver) = mpsc::channel(MAX_OUTSTANDING);
        let outstanding = Arc::new(AtomicUsize::new(0));
        let feed = Feed {
            events,
            kinds: asked.all("event_type"),
            client: sender,
            outstanding: outstanding.clone(),
            connection: asked.connection.clone(),
            shutdown: self.shared().shutdown.clone(),
        };
        // It ends with its client's end of the channel, which the answer's body owns.
        tokio::spawn(feed.run());
        let detached = Detached { api: self.clone(), client };
        let frames =
            stream::unfold((receiver, outstanding, detached), |(mut receiver, outstanding, detached)| async move {
                let frame = receiver.recv().await?;
                outstanding.fetch_sub(frame.len(), Ordering::Relaxed);
                Some((Ok::<_, std::convert::Infallible>(frame), (receiver, outstanding, detached)))
            });
        Ok(Answer::stream("text/event-stream;charset=utf-8", Body::from_stream(frames)))
    }

    /// What is no consequence of the state needs no owner to tell it.
    fn tell(&self, kind: crate::marathon::EventKind) {
        let timestamp = super::Moment::now().to_string();
        self.shared().hub.send(&crate::marathon::Event { timestamp, kind });
    }
}
