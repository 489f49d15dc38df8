//! A door before a server, TCP or unix socket, that can be shut in several ways. Whenever its state changes, all
//! connections through it break off, unless it is frozen.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// How the door stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    Open,
    /// Nobody is there: connections are refused.
    Away,
    /// Connections are taken, and nothing is ever answered.
    Hanging,
    /// The same, and those that there are stay too, with nothing passing any more.
    Frozen,
    /// Each connection is reset after the client sent that many bytes.
    Cut {
        after: u64,
    },
    /// Requests for changes pass, and their connections are reset before the answer comes.
    AnswersLost,
    /// Each request is answered with this, but for those of other kinds, which pass.
    Answering {
        status: u16,
        body: String,
        to: Requests,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requests {
    All,
    /// PUT, POST, DELETE and PATCH.
    Changes,
}

#[derive(Debug, Clone)]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Listens until it is dropped.
pub struct Door {
    place: Place,
    turn: tokio::sync::mpsc::UnboundedSender<(Way, mpsc::Sender<()>)>,
    runtime: Option<Runtime>,
    _directory: Option<TempDir>,
}

impl Door {
    /// Before a server at an address of loopback, on a port of its own.
    pub fn before(upstream: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let place = Place::Tcp(listener.local_addr().unwrap());
        Self::with(place, Place::Tcp(upstream), None, move || Listener::Tcp(TcpListener::from_std(listener).unwrap()))
    }

    /// Before a server at a unix socket, on another one.
    pub fn before_socket(upstream: &Path) -> Self {
        let directory = tempfile::Builder::new().prefix("paas-door-").tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = StdUnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listen = move || Listener::Unix(UnixListener::from_std(listener).unwrap());
        Self::with(Place::Unix(path), Place::Unix(upstream.to_owned()), Some(directory), listen)
    }

    fn with(
        place: Place,
        upstream: Place,
        directory: Option<TempDir>,
        listen: impl FnOnce() -> Listener + Send + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (turn, turned) = tokio::sync::mpsc::unbounded_channel();
        let own = place.clone();
        runtime.spawn(async move { keep(listen(), own, upstream, turned).await });
        Self { place, turn, runtime: Some(runtime), _directory: directory }
    }

    /// `host:port`, of a TCP one.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        match &self.place {
            Place::Tcp(address) => *address,
            Place::Unix(path) => panic!("{} is no address", path.display()),
        }
    }

    /// Of one at a unix socket.
    #[track_caller]
    pub fn socket(&self) -> &Path {
        match &self.place {
            Place::Unix(path) => path,
            Place::Tcp(address) => panic!("{address} is no path"),
        }
    }

    /// From when this returns on, it stands so.
    pub fn turn(&self, way: Way) {
        let (done, told) = mpsc::channel();
        self.turn.send((way, done)).unwrap();
        told.recv_timeout(Duration::from_secs(10)).expect("the door turns at once");
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection of either kind.
trait Both: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Both for T {}
type Connection = Pin<Box<dyn Both>>;

impl Listener {
    async fn at(place: &Place) -> io::Result<Self> {
        match place {
            Place::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            Place::Unix(path) => {
                let _ = std::fs::remove_file(path);
                UnixListener::bind(path).map(Self::Unix)
            }
        }
    }

    async fn accept(&self) -> io::Result<Connection> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Dropped with anything unsaid, it is reset.
                stream.set_zero_linger()?;
                Box::pin(stream)
            }
            Self::Unix(listener) => Box::pin(listener.accept().await?.0),
        })
    }
}

async fn connect(place: &Place) -> io::Result<Connection> {
    Ok(match place {
        Place::Tcp(address) => Box::pin(TcpStream::connect(address).await?),
        Place::Unix(path) => Box::pin(UnixStream::connect(path).await?),
    })
}

