//! A server that only pretends: enough of NATS for a client to connect to a version that cannot be had.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Greets clients with a version and answers their pings. Requests get no reply; it ends when it is dropped.
#[derive(Debug)]
pub struct FakeServer {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl FakeServer {
    /// A server that says it is nats-server of this version, such as `2.9.10`, with JetStream.
    ///
    /// # Panics
    /// If loopback cannot be listened on.
    pub fn with_version(version: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let address = listener.local_addr().expect("loopback");
        let ended = Arc::new(AtomicBool::new(false));
        let info = format!(
            "INFO {{\"server_id\":\"FAKE\",\"server_name\":\"fake\",\"version\":\"{version}\",\"proto\":1,\"go\":\"go\",\
             \"host\":\"127.0.0.1\",\"port\":{},\"headers\":true,\"max_payload\":1048576,\"jetstream\":true,\
             \"client_id\":1}}\r\n",
            address.port()
        );
        let ending = Arc::clone(&ended);
        let accepting = std::thread::spawn(move || {
            for client in listener.incoming() {
                if ending.load(Ordering::Acquire) {
                    return;
                }
                let info = info.clone();
                std::thread::spawn(move || client.and_then(|client| serve(&client, &info)));
            }
        });
        Self { address, ended, accepting: Some(accepting) }
    }

    /// What clients connect to.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        TcpStream::connect(self.address).ok();
        if let Some(accepting) = self.accepting.take() {
            accepting.join().ok();
        }
    }
}

fn serve(mut client: &TcpStream, info: &str) -> std::io::Result<()> {
    client.write_all(info.as_bytes())?;
    for line in BufReader::new(client).lines() {
        if line?.eq_ignore_ascii_case("PING") {
            client.write_all(b"PONG\r\n")?;
        }
    }
    Ok(())
}
