//! How requests come to Docker: each on a connection of its own, which is broken off when Docker falls silent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bollard::BollardRequest;
use bollard::errors::Error;
use hyper::Response;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

use super::Socket;
use super::vigil::{Silent, Vigil};

/// What stands where other servers have a name.
pub(super) const ADDRESS: &str = "http://docker";

/// Sends a request and gives the answer's head; its body, and what comes after an upgrade, are watched like it.
pub(super) async fn request(
    socket: Socket,
    vigil: Vigil,
    request: BollardRequest,
) -> Result<Response<Incoming>, Error> {
    vigil.lives().await.map_err(io::Error::from)?;
    let stream = UnixStream::connect(&socket.0).await.map_err(|cause| Error::SocketNotFoundError(cause.to_string()))?;
    let stream = Watched { stream, vigil, silence: None };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends when the answer is read, or not wanted any more. What breaks it off, the answer tells.
    tokio::spawn(connection.with_upgrades());
    Ok(sender.send_request(at_docker(request)?).await?)
}

/// With the path alone, as a server that is no proxy is asked.
fn at_docker(mut request: BollardRequest) -> Result<BollardRequest, Error> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() = path.parse()?;
    request.headers_mut().insert(HOST, HeaderValue::from_static("docker"));
    Ok(request)
}

/// A connection on which waiting for Docker ends with an error when Docker falls silent.
struct Watched {
    stream: UnixStream,
    vigil: Vigil,
    /// While it is waited for.
    silence: Option<Pin<Box<dyn Future<Output = Silent> + Send>>>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if read.is_ready() {
            this.silence = None;
            return read;
        }
        let silence = this.silence.get_or_insert_with(|| Box::pin(this.vigil.clone().silence()));
        silence.as_mut().poll(context).map(|silent| {
            this.silence = None;
            Err(silent.into())
        })
    }
}

/// Whoever writes waits for an answer too.
impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
