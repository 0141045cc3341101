//! Bodies that are under way to this process: how long they may take, and how much room all of them have.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use clock::SharedClock;
use contracts::limits::{MAX_BODIES_BYTES, MAX_BODY_BYTES, UNCOUNTED_BODY_BYTES};
use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Problem;

/// What all requests share.
#[derive(Clone)]
pub(crate) struct Bodies {
    clock: SharedClock,
    time: Duration,
    free: Arc<Semaphore>,
}

/// What one body takes of the room, until it is dropped.
pub(crate) struct Room {
    free: Arc<Semaphore>,
    taken: Mutex<Option<OwnedSemaphorePermit>>,
}

/// Why a body is not read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTaken {
    #[error("the body did not arrive within {0:?}")]
    Late(Duration),
    #[error("there is no room for the body")]
    NoRoom,
}

impl From<NotTaken> for Problem {
    fn from(not_taken: NotTaken) -> Self {
        match not_taken {
            NotTaken::Late(time) => Self::body_too_late(time),
            NotTaken::NoRoom => Self::busy("Too many large bodies arrive at once. This one was not accepted."),
        }
    }
}

impl Bodies {
    /// A body has half the time of its request: the rest is for what is asked.
    pub(crate) fn new(clock: SharedClock, request_timeout: Duration) -> Self {
        Self { clock, time: request_timeout / 2, free: Arc::new(Semaphore::new(MAX_BODIES_BYTES)) }
    }

    /// The same request with a body that keeps to the limits, and the room that it takes as long as it is in use.
    pub(crate) fn limit(&self, request: Request) -> Result<(Request, Arc<Room>), Problem> {
        let room = Arc::new(Room { free: Arc::clone(&self.free), taken: Mutex::default() });
        if request.body().is_end_stream() {
            return Ok((request, room));
        }
        // A larger one is refused for its size by who reads it.
        let declared = request.body().size_hint().lower().min(MAX_BODY_BYTES as u64);
        room.check(declared as usize)?;
        let (clock, time) = (Arc::clone(&self.clock), self.time);
        let limited =
            |body| Body::new(Arriving { body, room: Arc::clone(&room), received: 0, clock, time, late: None });
        Ok((request.map(limited), room))
    }
}

impl Room {
    /// Whether there is room for so many bytes. None is taken: only what has arrived is in memory.
    fn check(&self, bytes: usize) -> Result<(), NotTaken> {
        let missing = bytes.saturating_sub(UNCOUNTED_BODY_BYTES);
        if missing > self.free.available_permits() { Err(NotTaken::NoRoom) } else { Ok(()) }
    }

    /// Takes room for so many bytes in all.
    fn reserve(&self, bytes: usize) -> Result<(), NotTaken> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = bytes
            .saturating_sub(UNCOUNTED_BODY_BYTES)
            .saturating_sub(taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
        if missing == 0 {
            return Ok(());
        }
        let missing = u32::try_from(missing).map_err(|_| NotTaken::NoRoom)?;
        let more = Arc::clone(&self.free).try_acquire_many_owned(missing).map_err(|_| NotTaken::NoRoom)?;
        match &mut *taken {
            Some(taken) => taken.merge(more),
            None => *taken = Some(more),
        }
        Ok(())
    }
}

