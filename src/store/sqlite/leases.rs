//! Leases as file locks: the kernel frees them when their process ends, however it ends.
//!
//! A lease is two locked files. Whoever has the `.lease` file locked holds the lease, and its content says who that
//! is. It is only ever locked without waiting and behind the gate, a lock held for microseconds, so nobody who merely
//! looks is mistaken for a holder. Waiting happens at the `.bell`: the holder has it locked too, waiters ask to share
//! it, and the kernel wakes them when the holder lets go or dies; then they try the lease anew. So a waiter who gave
//! up while waiting touches the bell alone.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::connection::{adopt, make_directory, open_file};
use crate::store::{Holder, Lease, LeaseAttempt, StorePath};

/// Longest lease name that becomes a file's name as it is; file systems take 255 bytes with the ending.
const MAX_READABLE_NAME: usize = 200;
/// Longest description of a holder that is read back, in bytes.
const MAX_HOLDER: u64 = 64 * 1024;

/// The directory of the lock files.
#[derive(Debug, Clone)]
pub(super) struct Leases(Arc<Path>);

/// What a holder has locked. Its drop ends the lease.
#[derive(Debug)]
struct Held {
    lease: File,
    bell: File,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Closing would free the locks too, but not while a child between fork and exec shares the files. What fails
        // here fails harmlessly: the content is a courtesy, and the locks end when the files close.
        let _ = self.lease.set_len(0);
        let _ = self.lease.unlock();
        let _ = self.bell.unlock();
    }
}

impl Leases {
    pub(super) fn in_directory(dir: &Path) -> io::Result<Self> {
        make_directory(dir)?;
        adopt(dir)?;
        Ok(Self(dir.into()))
    }

    pub(super) fn try_take(&self, path: &StorePath, who: &str) -> io::Result<LeaseAttempt> {
        let _gate = self.pass_gate()?;
        let mut lease = open_file(&self.lease_file(path))?;
        if !try_lock(&lease)? {
            return Ok(LeaseAttempt::Busy(read_holder(&mut lease)?));
        }
        sign(&mut lease, who)?;
        let bell = open_file(&self.bell_file(path))?;
        // Waiters whom the last holder woke may share it for an instant yet; they come to the gate next.
        bell.lock()?;
        Ok(LeaseAttempt::Held(Lease::new(Held { lease, bell })))
    }

    pub(super) fn holder(&self, path: &StorePath) -> io::Result<Option<Holder>> {
        let _gate = self.pass_gate()?;
        let mut lease = match File::open(self.lease_file(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        if try_lock(&lease)? {
            lease.unlock()?;
            return Ok(None);
        }
        read_holder(&mut lease)
    }

    /// Resolves once nobody holds the lease, or has just let go of it. Dropping the future leaves a thread behind
    /// that ends when the holder does; it takes nothing from anybody.
    pub(super) async fn released(&self, path: &StorePath) -> io::Result<()> {
        let bell = open_file(&self.bell_file(path))?;
        let (tell, told) = tokio::sync::oneshot::channel();
        // A thread of its own: tokio would wait for one of its blocking threads when the program ends.
        std::thread::Builder::new().name("lease-wait".to_owned()).spawn(move || {
            let heard = bell.lock_shared().and_then(|()| bell.unlock());
            // Nobody listens any more when the wait was given up.
            let _ = tell.send(heard);
        })?;
        told.await.unwrap_or_else(|_| Err(io::Error::other("the thread waiting for a lease ended early")))
    }

    fn pass_gate(&self) -> io::Result<Gate> {
        let gate = open_file(&self.0.join("gate"))?;
        gate.lock()?;
        Ok(Gate(gate))
    }

    fn lease_file(&self, path: &StorePath) -> PathBuf {
        self.0.join(file_name(path) + ".lease")
    }

    fn bell_file(&self, path: &StorePath) -> PathBuf {
        self.0.join(file_name(path) + ".bell")
    }
}

/// Makes its holder the only one who takes or looks at leases.
struct Gate(File);

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

fn sign(lease: &mut File, who: &str) -> io::Result<()> {
    let holder = Holder { who: who.to_owned(), since: jiff::Timestamp::now() };
    let words = serde_json::to_vec(&holder).map_err(io::Error::other)?;
    lease.set_len(0)?;
    lease.rewind()?;
    lease.write_all(&words)
}

/// The holder as it signed; none when the content is no signature, which a full disk may cause.
fn read_holder(lease: &mut File) -> io::Result<Option<Holder>> {
    let mut words = Vec::new();
    lease.take(MAX_HOLDER).read_to_end(&mut words)?;
    Ok(serde_json::from_slice(&words).ok())
}

/// `/tenants/dev` as `tenants+dev`; what is odd in a segment is percent-encoded, and what is too long is hashed.
fn file_name(path: &StorePath) -> String {
    use std::fmt::Write as _;
    let mut name = String::new();
    for byte in path.as_str().bytes().skip(1) {
        match byte {
            b'/' => name.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => name.push(char::from(byte)),
            odd => write!(name, "%{odd:02x}").expect("a string takes all that is written to it"),
        }
    }
    if name.len() <= MAX_READABLE_NAME { name } else { hashed(&name) }
}

fn hashed(name: &str) -> String {
    let digest = Sha256::digest(name.as_bytes());
    // `%s` begins no percent-encoded byte, so this is no other lease's readable name.
    digest.iter().fold("%sha256-".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_has_a_readable_file_of_its_own() {
        let app = StorePath::root().join("tenants").join("dev").join("apps").join("shop");
        assert_eq!(file_name(&app), "tenants+dev+apps+shop");
        assert_eq!(file_name(&StorePath::root().join("a+b%")), "a%2bb%25");
        let long = StorePath::root().join("x".repeat(300));
        assert!(file_name(&long).starts_with("%sha256-") && file_name(&long).len() < MAX_READABLE_NAME);
    }
}
