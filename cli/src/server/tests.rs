use std::net::SocketAddr;

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// A server of these routes.
struct Served {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    _shown: watch::Sender<Router>,
    task: tokio::task::JoinHandle<()>,
}

async fn served(connections_max: usize) -> Served {
    let router = Router::new()
        .route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }))
        .route("/post", post(|body: Bytes| async move { body.len().to_string() }))
        .layer(DefaultBodyLimit::max(1000));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shown, watched) = watch::channel(router);
    let (stop, stopping) = watch::channel(false);
    let options = ServerOptions {
        connections_max,
        drain: Duration::from_mins(1),
        connections: IntGauge::new("a", "a").unwrap(),
        turned_away: IntCounter::new("b", "b").unwrap(),
    };
    let task = tokio::spawn(serve(listener, watched, stopping, options));
    Served { address, stop, _shown: shown, task }
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// One request on a connection of its own; the whole answer.
    async fn ask(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn slow_sockets_hinder_nobody() {
    let served = served(256).await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = served.connect().await;
        stream.write_all(b"GET / HT").await.unwrap();
        slow.push(stream);
    }
    for _ in 0..50 {
        assert!(served.ask(GET).await.starts_with("HTTP/1.1 200 "));
    }
    // They were not forgotten either.
    for mut stream in slow {
        stream.write_all(&GET[8..]).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let address = stream.local_addr().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&address.to_string()), "{answer}");
    }
}

#[tokio::test]
async fn whoever_is_too_many_is_told() {
    let served = served(1).await;
    let mut first = served.connect().await;
    first.write_all(&GET[..5]).await.unwrap();
    let answer = served.ask(GET).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    let body: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((&body["code"], &body["retry_after_ms"]), (&"busy".into(), &1000.into()));
    first.write_all(&GET[5..]).await.unwrap();
    let mut answer = String::new();
    first.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // Its place is free again, at the latest when the server has noticed.
    while served.ask(GET).await.starts_with("HTTP/1.1 503 ") {}
}

/// A body far beyond every buffer on the way: the answer comes before its end, and is read after it.
#[tokio::test]
async fn oversized_bodies_get_a_readable_answer() {
    let served = served(8).await;
    let body = vec![b'x'; 32 << 20];
    let head = format!(
        "POST /post HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = served.ask(&[head.as_bytes(), &body].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let chunk = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    let head = b"POST /post HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = served.ask(&[head, &chunk[..]].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn requests_under_way_are_answered_when_it_stops() {
    let served = served(8).await;
    let mut open = served.connect().await;
    open.write_all(b"POST /post HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        .await
        .unwrap();
    // That it asks for the body shows that the request is being worked on.
    let word = "HTTP/1.1 100 Continue\r\n\r\n";
    let mut asked = vec![0; word.len()];
    open.read_exact(&mut asked).await.unwrap();
    assert_eq!(asked, word.as_bytes());
    served.stop.send_replace(true);
    open.write_all(b"abc").await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n3"), "{answer}");
    served.task.await.unwrap();
}