/// A body that ends with [`NotTaken`] where it goes beyond the limits.
struct Arriving {
    body: Body,
    room: Arc<Room>,
    received: usize,
    clock: SharedClock,
    time: Duration,
    /// Set as soon as something has to be waited for.
    late: Option<BoxFuture<'static, ()>>,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            if let Some(Ok(frame)) = &frame {
                self.received += frame.data_ref().map_or(0, Bytes::len);
                // What is larger than any body is refused for its size by who reads it.
                if let Err(no_room) = self.room.reserve(self.received.min(MAX_BODY_BYTES)) {
                    return Poll::Ready(Some(Err(no_room.into())));
                }
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(axum::Error::into_inner)));
        }
        let Self { clock, time, late, .. } = &mut *self;
        let late = late.get_or_insert_with(|| clock.alarm(clock.instant() + *time));
        ready!(late.as_mut().poll(context));
        Poll::Ready(Some(Err(NotTaken::Late(self.time).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;
    use clock::{Clock as _, SystemClock};
    use futures::{StreamExt as _, stream};

    use super::*;
    use crate::body;

    fn post(body: Body) -> Request {
        let request = Request::builder().method("POST").header("content-type", "application/json");
        request.body(body).unwrap()
    }

    fn status(problem: Problem) -> StatusCode {
        problem.into_response().status()
    }

    async fn read(request: Request) -> Result<usize, StatusCode> {
        let (parts, body) = request.into_parts();
        body::json(&parts.headers, body).await.map(|json| json.value().to_string().len()).map_err(status)
    }

    /// JSON text of so many bytes.
    fn json(bytes: usize) -> String {
        format!("\"{}\"", "x".repeat(bytes - 2))
    }

    /// A body whose length nobody knows, in two parts.
    fn streamed(text: &str) -> Body {
        let (left, right) = text.split_at(text.len() / 2);
        let parts = [left.to_owned(), right.to_owned()];
        Body::from_stream(stream::iter(parts.map(Ok::<_, std::convert::Infallible>)))
    }

    #[tokio::test]
    async fn a_body_that_does_not_end_is_given_up() {
        let bodies = Bodies::new(Arc::new(SystemClock), Duration::from_millis(200));
        let begun = stream::iter([Ok::<_, std::convert::Infallible>("{")]).chain(stream::pending());
        let (request, _room) = bodies.limit(post(Body::from_stream(begun))).map_err(status).unwrap();
        let began = SystemClock.now();
        assert_eq!(read(request).await, Err(StatusCode::REQUEST_TIMEOUT));
        let took = SystemClock.now().duration_since(began).as_secs_f64();
        assert!((0.1..5.0).contains(&took), "half of the request's time, not {took} s");
    }

    #[tokio::test]
    async fn large_bodies_share_their_room_and_small_ones_need_none() {
        let bodies = Bodies::new(Arc::new(SystemClock), Duration::from_secs(30));
        let each = MAX_BODY_BYTES - UNCOUNTED_BODY_BYTES;
        let mut rooms = Vec::new();
        for _ in 0..MAX_BODIES_BYTES / each {
            let (request, room) = bodies.limit(post(json(MAX_BODY_BYTES).into())).map_err(status).unwrap();
            assert_eq!(read(request).await, Ok(MAX_BODY_BYTES));
            rooms.push(room);
        }
        let one_more = bodies.limit(post(json(MAX_BODY_BYTES).into())).map(drop).map_err(status);
        assert_eq!(one_more, Err(StatusCode::SERVICE_UNAVAILABLE), "refused before it is read");
        let (request, room) = bodies.limit(post(streamed(&json(MAX_BODY_BYTES)))).map_err(status).unwrap();
        assert_eq!(read(request).await, Err(StatusCode::SERVICE_UNAVAILABLE), "refused while it is read");
        drop(room);
        let (request, _room) = bodies.limit(post(json(UNCOUNTED_BODY_BYTES).into())).map_err(status).unwrap();
        assert_eq!(read(request).await, Ok(UNCOUNTED_BODY_BYTES));
        rooms.pop();
        let (request, _room) = bodies.limit(post(streamed(&json(MAX_BODY_BYTES)))).map_err(status).unwrap();
        assert_eq!(read(request).await, Ok(MAX_BODY_BYTES), "there is room again");
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_refused_for_that() {
        let bodies = Bodies::new(Arc::new(SystemClock), Duration::from_secs(30));
        for body in [json(MAX_BODY_BYTES + 1).into(), streamed(&json(2 * MAX_BODY_BYTES))] {
            let (request, _room) = bodies.limit(post(body)).map_err(status).unwrap();
            assert_eq!(read(request).await, Err(StatusCode::PAYLOAD_TOO_LARGE));
        }
    }
}
