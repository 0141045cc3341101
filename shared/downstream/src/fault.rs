//! Why there is no usable answer, and whose fault that is.

use std::error::Error;
use std::{io, iter};

use contracts::ErrorName;
use contracts::limits::MAX_SERVICE_REPLY_BYTES;
use rustix::io::Errno;

/// Why there is no usable answer. Each of these is worth another attempt; that has the same `Idempotency-Key`, so that it
/// does not matter whether the effect has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransportFault {
    /// No connection: it was refused, there is no such host or no way to it, or nobody took part in it in time. Nothing was
    /// sent, so there is no effect.
    #[error("could not be reached")]
    Unreachable,
    /// The connection broke before the head of an answer had come. The effect may have happened.
    #[error("broke the connection before it answered")]
    Unanswered,
    /// The answer is not complete, or is not HTTP. The effect has most likely happened.
    #[error("did not give a complete answer")]
    Broken,
    /// The answer is larger than anything we would read. The effect has most likely happened.
    #[error("answered with more than {MAX_SERVICE_REPLY_BYTES} bytes")]
    TooLarge,
    /// The two sides did not agree on TLS: a certificate is not trusted, is out of date, or is another host's. Nothing was
    /// sent.
    #[error("has no TLS connection that can be trusted")]
    Untrusted,
    /// This process lacks something for a connection. Nothing was sent, and the service has no part in it.
    #[error("{0}")]
    Shortage(Shortage),
}

/// What this process lacks for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Shortage {
    /// A file descriptor, of the process or of the whole machine.
    #[error("this process has no file descriptor left")]
    Descriptors,
    /// Memory for a socket.
    #[error("this process has no memory left")]
    Memory,
    /// A local port, or an address that the service's could be reached from.
    #[error("this process has no local port or address for it")]
    Ports,
    /// The certificates that it trusts, which it reads before its first connection.
    #[error("this process cannot read the certificates that it trusts")]
    Certificates,
}

impl TransportFault {
    /// What the state machines make of it. Whoever restarts a service causes the first three of these, and then waits for
    /// it; so does a process that has to get rid of connections.
    pub(crate) fn error_name(self) -> ErrorName {
        match self {
            Self::Unreachable | Self::Unanswered | Self::Shortage(_) => ErrorName::ServiceUnreachable,
            Self::Broken | Self::TooLarge | Self::Untrusted => ErrorName::ServiceUnavailable,
        }
    }

    /// Why a client cannot be made. What keeps it from reading the trusted certificates, it does not say.
    pub(crate) fn of_client(error: &reqwest::Error) -> Self {
        Self::Shortage(shortage(error).unwrap_or(Shortage::Certificates))
    }

    /// Why there is not even the head of an answer.
    pub(crate) fn of_request(error: &reqwest::Error) -> Self {
        match (error.is_connect(), shortage(error)) {
            (true, Some(shortage)) => Self::Shortage(shortage),
            // The kind of every error that is about what TLS says, and of no other.
            (true, None) if of_type::<io::Error>(error).any(|io| io.kind() == io::ErrorKind::InvalidData) => {
                Self::Untrusted
            }
            (true, None) => Self::Unreachable,
            (false, _) if of_type::<hyper::Error>(error).any(hyper::Error::is_parse) => Self::Broken,
            (false, _) => Self::Unanswered,
        }
    }
}

impl Shortage {
    fn of(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error)? {
            Errno::MFILE | Errno::NFILE => Some(Self::Descriptors),
            Errno::NOMEM | Errno::NOBUFS => Some(Self::Memory),
            Errno::ADDRNOTAVAIL => Some(Self::Ports),
            _ => None,
        }
    }
}

fn shortage(error: &reqwest::Error) -> Option<Shortage> {
    of_type::<io::Error>(error).find_map(Shortage::of)
}

/// The errors of this type among an error and its causes.
fn of_type<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e E> {
    iter::successors(Some(error), |error| cause(*error)).filter_map(|error| error.downcast_ref())
}

/// What an error was caused by. The source of an I/O error that wraps another one is not that one but what caused it.
fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_found_however_deep_it_is() {
        for (errno, expected) in [
            (Errno::MFILE, Some(Shortage::Descriptors)),
            (Errno::NFILE, Some(Shortage::Descriptors)),
            (Errno::NOMEM, Some(Shortage::Memory)),
            (Errno::NOBUFS, Some(Shortage::Memory)),
            (Errno::ADDRNOTAVAIL, Some(Shortage::Ports)),
            (Errno::CONNREFUSED, None),
            (Errno::HOSTUNREACH, None),
        ] {
            let error = io::Error::other(io::Error::other(io::Error::from(errno)));
            assert_eq!(of_type::<io::Error>(&error).find_map(Shortage::of), expected, "{errno}");
        }
    }
}
