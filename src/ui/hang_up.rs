//! That whoever reads our output has gone.

use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::oneshot;

/// Resolves when nobody reads our output any more, as when sshd's client is gone, or when we are told to end.
pub async fn hung_up() {
    let (gone, told) = oneshot::channel();
    // Poll with no events asked for reports only hang-up and error, and costs nothing while nothing happens. The
    // thread ends with the process.
    std::thread::spawn(move || {
        let (out, err) = (std::io::stdout(), std::io::stderr());
        let mut ends = [PollFd::new(&out, PollFlags::empty()), PollFd::new(&err, PollFlags::empty())];
        while poll(&mut ends, None).is_err() {}
        let _ = gone.send(());
    });
    let signals = async {
        let kinds = [tokio::signal::unix::SignalKind::hangup(), tokio::signal::unix::SignalKind::terminate()];
        let [Ok(mut hangup), Ok(mut terminate)] = kinds.map(tokio::signal::unix::signal) else {
            return std::future::pending().await;
        };
        tokio::select! { _ = hangup.recv() => {}, _ = terminate.recv() => {} }
    };
    tokio::select! { _ = told => {}, () = signals => {} }
}
