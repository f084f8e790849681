//! What is spoken on one accepted connection: HTTP/2 on the mesh, either version of HTTP where plain HTTP is served.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::leash::{Leash, OnLeash, poll_led};
use crate::limits::{HTTP1_BUFFER_BYTES_MAX, HTTP1_HEAD_TIMEOUT_MS, HTTP1_HEADERS_MAX, Limits};
use crate::serve::BoxError;

/// A connection that is being served.
pub(crate) trait Conversation {
    /// Serves it until it ends.
    fn poll_serve(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>;

    /// Finishes what was begun and takes up nothing new.
    fn finish(self: Pin<&mut Self>);
}

impl<Io, S, B> Conversation for http2::Connection<TokioIo<Io>, S, OnLeash>
where
    Io: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    fn poll_serve(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.poll(cx).map_err(Into::into)
    }

    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Either version of HTTP. On HTTP/1.1 the connection is its only stream, so that it is what hangs on the leash.
pub(crate) struct AnyHttp<C> {
    connection: Pin<Box<C>>,
    leash: Option<Leash>,
}

impl<C> AnyHttp<C> {
    pub(crate) fn new(connection: C) -> Self {
        Self { connection: Box::pin(connection), leash: None }
    }
}

impl<Io, S, B> Conversation for AnyHttp<auto::Connection<'_, TokioIo<Io>, S, OnLeash>>
where
    Io: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    fn poll_serve(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let this = self.get_mut();
        let connection = this.connection.as_mut();
        poll_led(&mut this.leash, cx, |cx| connection.poll(cx)).map(|ended| ended.unwrap_or(Ok(())))
    }

    fn finish(self: Pin<&mut Self>) {
        self.get_mut().connection.as_mut().graceful_shutdown();
    }
}

/// HTTP/2 as the mesh speaks it.
pub(crate) fn http2(limits: &Limits) -> http2::Builder<OnLeash> {
    let mut http = http2::Builder::new(OnLeash);
    http.timer(TokioTimer::new())
        .auto_date_header(false)
        .max_concurrent_streams(limits.streams_per_connection_max)
        .max_header_list_size(limits.header_list_bytes_max)
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .max_frame_size(limits.frame_bytes_max)
        .max_send_buf_size(limits.stream_send_buffer_bytes_max)
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_timeout);
    http
}

/// The same beside HTTP/1.1.
pub(crate) fn any_http(limits: &Limits) -> auto::Builder<OnLeash> {
    let mut http = auto::Builder::new(OnLeash);
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HTTP1_HEAD_TIMEOUT_MS))
        .max_buf_size(HTTP1_BUFFER_BYTES_MAX)
        .max_headers(HTTP1_HEADERS_MAX);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_per_connection_max)
        .max_header_list_size(limits.header_list_bytes_max)
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .max_frame_size(limits.frame_bytes_max)
        .max_send_buf_size(limits.stream_send_buffer_bytes_max)
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_timeout);
    http
}
