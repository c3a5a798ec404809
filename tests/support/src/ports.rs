//! Ports for servers that must find theirs free again after a restart.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Below where operating systems take the ports of outgoing connections from. A client that tries again and again to
/// reach a dead server would sooner or later be given that server's port, and be connected to itself.
const PORTS: Range<u16> = 15_000..32_000;

/// A port of loopback that nobody listens on. Another process may still be faster, so whoever binds it tries again.
pub(crate) fn unused() -> SocketAddr {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Processes that run at once start at different places.
    let start = std::process::id() as usize * 131;
    for _ in PORTS {
        let place = start + NEXT.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORTS.start + (place % PORTS.len()) as u16));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port from {} to {} is free", PORTS.start, PORTS.end);
}
