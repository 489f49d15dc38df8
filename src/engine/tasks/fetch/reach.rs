//! What a download may reach: for apps that are kept from the machine, nothing of it.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;

/// Where artifacts may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Reach {
    Anywhere,
    /// Neither this machine, nor the containers on it, nor what only its own links reach.
    Outside,
}

/// Why an address is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {what}, which apps of this engine are kept from")]
pub(in crate::engine::tasks) struct Forbidden {
    address: IpAddr,
    what: &'static str,
}

impl Reach {
    pub(super) fn allows(self, address: IpAddr) -> Result<(), Forbidden> {
        let address = plain(address);
        match self {
            Self::Anywhere => Ok(()),
            Self::Outside => match near(address).or_else(|| of_this_machine(address)) {
                Some(what) => Err(Forbidden { address, what }),
                None => Ok(()),
            },
        }
    }
}

/// The IPv4 address that some spellings of an IPv6 address mean.
fn plain(address: IpAddr) -> IpAddr {
    /// The prefix under which IPv4 is reached from networks that have none.
    const TRANSLATED: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];
    let IpAddr::V6(v6) = address else { return address };
    if v6.segments()[..6] == TRANSLATED {
        let [.., a, b, c, d] = v6.octets();
        return IpAddr::from([a, b, c, d]);
    }
    v6.to_ipv4_mapped().map_or(address, IpAddr::V4)
}

/// What an address is that never leaves this machine's own links.
fn near(address: IpAddr) -> Option<&'static str> {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let this_host = match address {
        IpAddr::V4(v4) => v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_unspecified(),
    };
    match address {
        _ if address.is_loopback() || this_host => Some("a loopback address"),
        _ if link_local => Some("a link-local address"),
        _ if address.is_multicast() => Some("a multicast address"),
        _ => None,
    }
}

fn of_this_machine(address: IpAddr) -> Option<&'static str> {
    // Only an address of this machine's own can be bound.
    if UdpSocket::bind(SocketAddr::new(address, 0)).is_ok() {
        return Some("this machine's own address");
    }
    let table = match address {
        IpAddr::V4(_) => std::fs::read_to_string("/proc/net/route"),
        IpAddr::V6(_) => std::fs::read_to_string("/proc/net/ipv6_route"),
    };
    let table = table.unwrap_or_default();
    let interface = interface_to(address, &table)?;
    let is_bridge = Path::new("/sys/class/net").join(interface).join("bridge").is_dir();
    is_bridge.then_some("a container of this machine")
}

/// The interface of the narrowest route to an address, in the kernel's table.
fn interface_to(address: IpAddr, table: &str) -> Option<&str> {
    let read = match address {
        IpAddr::V4(v4) => {
            let bits = u128::from(u32::from_ne_bytes(v4.octets()));
            // Numbers of this table are as the machine holds them in memory, the first byte of the address first.
            table.lines().filter_map(|line| route_v4(line, bits)).collect::<Vec<_>>()
        }
        IpAddr::V6(v6) => table.lines().filter_map(|line| route_v6(line, u128::from(v6))).collect(),
    };
    read.into_iter().max_by_key(|(width, _)| *width).map(|(_, interface)| interface)
}

/// The width and the interface of a route, if it leads to the address.
fn route_v4(line: &str, address: u128) -> Option<(u32, &str)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let number = |index: usize| u128::from_str_radix(fields.get(index)?, 16).ok();
    let (network, mask) = (number(1)?, number(7)?);
    (address & mask == network).then_some((mask.count_ones(), *fields.first()?))
}

fn route_v6(line: &str, address: u128) -> Option<(u32, &str)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let network = u128::from_str_radix(fields.first()?, 16).ok()?;
    let width = u32::from_str_radix(fields.get(1)?, 16).ok()?;
    let mask = u128::MAX.checked_shl(128_u32.checked_sub(width)?).unwrap_or(0);
    (address & mask == network).then_some((width, *fields.last()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forbidden(text: &str) -> Option<&'static str> {
        Reach::Outside.allows(text.parse().unwrap()).err().map(|forbidden| forbidden.what)
    }

    #[test]
    fn nothing_of_the_machine_is_outside_however_it_is_spelled() {
        for near in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "169.254.169.254",
            "fe80::1",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert!(forbidden(near).is_some(), "{near}");
        }
        assert_eq!(Reach::Anywhere.allows(IpAddr::from([127, 0, 0, 1])), Ok(()));
        assert_eq!((forbidden("192.0.2.77"), forbidden("2001:db8::1")), (None, None));
    }

    #[test]
    fn an_address_of_an_interface_is_the_machines_own() {
        // Nothing is sent: a datagram socket that is connected only has a route, and the address it would send from.
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        if socket.connect("192.0.2.77:9").is_ok() {
            let own = socket.local_addr().unwrap().ip();
            assert!(Reach::Outside.allows(own).is_err(), "{own}");
        }
    }

    #[test]
    fn the_narrowest_route_is_taken() {
        let v4 = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n\
                  eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                  docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        assert_eq!(interface_to([172, 17, 0, 9].into(), v4), Some("docker0"));
        assert_eq!(interface_to([10, 0, 0, 1].into(), v4), Some("eth0"));
        let zeros = "0".repeat(32);
        let v6 = format!(
            "{zeros} 00 {zeros} 00 {zeros} 00000400 1 0 00000003 eth0\n\
             fd000000000000020000000000000000 40 {zeros} 00 {zeros} 00000100 1 0 00000001 br-1\n"
        );
        assert_eq!(interface_to("fd00:0:0:2::5".parse().unwrap(), &v6), Some("br-1"));
        assert_eq!(interface_to("2001:db8::1".parse().unwrap(), &v6), Some("eth0"));
    }
}
