//! Whether a port can be listened on, and if not, who has it.

use std::net::{IpAddr, SocketAddr, TcpListener};

use super::process::Process;

/// Why the port cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unavailable {
    /// By whom, if we may know.
    Taken(Option<String>),
    /// The kernel keeps it from this user, or the address is not this machine's.
    Refused(String),
}

/// Tries to listen there, for an instant.
pub(super) fn check(address: SocketAddr) -> Result<(), Unavailable> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(Unavailable::Taken(holder(address))),
        Err(error) => Err(Unavailable::Refused(error.to_string())),
    }
}

/// `name (pid)` of the process that listens there.
fn holder(address: SocketAddr) -> Option<String> {
    let table = if address.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let sockets = [table, "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let inode = sockets.iter().flat_map(|text| text.lines()).find_map(|line| listening(line, address))?;
    let process = Process::find_with_open(&format!("socket:[{inode}]"))?;
    Some(format!("{} (process {})", process.name(), process.pid))
}

/// The inode of the listening socket that this line of the kernel's table describes, if it stands in `address`' way.
fn listening(line: &str, address: SocketAddr) -> Option<&str> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (host, port) = fields.get(1)?.split_once(':')?;
    let everywhere = host.bytes().all(|digit| digit == b'0');
    let same = u16::from_str_radix(port, 16) == Ok(address.port()) && (everywhere || host == in_hex(address.ip()));
    (same && *fields.get(3)? == LISTEN).then(|| fields.get(9).copied())?
}

/// An address as the kernel writes it: each four bytes as one number of this machine, in hexadecimal.
fn in_hex(ip: IpAddr) -> String {
    let bytes = match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let word = |four: &[u8]| u32::from_ne_bytes([four[0], four[1], four[2], four[3]]);
    bytes.chunks(4).map(|four| format!("{:08X}", word(four))).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_its_holder() {
        for any in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(any).unwrap();
            let address = SocketAddr::new("127.0.0.1".parse().unwrap(), listener.local_addr().unwrap().port());
            let own = format!("(process {})", std::process::id());
            match check(address) {
                Err(Unavailable::Taken(Some(who))) => assert!(who.ends_with(&own), "{who}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_free_port_is_free_and_a_foreign_address_is_refused() {
        assert_eq!(check("127.0.0.1:0".parse().unwrap()), Ok(()));
        assert!(matches!(check("192.0.2.1:1".parse().unwrap()), Err(Unavailable::Refused(_))));
    }
}
