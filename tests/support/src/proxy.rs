//! A TCP proxy that fails on request.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

const BUFFER_BYTES: usize = 64 * 1024;

/// Forwards connections on loopback to an address, until told otherwise. Ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    ended: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    cut: bool,
    stalled: bool,
    drop_answers: bool,
    accepted: u64,
    next_id: u64,
    connections: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    id: u64,
    client: TcpStream,
    server: TcpStream,
    /// Something the server sent was dropped.
    lossy: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Requests,
    Answers,
}

impl Proxy {
    /// A proxy before `target`, which need not listen yet.
    ///
    /// # Panics
    /// If loopback cannot be listened on.
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let address = listener.local_addr().expect("loopback");
        let shared = Arc::new(Shared {
            target,
            ended: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared, accepting: Some(accepting) }
    }

    /// Where to connect instead.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where NATS clients connect instead: `nats://127.0.0.1:…`.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// How many connections are open through the proxy.
    pub fn connections(&self) -> usize {
        self.shared.state().connections.len()
    }

    /// How many connections have been forwarded so far.
    pub fn accepted(&self) -> u64 {
        self.shared.state().accepted
    }

    /// Closes all connections, and new ones at once, until [`heal`](Self::heal).
    pub fn cut(&self) {
        let mut state = self.shared.state();
        state.cut = true;
        state.close(|_| true);
        self.shared.changed.notify_all();
    }

    /// Forwards new connections again.
    pub fn heal(&self) {
        self.shared.state().cut = false;
    }

    /// Keeps connections and takes new ones, but forwards nothing and not even that one side closes, until
    /// [`flow`](Self::flow).
    pub fn stall(&self) {
        self.shared.state().stalled = true;
    }

    /// Forwards again, first what came meanwhile.
    pub fn flow(&self) {
        self.shared.state().stalled = false;
        self.shared.changed.notify_all();
    }

    /// Drops what the server sends, so that requests arrive and their answers are lost. When switched off, connections
    /// that lost something are closed, as what would follow no longer makes sense.
    pub fn drop_answers(&self, drop: bool) {
        let mut state = self.shared.state();
        state.drop_answers = drop;
        if !drop {
            state.close(|connection| connection.lossy);
            self.shared.changed.notify_all();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.cut();
        // Wakes the thread that accepts.
        TcpStream::connect(self.address).ok();
        if let Some(accepting) = self.accepting.take() {
            accepting.join().ok();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while stalled. Whether a piece from this side is to be forwarded; `None` once the connection is closed.
    fn pass(&self, id: u64, direction: Direction) -> Option<bool> {
        let stalled = |state: &mut State| state.stalled && state.connections.iter().any(|open| open.id == id);
        let mut state =
            self.changed.wait_while(self.state(), stalled).unwrap_or_else(PoisonError::into_inner);
        let dropped = direction == Direction::Answers && state.drop_answers;
        let connection = state.connections.iter_mut().find(|open| open.id == id)?;
        connection.lossy |= dropped;
        Some(!dropped)
    }
}

impl State {
    fn close(&mut self, which: impl Fn(&Connection) -> bool) {
        for closed in self.connections.extract_if(.., |connection| which(connection)) {
            closed.client.shutdown(Shutdown::Both).ok();
            closed.server.shutdown(Shutdown::Both).ok();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.ended.load(Ordering::Acquire) {
            return;
        }
        let cut = shared.state().cut;
        if let Ok(client) = client
            && !cut
        {
            let shared = Arc::clone(shared);
            std::thread::spawn(move || open(&client, &shared));
        }
    }
}

/// Connects a client to the target and forwards until one side closes. Where the target does not listen, the client
/// is closed.
fn open(client: &TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    let server = TcpStream::connect(shared.target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let connection =
        Connection { id: 0, client: client.try_clone()?, server: server.try_clone()?, lossy: false };
    let id = {
        let mut state = shared.state();
        if state.cut {
            return Ok(());
        }
        state.accepted += 1;
        state.next_id += 1;
        let id = state.next_id;
        state.connections.push(Connection { id, ..connection });
        id
    };
    std::thread::scope(|scope| {
        scope.spawn(|| forward(&server, client, shared, id, Direction::Answers));
        forward(client, &server, shared, id, Direction::Requests);
    });
    shared.state().close(|open| open.id == id);
    Ok(())
}

/// Copies one direction until its end, which it passes on.
fn forward(mut from: &TcpStream, mut to: &TcpStream, shared: &Shared, id: u64, direction: Direction) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        match shared.pass(id, direction) {
            Some(true) if read > 0 && to.write_all(&buffer[..read]).is_err() => break,
            Some(_) if read > 0 => {}
            _ => break,
        }
    }
    // Half closed is how some protocols say that they are done.
    to.shutdown(Shutdown::Write).ok();
}
