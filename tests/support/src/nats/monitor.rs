//! What a server says of itself: its greeting, and its monitoring port.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// A paused server accepts connections and never answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The INFO a server greets a client with, if something that speaks NATS listens there.
pub(super) fn info(address: SocketAddr) -> Option<Value> {
    let mut line = String::new();
    BufReader::new(connect(address)?).read_line(&mut line).ok()?;
    serde_json::from_str(line.strip_prefix("INFO ")?).ok()
}

/// The answer of a monitoring port: HTTP status and JSON.
pub(super) fn get(address: SocketAddr, path: &str) -> Option<(u16, Value)> {
    let mut stream = connect(address)?;
    // HTTP 1.0 is answered without chunks, and the connection closes behind the answer.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).ok()?))
}

fn connect(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT).ok()?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT)).ok()?;
    Some(stream)
}