async fn keep(
    listener: Listener,
    place: Place,
    upstream: Place,
    mut turned: tokio::sync::mpsc::UnboundedReceiver<(Way, mpsc::Sender<()>)>,
) {
    let (way, _) = watch::channel(Way::Open);
    let mut listener = Some(listener);
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            connection = accepted => {
                let Ok(mut connection) = connection else { continue };
                let (mut turned, upstream) = (way.subscribe(), upstream.clone());
                let stands = turned.borrow_and_update().clone();
                tokio::spawn(async move {
                    tokio::select! {
                        // Whichever side broke off, the other hears of it by the drop.
                        _ = pass(&mut connection, &upstream, &stands) => {}
                        _ = turned.changed() => {
                            // Kept until then.
                            let _ = turned.wait_for(|way| *way != Way::Frozen).await;
                        }
                    }
                });
            }
            turn = turned.recv() => {
                let Some((new, done)) = turn else { return };
                if new == Way::Away {
                    listener = None;
                } else if listener.is_none() {
                    listener = Some(Listener::at(&place).await.expect("nobody took the door's place"));
                }
                way.send_replace(new);
                let _ = done.send(());
            }
        }
    }
}

async fn pass(client: &mut Connection, upstream: &Place, way: &Way) -> io::Result<()> {
    match way {
        Way::Open => {
            let mut server = connect(upstream).await?;
            tokio::io::copy_bidirectional(client, &mut server).await?;
        }
        Way::Away => {}
        Way::Hanging | Way::Frozen => std::future::pending::<()>().await,
        Way::Cut { after } => {
            let server = connect(upstream).await?;
            let (mut from_client, mut to_client) = tokio::io::split(client);
            let (mut from_server, mut to_server) = tokio::io::split(server);
            let mut some = (&mut from_client).take(*after);
            tokio::select! {
                _ = tokio::io::copy(&mut some, &mut to_server) => {}
                _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
            }
        }
        Way::AnswersLost => {
            let head = head(client).await?;
            let mut server = ask(upstream, &head).await?;
            if is_change(&head) {
                let (mut from_client, _to_client) = tokio::io::split(client);
                let (mut from_server, mut to_server) = tokio::io::split(server);
                tokio::select! {
                    _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                    _ = from_server.read_u8() => {}
                }
            } else {
                tokio::io::copy_bidirectional(client, &mut server).await?;
            }
        }
        Way::Answering { status, body, to } => {
            let head = head(client).await?;
            if *to == Requests::All || is_change(&head) {
                answer(client, *status, body).await?;
            } else {
                let mut server = ask(upstream, &head).await?;
                tokio::io::copy_bidirectional(client, &mut server).await?;
            }
        }
    }
    Ok(())
}

/// The first byte of a TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;

async fn head(client: &mut Connection) -> io::Result<String> {
    const LONGEST: usize = 64 << 10;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < LONGEST {
        head.push(client.read_u8().await?);
        // Docker asks for TLS first.
        if head[0] == TLS_HANDSHAKE {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn is_change(head: &str) -> bool {
    ["PUT ", "POST ", "DELETE ", "PATCH "].iter().any(|verb| head.starts_with(verb))
}

/// Passes one request on, and no other on its connection, so that each is looked at.
async fn ask(upstream: &Place, head: &str) -> io::Result<Connection> {
    let mut server = connect(upstream).await?;
    let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    server.write_all(head.as_bytes()).await?;
    Ok(server)
}

async fn answer(client: &mut Connection, status: u16, body: &str) -> io::Result<()> {
    let length = body.len();
    // Without it, Docker tries again and again.
    let how = if status == 401 { "WWW-Authenticate: Basic realm=\"registry\"\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status} Scripted\r\n{how}Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await?;
    client.write_all(body.as_bytes()).await?;
    client.shutdown().await?;
    // Until the client has read it, or what it still sends would make a reset of it.
    tokio::io::copy(client, &mut tokio::io::sink()).await.map(drop)
}
