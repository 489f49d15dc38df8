//! Clients that come and go.

use std::net::SocketAddr;

use super::events::Events;

/// Listens for nothing and goes: two events for all who listen, of one that came and of one that went.
pub fn attach_and_leave(address: SocketAddr) {
    let stream = Events::of(address, "?event_type=none").unwrap();
    stream.ender().end();
}

/// Makes so many events happen, by so many clients at once.
pub fn fill_with_events(address: SocketAddr, count: u64, clients: u64) {
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| (0..count / 2 / clients).for_each(|_| attach_and_leave(address)));
        }
    });
}
