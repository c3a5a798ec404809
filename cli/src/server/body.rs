//! A request's body that is read to its end even when nobody wants the rest.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use bytes::Bytes;
use futures::StreamExt as _;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

/// The most bytes of a body that are read for nobody. Beyond that the connection is closed.
const REST_BYTES_MAX: usize = 64 << 20;
/// How long that may take.
const REST_PATIENCE: Duration = Duration::from_secs(10);

/// A body that goes on reading when it is dropped: closing a connection while its peer still sends would take the answer
/// away from it, such as that the body is too large.
pub(super) struct Drained {
    body: Option<Incoming>,
    /// The peer sends nothing before it is told to, and reading is what tells it.
    awaits_word: bool,
}

impl Drained {
    pub(super) fn wrap(request: hyper::Request<Incoming>) -> Request {
        let awaits_word = request.headers().contains_key(header::EXPECT);
        request.map(|body| Body::new(Self { body: Some(body), awaits_word }))
    }
}

impl HttpBody for Drained {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.awaits_word = false;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        let rest = self.body.take().filter(|body| !body.is_end_stream() && !self.awaits_word);
        if let (Some(rest), Ok(runtime)) = (rest, tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                drop(tokio::time::timeout(REST_PATIENCE, read_off(rest)).await);
            });
        }
    }
}

async fn read_off(rest: Incoming) {
    let mut rest = Body::new(rest).into_data_stream();
    let mut bytes = 0;
    while let Some(Ok(data)) = rest.next().await {
        bytes += data.len();
        if bytes > REST_BYTES_MAX {
            return;
        }
    }
}
