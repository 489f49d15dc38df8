//! Text that is made and sent in pieces: a long answer never asks for one long stretch of memory, of which the next one
//! would ask for again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// The length of a piece, in bytes.
const PIECE: usize = 32 << 10;

/// Text in pieces, to be written, and then sent.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    done: VecDeque<Bytes>,
    open: Vec<u8>,
    length: usize,
}

impl Pieces {
    /// In bytes.
    pub(super) fn len(&self) -> usize {
        self.length
    }
    /// The text, piece by piece.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.done.iter().map(|piece| &**piece).chain([&*self.open])
    }

    /// The text as the body of an answer.
    pub(super) fn into_body(mut self) -> axum::body::Body {
        self.close();
        axum::body::Body::new(Sending { left: self.length, pieces: self.done })
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.done.push_back(std::mem::take(&mut self.open).into());
        }
    }
}

impl From<Bytes> for Pieces {
    fn from(whole: Bytes) -> Self {
        Self { length: whole.len(), done: VecDeque::from([whole]), open: Vec::new() }
    }
}

impl Write for Pieces {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }
    /// Asked for every bracket and comma of an answer.
    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.open.len() + bytes.len() > PIECE {
            self.close();
        }
        self.open.extend_from_slice(bytes);
        self.length += bytes.len();
        Ok(())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is left to be sent.
#[derive(Debug)]
struct Sending {
    pieces: VecDeque<Bytes>,
    /// In bytes.
    left: usize,
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, Bytes::len);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn text_is_sent_as_it_was_written_however_long_it_is() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 7] {
            let text: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let mut pieces = Pieces::default();
            for part in text.chunks(300) {
                pieces.write_all(part).unwrap();
            }
            assert_eq!((pieces.len(), pieces.iter().flatten().copied().collect::<Vec<_>>()), (length, text.clone()));
            let body = pieces.into_body();
            assert_eq!(Body::size_hint(&body).exact(), Some(length as u64));
            assert_eq!(axum::body::to_bytes(body, usize::MAX).await.unwrap(), text);
        }
    }
}
