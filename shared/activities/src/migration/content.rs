//! Copies the bytes of a file.

use bytes::Bytes;
use contracts::ActivityError;
use downstream::TransportFault;
use downstream::data::{content, put_content};
use futures::channel::mpsc::channel;
use futures::{SinkExt as _, StreamExt as _};

use crate::Context;

/// Gives a file of one tenant the bytes of a file of another one. A file without bytes stays so; so does one that has these
/// bytes already, if it is not new.
pub(super) async fn copy(
    context: &Context<'_>,
    (from, from_id): (&str, &str),
    (to, to_id): (&str, &str),
    key: String,
    (fence, is_new): (Option<u64>, bool),
) -> Result<(), ActivityError> {
    let Some(mut bytes) = content(context.downstream, from, from_id).await? else { return Ok(()) };
    if !is_new && bytes.sha256.is_some() {
        let there = content(context.downstream, to, to_id).await?;
        if there.is_some_and(|there| there.sha256 == bytes.sha256) {
            return Ok(());
        }
    }
    let (mut sender, receiver) = channel::<Result<Bytes, TransportFault>>(2);
    let read = async {
        let read = async {
            while let Some(part) = bytes.next().await? {
                // Who does not want them any more says why.
                if sender.send(Ok(part)).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let read: Result<(), ActivityError> = read.await;
        if read.is_err() {
            // Half of the bytes are none.
            let _ = sender.send(Err(TransportFault::Broken)).await;
        }
        drop(sender);
        read
    };
    let fenced = context.downstream.fenced(fence);
    let put = put_content(&fenced, to, to_id, key, receiver.boxed());
    let (read, put) = futures::join!(read, put);
    read.and(put)
}
