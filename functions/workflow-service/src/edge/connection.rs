//! One connection, from its first byte to its end.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;

use super::doing::{Doing, Overdue};
use super::service::Answering;
use super::watched::Watched;

/// The longest headers of a request, its address included, and what one connection buffers of a body or an answer.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How long a client may take to read the last answer and to close. A connection that is closed while there is something to
/// read is reset, and the client may lose the answer.
const LINGERING: Duration = Duration::from_secs(1);

/// How a connection ended.
enum Ended {
    /// The client or HTTP closed it.
    ByItself,
    /// It makes room, or the server stops.
    Told,
    Overdue(Overdue),
}

/// Serves a connection until it ends, is to make room for another one, takes too long, or the server stops.
pub(super) async fn serve<S>(stream: S, answering: Answering, doing: Arc<Doing>, stopping: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&doing)));
    let mut http = http1::Builder::new();
    http.max_buf_size(MAX_HEAD_BYTES).header_read_timeout(None);
    let mut connection = http.serve_connection(io, answering);
    let mut stopped = stopping.clone();
    let mut stopped = pin!(stopped.wait_for(|stop| *stop));
    let mut overdue = pin!(doing.overdue());
    let mut is_last = false;
    let ended = loop {
        tokio::select! {
            _ = &mut connection => break Ended::ByItself,
            overdue = &mut overdue => break Ended::Overdue(overdue),
            () = doing.slot.until_closed() => {}
            _ = &mut stopped, if !is_last => {}
        }
        // It was told to end.
        if !doing.is_answering() {
            break Ended::Told;
        }
        is_last = true;
        Pin::new(&mut connection).graceful_shutdown();
    };
    let mut io = connection.into_parts().io.into_inner();
    match ended {
        Ended::ByItself => {}
        Ended::Overdue(Overdue::Head) => io.refuse(StatusCode::REQUEST_TIMEOUT),
        Ended::Told | Ended::Overdue(Overdue::Idle | Overdue::Write) => return,
    }
    tokio::select! {
        _ = clock::timeout(&**doing.clock(), LINGERING, linger(&mut io)) => {}
        () = doing.slot.until_closed() => {}
        () = stops(stopping) => {}
    }
}

/// Ends what is written, and reads what still comes.
async fn linger(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<()> {
    io.flush().await?;
    io.shutdown().await?;
    let mut discarded = [0; 4096];
    while io.read(&mut discarded).await? > 0 {}
    Ok(())
}

async fn stops(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}
